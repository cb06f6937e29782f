"""Modules of a researcher's own: layers found and shown, values unchanged, the module left as it was."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from whyray import api
from whyray._torchvision import ensure_torchvision
from whyray.contracts import Context
from whyray.engine.perturb import Perturbed
from whyray.engine.superpixels import grid
from whyray.errors import SettingError, UnknownName, UnmetNeed, WeightsError
from whyray.io.weights import save_weights
from whyray.models import wrapped
from whyray.models._layers import layers, probe_input
from whyray.models._resolve import load_model
from whyray.models._taps import parts, tensors
from whyray.models._torch import TorchClassifier
from whyray.models.wrapped import wrap
from whyray.registry import explainer
from whyray.testing import check_classifier, check_explainer
from whyray.types import Radiograph

FINDINGS = ["Nodule", "Mass", "Edema"]


class HandViT(nn.Module):
    """A transformer with a class token, written the usual way."""

    def __init__(self, norm_first: bool = True) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 24, 16, 16)
        self.cls, self.place = nn.Parameter(torch.randn(1, 1, 24)), nn.Parameter(torch.randn(1, 25, 24))
        layer = nn.TransformerEncoderLayer(24, 4, 48, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(tokens), -1, -1), tokens], 1) + self.place
        return self.head(self.encoder(tokens)[:, 0])


class FunctionalCnn(nn.Module):
    """The torchvision DenseNet's ending: a functional in-place ReLU and functional pooling."""

    def __init__(self) -> None:
        super().__init__()
        last = nn.Conv2d(6, 12, 3), nn.BatchNorm2d(12)
        self.features = nn.Sequential(nn.Conv2d(1, 6, 5, 4), nn.ReLU(inplace=True), *last)
        self.classifier = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = nn.functional.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(nn.functional.adaptive_avg_pool2d(out, (1, 1)), 1))


class Unpooled(nn.Module):
    """A VGG-style ending: no pooling, no cut at the last map."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 5, 4), nn.ReLU(), nn.MaxPool2d(4))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(4 * 25, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class Channelslast(nn.Module):
    """A Swin-style ending: [b, h, w, d], norm, mean over space."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(1, 10, 16, 16), nn.LayerNorm(10), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.stem(x).permute(0, 2, 3, 1)).mean((1, 2)))


def torchvision_densenet() -> nn.Module:
    ensure_torchvision()
    models = pytest.importorskip("torchvision.models")
    return models.DenseNet(growth_rate=8, block_config=(2, 2, 2, 2), num_init_features=16, num_classes=3)


def timm_model(name: str, **settings: object) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        ensure_torchvision()
        return pytest.importorskip("timm").create_model(name, num_classes=3, **settings)

    return make


# maker, input side, layer found, its shape, taps with a closed head
CASES = {
    "torchvision densenet": (torchvision_densenet, 96, "what adaptive_avg_pool2d reads after features", (3, 3), True),
    "timm densenet": (timm_model("densenet121", in_chans=1), 64, "features", (2, 2), True),
    "timm vit": (
        timm_model("vit_tiny_patch16_224", in_chans=1, img_size=96, depth=3),
        96,
        "blocks.2.norm1 (tokens: 1 before a grid of 6 x 6)",
        (6, 6),
        False,
    ),
    "timm registers": (
        timm_model("vit_small_patch14_reg4_dinov2", in_chans=1, img_size=70, depth=2),
        70,
        "blocks.1.norm1 (tokens: 5 before a grid of 5 x 5)",
        (5, 5),
        False,
    ),
    "hand vit": (HandViT, (64, 96), "encoder.layers.2.norm1 (tokens: 1 before a grid of 4 x 6)", (4, 6), False),
    "hand vit, norm last": (
        lambda: HandViT(False),
        (64, 96),
        "encoder.layers.1 (tokens: 1 before a grid of 4 x 6)",
        (4, 6),
        False,
    ),
    "functional cnn": (FunctionalCnn, 64, "what adaptive_avg_pool2d reads after features", (13, 13), True),
    "unpooled cnn": (Unpooled, 84, "features", (5, 5), False),
    "channels last": (Channelslast, 64, "norm", (4, 4), True),
}


