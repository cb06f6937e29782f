"""Planted bad pictures are warned of; ordinary radiographs are not (at most 5 %)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from whyray.io.frontal import look
from whyray.io.input_report import checks, input_report
from whyray.io.load import load_image
from whyray.types import Radiograph

KINDS = {
    "nih": "NIH ChestX-ray14",
    "ped": "Paediatric pneumonia (Kermany 2018)",
    "covid": "COVID-19 image data collection",
}


@pytest.fixture(scope="module")
def rows(dev_data: Path) -> list[dict[str, str]]:
    with open(dev_data / "dev" / "images.csv", newline="", encoding="utf-8") as file:
        return [{**row, "path": str(dev_data / "dev" / row["file"])} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def chests(rows: list[dict[str, str]]) -> list[np.ndarray]:
    """Held-back adult radiographs that draw no warning as they are."""
    kept = [row for row in rows if row["dataset"] == KINDS["nih"] and row["split"] == "test"][:60]
    pixels = [load_image(row["path"]).pixels for row in kept]
    return [p for p in pixels if not input_report(Radiograph(p))]


def warned(pictures: list[np.ndarray], word: str) -> float:
    return float(np.mean([any(word in w for w in input_report(Radiograph(p))) for p in pictures]))


@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_radiographs_are_left_alone(rows: list[dict[str, str]], kind: str) -> None:
    held = [row for row in rows if row["dataset"] == KINDS[kind] and (row["split"] == "test" or kind == "covid")][:200]
    share = np.mean([bool(input_report(load_image(row["path"]))) for row in held])
    assert len(held) >= 180
    assert share <= 0.05


def test_phantoms_are_left_alone() -> None:
    phantom = pytest.importorskip("whyray.datasets.phantom")
    cases = phantom.load("").cases()[:60]
    assert np.mean([bool(input_report(case.radiograph())) for case in cases]) <= 0.05


def test_planted_faults_are_named(chests: list[np.ndarray]) -> None:
    assert len(chests) >= 50
    assert warned([1 - p for p in chests], "inverted") >= 0.9 and warned([1 - p for p in chests], "picture") == 1
    assert warned([np.rot90(p) for p in chests], "on its side") >= 0.9
    assert warned([p[::-1] for p in chests], "upside down") >= 0.85
    assert warned([lost(p) for p in chests], "may be lost") >= 0.9
    assert warned([0.5 + 0.1 * (p - 0.5) for p in chests], "contrast") == 1
    assert warned([np.round(p * 20) / 20 for p in chests], "grey levels") == 1
    assert warned([p[::4, ::4][:100, :100] for p in chests], "small") == 1
    assert warned([np.clip(p * 3, 0, 1) for p in chests], "white") >= 0.8
    assert warned([written(p) for p in chests], "text") >= 0.7
    assert warned([np.concatenate([p, p, p], axis=1) for p in chests], "unusually wide") == 1
    assert warned([np.concatenate([p, p, p], axis=0) for p in chests], "unusually narrow") == 1


def lost(pixels: np.ndarray) -> np.ndarray:
    out = pixels.copy()
    out[len(out) * 2 // 3 :] = 0
    return out


def written(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray((pixels * 120).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for y in range(4, image.height - 12, 14):
        draw.text((4, y), "SUPINE 14:32 WARD B BED 7 KV 90 MAS 2", fill=255)
    return np.asarray(image) / np.float32(255)


def strangers() -> dict[str, np.ndarray]:
    rng, (y, x) = np.random.default_rng(0), np.mgrid[0:256, 0:256] / 255
    noise = rng.random((256, 256))
    blobs = np.real(
        np.fft.ifft2(np.fft.fft2(noise) * np.exp(-200 * (np.minimum(y, 1 - y) ** 2 + np.minimum(x, 1 - x) ** 2)))
    )
    disc = (x - 0.5) ** 2 + (y - 0.5) ** 2
    out = {
        "noise": noise,
        "blobs": blobs,
        "bars": (x * 9 % 2 > 1) + 0.1 * noise,
        "disc": -disc + 0.1 * noise,
        "ramp": y,
        "checks": ((x * 8).astype(int) + (y * 8).astype(int)) % 2 + 0.1 * noise,
    }
    return {name: ((a - a.min()) / np.ptp(a)).astype(np.float32) for name, a in out.items()}


def test_strangers_are_named() -> None:
    for name, pixels in strangers().items():
        assert input_report(Radiograph(pixels)), name


def test_other_radiographs_are_named(dev_data: Path) -> None:
    from whyray.io.dicom import decoded, grey

    for part in ("hip_rg2", "extremity_rg3_jpegls", "teeth", "xa1", "mammo"):
        path = next((dev_data / "dicom_zoo" / "files").glob(f"other_*{part}*"))
        _, head, stored = decoded(path.read_bytes())
        assert not look(grey(stored, head, "file")[0]).frontal, part


def test_checks_are_whole(chests: list[np.ndarray]) -> None:
    found = checks(Radiograph(chests[0], warnings=("The header says so.",)))
    assert len({check.name for check in found}) == len(found) >= 12
    assert all(check.warning is None for check in found)
    assert input_report(Radiograph(chests[0], warnings=("The header says so.",))) == ("The header says so.",)
