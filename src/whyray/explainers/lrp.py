"""LRP: relevance handed down layer by layer to the pixels, all findings at once (Bach et al., PLoS ONE 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np

from ..contracts import Asked, Capability, Classifier, Context, Explainer, in_range
from ..errors import SettingError
from ..explanations import Explanation
from ..types import Radiograph

if TYPE_CHECKING:
    from torch import Tensor

    from ..cards import Preparation

Named = Literal["epsilon_plus_flat", "epsilon_alpha2_beta1_flat", "gamma_box", "epsilon"]
NOTE = "Attention is not linear: what its softmax adds or takes (check attention) is in no pixel."
SHARES = ("bias", "stabiliser")


@dataclass(frozen=True)
class Lrp(Explainer):
    """Layer-wise relevance propagation of all findings from one forward pass.

    composite  which rules: z+ (``epsilon_plus_flat``), alpha-beta, gamma with the box rule at the pixels, or epsilon.
    epsilon    what keeps denominators from zero, in units of the activations; with ``relative``, times a layer's mean.
    canonise   merge normalisation into layers, give what cannot be merged a rule of its own, and pool before 1x1
               convolutions. False takes the layers as they stand and passes relevance through normalisation.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"gradients", "module"})
    paper: ClassVar[str] = "Bach et al., Layer-Wise Relevance Propagation, PLoS ONE 2015"

    composite: Named = "epsilon_plus_flat"
    epsilon: float = 1e-6
    relative: bool = False
    canonise: bool = True

    def __post_init__(self) -> None:
        in_range("epsilon", self.epsilon, 1e-12, 10)
        if self.composite not in get_args(Named):
            raise SettingError(f"setting composite={self.composite} came; give one of {', '.join(get_args(Named))}")

    def passes(self, findings: int) -> float:
        """Forward, the positive parts forward, and one transposed pass a finding."""
        return (2 + findings) * (2 if self.composite == "epsilon_alpha2_beta1_flat" else 1)

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps ``[h, w]`` at the resolution of the model input, in logits.

        Checks: "logit" = sum of the map + "bias" + "stabiliser" + "conservation_gap"; see docs.
        """
        import torch

        from ._lrp_canon import canonical, plain
        from ._lrp_graph import program_for
        from ._lrp_rules import Stabiliser
        from ._lrp_run import checked, composite, relevance

        asked = Asked(self, classifier, radiographs, findings, context)
        program = program_for(classifier).form(canonical if self.canonise else plain)
        checked(program)
        device = next((p.device for p in classifier.module.parameters()), torch.device("cpu"))
        low, high = (b.to(device) for b in bounds(classifier.card.preparation))
        chosen = composite(self.composite, Stabiliser(self.epsilon, self.relative), (low, high), merge=self.canonise)
        maps, checks = [], []
        for i, frame in enumerate(asked.frames):
            x = torch.from_numpy(np.array(frame.pixels))[None].to(device)
            x = x.contiguous(memory_format=torch.channels_last) if self.canonise else x

            def step(share: float, done: int = i) -> None:
                context.step((done + share) / len(asked.frames))

            found, logits, shares = relevance(program, chosen, x, asked.columns, step)
            maps.append(found.sum(1).cpu().numpy())
            checks.append(accounts(maps[-1], logits, shares))
        told = {name: np.stack([c[name] for c in checks]) for name in checks[0]}
        made = asked.attributions(np.stack(maps), unit="logit", checks=told)
        return [{f: noted(a) for f, a in each.items()} for each in made] if "attention" in told else made


def noted(made: Explanation) -> Explanation:
    """With the sentence that maps through attention need."""
    return replace(made, notes=(*made.notes, NOTE))


def accounts(maps: np.ndarray, logits: Tensor, shares: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """The shares ``[f]`` that are in no map, and what is still missing to the logit."""
    told = {n: shares[n].cpu().numpy() if n in shares else np.zeros(len(maps)) for n in {*SHARES, *shares}}
    total = maps.sum((1, 2), dtype=np.float64) + sum(told.values())
    return {"conservation_gap": logits.double().cpu().numpy() - total, **told}


def bounds(preparation: Preparation) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value ``[c, 1, 1]`` that a pixel can have."""
    import torch

    mean, std = (torch.tensor(v, dtype=torch.float32).reshape(-1, 1, 1) for v in (preparation.mean, preparation.std))
    ends = torch.stack([(preparation.low - mean) / std, (preparation.high - mean) / std])
    return ends.amin(0), ends.amax(0)
