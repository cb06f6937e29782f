"""Input gradients of whyray's DenseNet as a program of plain operations: what autograd gives, in less time and memory.

- Normalisation is folded into the convolution before it, and its scale into the one behind it.
- A block's layers write into one buffer, so nothing is concatenated.
- Average pooling goes before the 1x1 convolution of a transition: both are linear, and it then has a quarter of the
  work.
- Each stage runs over as few pictures at once as keep its buffer in the processor's cache.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..models._torch import TorchClassifier
from ..networks.densenet import DenseBlock, DenseLayer, DenseNet, Transition

if TYPE_CHECKING:
    from ..contracts import Classifier

    Maps = tuple[Tensor, Tensor]

CACHED = 4 * 2**20  # bytes of the buffers that one stage works on at once
LAST = torch.channels_last
_PROGRAMS: weakref.WeakKeyDictionary[nn.Module, tuple[str, Program]] = weakref.WeakKeyDictionary()


def program_for(classifier: Classifier) -> Program | None:
    """The program, where the classifier is exactly our DenseNet in float32 on the CPU and nobody hooked into it."""
    if type(classifier) is not TorchClassifier or type(classifier.module) is not DenseNet:
        return None
    module = classifier.module
    floats = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
    plain = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in floats)
    hooked = any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in module.modules())
    if not plain or hooked:
        return None
    held = _PROGRAMS.get(module)
    if held is None or held[0] != classifier.fingerprint:
        held = classifier.fingerprint, Program(module, classifier.wiring.columns)
        _PROGRAMS[module] = held
    return held[1]


class Program:
    """The folded weights of one network. ``forward`` keeps a tape, from which ``backward`` may run once a finding."""

    def __init__(self, network: DenseNet, columns: Sequence[int] | None = None) -> None:
        self._recorded: dict[torch.Size, int] = {}
        with torch.no_grad():
            parts = list(network.features.children())
            ends: list[Down | Head] = [*(Down(p) for p in parts if isinstance(p, Transition)), Head(network, columns)]
            self.findings = len(columns or range(network.classifier.out_features))
            self.stem = Stem(network)
            self.channels = self.stem.weight.shape[1:2]
            self.stages: list[tuple[Block, Down | Head]] = list(
                zip((Block(p) for p in parts if isinstance(p, DenseBlock)), ends, strict=True)
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Logits ``[b, findings]`` of inputs ``[b, c, h, w]``, and the tape."""
        tape = Tape(self, x)
        out = []
        for part in pieces(x, tape.at_once(0)):
            maps, kept = self.stem.forward(part)
            tape.stem.append(kept)
            out.append(maps)
        for i, (block, end) in enumerate(self.stages):
            x, out = torch.cat(out), []
            for part in pieces(x, tape.at_once(i)):
                buffer, layers = block.forward(part)
                tape.stages[i].append((buffer, layers))
                out.append(end.forward(buffer))
        return torch.cat(out), tape

    def recorded(self, x: Tensor) -> int:
        """Bytes of the tape of one picture ``[1, c, h, w]``."""
        if x.shape not in self._recorded:
            with torch.no_grad():
                self._recorded[x.shape] = self.forward(x)[1].nbytes
        return self._recorded[x.shape]