def state(module: nn.Module) -> list[object]:
    """Everything that must be as it was."""
    values = [(k, v.numpy().tobytes()) for k, v in module.state_dict().items()]
    flags = [(m.training, *(len(h) for h in (m._forward_hooks, m._forward_pre_hooks))) for m in module.modules()]
    return [values, flags, [(p.requires_grad, p.grad) for p in module.parameters()]]


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest) -> Iterator[tuple[nn.Module, TorchClassifier, Tensor, tuple[object, ...]]]:
    maker, size, *facts = CASES[request.param]
    torch.manual_seed(0)
    module = maker().train()
    before = state(module)
    classifier = wrap(module, findings=FINDINGS, size=size)
    assert state(module) == before
    shape = classifier.card.preparation.channels, *classifier.card.preparation.size
    yield module, classifier, torch.rand(2, *shape, generator=torch.Generator().manual_seed(1)), tuple(facts)
    assert state(module) == before


def plain(module: nn.Module, x: Tensor) -> Tensor:
    """The module's own output in evaluation mode."""
    modes = [(m, m.training) for m in module.modules()]
    try:
        with torch.no_grad():
            return module.eval()(x)
    finally:
        for m, mode in modes:
            m.training = mode


def test_values_are_the_modules_own(case: tuple) -> None:
    module, classifier, x, _ = case
    given, wanted = x.clone(), plain(module, x)
    assert torch.allclose(classifier.logits(x), wanted, atol=1e-5)
    assert torch.allclose(classifier.run(x, tuple(classifier.taps))[0], wanted, atol=1e-5)
    assert torch.equal(x, given) and classifier.findings == ("nodule", "mass", "edema")


def test_the_last_map_is_found_and_shown(case: tuple) -> None:
    _, classifier, x, (layer, shape, cut) = case
    assert classifier.taps["features"] == layer
    assert classifier.run(x, ("features",))[1]["features"].shape[2:] == shape
    assert ("features" in classifier.wiring.heads) == cut


def test_logits_hang_on_the_features_and_nothing_below(case: tuple) -> None:
    _, classifier, x, _ = case
    logits, taps = classifier.run(x, ("features",))
    (gradient,) = torch.autograd.grad(logits.sum(), taps["features"])
    assert gradient.abs().amax(1).gt(0).float().mean() > 0.5
    assert taps["features"].is_leaf and not any(p.grad is not None for p in classifier.module.parameters())
    wanting = x.clone().requires_grad_()
    logits, taps = classifier.run(wanting, ("features",))
    assert all(g is not None for g in torch.autograd.grad(logits.sum(), [wanting, taps["features"]]))


def test_heads_give_the_logits(case: tuple) -> None:
    _, classifier, x, _ = case
    with torch.no_grad():
        logits, taps = classifier.run(x, tuple(classifier.taps))
    for name, value in taps.items():
        if name in classifier.wiring.heads:
            assert torch.allclose(classifier.head(name, value), logits, atol=1e-4)
        else:
            with pytest.raises(UnmetNeed, match="cannot be cut"):
                classifier.head(name, value)


def test_the_module_is_as_it_was_also_when_it_raises(case: tuple) -> None:
    module, classifier, x, _ = case
    before, seed = state(module), torch.get_rng_state()
    classifier.run(x, tuple(classifier.taps))

    def broken(*_given: object) -> None:
        raise KeyboardInterrupt

    handle = list(module.modules())[-1].register_forward_hook(broken)
    with pytest.raises(KeyboardInterrupt):
        classifier.run(x, tuple(classifier.taps))
    handle.remove()
    assert state(module) == before and torch.equal(torch.get_rng_state(), seed)


def test_the_contract_holds(case: tuple) -> None:
    check_classifier(case[1])
    check_explainer(explainer("gradcam"), case[1])


