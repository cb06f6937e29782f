"""torchxrayvision's published classifiers and autoencoder on whyray's own networks; fetched only when asked."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cards import Card, Operation, Preparation
from ..errors import UnknownName, WeightsError
from ..findings import finding

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..networks.autoencoder import ResNetAE
    from ._torch import TorchClassifier

ARCHITECTURES: dict[str, dict[str, object]] = {
    "densenet": {
        "network": "densenet",
        "channels": 1,
        "growth": 32,
        "blocks": [6, 12, 24, 16],
        "stem": 64,
        "bottleneck": 4,
    },
    "resnet": {"network": "resnet", "channels": 1, "blocks": [3, 4, 6, 3], "stem": 64},
}
OUTPUTS = 18


@dataclass(frozen=True)
class Entry:
    """One weight set: where it is, what it is, what it says. ``labels`` has "" for outputs that were never trained."""

    name: str
    url: str
    network: str
    licence: str
    paper: str
    training: str
    size: int = 224
    labels: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    limits: tuple[str, ...] = ()
    sha256: str | None = None

    @property
    def card(self) -> Card:
        """Its model card; thresholds are on the plain sigmoid, and nothing is calibrated."""
        pairs = zip(self.labels, self.thresholds, strict=True)
        return Card(
            name=f"xrv:{self.name}",
            licence=self.licence,
            source=self.url,
            training=self.training,
            paper=self.paper,
            preparation=Preparation(size=(self.size, self.size), low=-1024.0, high=1024.0),
            operations={finding(n): Operation(threshold=t) for n, t in pairs if n and not math.isnan(t)},
            limits=("Probabilities are not calibrated; each finding has its own operating point.", *self.limits),
        )


@dataclass(frozen=True)
class _Table:
    entries: Mapping[str, Entry] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


def load(argument: str = "densenet121-res224-all") -> TorchClassifier:
    """A fetched classifier, by its name or upstream's short one. Never downloads; WeightsError where it is absent."""
    from ._fetch import fetched
    from ._store import load_bundle

    known = entry(argument)
    if known.network not in ARCHITECTURES:
        raise UnknownName("classifier of xrv", argument, [n for n, e in _table().entries.items() if e.labels])
    return load_bundle(fetched(known.name, "model.json"))


def load_autoencoder(name: str = "101-elastic") -> ResNetAE:
    """The fetched autoencoder, in evaluation mode, frozen. Input ``[b, 1, 224, 224]`` in -1024..1024."""
    import torch

    from ..io.weights import load_into, load_weights
    from ..networks.autoencoder import ResNetAE
    from ._fetch import fetched

    known = entry(name)
    with torch.device("meta"):
        module = ResNetAE()
    load_into(module, load_weights(fetched(known.name, "model.safetensors")), known.name)
    return module.eval().requires_grad_(False)


def entry(name: str) -> Entry:
    """Facts of one weight set. Raises UnknownName with the nearest names."""
    table = _table()
    name = table.aliases.get(name, name)
    if name not in table.entries:
        raise UnknownName("xrv weights", name, (*table.entries, *table.aliases))
    return table.entries[name]


def names() -> tuple[str, ...]:
    """Every weight set."""
    return tuple(_table().entries)


def install(known: Entry, tensors: Mapping[str, Tensor], folder: Path) -> Path:
    """Upstream's state dict as a bundle of ours in ``folder`` (the autoencoder: its weights alone).

    Names, shapes and types must be exactly those of our network. Raises WeightsError else.
    """
    import torch

    from ..io.weights import load_into, save_weights
    from ..networks.autoencoder import ResNetAE
    from ._networks import build
    from ._store import Config, save_bundle

    tensors = {k: v for k, v in tensors.items() if k != "op_threshs"}
    if known.network == "autoencoder":
        with torch.device("meta"):
            autoencoder = ResNetAE()
        tensors = with_counts(autoencoder, tensors)
        load_into(autoencoder, tensors, known.name)
        save_weights(folder / "model.safetensors", tensors)
        return folder / "model.safetensors"
    if len(known.labels) != OUTPUTS:
        raise WeightsError(f"the facts about {known.name} do not name {OUTPUTS} outputs; restore models/xrv.toml")
    module = build(ARCHITECTURES[known.network], OUTPUTS)
    load_into(module, with_counts(module, tensors), known.name)
    save_bundle(folder / "model.json", module, Config(ARCHITECTURES[known.network], known.labels), known.card)
    return folder / "model.json"


def with_counts(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with a zero for each batch counter that files of old torch versions lack; it plays no part here."""
    import torch

    wanted = [k for k in module.state_dict() if k.endswith(".num_batches_tracked")]
    return {**{k: torch.zeros((), dtype=torch.int64) for k in wanted}, **tensors}


@cache
def _table() -> _Table:
    data = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    defaults: dict[str, Any] = data["defaults"]
    base = defaults.pop("url")
    entries = {}
    for name, facts in data["models"].items():
        merged: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in {**defaults, **facts}.items()}
        entries[name] = Entry(name=name, url=base + merged.pop("file"), **merged)
    return _Table(entries, data["aliases"])
