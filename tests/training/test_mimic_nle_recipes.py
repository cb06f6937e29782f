"""The three recipes of MIMIC-NLE: the published settings, networks that build, commands that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

from whyray.models._narrators import build
from whyray.training.nle import NlePlan, load_plan

RECIPES = Path(__file__).parents[2] / "recipes"
NETWORKS = ("dpt", "ratchet", "tienet")


def plan_of(network: str) -> NlePlan:
    return load_plan(RECIPES / f"mimic-nle-{network}.toml")


@pytest.mark.parametrize("network", NETWORKS)
def test_the_published_settings(network: str) -> None:
    plan = plan_of(network)
    assert (plan.loop.epochs, plan.loop.batch, plan.loop.keep) == (50, 16, "best")
    assert plan.loop.lr == (5e-5 if network == "ratchet" else 5e-4)
    assert plan.forcing == "labels" and not plan.classifier and len(plan.findings) == 10
    steps = 43_779 // 16 * 50  # pairs of the published training split
    assert plan.loop.warmup * steps == pytest.approx(1000, rel=0.01)
    assert plan.vision["blocks"] == [6, 12, 24, 16]


@pytest.mark.parametrize("network", NETWORKS)
def test_the_network_builds_for_a_densenet_of_224_pixels(network: str) -> None:
    with torch.device("meta"):
        module = build(plan_of(network).architecture, 4096, 1024, (7, 7), 30)
        logits, _ = module(
            module.memory(torch.zeros(1, 1024, 7, 7), torch.zeros(1, 30)), torch.zeros(1, 9, dtype=torch.long)
        )
    assert logits.shape == (1, 9, 4096)


def test_the_sizes_of_dpt_are_those_of_gpt2() -> None:
    with torch.device("meta"):
        decoder = build(plan_of("dpt").architecture, 50_259, 1024, (7, 7), 30).get_submodule("decoder")
    assert sum(p.numel() for n, p in decoder.named_parameters() if n.startswith("h.")) == 85_054_464


@pytest.mark.parametrize("network", NETWORKS)
def test_the_commands_in_their_heads_exist_with_their_options(network: str) -> None:
    from typer.main import get_command

    from whyray.cli.app import app

    head = (RECIPES / f"mimic-nle-{network}.toml").read_text().split("[stage", 1)[0]
    commands = re.findall(r"^#   (whyray .*?)(?: +# .*)?$", head, re.MULTILINE)
    assert len(commands) == 4
    for words in map(shlex.split, commands):
        command = get_command(app)
        rest = words[1:]
        while rest and hasattr(command, "commands") and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        assert not hasattr(command, "commands"), words
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        assert {w for w in rest if w.startswith("-")} <= known, words
