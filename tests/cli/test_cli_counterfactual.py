"""``whyray evaluate counterfactual`` as a user meets it: the reason without an autoencoder, a table, JSON alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from outcome import Outcome
from torch import Tensor, nn

from whyray.cards import Preparation
from whyray.models import _autoencoders

WORDS = ("evaluate", "counterfactual", "-m", "analytic", "-d", "phantom:test=16,val=0,train=0#test", "--threads", "1")


class Mirror(nn.Module):
    """The picture is its own latent."""

    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, z: Tensor) -> Tensor:
        return z


def test_without_an_autoencoder_the_reason_and_the_way_out(run: Callable[..., Outcome], tmp_path: Path) -> None:
    code, out, err = run(*WORDS, "-o", tmp_path / "run")
    assert code == 2 and "analytic has no autoencoder: train one" in err and "Traceback" not in err and not out


def test_a_table_then_json_alone(run: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = _autoencoders.Autoencoder("mirror", Mirror(), Preparation(size=(128, 128)))
    monkeypatch.setattr(_autoencoders, "autoencoder_for", lambda *_: mirror)
    words = (
        *WORDS,
        "-x",
        "latent_shift:frames=3",
        "-x",
        "gradient",
        "--map2d",
        "mm",
        "--few",
        "1",
        "-o",
        tmp_path / "run",
    )
    code, out, err = run(*words)
    assert code == 0 and str(tmp_path / "run" / "report.html") in err
    for word in ("removal reached", "latent_shift:frames=3 mm", "centre (control)", "twin radiograph", "noise 0.03"):
        assert word in out, word
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("run/cells/*/*.npz")}
    code, out, err = run(*words, "--json")
    told = json.loads(out)
    assert code == 0 and {"removed", "iou_true_positive:area_matched", "robust_iou"} <= {row["metric"] for row in told}
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("run/cells/*/*.npz")} == before, "nothing is made twice"


def test_an_unknown_2d_map_is_an_error_with_the_nearest_choice(run: Callable[..., Outcome], tmp_path: Path) -> None:
    code, _out, err = run(*WORDS, "--map2d", "maxx", "-o", tmp_path / "run")
    assert code == 2 and "did you mean max?" in err
