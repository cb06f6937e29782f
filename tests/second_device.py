"""The command line on a device that there is not: ``python tests/second_device.py explain ... --device pretend``.

A tensor on "pretend" holds one of the CPU, computes with it, and refuses to meet tensors of the CPU, as one on a GPU
does. What cannot be had this way: tracing (LRP), a fused LSTM cell (TieNet), inference mode (no_grad in its place).
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default}  # between devices, as they are meant to
INDEXED = {aten.index, aten.index_put, aten.index_put_}  # a GPU takes indices of the CPU


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend("pretend", backend_module=_Backend())


class Pretend(Tensor):
    """A tensor on the pretended device; ``held`` is what it holds."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, requires_grad: bool = False) -> Pretend:
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device("pretend:0"),
            requires_grad=requires_grad,
        )
        made.held = held
        return made  # type: ignore[no-any-return]

    def __init__(self, *_: object, **__: object) -> None: ...

    def __repr__(self, **_: object) -> str:  # type: ignore[override]
        return f"Pretend({self.held})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        made: Tensor = Pretend(self.held.clone(), self.requires_grad)
        if isinstance(self, nn.Parameter):
            made = nn.Parameter(made, self.requires_grad)
        memo[id(self)] = made
        return made

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    def tolist(self) -> list[Any]:
        return self.cpu().tolist()  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class SecondDevice(TorchDispatchMode):
    """Within it, ``device="pretend"`` is a device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation on what the tensors hold. Raises RuntimeError where two devices meet."""
    asked = kwargs.get("device")
    to_here = asked is not None and torch.device(asked).type == "pretend"
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    here = any(isinstance(x, Pretend) for x in tensors)
    if here and func not in MOVES and func.overloadpacket not in INDEXED:
        for x in tensors:
            if not isinstance(x, Pretend) and x.ndim:  # single numbers may come from anywhere
                raise RuntimeError(f"two devices meet in {func}: pretend:0 and {x.device}")
    plain, settings = tree_map(lambda x: x.held if isinstance(x, Pretend) else x, (args, kwargs))
    if asked is not None:
        settings["device"] = torch.device("cpu") if to_here else asked
    found = func(*plain, **settings)
    if func is aten.copy_.default:
        return args[0]
    if not (to_here or (here and asked is None)):
        return found
    found = tree_map(lambda x: Pretend(x) if isinstance(x, Tensor) else x, found)
    return return_and_correct_aliasing(func, args, kwargs, found) if here else found


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: object) -> Tensor:
    return Pretend(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    plain, into = (x.held if isinstance(x, Pretend) else x for x in (source, target))
    into.copy_(plain)
    return target


def _inference_mode(mode: bool = True) -> contextlib.AbstractContextManager[object]:
    """In place of the real one, which makes no views of wrappers."""
    return torch.no_grad() if mode else contextlib.nullcontext()


_LIBRARY = torch.library.Library("aten", "IMPL")  # what autograd calls below any mode
_LIBRARY.impl("empty_strided", _empty_strided, "PrivateUse1")
_LIBRARY.impl("_copy_from", _copy_from, "PrivateUse1")

if __name__ == "__main__":
    from whyray.cli import main

    torch.inference_mode = _inference_mode  # type: ignore[misc, assignment]
    torch.set_num_threads(1)
    with SecondDevice():
        main()
