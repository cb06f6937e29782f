"""Any ``nn.Module``: the one in memory (``wrap``), or what ``package.module:factory`` returns on the command line."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .._torchvision import ensure_torchvision
from ..cards import Card, check_preparation, preparation_of
from ..contracts import Classifier
from ..errors import SettingError, UnknownName, WeightsError, WhyrayError, clipped, printable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ._torch import TorchClassifier


def wrap(
    module: nn.Module,
    *,
    findings: Sequence[str],
    size: int | tuple[int, int] = 224,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    layer: str | None = None,
    channels: int | None = None,
    low: float = 0.0,
    high: float = 1.0,
    fit: Literal["crop", "pad", "squash"] = "crop",
    name: str | None = None,
) -> TorchClassifier:
    """A classifier around a module that gives one logit a finding; the module stays as it is.

    findings  any known label, one an output, in order; "" for an output to be dropped.
    size      input side, or (h, w); ``channels`` is read off the first layer where not given.
    low, high what black and white become; then ``mean`` and ``std`` (one number, or one a channel) are applied.
    layer     module whose output is "features"; without it the last spatial map is found and shown in ``taps``.

    Change weights under ``torch.no_grad()`` on the parameter itself, not through ``parameter.data``: torch does not
    count such a write, so the fingerprint stays, and results of the old weights with it. After one, or after a change
    of a setting such as ``module.pooling``, wrap again. Code is not read: give another class what computes otherwise.

    Raises SettingError, UnknownName or WeightsError where these do not fit the module.
    """
    check_module(module)
    given = {"size": size, "mean": mean, "std": std, "fit": fit, "low": low, "high": high}
    plain = {k: _plain(v) for k, v in given.items()}
    preparation = preparation_of({**plain, "channels": channels or first_channels(module)})
    return classifier(module, findings, Card(name=name or type(module).__name__, preparation=preparation), layer)


def check_module(module: object) -> None:
    """Raises SettingError for what is no ``nn.Module``, and for one without layers to read."""
    from torch import jit, nn

    if isinstance(module, Mapping):
        raise SettingError("weights (a state dict) came as the model; give the network they were loaded into")
    if not isinstance(module, nn.Module):
        raise SettingError(f"a {type(module).__name__} came as the model; give a torch.nn.Module that returns logits")
    if isinstance(module, jit.ScriptModule):
        raise SettingError(
            "a scripted module came, whose layers cannot be read; wrap the module it was made from, or save it and "
            'load it with its card as whyray.load_model("exported:net.pt"), with gradients and without features'
        )


def classifier(module: nn.Module, labels: Sequence[str], card: Card, layer: str | None = None) -> TorchClassifier:
    """Check the module with a probe, find its layers, and put it behind the contract."""
    from dataclasses import replace

    import torch

    from ._endings import check_ending
    from ._layers import probe_input, wire
    from ._predict import chosen_columns
    from ._torch import TorchClassifier

    check_preparation(card.preparation)
    columns, known = chosen_columns(labels)
    first = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    x = probe_input((card.preparation.channels, *card.preparation.size), first)
    check_outputs(module, x, labels, card)
    warnings = check_ending(module, x, card.name)
    wiring = replace(wire(module, x, layer), columns=columns, warnings=warnings)
    return TorchClassifier(module, known, card, wiring=wiring)


def check_outputs(module: nn.Module, x: Tensor, labels: Sequence[str], card: Card) -> None:
    """Raises SettingError unless the module takes ``x [b, c, h, w]`` and gives one output a label."""
    import torch

    from ._taps import output_tensor, quiet

    try:
        with quiet(module), torch.no_grad():
            outputs = output_tensor(module(x))
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError) as error:
        why = f"{card.name} does not take an input of {tuple(x.shape[1:])}: {str(error)[:120]}"
        raise SettingError(f"{why}; give size= and channels=") from None
    if outputs.ndim != 2 or len(outputs) != len(x):
        came = f"{card.name} gives outputs of shape {list(outputs.shape)} for {len(x)} pictures"
        raise SettingError(f"{came}; [{len(x)}, findings] is wanted: one logit a picture and finding")
    if outputs.shape[1] != len(labels):
        came = f"{card.name} gives {outputs.shape[1]} outputs and {len(labels)} findings were named"
        raise SettingError(f'{came}; name one a logit, and "" for an output to be dropped')


def first_channels(module: nn.Module) -> int:
    """Input channels of the first convolution; 1 where there is none."""
    from torch import nn

    return next((m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)), 1)


def load(argument: str, *, weights: str | None = None, card: str | None = None) -> Classifier:
    """``package.module:factory``, called without arguments; it returns an ``nn.Module`` or a finished Classifier.

    weights  a state dict for the module, through the one loader.
    card     JSON file with "findings", and the fields of a model card; without it the factory must return a Classifier.
    """
    from torch import nn

    made = _called(argument)
    module = made.module if isinstance(made, Classifier) and "module" in made.capabilities else made
    if weights is not None:
        if not isinstance(module, nn.Module):
            raise SettingError(f"{argument} has no torch module to fill; leave out --weights")
        fill(module, weights)
    if isinstance(made, Classifier):
        return made
    if not isinstance(made, nn.Module):
        raise SettingError(f"{argument} returns a {type(made).__name__}; an nn.Module or a whyray Classifier is wanted")
    findings, facts = card_file(card, argument)
    return classifier(made.eval().requires_grad_(False), findings, facts)


def fill(module: nn.Module, weights: str | os.PathLike[str]) -> None:
    """Load a state dict file into a module, strictly."""
    from ..io.weights import load_into, load_weights

    load_into(module, load_weights(weights), Path(weights).name)


def card_file(path: str | os.PathLike[str] | None, name: str) -> tuple[list[str], Card]:
    """Findings and card of a JSON file ``{"findings": [...], "preparation": {...}, ...}``. Raises WeightsError."""
    if path is None:
        raise SettingError(f'{name} needs to be told its findings: give --card FILE.json with {{"findings": [...]}}')
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        labels = data.pop("findings")
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise ValueError
    except OSError:
        raise WeightsError(f"the card {Path(path).name} cannot be read; give a JSON file") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise WeightsError(f'{Path(path).name} is no card; JSON with a list "findings" is wanted') from None
    return labels, Card.from_dict({"name": name, **data})


def _called(argument: str) -> object:
    """What the factory returns; a torchvision that does not load beside this torch is mended, and the factory tried
    again. Raises UnknownName or SettingError."""
    place, _, factory = argument.partition(":")
    if not factory or not all(part.isidentifier() for part in (*place.split("."), factory)):
        raise UnknownName("model", argument, ("package.module:factory",))
    try:
        try:
            return _made(place, factory)
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
        ensure_torchvision()
        return _made(place, factory)
    except WhyrayError:
        raise
    except Exception as error:
        raise _failed(argument, place, error) from error


def _made(place: str, factory: str) -> object:
    """``factory()`` of a module; the working folder is a place to import from. Raises what the user's code raises."""
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(place)
    finally:
        sys.path.remove(os.getcwd())
    function = getattr(module, factory, None)
    if function is None:
        own = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        raise UnknownName(f"function of {place}", factory, own)
    return function()


def _failed(argument: str, place: str, error: Exception) -> SettingError:
    """Why a factory gave nothing: what was raised, and the last line of the user's own file on its way."""
    if isinstance(error, ModuleNotFoundError) and error.name and place.startswith(error.name):
        way_out = f"run where `python -c 'import {place}'` works"
        return SettingError(f"{argument}: there is no module {error.name!r} here; {way_out}")
    module = sys.modules.get(place)
    own = {getattr(module, "__file__", None), str(Path(*place.split(".")).with_suffix(".py").absolute())}
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    where = "" if line is None else f" in line {line} of {place}"
    text = clipped(printable(str(error)), 200)
    return SettingError(f"{argument} failed{where} with {type(error).__name__}: {text}; correct it and run again")


def _plain(value: object) -> object:
    """Python's own numbers and lists in place of numpy's and torch's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_plain(v) for v in value] if isinstance(value, Iterable) and not isinstance(value, str) else value
