"""torchxrayvision's weights on our networks: equal to the original, and fetched safely from a local server."""

from __future__ import annotations

import hashlib
import http.server
import io
import math
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from whyray._torchvision import ensure_torchvision
from whyray.errors import LockedError, Stopped, UnknownName, WeightsError
from whyray.findings import VOCABULARIES
from whyray.models import _fetch, xrv
from whyray.networks.autoencoder import ResNetAE
from whyray.networks.resnet import ResNet
from whyray.registry import explainer
from whyray.testing import check_classifier, check_explainer

NAME = "densenet121-res224-chex"


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    """torchxrayvision, which prints, warns and sets warning filters when imported."""
    import warnings

    if ensure_torchvision() == "absent":
        pytest.skip("torchvision is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torchxrayvision")


def calibrated(module: torch.nn.Module, size: int = 224) -> torch.nn.Module:
    """Random weights whose norms saw a few pictures, so that activations are of order one."""
    module.train()
    with torch.no_grad():
        module(torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(1)) * 2048 - 1024)
    return module.eval()


@pytest.fixture(scope="module")
def original(peer: ModuleType) -> Any:
    """torchxrayvision's own DenseNet with 18 outputs."""
    torch.manual_seed(0)
    return calibrated(peer.models.DenseNet(num_classes=18))


