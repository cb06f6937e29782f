"""Fixtures of the whole suite. The only place that knows where development data may lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def dev_data() -> Path:
    """Root of the development data (``dev/``, ``dicom_zoo/``); skips where it is absent."""
    default = Path(__file__).resolve().parents[1] / "../shared/data"
    root = Path(os.environ.get("WHYRAY_DEV_DATA", default)).resolve()
    if not (root / "dev" / "images.csv").is_file():
        pytest.skip("no development data: set WHYRAY_DEV_DATA to its folder")
    return root
