"""No identity reaches any output: every text of a file's tags is looked for in everything that ``explain`` writes."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

import whyray
from whyray.jobs.explain import Plan
from whyray.jobs.files import explain_files

# What may be shown: facts of the picture, not of the patient.
HARMLESS = {
    "CHEST",
    "MONOCHROME1",
    "MONOCHROME2",
    "ORIGINAL",
    "PRIMARY",
    "DERIVED",
    "SECONDARY",
    "ISO_IR 100",
    "whyray",
}


def texts(path: Path) -> set[str]:
    """Every text of at least five characters in the data set, nested and private elements too."""
    found: set[str] = set()
    for element in pydicom.dcmread(path, force=True).iterall():
        if element.VR not in ("SQ", "OB", "OW", "UN", "UI", "DS", "IS", "FD", "FL"):
            values = element.value if isinstance(element.value, pydicom.multival.MultiValue) else [element.value]
            found |= {part for v in values for part in str(v).replace("^", " ").split("\n") if len(part.strip()) >= 5}
    return found - HARMLESS


@pytest.mark.parametrize(
    "name", ["derived_phi_everywhere.dcm", "derived_hostile_strings.dcm", "derived_utf8_names.dcm"]
)
@pytest.mark.filterwarnings("ignore")
def test_no_tag_value_is_written(name: str, dev_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = dev_data / "dicom_zoo" / "files" / name
    secrets = texts(source)
    assert secrets
    out = tmp_path / "out"
    batch = explain_files([source], out, classifier=whyray.load_model("analytic"), plan=Plan(findings=("nodule",)))
    assert not batch.failures
    assert {p.parent.parent for p in out.rglob("*") if p.is_file()} == {out}, "a file left its folder"
    said = capfd.readouterr()
    written = said.out + said.err + "".join(p.read_bytes().decode("utf-8", "ignore") for p in out.rglob("*.*"))
    leaked = {s for s in secrets if s in written}
    assert not leaked