@pytest.fixture(scope="module")
def published(original: Any) -> bytes:
    """The whole module as upstream publishes it: a pickle in torch's older layout."""
    file = io.BytesIO()
    torch.save(original, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; knows ranges; breaks off after ``most`` bytes once where asked."""

    files: dict[str, bytes]
    breaks: int = 0
    asked: list[str]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Server = self.server  # type: ignore[assignment]
        data = server.files[self.path]
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        wanted = self.headers.get("Range", "")
        server.asked.append(wanted)
        start = int(wanted[6:-1]) if wanted and self.headers.get("If-Range") == tag else 0
        if wanted and start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        stop = server.breaks or len(data)
        server.breaks = 0
        self.wfile.write(data[start:stop])

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def server(published: bytes) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.files, running.asked = {"/model.pt": published}, []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def place(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("WHYRAY_CACHE", str(tmp_path / "cache"))
    return f"http://127.0.0.1:{server.server_port}/model.pt"


def yes(_question: str) -> bool:
    return True


def test_fetched_classifier_equals_the_original(place: str, original: Any) -> None:
    said: list[str] = []
    with pytest.raises(WeightsError, match="whyray models fetch"):
        xrv.load(NAME)
    _fetch.fetch(f"xrv:{NAME}", confirm=lambda q: bool(said.append(q)) or True, url=place)
    classifier = xrv.load(NAME)
    x = torch.rand(3, 1, 224, 224, generator=torch.Generator().manual_seed(2)) * 2048 - 1024
    kept = [i for i, label in enumerate(xrv.entry(NAME).labels) if label]
    with torch.no_grad():
        wanted = original(x.clone())[:, kept]
        came = classifier.logits(x)
    assert (came - wanted).abs().max() < 1e-6 * max(1.0, float(wanted.abs().max())) and wanted.std() > 0.01
    assert len(classifier.findings) == 11 and classifier.findings[0] == "atelectasis"
    assert len(said) == 1 and "sha256" in said[0]
    logits, taps = classifier.run(x, ("features",))
    assert taps["features"].shape == (3, 1024, 7, 7) and taps["features"].min() >= 0
    assert torch.allclose(classifier.head("features", taps["features"]), logits, atol=1e-5)
    check_classifier(classifier)
    check_explainer(explainer("gradcam"), classifier)


def test_thresholds_are_upstream_operating_points(place: str, peer: ModuleType) -> None:
    """Where the probability reaches our threshold, upstream's op_norm gives a half."""
    card = xrv.entry(NAME).card
    upstream = torch.tensor(peer.models.model_urls[NAME]["op_threshs"])
    for label, threshold in zip(xrv.entry(NAME).labels, upstream.tolist(), strict=True):
        if label:
            operation = card.operations[xrv.finding(label)]
            assert operation.threshold == pytest.approx(threshold, rel=1e-6) and operation.prevalence is None
    assert peer.models.op_norm(upstream[None], upstream)[0, 0] == pytest.approx(0.5)


def test_facts_are_those_of_the_library(peer: ModuleType) -> None:
    classifiers = [n for n in xrv.names() if xrv.entry(n).labels]
    upstream = {k: v for k, v in peer.models.model_urls.items() if "-res" in k}
    assert set(classifiers) == set(upstream)
    for name, facts in upstream.items():
        known = xrv.entry(name)
        assert known.url == facts["weights_url"] and list(known.labels) == facts["labels"]
        assert known.size == facts["input_resolution"]
        for ours, theirs in zip(known.thresholds, facts["op_threshs"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6) or (math.isnan(ours) and math.isnan(theirs))
    assert list(xrv.entry("all").labels) == list(VOCABULARIES["xrv-18"])
    assert xrv.entry("101-elastic").url == peer.autoencoders.model_urls["101-elastic"]["weights_url"]
    with pytest.raises(UnknownName, match="did you mean"):
        xrv.entry("densenet121-res224-al")


def test_interrupted_download_goes_on(place: str, server: Server) -> None:
    server.breaks = 1_000_000
    with pytest.raises(WeightsError, match="again to go on"):
        _fetch.fetch(NAME, confirm=yes, url=place)
    _fetch.fetch(NAME, confirm=yes, url=place)
    assert server.asked == ["", "bytes=1000000-"]
    assert xrv.load(NAME).findings


def test_a_file_that_changed_in_between_starts_again(place: str, server: Server, published: bytes) -> None:
    server.files["/model.pt"], server.breaks = b"PK" + bytes(5000), 2000
    with pytest.raises(WeightsError, match="broke off"):
        _fetch.fetch(NAME, confirm=yes, url=place)
    server.files["/model.pt"] = published
    _fetch.fetch(NAME, confirm=yes, url=place)
    assert xrv.load(NAME).findings


def test_not_confirmed_is_not_used_and_not_fetched_twice(place: str, server: Server) -> None:
    with pytest.raises(Stopped, match="not confirmed"):
        _fetch.fetch(NAME, confirm=lambda q: False, url=place)
    with pytest.raises(WeightsError, match="not on this machine"):
        xrv.load(NAME)
    server.files["/model.pt"] += b""
    _fetch.fetch(NAME, confirm=yes, url=place)
    assert server.asked[1] == f"bytes={len(server.files['/model.pt'])}-"  # 416: all was here


def test_pinned_hash_holds(place: str, server: Server) -> None:
    _fetch.fetch(NAME, confirm=yes, url=place)
    folder = _fetch.cache_dir() / "xrv" / NAME
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.write_bytes(data)
    with pytest.raises(WeightsError, match=r"set aside as model\.safetensors\.bad-"):
        xrv.load(NAME)
    server.files["/model.pt"] = server.files["/model.pt"][:-1] + b"\1"
    with pytest.raises(WeightsError, match=r"was expected \(set aside"):
        _fetch.fetch(NAME, confirm=yes, url=place)
    assert not (folder / "model.pt").exists()


def test_a_web_page_is_not_weights(place: str, server: Server) -> None:
    server.files["/model.pt"] = b"<!DOCTYPE html>" * 100
    with pytest.raises(WeightsError, match="no torch file"):
        _fetch.fetch(NAME, confirm=yes, url=place)
    with pytest.raises(WeightsError, match="https only"):
        _fetch.fetch(NAME, confirm=yes, url="http://example.org/model.pt")


def test_second_fetch_is_locked_out(place: str, tmp_path: Path) -> None:
    folder = _fetch.cache_dir() / "xrv" / NAME
    folder.mkdir(parents=True)
    with _fetch.locked(folder / "lock"), pytest.raises(LockedError, match="process"):
        _fetch.fetch(NAME, confirm=yes, url=place)


class Canary:
    """Unpickling it would make a marker file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("layout", ["stream", "zip", "raw"])
def test_hostile_pickles_are_inert(layout: str, place: str, server: Server, tmp_path: Path, original: Any) -> None:
    marker = tmp_path / "executed"
    file = io.BytesIO()
    content = {"state_dict": original.state_dict(), "extra": Canary(marker)}
    if layout == "raw":
        pickle.dump(Canary(marker), file)
    else:
        torch.save(content, file, _use_new_zipfile_serialization=layout == "zip")
    server.files["/model.pt"] = file.getvalue()
    if layout == "raw":
        with pytest.raises(WeightsError):
            _fetch.fetch(NAME, confirm=yes, url=place)
    else:
        _fetch.fetch(NAME, confirm=yes, url=place)
        assert xrv.load(NAME).findings  # the tensors are read; what would have run is a stub
    assert not marker.exists()
    function, arguments = Canary(marker).__reduce__()
    function(*arguments).close()
    assert marker.exists()  # what an ordinary unpickler would have done


def test_resnet_and_autoencoder_equal_the_originals(peer: ModuleType) -> None:
    import torchvision

    x = torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(3)) * 2048 - 1024
    torch.manual_seed(1)
    theirs = torchvision.models.resnet50(num_classes=18)
    theirs.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    calibrated(theirs)
    ours = ResNet(18).eval()
    ours.load_state_dict(theirs.state_dict())
    autoencoder = calibrated(peer.autoencoders.ResNetAE())
    mine = ResNetAE().eval()
    mine.load_state_dict(autoencoder.state_dict())
    with torch.no_grad():
        assert (ours(x) - theirs(x)).abs().max() < 1e-6 * theirs(x).abs().max()
        out = autoencoder(x)
        assert (mine.encode(x) - out["z"]).abs().max() < 1e-6 * out["z"].abs().max()
        assert (mine(x) - out["out"]).abs().max() < 1e-6 * out["out"].abs().max()


def test_autoencoder_is_installed_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("WHYRAY_CACHE", str(tmp_path))
    file = io.BytesIO()
    torch.save(ResNetAE(blocks=(3, 4, 23, 2)).state_dict(), file)
    server.files["/ae.pt"] = file.getvalue()
    _fetch.fetch("101-elastic", confirm=yes, url=f"http://127.0.0.1:{server.server_port}/ae.pt")
    assert xrv.load_autoencoder().encode(torch.zeros(1, 1, 224, 224)).shape == (1, 512, 3, 3)
    with pytest.raises(UnknownName, match="classifier of xrv"):
        xrv.load("101-elastic")
