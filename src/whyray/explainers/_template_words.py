"""Facts into sentences, by the words of ``template.toml``: for a clinician, or for a lay reader."""

from __future__ import annotations

import bisect
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from ..io.records import display_name
from ..text.attributes import Zone
from ..text.numbers import apart
from ._place import Place
from ._template_facts import Facts

Audience = Literal["clinician", "lay"]
AUDIENCES: tuple[Audience, ...] = ("clinician", "lay")
OTHER = {"left": "right", "right": "left"}
HARDLY = 0.005  # a change of probability that is no change
TOGETHER = 0.5  # maps that correlate less lie in different places


def said(facts: Facts, audience: Audience) -> tuple[str, tuple[str, ...]]:
    """The text of a statement, and the caveats that go with it: the same facts give the same words."""
    speaker = _Speaker(facts, audience, words()[audience])
    text = [*speaker.call(), *speaker.place(), *speaker.sign(), *speaker.patterns(), *speaker.change()]
    return " ".join(text), tuple(speaker.notes())


def likelihood(probability: float) -> str:
    """A probability 0..1 in the words of the published scale."""
    scale = words()["scale"]
    lows: list[float] = scale["from"]
    last = len(lows) - 1
    index = last if probability > lows[last] else bisect.bisect_right(lows[:last], probability) - 1
    return str(scale["words"][index])


@cache
def words() -> dict[str, Any]:
    """The tables of ``template.toml``."""
    return tomllib.loads((files(__package__) / "template.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class _Speaker:
    """One statement in the making: each method gives the sentences of one part, or none."""

    facts: Facts
    audience: Audience
    table: dict[str, Any]

    def call(self) -> list[str]:
        """What the model says, and its calibrated probability in words."""
        p = self.facts.prediction
        key = "no_call" if p.threshold is None else "called" if p.positive else "not_called"
        numbers = self.numbers(p.probability, p.threshold)
        first = self.fill(key, finding=self.name(p.finding), **numbers)
        if not p.calibrated:
            return [first, self.fill("uncalibrated", **numbers)]
        word = likelihood(p.probability)
        return [first, self.fill("likelihood", prevalence=self.number(p.prevalence), likelihood=word, **numbers)]

    def place(self) -> list[str]:
        """Where the evidence lies, as far as the map supports it."""
        found = self.facts.place
        key = (found.why or "place") + ("_astray" if found.astray else "")
        shares = {"share": percent(found.share), "inside": percent(found.inside), "outside": percent(1 - found.inside)}
        return [self.fill(key, where="" if found.why else where(found, self.audience), **shares)]

    def sign(self) -> list[str]:
        """The evidence label that a called finding rests on."""
        p, sign = self.facts.prediction, self.facts.sign
        if not self.facts.signs or not (p.positive and p.threshold is not None):
            return []
        if sign is None:
            return [self.fill("no_sign", finding=self.name(p.finding))]
        key = "sign" if math.isnan(sign.together) else "sign_together" if sign.together >= TOGETHER else "sign_apart"
        return [
            self.fill(
                key,
                sign=self.name(sign.finding),
                finding=self.name(p.finding),
                probability=self.number(sign.probability),
                together=f"{sign.together:.2f}",
            )
        ]

    def patterns(self) -> list[str]:
        """The patterns that carry the prediction."""
        found = self.facts.carried
        if found is None:
            return []
        if not found.names or math.isnan(found.share):
            return [self.fill("no_patterns")]
        size = "1 pattern" if found.size == 1 else f"{found.size} patterns"
        return [
            self.fill(
                "patterns",
                share=percent(found.share),
                names=_listed(found.names),
                without=self.number(found.without),
                size=size,
            )
        ]

    def change(self) -> list[str]:
        """What would change the answer."""
        found = self.facts.changed
        if found is None:
            return []
        if abs(found.after - found.before) < HARDLY:
            return [self.fill("still")]
        changed = (
            self.fill("changed_spread")
            if found.place.why
            else self.fill("changed", share=percent(found.place.share), where=where(found.place, self.audience))
        )
        key = "falls" if found.after < found.before else "rises"
        return [self.fill(key, before=self.number(found.before), after=self.number(found.after), changed=changed)]

    def notes(self) -> list[str]:
        """What a reader ought to hold against the statement."""
        facts, table = self.facts, self.table["notes"]
        p, carried, changed = facts.prediction, facts.carried, facts.changed
        word = likelihood(p.probability)
        held = {
            "low_call": p.threshold is not None and p.positive and p.calibrated and word.endswith("unlikely"),
            "no_point": p.threshold is None,
            "alike": facts.alike is not None,
            "unnamed": carried is not None and carried.little,
            "unfaithful": changed is not None and not changed.faithful,
            "view": facts.view is None and facts.place.side in OTHER,
        }
        control, correlation = facts.alike or ("", 0.0)
        filled = {"likelihood": word, "control": control, "correlation": f"{correlation:.2f}"}
        return [table[name].format(**filled) for name, holds in held.items() if holds]

    def name(self, finding: str) -> str:
        """As this reader knows it, for the middle of a sentence."""
        return name_of(finding, self.audience)

    def numbers(self, probability: float, threshold: float | None) -> dict[str, str]:
        """A probability and its operating point; to a clinician, two that differ never look equal."""
        told = {"probability": self.number(probability), "threshold": self.number(threshold)}
        if threshold is None or self.audience == "lay" or told["probability"] != told["threshold"]:
            return told
        return dict(zip(told, (f"{n} %" for n in apart(100 * probability, 100 * threshold, 1)), strict=True))

    def number(self, probability: float | None) -> str:
        """A probability as this reader is told it: per cent, or so many in 100."""
        if probability is None:
            return ""
        return percent(probability) if self.audience == "clinician" else in_hundred(probability)

    def fill(self, key: str, **values: str) -> str:
        """One sentence of the table."""
        return str(self.table[key].format(**values))


def where(found: Place, audience: Audience) -> str:
    """A place that is named, for the middle of a sentence: "in the right lower zone"."""
    table, side, zones = words()[audience]["where"], found.side, found.zones
    kind = "side" if side in OTHER else side
    named = zones_named(zones, audience, each=side == "both") if zones else ""
    key = "_".join(part for part in (kind, "zone" if zones else "") if part)
    return str(table[key].format(side=side, other=OTHER.get(side, ""), zones=named))


def zones_named(zones: Sequence[Zone], audience: Audience, *, each: bool = False) -> str:
    """One or two zones: "upper and middle zones"; ``each``: of both sides."""
    table = words()[audience]["where"]
    several = "two" if len(zones) == 2 else "each" if each else "one"
    return str(table[several].format(**dict(zip(("first", "second"), zones, strict=False))))


def name_of(finding: str, audience: Audience) -> str:
    """A finding as a reader knows it, for the middle of a sentence."""
    if audience == "lay":
        return str(words()["lay"]["names"].get(finding, finding.replace("_", " ")))
    name = display_name(finding)
    return name if name.isupper() else name[:1].lower() + name[1:]


def percent(share: float) -> str:
    """``18 %``; one digit more near 0 and 1."""
    text = f"{100 * share:.0f}" if 0.1 <= share <= 0.9 else f"{100 * share:.1f}".removesuffix(".0")
    return f"{text} %"


def in_hundred(probability: float) -> str:
    """``about 18``: so many of a hundred people."""
    count = round(100 * probability)
    if not 0 < count < 100:
        return "fewer than 1" if count == 0 else "more than 99"
    return f"about {count}"


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
