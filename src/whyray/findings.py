"""One canonical vocabulary of findings, and the crosswalk to the label sets of the field.

A canonical id is a lower-case name (``pleural_effusion``). Any label of a known set, and any alias, leads to it:
``finding("Effusion") == finding("pleural effusion") == "pleural_effusion"``.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache

from .errors import UnknownName


@dataclass(frozen=True)
class Finding:
    """id, name for people, parent (the more general finding), SNOMED CT code or None, aliases."""

    id: str
    name: str
    parent: str | None = None
    snomed: str | None = None
    aliases: tuple[str, ...] = ()


# SNOMED CT codes: only those that pydicom's own concept dictionary confirms.
FINDINGS: tuple[Finding, ...] = (
    Finding("aortic_enlargement", "Aortic enlargement", "enlarged_cardiomediastinum"),
    Finding("atelectasis", "Atelectasis", "lung_opacity", aliases=("atelectases", "collapse")),
    Finding("calcification", "Calcification"),
    Finding("cardiomegaly", "Cardiomegaly", "enlarged_cardiomediastinum", aliases=("enlarged heart",)),
    Finding("clavicle_fracture", "Clavicle fracture", "fracture"),
    Finding("consolidation", "Consolidation", "lung_opacity"),
    Finding("copd", "COPD", aliases=("chronic obstructive pulmonary disease",)),
    Finding("edema", "Edema", "lung_opacity", "19242006", ("pulmonary edema", "pulmonary oedema", "oedema")),
    Finding("emphysema", "Emphysema"),
    Finding("enlarged_cardiomediastinum", "Enlarged cardiomediastinum"),
    Finding("enlarged_pulmonary_artery", "Enlarged pulmonary artery", aliases=("Enlarged PA",)),
    Finding("fibrosis", "Fibrosis", aliases=("Pulmonary fibrosis",)),
    Finding("fracture", "Fracture"),
    Finding("hernia", "Hernia", aliases=("hiatal hernia",)),
    Finding("infiltration", "Infiltration", "lung_opacity", aliases=("infiltrate",)),
    Finding("interstitial_lung_disease", "Interstitial lung disease", aliases=("ILD",)),
    Finding("lung_cavity", "Lung cavity", "lung_lesion"),
    Finding("lung_cyst", "Lung cyst", "lung_lesion"),
    Finding("lung_lesion", "Lung lesion"),
    Finding("lung_opacity", "Lung opacity", aliases=("Airspace Opacity", "Opacity")),
    Finding("lung_tumor", "Lung tumor", "lung_lesion", aliases=("lung tumour",)),
    Finding("mass", "Mass", "lung_lesion"),
    Finding("mediastinal_shift", "Mediastinal shift"),
    Finding("no_finding", "No finding", aliases=("normal",)),
    Finding("nodule", "Nodule", "lung_lesion"),
    Finding("nodule_or_mass", "Nodule or mass", "lung_lesion", aliases=("Nodule/Mass",)),
    Finding("other_disease", "Other disease", aliases=("Other diseases",)),
    Finding("other_lesion", "Other lesion"),
    Finding("pleural_effusion", "Pleural effusion", None, "60046008", ("Effusion",)),
    Finding("pleural_other", "Pleural other"),
    Finding("pleural_thickening", "Pleural thickening", "pleural_other"),
    Finding("pneumonia", "Pneumonia", "lung_opacity"),
    Finding("pneumothorax", "Pneumothorax", None, "36118008"),
    Finding("rib_fracture", "Rib fracture", "fracture"),
    Finding("support_devices", "Support devices", aliases=("Support device", "medical devices")),
    Finding("tuberculosis", "Tuberculosis", aliases=("ActiveTuberculosis", "TB")),
)

# Labels in each set's own order and spelling; the order of xrv-18 is the order of its networks' outputs.
VOCABULARIES: dict[str, tuple[str, ...]] = {
    "nih-14": (
        "Atelectasis",
        "Cardiomegaly",
        "Effusion",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pneumonia",
        "Pneumothorax",
        "Consolidation",
        "Edema",
        "Emphysema",
        "Fibrosis",
        "Pleural_Thickening",
        "Hernia",
    ),
    "chexpert-14": (
        "No Finding",
        "Enlarged Cardiomediastinum",
        "Cardiomegaly",
        "Lung Opacity",
        "Lung Lesion",
        "Edema",
        "Consolidation",
        "Pneumonia",
        "Atelectasis",
        "Pneumothorax",
        "Pleural Effusion",
        "Pleural Other",
        "Fracture",
        "Support Devices",
    ),
    "xrv-18": (
        "Atelectasis",
        "Consolidation",
        "Infiltration",
        "Pneumothorax",
        "Edema",
        "Emphysema",
        "Fibrosis",
        "Effusion",
        "Pneumonia",
        "Pleural_Thickening",
        "Cardiomegaly",
        "Nodule",
        "Mass",
        "Hernia",
        "Lung Lesion",
        "Fracture",
        "Lung Opacity",
        "Enlarged Cardiomediastinum",
    ),
    "mimic-nle-10": (
        "Atelectasis",
        "Consolidation",
        "Edema",
        "Enlarged Cardiomediastinum",
        "Lung Lesion",
        "Lung Opacity",
        "Pleural Effusion",
        "Pleural Other",
        "Pneumonia",
        "Pneumothorax",
    ),
    "chexlocalize-10": (
        "Enlarged Cardiomediastinum",
        "Cardiomegaly",
        "Airspace Opacity",
        "Lung Lesion",
        "Edema",
        "Consolidation",
        "Atelectasis",
        "Pneumothorax",
        "Pleural Effusion",
        "Support Devices",
    ),
    "vindr-14": (
        "Aortic enlargement",
        "Atelectasis",
        "Calcification",
        "Cardiomegaly",
        "Consolidation",
        "ILD",
        "Infiltration",
        "Lung Opacity",
        "Nodule/Mass",
        "Other lesion",
        "Pleural effusion",
        "Pleural thickening",
        "Pneumothorax",
        "Pulmonary fibrosis",
    ),
    "vindr-28": (
        "Aortic enlargement",
        "Atelectasis",
        "Calcification",
        "Cardiomegaly",
        "Clavicle fracture",
        "Consolidation",
        "Edema",
        "Emphysema",
        "Enlarged PA",
        "ILD",
        "Infiltration",
        "Lung Opacity",
        "Lung cavity",
        "Lung cyst",
        "Mediastinal shift",
        "Nodule/Mass",
        "Pleural effusion",
        "Pleural thickening",
        "Pneumothorax",
        "Pulmonary fibrosis",
        "Rib fracture",
        "Other lesion",
        "COPD",
        "Lung tumor",
        "Pneumonia",
        "Tuberculosis",
        "Other diseases",
        "No finding",
    ),
}


def finding(label: str) -> str:
    """The canonical id of a label, in any spelling. Raises UnknownName with the nearest names."""
    try:
        return _index()[_normal(label)]
    except KeyError:
        raise UnknownName("finding", label, tuple(f.id for f in FINDINGS)) from None


def nearest(label: str) -> str | None:
    """The canonical id of the finding whose name is a slip or two away from a label, or None."""
    near = difflib.get_close_matches(_normal(label), _index(), n=1, cutoff=0.8)
    return _index()[near[0]] if near else None


def facts(label: str) -> Finding:
    """Name, parent and codes of a finding, from any of its labels."""
    return _by_id()[finding(label)]


def crosswalk(vocabulary: str) -> dict[str, str]:
    """Label -> canonical id of one label set, in the set's order."""
    if vocabulary not in VOCABULARIES:
        raise UnknownName("label set", vocabulary, tuple(VOCABULARIES))
    return {label: finding(label) for label in VOCABULARIES[vocabulary]}


def _normal(label: str) -> str:
    return re.sub(r"[\s_\-/]+", " ", label).strip().lower()


@cache
def _by_id() -> dict[str, Finding]:
    return {f.id: f for f in FINDINGS}


@cache
def _index() -> dict[str, str]:
    return {_normal(label): f.id for f in FINDINGS for label in (f.id, f.name, *f.aliases)}
