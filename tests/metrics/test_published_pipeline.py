"""From maps to the three CSV files, equal to the published way written out with torch, cv2, Pillow and pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whyray.io import chexlocalize_csv as files
from whyray.io import rle
from whyray.metrics import localisation as loc
from whyray.metrics._intervals import chexlocalize_intervals

SHAPE, FINDINGS = (70, 110), ("Atelectasis", "Edema")
IDS = tuple(f"patient{i}_study1_view1_frontal" for i in (9, 10, 2, 31, 7))


def cases() -> tuple[dict[tuple[str, str], np.ndarray], dict[tuple[str, str], np.ndarray]]:
    """Low-resolution maps and truths: some truths are empty, one map is, one truth lies away from every map."""
    rng = np.random.default_rng(0)
    maps, truths = {}, {}
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for i, picture in enumerate(IDS):
        for finding in FINDINGS:
            maps[picture, finding] = rng.random((7, 7)).astype(np.float32) ** 4
            centre = rng.integers(15, 55), rng.integers(15, 95)
            truths[picture, finding] = (np.hypot(y - centre[0], x - centre[1]) < 14) & (i != 2)
    maps[IDS[3], "Edema"][:] = 0
    return maps, truths


def published(maps: dict, truths: dict, true_positive: bool, folder: Path) -> None:
    """A mask by cv2 and Pillow, IoU on decoded masks, rows in order of id, a thousand replicates, rounded."""
    cv2 = pytest.importorskip("cv2")
    pd = pytest.importorskip("pandas")
    import torch
    from PIL import Image, ImageDraw

    rows = []
    for picture in sorted(IDS):
        row: dict[str, object] = {}
        for finding in FINDINGS:
            low = torch.from_numpy(maps[picture, finding])[None, None].double()
            full = torch.nn.functional.interpolate(low, SHAPE, mode="bilinear", align_corners=False)[0, 0].float()
            drawn = Image.new("1", SHAPE[::-1])
            if full.max() > full.min():
                grey = np.uint8(255 * ((full - full.min()) / (full - full.min()).max()).numpy())
                binary = cv2.threshold(grey, 0, int(grey.max()), cv2.THRESH_OTSU)[1]
                for outline in cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]:
                    if len(outline) > 1:
                        points = [tuple(map(int, p[0])) for p in outline]
                        ImageDraw.Draw(drawn).polygon(points, outline=1, fill=1)
            mask, truth = np.array(drawn), truths[picture, finding]
            union = np.sum(mask | truth)
            asked = mask.any() and truth.any() if true_positive else union
            row[finding] = np.sum(mask & truth) / union if asked else np.nan
        rows.append({**row, "img_id": picture})
    table = pd.DataFrame(rows)
    table.to_csv(folder / "iou_results_per_cxr.csv", index=False)
    rng = np.random.RandomState(0)
    drawn_means = [table.iloc[rng.choice(5, size=5, replace=True)][list(FINDINGS)].mean() for _ in range(1000)]
    replicates = pd.DataFrame(drawn_means)
    replicates.to_csv(folder / "iou_bootstrap_results.csv", index=False)
    summary = []
    for finding in FINDINGS:
        ranked = replicates[finding].sort_values()
        low, high = ranked.iloc[int(0.025 * 1000) - 1], ranked.iloc[int(0.975 * 1000) - 1]
        summary.append({"name": finding, "lower": low, "mean": ranked.mean(), "upper": high})
    pd.DataFrame(summary).to_csv(folder / "iou_summary_results.csv", index=False)


def ours(maps: dict, truths: dict, metric: str, folder: Path) -> None:
    """The same through this package: maps at source, masks and truths as runs, the published intervals."""
    masking = loc.Masking("positive")
    ordered = sorted(IDS)
    values = np.empty((5, 2))
    for i, picture in enumerate(ordered):
        for j, finding in enumerate(FINDINGS):
            at_source = files.StoredMap(picture, finding, maps[picture, finding], SHAPE).at_source()
            mask, truth = (rle.encode(m) for m in (masking.mask(at_source), truths[picture, finding]))
            values[i, j] = loc.METRICS[metric].function(mask, truth)
    found = chexlocalize_intervals(values)
    table = files.Table(tuple(ordered), ("atelectasis", "edema"), values)
    summary = {"lower": found.low, "mean": found.mean, "upper": found.high}
    files.write_results(folder, "iou", table, found.replicates, summary)


@pytest.mark.parametrize(("metric", "true_positive"), [("iou", False), ("iou_true_positive", True)])
def test_the_three_files_are_equal(metric: str, true_positive: bool, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    maps, truths = cases()
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
    published(maps, truths, true_positive, tmp_path / "theirs")
    ours(maps, truths, metric, tmp_path / "ours")
    for path in sorted((tmp_path / "theirs").iterdir()):
        theirs, mine = pd.read_csv(path), pd.read_csv(tmp_path / "ours" / path.name)
        pd.testing.assert_frame_equal(mine[theirs.columns], theirs, rtol=1e-12)
    assert pd.read_csv(tmp_path / "ours" / "iou_results_per_cxr.csv").isna().any().any() == true_positive
