"""What the folder of a run says of it: by which plan, on which pictures, and how long it took over all its legs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError, SettingError, WeightsError
from ..io.whole import write_whole
from ..patterns.activations import ActivationStore
from ..patterns.members import load_members
from ._transcoder_group import finished_member
from ._transcoder_plan import TranscodersPlan

RUN, SECONDS = "run.json", "seconds.txt"


def write_run(folder: Path, plan: TranscodersPlan, store: ActivationStore) -> None:
    """Say what is begun here."""
    facts = {"key": _key(plan, store), "plan": plan.settings, "left_out": _lost(store)}
    write_whole(folder / RUN, (json.dumps(facts, indent=1) + "\n").encode())


def held_run(folder: Path, plan: TranscodersPlan, store: ActivationStore) -> Mapping[str, Any] | None:
    """What was begun here, None where nothing was. Raises SettingError where it is another run than this."""
    if not (folder / RUN).exists():
        return None
    held: Mapping[str, Any] = json.loads((folder / RUN).read_text())
    if held["key"] != _key(plan, store):
        raise SettingError(f"{folder} holds a run with other settings or data; give another folder, or delete this one")
    return held


def require_shards(folder: Path, held: Mapping[str, Any], store: ActivationStore) -> None:
    """Raises DataError where the run began on other shards of the store than those that are whole now."""
    before, now = held.get("left_out", []), _lost(store)
    if gone := [name for name in now if name not in before]:
        raise DataError(
            f"{folder} was begun with all of {', '.join(gone)} in {store.folder}, damaged or absent now; "
            "run `whyray activations` again as it was for this store, which makes them anew, and then this run goes on"
        )
    if back := [name for name in before if name not in now]:
        raise DataError(
            f"{folder} was begun without {', '.join(back)} of {store.folder}, whole now; "
            "give another folder to learn from these pictures too"
        )


def is_finished(folder: Path, plan: TranscodersPlan) -> bool:
    """Whether the folder holds the ensemble of this plan, every member as it was declared."""
    try:
        declared = [m["sha256"] for m in load_members(folder).facts["members"]]
    except WeightsError:
        return False
    found = [finished_member(folder, number, plan) for number in range(plan.members)]
    return declared == [record and record["sha256"] for record in found]


class Spent:
    """Seconds that a run has taken, over all its legs; of a leg that was killed, up to the last ``keep``."""

    def __init__(self, folder: Path) -> None:
        self.path, self.started = folder / SECONDS, time.monotonic()
        try:
            self.before = float(self.path.read_text())
        except (OSError, ValueError):
            self.before = 0.0

    @property
    def seconds(self) -> float:
        """So far."""
        return self.before + time.monotonic() - self.started

    def keep(self) -> None:
        """Write it down for the next leg."""
        self.path.write_text(f"{self.seconds:.1f}\n")


def _key(plan: TranscodersPlan, store: ActivationStore) -> str:
    """What decides the weights, as far as no shard is damaged."""
    facts = store.facts
    about = [plan.settings, facts["fingerprint"], store.site.facts, facts["cases"], facts["images"]]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _lost(store: ActivationStore) -> list[str]:
    """Names of the shards that are left out."""
    return [trouble.split()[0] for trouble in store.troubles]
