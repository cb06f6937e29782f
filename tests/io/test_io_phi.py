"""Identity stays at the door: no tag value in anything that comes out, whatever way it fails."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from corpus import BASE
from writers import dicom, element, shorts

from whyray.errors import InputError
from whyray.io.input_report import checks, input_report
from whyray.io.load import decode_image, load_image

CANARY = b"CANARY"
NAMED = {
    tag: ("LO", CANARY)
    for tag in (0x00080050, 0x00080080, 0x00080090, 0x00081030, 0x0008103E, 0x00100010, 0x00100020, 0x00100030)
}
SPOILED = {
    0x00080060: "CS",
    0x00180015: "CS",
    0x00185101: "CS",
    0x00280004: "CS",
    0x00280008: "IS",
    0x00281050: "DS",
    0x00281052: "DS",
    0x00281053: "DS",
    0x00281056: "CS",
    0x20500020: "CS",
    0x00280301: "CS",
    0x00280030: "DS",
}


def shown(data: bytes, name: str = "a.dcm") -> str:
    """Everything a caller could see."""
    try:
        found = decode_image(data, name)
    except InputError as error:
        parts: list[object] = [
            error,
            repr(error),
            error.reason,
            error.remedy,
            error.source,
            error.__cause__,
            error.__context__ and "",
        ]
    else:
        parts = [
            repr(found),
            found.facts,
            found.warnings,
            input_report(found),
            checks(found),
            found.patient_key,
            found.name,
        ]
    return " ".join(map(str, parts))


def test_no_canary_in_any_output(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert "CANARY" not in shown(dicom(BASE, NAMED, extra=element(0x00091001, "LO", CANARY)))
        for tag, vr in SPOILED.items():
            assert "CANARY" not in shown(dicom(BASE, {**NAMED, tag: (vr, CANARY)})), hex(tag)
        assert "CANARY" not in shown(dicom(BASE, {**NAMED, 0x00280010: ("US", shorts(9999))}))
        assert "CANARY" not in shown(dicom(BASE, NAMED)[:20_000])
    assert not caught and "CANARY" not in caplog.text
    assert capfd.readouterr() == ("", "")


def test_derived_files(dev_data: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    for part in ("derived_phi_everywhere", "derived_hostile_strings", "derived_utf8_names"):
        path = dev_data / "dicom_zoo" / "files" / f"{part}.dcm"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(path, stop_before_pixels=True)
            canaries = {
                str(e.value)
                for e in data.iterall()
                if e.VR in ("PN", "LO", "SH", "DA", "TM", "UI", "LT", "ST", "UT", "AS", "AE", "UN")
                and len(str(e.value)) > 3
            }
        found = load_image(path)
        everything = shown(path.read_bytes()) + repr(found)
        assert len(canaries) > 3
        assert not [c for c in canaries if c in everything], part


def test_patient_key_is_salted(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(patient: bytes, salt: str | None = None) -> str | None:
        return decode_image(dicom(BASE, {0x00100020: ("LO", patient)}), "a.dcm", salt=salt).patient_key

    assert key(b"P1") == key(b"P1") == key(b"P1 ") != key(b"P2")
    assert key(b"P1", "x") != key(b"P1", "y") and key(b"P1", "x") == key(b"P1", "x")
    assert key(b"") is None and decode_image(dicom(BASE), "a.dcm").patient_key is None
    before = key(b"P1")
    monkeypatch.setenv("WHYRAY_SALT", "study 7")
    assert key(b"P1") == key(b"P1", "study 7") != before
    assert "P1" not in str(key(b"P1"))


def test_hidden_pixels_of_an_alpha_picture_stay_hidden() -> None:
    from corpus_pictures import RGB, with_alpha
    from writers import png

    values = with_alpha(RGB, 255)
    values[40:60, 40:100, 3] = 0
    found = decode_image(png(values, 6), "a.png").pixels
    assert not found[40:60, 40:100].any() and np.array_equal(
        found[80:], (BASE / np.float32(255)).astype(np.float32)[80:]
    )
