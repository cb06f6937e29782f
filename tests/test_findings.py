"""The vocabulary: every label of every set leads to one canonical finding; a typo is told what was near."""

from __future__ import annotations

import pytest

from whyray.errors import UnknownName
from whyray.findings import FINDINGS, VOCABULARIES, crosswalk, facts, finding


@pytest.mark.parametrize("vocabulary", sorted(VOCABULARIES))
def test_a_label_set_maps_one_to_one(vocabulary: str) -> None:
    mapped = crosswalk(vocabulary)
    assert tuple(mapped) == VOCABULARIES[vocabulary]
    assert len(set(mapped.values())) == len(mapped)
    assert len(mapped) == int(vocabulary.rpartition("-")[2])


@pytest.mark.parametrize(
    ("label", "canonical"),
    [
        ("Effusion", "pleural_effusion"),
        ("Pleural_Thickening", "pleural_thickening"),
        ("Airspace Opacity", "lung_opacity"),
        ("nodule/mass", "nodule_or_mass"),
        ("ILD", "interstitial_lung_disease"),
        ("  pulmonary  edema ", "edema"),
    ],
)
def test_spellings(label: str, canonical: str) -> None:
    assert finding(label) == canonical


def test_a_typo_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean pleural_effusion"):
        finding("plural effuson")


def test_no_alias_stands_twice_and_parents_exist() -> None:
    ids = {f.id for f in FINDINGS}
    assert all(f.parent in ids for f in FINDINGS if f.parent)
    for f in FINDINGS:
        assert {finding(a) for a in (f.id, f.name, *f.aliases)} == {f.id}


def test_snomed_codes_are_those_of_pydicom() -> None:
    from pydicom.sr.codedict import codes

    known = {"edema": codes.SCT.PulmonaryEdema, "pleural_effusion": codes.SCT.PleuralEffusion}
    known["pneumothorax"] = codes.SCT.Pneumothorax
    assert {k: str(c.value) for k, c in known.items()} == {f.id: f.snomed for f in FINDINGS if f.snomed}
    assert facts("Effusion").snomed == "60046008"