def test_threads_do_not_read_each_others_taps() -> None:
    module = nn.Sequential(Channelslast(), nn.Dropout(0.5)).train()
    classifier = wrap(module, findings=FINDINGS, size=64)
    x = torch.rand(8, 1, 64, 64)

    def read(row: Tensor) -> tuple[Tensor, Tensor]:
        logits, taps = classifier.run(row[None], ("features",))
        return logits, taps["features"]

    alone = [torch.cat([v.detach().flatten() for v in read(row)]) for row in x]
    came: dict[int, list[Tensor]] = {}

    def work(i: int) -> None:
        came[i] = [torch.cat([v.detach().flatten() for v in read(x[i])]) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(came) == 8 and all(torch.equal(v, alone[i]) for i in came for v in came[i])
    assert all(m.training for m in module.modules()) and all(p.requires_grad for p in module.parameters())


class Pooled(nn.Module):
    """Two networks in one class, told apart by a word that no tensor shows."""

    def __init__(self, pooling: str) -> None:
        super().__init__()
        self.body, self.linear, self.pooling, self._seen = nn.Conv2d(1, 4, 8, 8), nn.Linear(4, 3), pooling, 0

    def forward(self, x: Tensor) -> Tensor:
        self._seen += len(x)
        maps = self.body(x)
        logits: Tensor = self.linear(maps.mean((2, 3)) if self.pooling == "mean" else maps.amax((2, 3)))
        return logits


def test_fingerprint_follows_a_setting_that_no_tensor_shows() -> None:
    mean, largest = Pooled("mean"), Pooled("max")
    largest.load_state_dict(mean.state_dict())
    first = wrap(mean, findings=FINDINGS, size=64)
    assert first.fingerprint != wrap(largest, findings=FINDINGS, size=64).fingerprint
    first.logits(torch.zeros(1, 1, 64, 64))
    assert wrap(mean, findings=FINDINGS, size=64).fingerprint == first.fingerprint


def test_fingerprint_follows_weights_preparation_and_order() -> None:
    torch.manual_seed(0)
    module = FunctionalCnn()
    first = wrap(module, findings=FINDINGS, size=64)
    before = first.fingerprint
    assert wrap(module, findings=FINDINGS, size=64, layer="features.0").fingerprint == before
    assert wrap(module, findings=FINDINGS, size=64, mean=0.1).fingerprint != before
    assert wrap(module, findings=FINDINGS[::-1], size=64).fingerprint != before
    with torch.no_grad():
        module.classifier.bias[0] += 1
    assert first.fingerprint != before


def optimised(module: FunctionalCnn) -> None:
    optimiser = torch.optim.SGD(module.parameters(), lr=1.0)
    module(torch.rand(1, 1, 64, 64)).sum().backward()
    optimiser.step()


def in_place(module: FunctionalCnn) -> None:
    with torch.no_grad():
        module.classifier.weight.mul_(3)


def loaded(module: FunctionalCnn) -> None:
    module.load_state_dict({name: t * 3 for name, t in module.state_dict().items()})


def replaced(module: FunctionalCnn) -> None:
    module.classifier.weight = nn.Parameter(module.classifier.weight.detach() * 3)


def through_data(module: FunctionalCnn) -> None:
    module.classifier.weight.data.mul_(3)


@pytest.mark.parametrize(
    ("change", "seen"), [(optimised, True), (in_place, True), (loaded, True), (replaced, True), (through_data, False)]
)
def test_weights_that_change_are_explained_as_they_are_or_after_wrapping_again(
    change: Callable[[FunctionalCnn], None], seen: bool
) -> None:
    """With one context, whose paid passes are of the weights before."""
    torch.manual_seed(0)
    module = FunctionalCnn()
    frame, context = Radiograph(np.random.default_rng(0).random((64, 64)).astype(np.float32)), Context()
    keep = np.array([[True, False], [False, True]])

    def logits(of: TorchClassifier, shared: Context) -> np.ndarray:
        return Perturbed(of, of.prepare(frame), grid((64, 64), (32, 64)), "black", shared).logits(keep)

    first = wrap(module, findings=FINDINGS, size=64)
    logits(first, context)
    change(module)
    again = wrap(module, findings=FINDINGS, size=64)
    wanted = logits(again, Context())
    assert np.allclose(logits(first, context), wanted) == seen
    np.testing.assert_allclose(logits(again, context), wanted)


def test_a_named_layer_is_taken_and_shown() -> None:
    module = FunctionalCnn()
    classifier = wrap(module, findings=["Nodule", "", "Edema"], size=64, layer="features.0")
    assert classifier.taps["features"] == "features.0" and "features.0" in classifier.backend
    logits, taps = classifier.run(torch.rand(1, 1, 64, 64), ("features",))
    assert taps["features"].shape == (1, 6, 15, 15) and logits.shape == (1, 2)
    with pytest.raises(UnknownName, match=r"features\.3"):
        wrap(module, findings=FINDINGS, size=64, layer="features.33")
    with pytest.raises(SettingError, match="no spatial map"):
        wrap(module, findings=FINDINGS, size=64, layer="classifier")
    names = [found.name for found in layers(module, probe_input((1, 64, 64), torch.zeros(())))]
    assert names == ["features.0", "features.1", "features.2", "features.3", "features"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"findings": ["Nodule"]}, "name one a logit"),
        ({"findings": "Nodule"}, "one text"),
        ({"findings": ["", "", ""]}, "at least one"),
        ({"findings": ["Mass", "mass", "Edema"]}, "none twice"),
        ({"size": 4}, "sides of 16"),
        ({"std": 0}, "std be above 0"),
        ({"channels": 3}, "does not take"),
        ({"mean": [0.1, 0.2]}, "one a channel"),
        ({"low": 1.0}, "must differ"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, object], says: str) -> None:
    settings: dict[str, object] = {"findings": FINDINGS, "size": 64}
    with pytest.raises(SettingError, match=says):
        wrap(FunctionalCnn(), **{**settings, **change})  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="did you mean"):
        wrap(FunctionalCnn(), findings=["Nodul", "Mass", "Edema"])


