"""A classifier as an OpenVINO program (the ``fast`` extra), compiled once a process and fingerprint, checked when made.

The converter is asked through its frontend: ``openvino.convert_model``, and the import itself, would report their use
to a server. A tool for radiographs sends nothing.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier
from ..errors import UnmetNeed
from .backends import Runner, TorchRunner

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

COMPILED = 2  # programs kept in this process: each holds its weights and the activations of a batch
BATCH = 4  # inputs at once, or one a thread where there are more: larger is slower here and holds more memory
EXACT, HALF = 1e-4, 0.2  # refused where logits differ from torch by more than this x the largest logit (at least 1)
_MADE: OrderedDict[tuple[object, ...], OpenvinoRunner | str] = OrderedDict()
_LOCK = threading.RLock()


class OpenvinoRunner(Runner):
    """A compiled program with the classifier's logits as its output; one call at a time. A batch is filled up."""

    def __init__(self, program: Any, classifier: Classifier, precision: str, threads: int) -> None:
        import torch

        self.most = max(BATCH, threads)
        self.precision, self.name = precision, f"openvino/{precision}/cpu"
        self.device = torch.device("cpu")
        self._request = compiled(program, (self.most, *shape_of(classifier)), precision, threads)
        self._columns = getattr(classifier, "columns", None)
        self._lock = threading.Lock()

    def __call__(self, x: Tensor) -> NDArray[np.float32]:
        parts = [self._once(part) for part in np.split(x.numpy(), range(self.most, len(x), self.most))]
        found = np.concatenate(parts)
        return found if self._columns is None else found[:, list(self._columns)]

    def _once(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of up to ``most`` inputs."""
        missing = self.most - len(pixels)
        whole = np.concatenate([pixels, np.repeat(pixels[-1:], missing, 0)]) if missing else pixels
        with self._lock:
            return np.array(self._request.infer(np.ascontiguousarray(whole, np.float32))[0], np.float32)[: len(pixels)]


def installed() -> bool:
    """Whether the package is there; it is not imported."""
    return "openvino" in sys.modules or importlib.util.find_spec("openvino") is not None


def load_openvino() -> Any:
    """The package, imported without the reporter that it would start; if the caller has imported it, it stays."""
    with _LOCK, warnings.catch_warnings():
        if "openvino" not in sys.modules:
            kept = sys.modules.get("openvino_telemetry")
            sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
            try:
                importlib.import_module("openvino")
            finally:
                del sys.modules["openvino_telemetry"]
                if kept is not None:
                    sys.modules["openvino_telemetry"] = kept
    return sys.modules["openvino"]


def shape_of(classifier: Classifier) -> tuple[int, ...]:
    """(channels, height, width) of one input."""
    return (classifier.card.preparation.channels, *classifier.card.preparation.size)


def compiled(program: Any, shape: tuple[int, ...], precision: str, threads: int) -> Any:
    """A request to a program for inputs of one ``shape [b, c, h, w]``: a free batch costs 5 % of the time, and may pick
    other arithmetic for another size."""
    openvino = load_openvino()
    program.reshape({program.inputs[0]: openvino.PartialShape(shape)})
    settings = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }
    return openvino.Core().compile_model(program, "CPU", settings).create_infer_request()


def openvino_runner(classifier: Classifier, precision: str) -> OpenvinoRunner:
    """The runner of this fingerprint, precision and number of threads; raises UnmetNeed with the reason."""
    import torch

    threads = torch.get_num_threads()
    key = (classifier.fingerprint, precision, threads)
    with _LOCK:
        found = _MADE.get(key)
        if found is None:
            found = _made(classifier, precision, threads)
            _MADE[key] = found
            while len(_MADE) > COMPILED:
                _MADE.popitem(last=False)
        _MADE.move_to_end(key)
    if isinstance(found, str):
        raise UnmetNeed(f"{classifier.name} does not run on OpenVINO: {found}; use backend=torch")
    return found


def _made(classifier: Classifier, precision: str, threads: int) -> OpenvinoRunner | str:
    """A checked runner, or why there is none."""
    try:
        runner = OpenvinoRunner(_program(classifier), classifier, precision, threads)
        return _checked(runner, classifier)
    except UnmetNeed as error:
        return str(error)
    except Exception as error:  # converter and compiler raise RuntimeError, but also anything else, for what they lack
        return f"the converter refuses it ({type(error).__name__})"


def _program(classifier: Classifier) -> Any:
    """An openvino Model; an ONNX file is read, a torch module is traced."""
    openvino = load_openvino()
    wanted = shape_of(classifier)
    if hasattr(classifier, "program"):
        program = openvino.Core().read_model(classifier.program())
    elif "module" in classifier.capabilities:
        program = _traced(classifier, wanted)
    else:
        raise UnmetNeed("it has neither a torch module nor an ONNX file")
    return program


def _traced(classifier: Classifier, wanted: tuple[int, ...]) -> Any:
    import torch

    from ..models._taps import quiet

    frontend = importlib.import_module("openvino.frontend")
    decoding = importlib.import_module("openvino.frontend.pytorch.ts_decoder")
    module = classifier.module
    hooks = [h for m in module.modules() for h in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    if not all(getattr(h, "__module__", "").startswith("torch.") for h in hooks):  # torch.export checks inputs by one
        raise UnmetNeed("it has hooks, which a program would leave out")

    class Logits(torch.nn.Module):
        """What is traced: the classifier's own way from input to findings."""

        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: Tensor) -> Tensor:
            return classifier.logits(x)

    with quiet(module), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every Python number; the result is checked instead
        wrapper = Logits()
        wrapper.training = False
        traced = torch.jit.trace(wrapper, torch.zeros(2, *wanted), check_trace=False)  # type: ignore[no-untyped-call]
        decoder = decoding.TorchScriptPythonDecoder(torch.jit.freeze(traced))
        manager = frontend.FrontEndManager()
        engine = manager.load_by_framework("pytorch")
        loaded = engine.load(decoder)
        program = engine.convert(loaded)
        program.inputs[0].get_node().set_element_type(load_openvino().Type.f32)
        return program


def _checked(runner: OpenvinoRunner, classifier: Classifier) -> OpenvinoRunner:
    """Three random pictures through both; raises UnmetNeed where a program computes something else."""
    import torch

    p = classifier.card.preparation
    draw = torch.rand(3, p.channels, *p.size, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (p.mean, p.std))
    x = (p.low + draw * (p.high - p.low) - mean) / std
    wanted, came = TorchRunner(classifier, "float32")(x), runner(x)
    bound = (EXACT if runner.precision == "float32" else HALF) * max(1.0, float(np.abs(wanted).max()))
    if came.shape != wanted.shape or not np.abs(came - wanted).max() <= bound:
        raise UnmetNeed("its logits there differ from torch's")
    return runner
