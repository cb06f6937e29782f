"""Latent Shift's directions: d value / d latent at a latent, as published, or of a gradient that was blurred first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ..contracts import Classifier
    from ..models._autoencoders import Autoencoder


@dataclass(frozen=True, eq=False)
class Slopes:
    """How some findings' values change with the latent.

    columns  of the findings among the classifier's; value: what is followed, a function of the logits.
    shown    decoded grey pictures -> what the classifier is shown of them; fed: those -> its input.
    smooth   standard deviation, in pixels of the picture, of the blur of the gradient; 0 = none.
    """

    classifier: Classifier
    autoencoder: Autoencoder
    columns: Sequence[int]
    shown: Callable[[Tensor], Tensor]
    fed: Callable[[Tensor], Tensor]
    value: Callable[[Tensor], Tensor]
    smooth: float = 0.0
    check: Callable[[], None] = lambda: None

    def first(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Directions ``[f, d, h', w']`` at one latent ``[1, d, h', w']``, its picture and its logits ``[1, F]``."""
        import torch

        here, picture, logits = self._passed(z)
        values = self.value(logits)
        directions = [along(values[0, c], picture, here, self.smooth) for c in self.columns]
        return torch.cat(directions), picture.detach(), logits.detach()

    def at(self, latents: Tensor, which: Sequence[int]) -> Tensor:
        """The direction of each finding (an index into ``columns``) at a latent of its own, ``[k, d, h', w']``; one
        after the other, since they share nothing."""
        import torch

        rows = []
        for latent, column in zip(latents, [self.columns[i] for i in which], strict=True):
            here, picture, logits = self._passed(latent[None])
            rows.append(along(self.value(logits)[0, column], picture, here, self.smooth))
            self.check()
        return torch.cat(rows)

    def _passed(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        import torch

        with torch.enable_grad():
            here = z.detach().requires_grad_()
            picture = self.shown(self.autoencoder.decode(here))
            return here, picture, self.classifier.logits(self.fed(picture))


def along(value: Tensor, picture: Tensor, latent: Tensor, smooth: float) -> Tensor:
    """The gradient of ``value`` at ``latent``; with ``smooth``, that of the blurred gradient at ``picture``.

    A gradient of fine waves moves the logit by changes that nobody sees; blurred, it changes whole regions (steepest
    ascent under a norm that punishes rough changes). Its length is such that the value grows by its square a unit of
    lambda, as the gradient's does; where the value would fall along it, it is the gradient.
    """
    import torch

    if not smooth:
        return torch.autograd.grad(value, latent, retain_graph=True)[0]
    (by_pixel,) = torch.autograd.grad(value, picture, retain_graph=True)
    rough, soft = (
        torch.autograd.grad(picture, latent, pixels, retain_graph=True)[0]
        for pixels in (by_pixel, blurred(by_pixel, smooth))
    )
    share = (rough * soft).sum() / soft.square().sum().clamp(min=1e-30)
    return soft * share if share > 0 else rough


def blurred(pixels: Tensor, sigma: float) -> Tensor:
    """``[b, c, h, w]`` under a Gaussian of ``sigma`` pixels; the edges go on as they are."""
    import torch
    from scipy.ndimage import gaussian_filter

    soft = gaussian_filter(pixels.double().cpu().numpy(), (0, 0, sigma, sigma), mode="nearest")
    return torch.from_numpy(soft).to(pixels)
