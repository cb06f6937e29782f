"""Report trees in the layout of MIMIC-CXR, with text written for these tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

HEAD = "                                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n \n INDICATION:  Cough.\n \n"
REPORTS = {
    "p10/p10000032/s50000001": HEAD
    + " FINDINGS: \n \n The heart is normal.  There is left basal opacity, which may\n represent pneumonia."
    + "  No effusion. \n \n IMPRESSION: \n \n Left basal opacity may represent pneumonia.\n",
    "p10/p10000032/s50000002": HEAD + " IMPRESSION:  1.  Mild edema; small effusions.  2.  No pneumothorax.\n",
    "p11/p11000007/s50000003": HEAD + " FINDINGS:  Blunting of the left angle suggests a small effusion.\n",
    "p19/p19000001/s50000004": HEAD + " COMPARISON:  None.\n",
}


def report_tree(root: Path, reports: Mapping[str, str] = REPORTS) -> Path:
    """The tree below ``root/files``, with a file of a file browser that belongs to nobody."""
    for place, text in reports.items():
        path = root / "files" / f"{place}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "files" / ".DS_Store").write_bytes(b"\0\1")
    return root