class Tape:
    """What one forward pass keeps: per stage and group of pictures, the block's buffer and its layers' maps."""

    def __init__(self, program: Program, x: Tensor) -> None:
        self.program, self.shape, self.like = program, x.shape, x.new_empty(0)
        self.stem: list[Maps] = []
        self.stages: list[list[tuple[Tensor, list[Maps]]]] = [[] for _ in program.stages]

    def at_once(self, stage: int) -> int:
        """How many pictures this stage takes at once."""
        side = self.shape[2] * self.shape[3] // 16 // 4**stage
        each: int = 4 * max(1, side) * self.program.stages[stage][0].width
        return max(1, CACHED // each)

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        kept = [t for pair in self.stem for t in pair]
        for buffer, maps in (group for stage in self.stages for group in stage):
            kept += [buffer, *(t for pair in maps for t in pair)]
        return sum(t.nbytes for t in kept)

    def backward(self, column: int) -> Tensor:
        """The gradient ``[b, c, h, w]`` of one finding's logit; the tape stays as it is."""
        gradient = self.like.new_zeros((self.shape[0], self.program.findings))
        gradient[:, column] = 1
        for (block, end), groups in zip(reversed(self.program.stages), reversed(self.stages), strict=True):
            parts = gradient.split_with_sizes([len(buffer) for buffer, _ in groups])
            both = zip(parts, groups, strict=True)
            gradient = torch.cat([block.backward(end.backward(g, buffer), maps) for g, (buffer, maps) in both])
        parts = gradient.split_with_sizes([len(maps) for maps, _ in self.stem])
        both_ends = zip(parts, self.stem, strict=True)
        return torch.cat([self.program.stem.backward(g, *kept, self.shape[2:]) for g, kept in both_ends])


class Stem:
    """Convolution, normalisation, ReLU and pooling in front of the blocks."""

    def __init__(self, network: DenseNet) -> None:
        conv, norm, pool = (network.features.get_submodule(n) for n in ("conv0", "norm0", "pool0"))
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and isinstance(pool, nn.MaxPool2d)
        self.conv, self.pool = conv, pool
        scale, self.shift = affine(norm)
        weight = conv.weight * scale[:, None, None, None]
        self.weight = torch.empty_like(weight, memory_format=LAST).copy_(
            weight
        )  # of one channel: strides decide the layout

    def forward(self, x: Tensor) -> tuple[Tensor, Maps]:
        """Pooled maps, and (maps after the ReLU, where each maximum was)."""
        maps = functional.conv2d(x, self.weight, self.shift, self.conv.stride, self.conv.padding).relu_()
        p = self.pool
        pooled, at = functional.max_pool2d(maps, p.kernel_size, p.stride, p.padding, p.dilation, return_indices=True)
        return pooled, (maps, at)

    def backward(self, gradient: Tensor, maps: Tensor, at: Tensor, shape: torch.Size) -> Tensor:
        """The gradient in the input; as a product and a fold, since a convolution to one channel is slow."""
        p = self.pool
        gradient = torch.ops.aten.max_pool2d_with_indices_backward(
            gradient, maps, [p.kernel_size] * 2, [p.stride] * 2, [p.padding] * 2, [p.dilation] * 2, p.ceil_mode, at
        )
        gradient = gated(gradient, maps)
        patches = torch.matmul(self.weight.flatten(1).t(), gradient.flatten(2))  # [b, c * k * k, cells]
        return functional.fold(patches, shape, self.conv.kernel_size, 1, self.conv.padding, self.conv.stride)  # type: ignore[arg-type]


class Layer:
    """norm-relu-conv1x1-norm-relu-conv3x3 with its weights folded, both ways."""

    def __init__(self, layer: DenseLayer) -> None:
        self.scale, self.shift = affine(layer.norm1)
        scale, bias = affine(layer.norm2)
        first, second = layer.conv1.weight * scale[:, None, None, None], layer.conv2.weight.detach()
        self.first, self.second = Convolution(first, bias=bias, relu=True), Convolution(second, 1)
        self.first_back = Convolution(transposed(first * self.scale[:, None, None]))
        self.second_back = Convolution(transposed(second), 1)

    def forward(self, before: Tensor) -> tuple[Tensor, Maps]:
        """The layer's new channels, and its maps after either ReLU."""
        outer = normed(before, self.scale, self.shift).relu_()
        inner = self.first(outer)
        return self.second(inner), (outer, inner)

    def backward(self, gradient: Tensor, maps: Maps) -> Tensor:
        """What the layer adds to the gradient of the channels before it."""
        return gated(self.first_back(gated(self.second_back(gradient), maps[1])), maps[0])


class Block:
    """A dense block on one buffer ``[b, width, h, w]``."""

    def __init__(self, block: DenseBlock) -> None:
        layers = [layer for layer in block.values() if isinstance(layer, DenseLayer)]
        self.layers = [Layer(layer) for layer in layers]
        self.before = [layer.norm1.num_features for layer in layers]
        self.width = self.before[-1] + layers[-1].conv2.out_channels

    def forward(self, x: Tensor) -> tuple[Tensor, list[Maps]]:
        """The whole buffer, and each layer's maps."""
        buffer = torch.empty((len(x), self.width, *x.shape[2:]), dtype=x.dtype, memory_format=LAST)
        buffer[:, : x.shape[1]] = x
        maps = []
        for layer, width in zip(self.layers, self.before, strict=True):
            new, kept = layer.forward(buffer[:, :width])
            buffer[:, width : width + new.shape[1]] = new
            maps.append(kept)
        return buffer, maps

    def backward(self, gradient: Tensor, maps: Sequence[Maps]) -> Tensor:
        """The gradient in the block's input; ``gradient``, that of the buffer, is written over."""
        ends = [*self.before[1:], self.width]
        for layer, width, end, kept in reversed(list(zip(self.layers, self.before, ends, maps, strict=True))):
            new = gradient[:, width:end].contiguous(memory_format=LAST)
            gradient[:, :width] += layer.backward(new, kept)
        return gradient[:, : self.before[0]]


class Down:
    """A transition: norm-relu-pool-conv1x1."""

    def __init__(self, transition: Transition) -> None:
        norm, conv = transition.get_submodule("norm"), transition.get_submodule("conv")
        assert isinstance(norm, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d)
        self.scale, self.shift = affine(norm)
        self.ahead = Convolution(conv.weight.detach())
        self.back = Convolution(transposed(conv.weight * self.scale[:, None, None] / 4))

    def forward(self, buffer: Tensor) -> Tensor:
        """Half the channels at half the resolution."""
        return self.ahead(functional.avg_pool2d(normed(buffer, self.scale, self.shift).relu_(), 2))

    def backward(self, gradient: Tensor, buffer: Tensor) -> Tensor:
        """The gradient of the buffer; an odd last row or column was not read."""
        out = self.back(gradient)
        out = functional.interpolate(out, scale_factor=2, mode="nearest")
        h, w = buffer.shape[2:]
        if out.shape[2:] != buffer.shape[2:]:
            out = functional.pad(out, (0, w - out.shape[3], 0, h - out.shape[2])).contiguous(memory_format=LAST)
        return gated(out, normed(buffer, self.scale, self.shift))


class Head:
    """norm-relu-pool-linear."""

    def __init__(self, network: DenseNet, columns: Sequence[int] | None) -> None:
        norm = network.features.get_submodule("norm5")
        assert isinstance(norm, nn.BatchNorm2d)
        self.scale, self.shift = affine(norm)
        rows = slice(None) if columns is None else list(columns)
        self.weight, self.bias = network.classifier.weight.detach()[rows], network.classifier.bias.detach()[rows]

    def forward(self, buffer: Tensor) -> Tensor:
        """Logits."""
        return functional.linear(normed(buffer, self.scale, self.shift).relu_().mean((2, 3)), self.weight, self.bias)

    def backward(self, gradient: Tensor, buffer: Tensor) -> Tensor:
        """The gradient of the buffer, from that of the logits."""
        row = gradient @ (self.weight * (self.scale / (buffer.shape[2] * buffer.shape[3])))
        return gated(
            row[:, :, None, None].expand_as(buffer).contiguous(memory_format=LAST),
            normed(buffer, self.scale, self.shift),
        )


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift ``[c]`` of a normalisation in evaluation mode."""
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight.detach() * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias.detach() - norm.running_mean * scale


def pieces(x: Tensor, n: int) -> list[Tensor]:
    """Groups of at most ``n`` pictures."""
    return [x[i : i + n] for i in range(0, len(x), n)]


def normed(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """``x * scale + shift`` by channel."""
    return torch.addcmul(shift[:, None, None], x, scale[:, None, None])


def transposed(weight: Tensor) -> Tensor:
    """The weight whose convolution is the gradient of this one's, at stride 1."""
    return weight.detach().transpose(0, 1).flip(2, 3).contiguous()


def gated(gradient: Tensor, before: Tensor) -> Tensor:
    """The gradient where what came before a ReLU was positive, written over itself."""
    out: Tensor = torch.ops.aten.threshold_backward.grad_input(gradient, before, 0, grad_input=gradient)
    return out


class Convolution:
    """A convolution at stride 1 through oneDNN, which torch leaves aside for few pictures, 1x1 filters and one thread.

    The weights are laid out for the first input's shape once; for others it is only slower.
    """

    def __init__(self, weight: Tensor, padding: int = 0, bias: Tensor | None = None, *, relu: bool = False) -> None:
        self.weight, self.padding, self.bias, self.relu = weight, (padding, padding), bias, relu

    def __call__(self, x: Tensor) -> Tensor:
        weight = self.weight
        if x.dtype == torch.float32 and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            if not weight.is_mkldnn:
                pack = torch.ops.mkldnn._reorder_convolution_weight
                self.weight = weight = pack(weight, self.padding, (1, 1), (1, 1), 1, x.shape)
            run, kind = torch.ops.mkldnn._convolution_pointwise, "relu" if self.relu else "none"
            return run(x, weight, self.bias, self.padding, (1, 1), (1, 1), 1, kind, [], "")  # type: ignore[no-any-return]
        out = functional.conv2d(x, weight, self.bias, padding=self.padding)
        return out.relu_() if self.relu else out
