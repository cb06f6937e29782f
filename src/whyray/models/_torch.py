"""The one Classifier around a torch module: ours, torchxrayvision's, timm's, or the one a researcher has in memory."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..cards import Card
from ..contracts import Capability, Classifier
from ..errors import InputError, UnknownName, UnmetNeed
from ..types import Frame, Radiograph
from ._familiar import distance
from ._prepare import prepare
from ._taps import Tap, output_tensor, quiet, reading, tensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Head = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Wiring:
    """How a module is read.

    taps      name -> where ("features", "embedding", ...).
    heads     tap name -> function from the tap's value to the module's output, where it can be cut there.
    columns   output columns that are findings, in order; None = all.
    unfamiliar  (mean ``[d]``, whitening ``[d, k]``) of the embedding on training data, or None.
    chosen    True where the user named the layer of "features".
    warnings  what was odd when the module was tried.
    """

    taps: Mapping[str, Tap] = field(default_factory=dict)
    heads: Mapping[str, Head] = field(default_factory=dict)
    columns: tuple[int, ...] | None = None
    unfamiliar: tuple[Tensor, Tensor] | None = None
    chosen: bool = False
    warnings: tuple[str, ...] = ()


class TorchClassifier(Classifier):
    """A torch module behind the contract. The module stays where it is and as it is; hooks live for one pass only."""

    def __init__(
        self,
        module: nn.Module,
        findings: Sequence[str],
        card: Card,
        *,
        architecture: str = "",
        wiring: Wiring = Wiring(),
    ) -> None:
        self._module, self.findings, self.card = module, tuple(findings), card
        self.name, self.architecture, self.wiring = card.name, architecture, wiring
        self._hashed: tuple[object, str] = (None, "")

    @property
    def module(self) -> nn.Module:
        """The network itself."""
        return self._module

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        """Gradients and the module always; features where a spatial layer is known."""
        return frozenset({"gradients", "module"} | ({"features"} if "features" in self.wiring.taps else set()))  # type: ignore[arg-type]

    @property
    def taps(self) -> Mapping[str, str]:  # type: ignore[override]
        """tap -> the layer it reads."""
        return {name: tap.label for name, tap in self.wiring.taps.items()}

    @property
    def warnings(self) -> tuple[str, ...]:  # type: ignore[override]
        """What was odd when the module was tried."""
        return self.wiring.warnings

    @property
    def backend(self) -> str:  # type: ignore[override]
        """Engine, precision and device, and the layer of "features" where the user named it."""
        first = self._first()
        layer = f"/features={self.wiring.taps['features'].layer}" if self.wiring.chosen else ""
        return f"torch/{str(first.dtype).removeprefix('torch.')}/{first.device.type}{layer}"

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """sha256 of architecture, weights, preparation and finding order; hashed again when a tensor has changed.

        A change is seen by torch's own count of writes: ``load_state_dict``, an optimiser's step, ``with
        torch.no_grad(): parameter.mul_(3)``. A write through ``parameter.data``, numpy or a shared buffer is not
        counted, and what was kept of the old weights would be taken for the new ones': wrap the module again after one.
        """
        key = [(t.data_ptr(), t._version, t.device) for t in tensors(self._module)]
        if self._hashed[0] != key:
            about = {
                "architecture": self.architecture or described(self._module),
                "findings": self.findings,
                "columns": self.wiring.columns,
                "preparation": asdict(self.card.preparation),
            }
            self._hashed = key, fingerprint_of(about, self._module.state_dict())
        return self._hashed[1]

    def with_layer(self, layer: str) -> TorchClassifier:
        """The same module, with the output of the named layer as "features"; raises UnknownName with the choices."""
        from ._layers import probe_input, wire

        preparation = self.card.preparation
        found = wire(self._module, probe_input((preparation.channels, *preparation.size), self._first()), layer)
        wiring = replace(self.wiring, taps=found.taps, heads=found.heads, chosen=True)
        return TorchClassifier(self._module, self.findings, self.card, architecture=self.architecture, wiring=wiring)

    def prepare(self, radiograph: Radiograph) -> Frame:
        """The model input for one radiograph, as the card's preparation says."""
        return prepare(radiograph, self.card.preparation)

    def logits(self, x: Tensor) -> Tensor:
        """``[b, c, h, w]`` -> ``[b, f]``."""
        x = self._placed(x)
        with quiet(self._module):
            return self._findings(self._module(x))

    def run(self, x: Tensor, taps: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and the asked taps of one forward pass; see ``Classifier.run``."""
        asked = {name: self._tap(name) for name in taps}
        x = self._placed(x)
        with quiet(self._module), reading(self._module, asked) as seen:
            logits = self._findings(self._module(x))
        return logits, dict(seen)

    def head(self, tap: str, value: Tensor) -> Tensor:
        """The logits from one tap's value, without running what lies below."""
        self._tap(tap)
        if tap not in self.wiring.heads:
            raise UnmetNeed(f"{self.name} cannot be cut at {tap!r}; use an explainer that needs no head")
        with quiet(self._module):
            return self._findings(self.wiring.heads[tap](self._beside(value)))

    def unfamiliarity(self, x: Tensor) -> NDArray[np.float64] | None:
        """Distance ``[b]`` of the embedding from the training data; about 1 for a typical training picture."""
        if self.wiring.unfamiliar is None:
            return None
        with torch.inference_mode():
            _, seen = self.run(x, ("embedding",))
            return distance(seen["embedding"], *self.wiring.unfamiliar).cpu().numpy()

    def _first(self) -> Tensor:
        """A parameter (or buffer) that says where the module lives and in which precision."""
        return next((t for t in tensors(self._module) if t.is_floating_point()), torch.zeros(()))

    def _placed(self, x: Tensor) -> Tensor:
        """The input on the module's device and in its precision; raises InputError for another shape."""
        wanted = (self.card.preparation.channels, *self.card.preparation.size)
        if x.ndim != 4 or x.shape[1] != wanted[0]:
            remedy = f"give [b, {', '.join(map(str, wanted))}]"
            raise InputError(self.name, f"a model input of shape {tuple(x.shape)} came", remedy)
        return self._beside(x)

    def _beside(self, value: Tensor) -> Tensor:
        """On the module's device and in its precision."""
        first = self._first()
        return value.to(device=first.device, dtype=first.dtype)

    def _findings(self, returned: object) -> Tensor:
        """The columns of the output that are findings, float32."""
        output = output_tensor(returned)
        if self.wiring.columns is not None:
            output = output[:, list(self.wiring.columns)]
        return output.float()

    def _tap(self, name: str) -> Tap:
        if name not in self.wiring.taps:
            raise UnknownName(f"tap of {self.name}", name, tuple(self.wiring.taps))
        return self.wiring.taps[name]


def described(module: nn.Module) -> str:
    """Class, structure and plain settings of a module that nobody described; addresses are left out.

    What torch's own layers print is their settings; of other modules the public attributes that are numbers, words or
    tuples of them count too, as ``self.pooling = "max"`` decides the answer and no tensor shows it.
    """
    structure = re.sub(r" at 0x[0-9a-f]+", "", repr(module))
    lines = [f"{type(module).__module__}.{type(module).__qualname__}", structure]
    for name, part in module.named_modules():
        if not type(part).__module__.startswith("torch.nn."):
            given = {k: v for k, v in vars(part).items() if k != "training" and not k.startswith("_") and _plain(v)}
            lines += [f"{name}.{key}={given[key]!r}" for key in sorted(given)]
    return "\n".join(lines)


def _plain(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def fingerprint_of(about: Mapping[str, object], state: Mapping[str, Tensor]) -> str:
    """sha256 over facts as JSON, then names, types, shapes and bytes of the tensors in the order of their names."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()
