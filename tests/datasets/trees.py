"""Small data sets in the published layouts, made of phantoms and noise."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ENTRY = [
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Sex",
    "View Position",
    "OriginalImage[Width",
    "Height]",
    "OriginalImagePixelSpacing[x",
    "y]",
]


def write_picture(path: Path, seed: int, side: int = 128) -> None:
    """A grey PNG that no other seed has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    smooth = np.random.default_rng(seed).random((8, 8))
    grey = np.kron(smooth, np.ones((side // 8, side // 8))) * 200 + np.arange(side) / side * 50
    Image.fromarray(grey.astype(np.uint8)).save(path)


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """A CSV file with the columns of the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def nih_tree(root: Path, *, spelling: str = "Patient Sex", parts: bool = True, lists: bool = True) -> Path:
    """Eight patients with two pictures each, as the NIH releases them."""
    names = [f"{patient:08d}_{visit:03d}.png" for patient in range(1, 9) for visit in range(2)]
    header = [spelling if h == "Patient Sex" else h for h in ENTRY]
    labels = ["No Finding", "Effusion|Infiltration", "Pleural_Thickening", "Mass"]
    lines = [",".join(header)]
    for i, name in enumerate(names):
        folder = root / f"images_{1 + i % 2:03d}" / "images" if parts else root / "images"
        write_picture(folder / name, i)
        age = "058Y" if spelling == "Patient Gender" else "58"
        lines.append(f"{name},{labels[i % 4]},{i % 2},{int(name[:8])},{age},F,PA,2500,2048,0.168,0.168")
    table = "Data_Entry_2017_v2020.csv" if spelling == "Patient Sex" else "Data_Entry_2017.csv"
    (root / table).write_text("\n".join(lines) + "\n")
    boxes = ["Image Index,Finding Label,Bbox [x,y,w,h],,,", f"{names[1]},Infiltrate,256.0,512.0,128.0,64.5,,,"]
    (root / "BBox_List_2017.csv").write_text("\n".join(boxes) + "\n")
    if lists:
        (root / "test_list.txt").write_text("\n".join(names[:4]) + "\n")
        (root / "train_val_list.txt").write_text("\n".join(names[4:]) + "\n")
    return root


def folder_tree(root: Path) -> Path:
    """Six pictures of five sources, with a box, a mask and a report."""
    sources = [
        "NIH ChestX-ray14",
        "NIH ChestX-ray14",
        "Paediatric pneumonia (x)",
        "Paediatric pneumonia (x)",
        "COVID-19 image data collection",
        "my own",
    ]
    findings = ["Effusion|Mass", "No Finding", "Pneumonia", "No Finding", "COVID-19|ARDS", "Nodule|Pneumonia?|No_Edema"]
    rows = []
    for i, (source, found) in enumerate(zip(sources, findings, strict=True)):
        write_picture(root / f"images/p{i}.png", i)
        rows.append(
            {
                "image_id": f"p{i}",
                "file": f"images/p{i}.png",
                "small": "small/p0.png" if i == 0 else "",
                "dataset": source,
                "licence": "CC0",
                "patient_id": f"patient{i}",
                "age": "44",
                "sex": "F",
                "view": "AP Supine" if i == 1 else "PA",
                "findings": found,
                "split": ("train", "train", "val", "test", "test", "test")[i],
                "width": "1024",
                "height": "512",
            }
        )
    write_picture(root / "small/p0.png", 0, 64)
    write_table(root / "images.csv", rows)
    box = {
        "image_id": "p0",
        "kind": "finding",
        "finding": "Lung Opacity (suspicious for pneumonia)",
        "finding_nih": "",
        "x": "512",
        "y": "128",
        "w": "256",
        "h": "128",
        "annotator": "reader 1",
    }
    shares = {"x_norm": "0.25", "y_norm": "0.5", "w_norm": "0.5", "h_norm": "0.25"}
    boxes = [{**box, **dict.fromkeys(shares, "")}, {**box, **shares, "finding_nih": "Pneumonia"}]
    write_table(root / "boxes.csv", boxes)
    mask = np.zeros((128, 128), np.uint8)
    mask[32:64, 16:48] = 255
    (root / "masks").mkdir()
    Image.fromarray(mask).save(root / "masks/p0.png")
    write_table(
        root / "masks.csv",
        [
            {
                "image_id": "p0",
                "kind": "anatomy",
                "structure": "Left Lung",
                "file": "masks/p0.png",
                "annotator": "reader 2",
            }
        ],
    )
    write_table(
        root / "reports.csv",
        [{"image_ids": "p0|p1", "findings_text": "Effusion.", "impression_text": "", "indication": "Cough."}],
    )
    return root
