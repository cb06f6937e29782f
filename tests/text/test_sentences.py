"""Sentences: abbreviations, lists, numbers, times, blanks; spans that cover the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyray.text.sentences import sentences

CASES = [
    ("No effusion. Heart is normal.", ["No effusion.", "Heart is normal."]),
    ("Dr. Grey was told. Thanks.", ["Dr. Grey was told.", "Thanks."]),
    ("Seen at 3 p.m. by Dr. J. Grey. Done.", ["Seen at 3 p.m. by Dr. J. Grey.", "Done."]),
    ("Opacity ? pneumonia. Clear? no", ["Opacity ? pneumonia.", "Clear? no"]),
    ("Atelectasis vs. Pneumonia. Next.", ["Atelectasis vs. Pneumonia.", "Next."]),
    ("Nodule of 3.5 cm. Stable.", ["Nodule of 3.5 cm.", "Stable."]),
    ("Nodule of 3.5 cm. in the apex.", ["Nodule of 3.5 cm. in the apex."]),
    ("1. No effusion. 2. Nodule.", ["1. No effusion.", "2. Nodule."]),
    ("1.  No effusion.\n2.  Nodule.", ["1.  No effusion.", "2.  Nodule."]),
    ("1) No effusion\n2) Nodule", ["1) No effusion", "2) Nodule"]),
    ("- No effusion\n- Nodule", ["- No effusion", "- Nodule"]),
    ("No effusion\nis seen. Next.", ["No effusion\nis seen.", "Next."]),
    ("First line\n\nSecond paragraph", ["First line", "Second paragraph"]),
    ("Told at 10:30 a.m. Thanks.", ["Told at 10:30 a.m.", "Thanks."]),
    ("Compared with ___. Stable.", ["Compared with ___.", "Stable."]),
    ("Dr. ___ was told. ___ was not.", ["Dr. ___ was told.", "___ was not."]),
    ("XXXX opacity. XXXX are clear.", ["XXXX opacity.", "XXXX are clear."]),
    ("Old scar, e.g. after surgery. Next.", ["Old scar, e.g. after surgery.", "Next."]),
    ("Fracture of rib no. 3 is old. Next.", ["Fracture of rib no. 3 is old.", "Next."]),
    ("Pneumothorax? No. Next.", ["Pneumothorax? No.", "Next."]),
    ("Effusion? none seen. Edema? Unlikely, no. Next.", ["Effusion? none seen.", "Edema? Unlikely, no.", "Next."]),
    ("Effusion? No effusion. Next.", ["Effusion?", "No effusion.", "Next."]),
    ("Clear lungs.There is no effusion.", ["Clear lungs.", "There is no effusion."]),
    ("(No effusion.) Next.", ["(No effusion.)", "Next."]),
    ("No effusion... Perhaps.", ["No effusion...", "Perhaps."]),
    ("Normal chest..", ["Normal chest.."]),
    ("Vitamin C. Next.", ["Vitamin C.", "Next."]),
    ("See fig. 2 for this. Next.", ["See fig. 2 for this.", "Next."]),
    ("", []),
    (" \n ", []),
    ("No stop at all", ["No stop at all"]),
]


@pytest.mark.parametrize(("text", "wanted"), CASES, ids=[repr(c[0]) for c in CASES])
def test_sentence(text: str, wanted: list[str]) -> None:
    assert [s.text for s in sentences(text)] == wanted


PIECES = [
    "No effusion.",
    " ",
    "\n",
    "\n\n",
    "1.",
    "3.5",
    " cm.",
    "Dr.",
    "___",
    "XXXX.",
    "p.m.",
    "A",
    "b",
    "(x)",
    "?",
    "- ",
    "é",
    "\t",
]


@given(st.lists(st.sampled_from(PIECES)) | st.text().map(lambda t: [t]))
def test_spans_cover_the_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    at = 0
    for sentence in sentences(text):
        assert text[sentence.start : sentence.end] == sentence.text == sentence.text.strip()
        assert sentence.text and not text[at : sentence.start].strip()
        at = sentence.end
    assert not text[at:].strip()
