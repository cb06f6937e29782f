"""whyray's own networks by name, and how each is read. A bundle names an architecture; it never names code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from ..networks.densenet import DenseNet
from ..networks.resnet import ResNet
from ..networks.three_states import ThreeStates, live
from ..networks.tower import TowerClassifier
from ._taps import Tap
from ._torch import Wiring

# network -> its whole-number settings, and whether each is a list
SETTINGS: dict[str, dict[str, bool]] = {
    "densenet": {"channels": False, "growth": False, "blocks": True, "stem": False, "bottleneck": False}
    | {"states": False},
    "resnet": {"channels": False, "blocks": True, "stem": False, "expansion": False, "stride": False}
    | {"surround": True},
    "clip_vit": dict.fromkeys(("channels", "size", "patch", "width", "depth", "heads", "projection", "hidden"), False),
}
MOST = 4096
MOST_LAYERS = 256


def build(architecture: Mapping[str, object], outputs: int) -> nn.Module:
    """An empty network (no memory taken: tensors on "meta"). Raises WeightsError for an unknown architecture."""
    settings = dict(architecture)
    network = settings.pop("network", None)
    if network not in SETTINGS:
        raise WeightsError(f"the card names the network {network!r:.40}; known: {', '.join(SETTINGS)}")
    known = SETTINGS[str(network)]
    for key, value in settings.items():
        parts = value if isinstance(value, list | tuple) else [value]
        whole = all(type(p) is int and 0 < p <= MOST for p in parts) and 0 < len(parts) <= 8
        if key not in known or not whole or known[key] != isinstance(value, list | tuple):
            wanted = ", ".join(f"{k} (list)" if many else k for k, many in known.items())
            raise WeightsError(f"the card's architecture has {key[:40]!r}: {value!r:.40}; known: {wanted}")
    if sum(settings.get("blocks", ())) + settings.get("depth", 0) > MOST_LAYERS:  # type: ignore[call-overload]
        raise WeightsError(f"the card's architecture has more than {MOST_LAYERS} layers; give a smaller network")
    with torch.device("meta"):
        return _made(str(network), {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}, outputs)


def _made(network: str, settings: Mapping[str, object], outputs: int) -> nn.Module:
    if settings.get("states", 1) == 3:
        return ThreeStates(_made(network, {k: v for k, v in settings.items() if k != "states"}, 3 * outputs))
    if "states" in settings:
        raise WeightsError(f"the card's architecture has states = {settings['states']}; known: 3, or none")
    makers: dict[str, Callable[..., nn.Module]] = {"densenet": DenseNet, "resnet": ResNet, "clip_vit": TowerClassifier}
    try:
        return makers[network](outputs, **settings)
    except ValueError as error:  # a number that this network cannot be made with
        raise WeightsError(f"the card's architecture is not one of a {network}: {error}") from None


def wiring(module: nn.Module) -> Wiring:
    """Taps and heads of one of whyray's own networks."""
    if isinstance(module, TowerClassifier):
        return _tower_wiring(module)
    if isinstance(module, ThreeStates):
        return _three_states_wiring(module)
    if isinstance(module, DenseNet):
        last, linear = "last_relu", "classifier"
    elif isinstance(module, ResNet):
        last, linear = f"layer{module.stages}", "fc"
    else:
        raise WeightsError(f"{type(module).__name__} is not one of whyray's networks; use whyray.wrap")
    head = module.get_submodule(linear)
    taps = {"features": Tap(last), "embedding": Tap(linear, "input", "flat")}
    return Wiring(taps, {"features": lambda v: head(v.mean((2, 3))), "embedding": head})


def _three_states_wiring(module: ThreeStates) -> Wiring:
    """Those of the network inside; its outputs become one logit a finding."""
    inner = wiring(module.network)
    taps = {name: replace(tap, layer=f"network.{tap.layer}") for name, tap in inner.taps.items()}
    heads = {name: partial(_read_live, head) for name, head in inner.heads.items()}
    return Wiring(taps, heads)


def _read_live(head: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    return live(head(value))


def _tower_wiring(module: TowerClassifier) -> Wiring:
    """ "features" is the last token grid that the class token still reads; the logits need more than that grid, so that
    the network can be cut at "embedding" (what fc1 reads) and "hidden" (what fc2 reads) only."""
    trunk, head = module.visual.trunk, module.head
    last = f"visual.trunk.blocks.{len(trunk.blocks) - 1}.norm1"
    taps = {
        "features": Tap(last, "output", "tokens", 1, (trunk.grid, trunk.grid)),
        "embedding": Tap("head.fc1", "input", "flat"),
        "hidden": Tap("head.fc2", "input", "flat"),
    }
    return Wiring(taps, {"embedding": lambda v: head.fc2(head.relu(head.fc1(v))), "hidden": head.fc2})


def with_unfamiliar(wired: Wiring, extras: Mapping[str, Tensor]) -> Wiring:
    """The wiring with ``unfamiliar.mean [d]`` and ``unfamiliar.whitening [d, k]``, where both are there."""
    pair = extras.get("unfamiliar.mean"), extras.get("unfamiliar.whitening")
    if pair[0] is None or pair[1] is None:
        return wired
    if pair[0].ndim != 1 or pair[1].ndim != 2 or pair[1].shape[0] != pair[0].shape[0]:
        raise WeightsError("unfamiliar.mean and unfamiliar.whitening do not fit each other; fit them again")
    return replace(wired, unfamiliar=(pair[0], pair[1]))
