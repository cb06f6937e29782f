"""The activation store: exact, resumable, and a damaged shard is named and left out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from whyray.contracts import Classifier
from whyray.datasets._resolve import load_dataset
from whyray.errors import DataError, FingerprintError, SettingError, WeightsError
from whyray.models._resolve import load_model
from whyray.patterns.activations import ActivationStore, Layout, Part, write_activations
from whyray.patterns.site import read_tokens, site_of
from whyray.types import Case, Radiograph

SPEC = "phantom:train=7,val=3"
LAYOUT = Layout(shard=4, batch=2)


def parts(spec: str = SPEC) -> list[Part]:
    data = load_dataset(spec)
    return [Part(f"{spec}#{split}", data.cases(split)) for split in ("train", "val")]


@pytest.fixture(scope="module")
def mini() -> Classifier:
    return load_model("mini")


@pytest.fixture(scope="module")
def store(mini: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_activations(mini, parts(), tmp_path_factory.mktemp("store"), layout=LAYOUT)


@pytest.fixture
def copied(store: Path, tmp_path: Path) -> Path:
    for path in store.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_tokens_are_the_classifier_s_in_the_order_of_the_pictures(mini: Classifier, store: Path) -> None:
    held = ActivationStore(store)
    cases = [case for part in parts() for case in part.cases]
    assert [image.case for image in held.images] == [case.id for case in cases]
    assert held.images[0].labels == {k: v for k, v in cases[0].labels.items() if v == v}
    chosen = [8, 0, 5]  # out of order, and across shards
    x = np.stack([mini.prepare(cases[i].radiograph()).pixels for i in chosen])
    wanted, _, logits = read_tokens(mini, site_of(mini), torch.from_numpy(x))
    np.testing.assert_allclose(held.tokens(chosen), wanted, atol=2e-3 * np.abs(wanted).max())  # float16
    np.testing.assert_allclose(held.logits(chosen), logits, atol=5e-3)
    np.testing.assert_array_equal(held.outputs(chosen), held.tokens(chosen))
    np.testing.assert_array_equal(held.where("val"), [7, 8, 9])


def test_a_stopped_run_goes_on_and_equals_one_that_was_not(mini: Classifier, store: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(done: int, _total: int, _facts: str) -> None:
        if done >= 4:
            raise Killed

    with pytest.raises(Killed):
        write_activations(mini, parts(), tmp_path, layout=LAYOUT, report=kill)
    first = (tmp_path / "shard-00000.safetensors").stat().st_mtime_ns
    write_activations(mini, parts(), tmp_path, layout=LAYOUT)
    assert (tmp_path / "shard-00000.safetensors").stat().st_mtime_ns == first
    for path in store.glob("*"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_damaged_shard_is_named_and_left_out_and_written_again(mini: Classifier, copied: Path) -> None:
    whole = ActivationStore(copied)
    path = copied / "shard-00001.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    held = ActivationStore(copied)
    assert held.missing == 4 and len(held) == 6
    assert held.troubles == ("shard-00001 is damaged or absent: 4 pictures are left out",)
    np.testing.assert_array_equal(held.tokens([4]), whole.tokens([8]))
    write_activations(mini, parts(), copied, layout=LAYOUT)
    assert ActivationStore(copied).missing == 0


def test_a_store_of_other_pictures_or_another_classifier_is_refused(mini: Classifier, copied: Path) -> None:
    with pytest.raises(SettingError, match="other activations"):
        write_activations(mini, parts("phantom:train=6,val=3"), copied, layout=LAYOUT)
    held = ActivationStore(copied)
    held.require(mini)
    held.fingerprint = "0" * 64
    with pytest.raises(FingerprintError, match="write them again"):
        held.require(mini)


@pytest.mark.parametrize("changed", ["picture", "label"])
def test_what_has_changed_behind_the_same_names_is_never_mixed_in(
    mini: Classifier, tmp_path: Path, changed: str
) -> None:
    def part(seed: int, label: float) -> list[Part]:
        def read(i: int) -> Radiograph:
            return Radiograph(np.random.default_rng([seed, i]).random((64, 64)).astype(np.float32))

        cases = [Case(str(i), partial(read, i), {"edema": label}, split="train") for i in range(4)]
        return [Part("folder:$X#train", cases)]

    layout = Layout(shard=2)
    write_activations(mini, part(1, 0), tmp_path, layout=layout)
    (tmp_path / "shard-00001.json").unlink()
    with pytest.raises(SettingError, match="pictures or labels that have changed"):
        write_activations(mini, part(2, 0) if changed == "picture" else part(1, 1), tmp_path, layout=layout)
    write_activations(mini, part(1, 0), tmp_path, layout=layout)
    assert ActivationStore(tmp_path).missing == 0


def test_the_content_of_some_pictures_is_that_of_their_numbers(store: Path, copied: Path) -> None:
    whole = ActivationStore(store)
    assert whole.content([8, 0]) == ActivationStore(copied).content([8, 0])
    assert len({whole.content(c) for c in ([8, 0], [0, 8], [8], [7, 0], [])}) == 5
    (copied / "shard-00001.json").unlink()
    assert ActivationStore(copied).content([0, 4]) == whole.content([0, 8]), "whatever else is missing"


def test_no_pictures_doubles_and_no_store(mini: Classifier, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        write_activations(mini, [], tmp_path)
    with pytest.raises(DataError, match="twice"):
        write_activations(mini, [parts()[0], parts()[0]], tmp_path)
    with pytest.raises(WeightsError, match="whyray activations"):
        ActivationStore(tmp_path)


def test_numbers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    class Loud(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = torch.nn.Conv2d(1, 2, 32, stride=32)
            self.classifier = torch.nn.Linear(2, 1)
            torch.nn.init.constant_(self.features.weight, 1e4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.classifier(self.features(x).mean((2, 3)))

    import whyray

    loud = whyray.wrap(Loud(), findings=["edema"], size=64, name="loud", layer="features")
    with pytest.raises(SettingError, match="float32"):
        write_activations(loud, parts()[:1], tmp_path / "half")
    write_activations(loud, parts()[:1], tmp_path / "full", layout=Layout(numbers="float32"))
    assert ActivationStore(tmp_path / "full").tokens([0]).max() > 65504


def test_a_store_of_another_layer_of_the_same_shape_is_refused(tmp_path: Path) -> None:
    """The layer is no part of the fingerprint, and both are linear in the logits: the read-out tells them apart."""
    import whyray

    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 32, stride=32), torch.nn.Conv2d(2, 2, 1))
    module = torch.nn.Sequential(body, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(2, 1)).eval()
    first, second = (whyray.wrap(module, findings=["edema"], size=64, layer=f"0.{i}") for i in (0, 1))
    assert first.fingerprint == second.fingerprint
    write_activations(first, parts()[:1], tmp_path)
    write_activations(first, parts()[:1], tmp_path)
    with pytest.raises(SettingError, match=r"holds other activations \(of another classifier, layer"):
        write_activations(second, parts()[:1], tmp_path)
