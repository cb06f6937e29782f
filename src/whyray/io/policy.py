"""Which DICOM objects are explained: chest radiographs; what else came is said in words, never in the file's own."""

from __future__ import annotations

from dataclasses import dataclass

from ..types import Laterality, View
from .dicom_walk import Walked
from .refusal import Malformed

RADIOGRAPHS = {"CR": "computed radiography", "DX": "digital radiography", "RG": "radiography"}
OTHERS = {
    "CT": "a CT",
    "MR": "an MR",
    "US": "an ultrasound",
    "NM": "a nuclear medicine",
    "PT": "a PET",
    "MG": "a mammography",
    "XA": "an angiography",
    "RF": "a fluoroscopy",
    "SEG": "a segmentation",
    "SR": "a structured report",
    "RTDOSE": "a radiotherapy dose",
    "RTPLAN": "a radiotherapy plan",
    "RTSTRUCT": "a radiotherapy structure",
    "RTIMAGE": "a radiotherapy",
    "ECG": "an electrocardiogram",
    "PR": "a presentation state",
    "KO": "a key object",
    "IO": "an intra-oral",
    "PX": "a panoramic dental",
    "BMD": "a bone density",
    "ES": "an endoscopy",
    "XC": "a photograph",
    "SM": "a microscopy",
    "OP": "an eye",
    "OPT": "an eye",
    "IVUS": "an ultrasound",
    "DOC": "a document",
    "REG": "a registration",
}
CHEST = {"CHEST", "THORAX", "LUNG", "LUNGS", "CHESTABDOMEN", "CHEST_ABDOMEN", "CHEST ABDOMEN", "PORT CHEST", "TORAX"}
ELSEWHERE = {
    "HAND",
    "FOOT",
    "HIP",
    "EXTREMITY",
    "LEG",
    "ARM",
    "KNEE",
    "ANKLE",
    "ELBOW",
    "WRIST",
    "FINGER",
    "TOE",
    "FOREARM",
    "HUMERUS",
    "FEMUR",
    "TIBIA",
    "SKULL",
    "HEAD",
    "JAW",
    "TEETH",
    "NECK",
    "CSPINE",
    "TSPINE",
    "LSPINE",
    "SSPINE",
    "SPINE",
    "COCCYX",
    "PELVIS",
    "ABDOMEN",
    "BREAST",
    "WHOLEBODY",
    "HEEL",
    "PATELLA",
    "THUMB",
    "SINUS",
    "BRAIN",
    "UPPER EXTREMITY",
    "LOWER EXTREMITY",
    "CALCANEUS",
    "CLAVICLE",
    "SHOULDER",
    "SCAPULA",
}
LATERAL = {"LL", "RL", "LATERAL", "LAT", "LLD", "RLD", "LLO", "RLO"}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
DIRECTORY_RECORDS = 0x00041220
GIVE = "give a chest radiograph (CR or DX)"
PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
_WHAT = {0x00080060: "kind of picture", 0x00180015: "body part", 0x00185101: "view"}


@dataclass(frozen=True)
class Subject:
    """What the header says was taken, in known codes only (an unknown text may hold anything)."""

    modality: str | None
    body_part: str | None
    view: View | None
    laterality: Laterality | None
    warnings: tuple[str, ...]


def subject(walked: Walked, monochrome: bool) -> Subject:
    """What was taken, with warnings. Raises Malformed for anything that is no chest radiograph."""
    modality, part = walked.text(0x00080060), walked.text(0x00180015).upper()
    capture = walked.text(0x00080016).startswith(SECONDARY_CAPTURE)
    _refuse_others(walked, modality, part, capture, monochrome)
    if part in ELSEWHERE:
        raise Malformed("its header says it shows another part of the body than the chest", GIVE)
    view, lateral = _view(walked.text(0x00185101).upper())
    missing = [name for tag, name in _WHAT.items() if not walked.text(tag)]
    captured = capture and modality not in RADIOGRAPHS
    warnings = [
        "The picture is a screen or film capture, not an original radiograph." if captured else "",
        f"The header does not name: {', '.join(missing)}." if missing else "",
        "The body part in the header is not one that is known." if part and part not in CHEST else "",
        "The view in the header is lateral; explanations are made for frontal views." if lateral else "",
        "The file is meant for processing, not for viewing: its grey values are raw." if _processing(walked) else "",
        "The header says that text is burned into the picture." if walked.text(0x00280301).upper() == "YES" else "",
    ]
    side = walked.text(0x00200062).upper() or walked.text(0x00200060).upper()
    return Subject(
        modality if modality in RADIOGRAPHS or modality == "OT" else None,
        "CHEST" if part in CHEST else None,
        view,
        "L" if side == "L" else "R" if side == "R" else None,
        tuple(filter(None, warnings)),
    )


def _refuse_others(walked: Walked, modality: str, part: str, capture: bool, monochrome: bool) -> None:
    if DIRECTORY_RECORDS in walked.elements:
        raise Malformed("it is a directory of other files (DICOMDIR)", GIVE)
    if modality in RADIOGRAPHS or (modality == "OT" and capture and part in CHEST):
        return
    if modality in OTHERS:
        raise Malformed(f"it holds {OTHERS[modality]} object, not a radiograph", GIVE)
    if modality or not monochrome:
        raise Malformed("its header does not say that it is a radiograph", GIVE)


def _view(code: str) -> tuple[View | None, bool]:
    if code in ("PA", "AP"):
        return ("PA" if code == "PA" else "AP"), False
    return ("LATERAL", True) if code in LATERAL else (None, False)


def _processing(walked: Walked) -> bool:
    return walked.text(0x00080016) == PROCESSING or walked.text(0x00080068) == "FOR PROCESSING"