def test_factory_with_weights_and_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_net.py").write_text(
        "from torch import nn\n"
        "def make():\n    return nn.Sequential(nn.Conv2d(1, 4, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),"
        " nn.Linear(4, 2))\n"
    )
    (tmp_path / "card.json").write_text(json.dumps({"findings": ["Mass", "Edema"], "preparation": {"size": [64, 64]}}))
    monkeypatch.chdir(tmp_path)
    module = nn.Sequential(nn.Conv2d(1, 4, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    save_weights("w.safetensors", module.state_dict())
    classifier = load_model("my_own_net:make", weights="w.safetensors", card="card.json", layer="0")
    frame = classifier.prepare(Radiograph(np.random.default_rng(0).random((80, 70)).astype(np.float32)))
    x = torch.from_numpy(frame.pixels)[None]
    assert torch.equal(classifier.logits(x), module(x)) and classifier.taps["features"] == "0"
    with pytest.raises(SettingError, match="--card"):
        load_model("my_own_net:make")
    with pytest.raises(UnknownName, match="did you mean make"):
        load_model("my_own_net:made", card="card.json")
    save_weights("bad.safetensors", {"x": torch.zeros(1)})
    with pytest.raises(WeightsError, match="does not fit"):
        load_model("my_own_net:make", weights="bad.safetensors", card="card.json")


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("raises", "\nraise RuntimeError('bad day')", "failed in line 2 of broken_raises with RuntimeError: bad day"),
        ("syntax", "def make(:\n", "failed in line 1 of broken_syntax with SyntaxError: invalid syntax"),
        ("imports", "import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        (
            "factory",
            "def make():\n    raise ValueError('my own\\nbug')",
            "line 2 of .*ValueError: my own.bug; correct it",
        ),
        ("returns", "def make():\n    return 5", "returns a int"),
        ("number", "make = 5", "TypeError: 'int' object is not callable"),
    ],
)
def test_a_factory_that_fails_says_why(
    name: str, code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"broken_{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=says):
        load_model(f"broken_{name}:make", card="card.json")


def test_a_module_that_is_not_there_and_a_file_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match="no module 'not_here' here; run where"):
        load_model("not_here:make")
    with pytest.raises(SettingError, match=r"write my_net:make in the folder of src/my_net\.py"):
        load_model("src/my_net.py:make")


def test_a_torchvision_that_does_not_load_is_mended_and_the_factory_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vision_net.py").write_text(
        "from torch import nn\nfrom whyray.models import wrapped\n"
        "if not wrapped.MENDED:\n    raise RuntimeError('operator torchvision::nms does not exist')\n"
        "def make():\n    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))\n"
    )
    (tmp_path / "card.json").write_text(json.dumps({"findings": ["Mass"], "preparation": {"size": 32}}))
    mended: list[bool] = []
    monkeypatch.setattr(wrapped, "MENDED", mended, raising=False)
    monkeypatch.setattr(wrapped, "ensure_torchvision", lambda: mended.append(True))
    monkeypatch.chdir(tmp_path)
    assert load_model("vision_net:make", card="card.json").findings == ("mass",) and mended == [True]


