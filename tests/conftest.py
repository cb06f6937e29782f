"""Fixtures of the whole suite. The only place that knows where development data may lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from whyray.contracts import Context


@pytest.fixture(scope="session")
def dev_data() -> Path:
    """Root of the development data (``dev/``, ``dicom_zoo/``); skips where it is absent."""
    default = Path(__file__).resolve().parents[1] / "../shared/data"
    root = Path(os.environ.get("WHYRAY_DEV_DATA", default)).resolve()
    if not (root / "dev" / "images.csv").is_file():
        pytest.skip("no development data: set WHYRAY_DEV_DATA to its folder")
    return root


@pytest.fixture(scope="session")
def with_artefacts() -> Context:
    """A context whose artefacts are untrained ones, for any classifier: enough for promises, not for pictures."""
    import torch

    from whyray.cards import Preparation
    from whyray.models._autoencoders import Autoencoder
    from whyray.networks.autoencoder import SmallAE

    def artefact(_kind: str, fingerprint: str) -> Autoencoder:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = SmallAE(widths=(4, 8, 8), latent=3).eval().requires_grad_(False)
        return Autoencoder("tiny", module, Preparation(size=(64, 64), mean=(0.5,), std=(0.25,)), fingerprint)

    return Context(artefact=artefact)