def test_timm_by_name_with_a_checkpoint(tmp_path: Path) -> None:
    module = timm_model("resnet18", in_chans=3)()
    save_weights(tmp_path / "w.safetensors", module.state_dict())
    (tmp_path / "card.json").write_text(json.dumps({"findings": FINDINGS, "licence": "mine"}))
    classifier = load_model("timm:resnet18", weights=tmp_path / "w.safetensors", card=tmp_path / "card.json")
    assert classifier.card.preparation.mean == (0.485, 0.456, 0.406) and classifier.card.licence == "mine"
    assert classifier.taps["features"] == "layer4"
    with pytest.raises(UnknownName, match="resnet18"):
        load_model("timm:resnet18s", weights=tmp_path / "w.safetensors", card=tmp_path / "card.json")
    with pytest.raises(SettingError, match="--weights"):
        load_model("timm:resnet18")


def test_unknown_models_and_devices() -> None:
    with pytest.raises(UnknownName, match="mini"):
        load_model("minni")
    with pytest.raises(SettingError, match="takes no"):
        load_model("analytic", weights="w.safetensors")
    with pytest.raises(SettingError, match="device"):
        load_model("analytic", device="toaster")


@pytest.mark.parametrize("kind", ["wrapped", "exported", "timm", "xrv"])
def test_a_kind_of_model_alone_says_what_is_missing(kind: str) -> None:
    with pytest.raises(SettingError, match=f"{kind} alone names no model; give .+:"):
        load_model(kind)


def test_a_file_as_the_model_says_how_to_name_it(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", {"x": torch.zeros(1)})
    torch.save({"x": torch.zeros(1)}, tmp_path / "w.pt")
    for name in ("w.safetensors", "w.pt"):
        with pytest.raises(SettingError, match=f"weights go with their network: .*--weights .*{name}"):
            load_model(tmp_path / name)
    (tmp_path / "net.onnx").write_bytes(b"an ONNX program")
    with pytest.raises(SettingError, match=r"write exported:.*net\.onnx, with its card"):
        load_model(tmp_path / "net.onnx")
    with pytest.raises(UnknownName) as refused:
        load_model("zzzz")
    assert "wrapped" not in str(refused.value)
    assert "package.module:factory" in api.model_names() and "wrapped" not in api.model_names()


def test_what_is_no_module_is_said() -> None:
    with pytest.raises(SettingError, match="state dict"):
        wrap(FunctionalCnn().state_dict(), findings=["edema"], size=32)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"scripted module came.*exported:net\.pt"):
        wrap(torch.jit.ScriptModule(), findings=["edema"], size=32)
    with pytest.raises(SettingError, match=r"outputs of shape \[2\] for 2 pictures; \[2, findings\] is wanted"):
        wrap(nn.Sequential(nn.Flatten(), nn.Linear(1024, 1), nn.Flatten(0)), findings=["edema"], size=32)
    with pytest.raises(UnknownName, match=r'did you mean copd.*whyray.s findings write "", and it is dropped'):
        wrap(FunctionalCnn(), findings=["covid", "mass", "edema"], size=64)
    with pytest.raises(SettingError, match="function came as the model"):
        wrap(lambda x: x, findings=["edema"], size=32)  # type: ignore[arg-type]


def test_the_quick_walk_finds_what_torch_finds() -> None:
    module = FunctionalCnn()
    module.register_module("absent", None)
    module.register_buffer("count", torch.zeros(3), persistent=False)
    assert {id(p) for p in parts(module)} == {id(m) for m in module.modules()}
    assert {id(t) for t in tensors(module)} == {id(t) for t in (*module.parameters(), *module.buffers())}


def test_a_head_puts_features_where_the_module_is_and_in_its_precision() -> None:
    """Explainers measure in float32 on the CPU; a forward pass places its input, and so does the head."""
    torch.manual_seed(0)
    classifier = wrap(FunctionalCnn().double().eval(), findings=FINDINGS, size=64)
    with torch.no_grad():
        logits, seen = classifier.run(torch.rand(2, 1, 64, 64), ("features",))
        assert torch.allclose(classifier.head("features", seen["features"].float()), logits, atol=1e-6)
