"""Sentences of MIMIC-NLE: equal to spaCy 2.3's, by its answers held here and, where it is installed, by asking it."""

from __future__ import annotations

import random

import pytest

from whyray.text._sentencizer import sentence_starts, tokens
from whyray.text.sentences import mimic_nle, mimic_nle_text

# what spaCy 2.3.9 (blank English, sentencizer) makes of texts written for this test
SPACY: list[tuple[str, list[str]]] = [
    ("The lungs are clear.  No effusion.", ["The lungs are clear.", " No effusion."]),
    ("1. No pneumonia.  2. Stable heart.", ["1.", "No pneumonia.", " 2.", "Stable heart."]),
    ("IMPRESSION: No change; heart normal.", ["IMPRESSION:", "No change;", "heart normal."]),
    ("Seen at 3 p.m. on May. Then home.", ["Seen at 3 p.m. on May. Then home."]),
    ("Dr. ___ was told at 10:30 a.m. by phone. Thanks.", ["Dr. ___ was told at 10:30 a.m. by phone.", "Thanks."]),
    ("Mass. There is none.", ["Mass. There is none."]),
    ("Nodule.There is one.", ["Nodule.", "There is one."]),
    ("Lungs.there is one.", ["Lungs.there is one."]),
    ("Compared with ___. Better.", ["Compared with ___.", "Better."]),
    ("PICC at T1. OK?", ["PICC at T1.", "OK?"]),
    ("Size 3.5 cm. Next.", ["Size 3.5 cm.", "Next."]),
    ("Effusion... Perhaps.", ["Effusion... Perhaps."]),
    ("(No effusion.) Next.", ["(No effusion.)", "Next."]),
    ('"No effusion." Next.', ['"No effusion."', "Next."]),
    ("x-ray vs. CT. Then e.g. this. And i.e. that.", ["x-ray vs. CT.", "Then e.g. this.", "And i.e. that."]),
    ("St. Jude valve. Ill. defined.", ["St. Jude valve.", "Ill. defined."]),
    ("PA. Lateral.", ["PA.", "Lateral."]),
    ("Stage T. Next.", ["Stage T. Next."]),
    ("L1-L2. Next.", ["L1-L2.", "Next."]),
    ("10%. Next.", ["10%.", "Next."]),
    ("  Leading blanks. Next.  ", ["  Leading blanks.", "Next.", " "]),
    ("A b.   C d.", ["A b.   C d."]),
    ("[**2101**]. Next.", ["[**2101**].", "Next."]),
    ("No. 3 rib. no. 4.", ["No.", "3 rib.", "no.", "4."]),
    ("C. difficile. Vitamin c. Next.", ["C. difficile.", "Vitamin c. Next."]),
    ("and/or. Next", ["and/or.", "Next"]),
    ("U.S. study. I.V. line. i.v. line.", ["U.S. study.", "I.V. line.", "i.v.", "line."]),
    ("5mm. 5 mm. 5M. Next.", ["5mm.", "5 mm.", "5M. Next."]),
    ("a? b! c: d; e", ["a?", "b!", "c:", "d;", "e"]),
    ("Heart:normal. Lungs:Clear.", ["Heart:", "normal.", "Lungs:", "Clear."]),
    ("_ . _ . x", ["_ . _ .", "x"]),
    (":) ok. :( no. 8) yes. 8). No", [":) ok. :(", "no.", "8) yes.", "8).", "No"]),
    ("'s. 's ok. It's. Fine.", ["'s. 's ok.", "It's.", "Fine."]),
    ("..", [".."]),
    (". . .", [". . ."]),
    ("", []),
    ("a", ["a"]),
    ("?!? What", ["?!?", "What"]),
    ("http://a.b/C.D.E is. Next", ["http://a.b/C.D.E is.", "Next"]),
    ("lungs.There/and.Then", ["lungs.", "There/and.", "Then"]),
]
PIECES = [
    *(
        "No effusion.",
        "Heart",
        "1.",
        "2.",
        "3.5",
        "cm.",
        "4mm.",
        "p.m.",
        "3p.m.",
        "3:00",
        "a.m.",
        "A.",
        "c.",
        "___",
        "___.",
    ),
    *(
        "(AP).",
        "lungs.There",
        "x.y",
        "there;",
        "Dr.",
        "vs.",
        "e.g.",
        "May.",
        "Mass.",
        "-",
        "--",
        "...",
        "?",
        "10%.",
        "'tis",
    ),
    *('"No.', "T1.", "L1-L2.", "and/or", "it's.", "U.S.", "CHF.", "#1.", "[**2.**]", "1.There", "5-mm.", "[x].", "<b>"),
    *("=c", "8).", ":)", "$5.", "5M.", "\n", "'S"),
]


def split(text: str) -> list[str]:
    starts = sentence_starts(text)
    pieces = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)])]
    return [p[:-1] if p.endswith(" ") and p[-2:-1].strip() else p for p in pieces]


def made(seed: int) -> str:
    """A text of pieces that are hard to part."""
    rng = random.Random(seed)
    out = ""
    for _ in range(rng.randint(1, 9)):
        odd = "".join(rng.choice("aAz019.:;,!?()[]_-'\"/ +%$*#&<>=~^@") for _ in range(rng.randint(1, 6)))
        out += (rng.choice(PIECES) if rng.random() < 0.7 else odd) + rng.choice((" ", " ", "  ", "", "   "))
    return out


@pytest.mark.parametrize(("text", "wanted"), SPACY, ids=range(len(SPACY)))
def test_as_spacy_answered(text: str, wanted: list[str]) -> None:
    assert split(text) == wanted


def test_as_spacy_answers_now() -> None:
    spacy = pytest.importorskip(
        "spacy", reason="spaCy 2.3 is the oracle: pip install spacy==2.3.9 in an environment apart"
    )
    if not spacy.__version__.startswith("2.3."):
        pytest.skip(f"spaCy {spacy.__version__} has other rules; the oracle is 2.3")
    from spacy.lang.en import English

    nlp = English()
    nlp.add_pipe(nlp.create_pipe("sentencizer"))
    for seed in range(3000):
        text = made(seed)
        assert split(text) == [str(s) for s in nlp(text).sents], text


@pytest.mark.parametrize("seed", range(50))
def test_tokens_are_the_text(seed: int) -> None:
    text = made(seed)
    assert "".join("".join(tokens(text)).split()) == "".join(text.split())


REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)
 
 INDICATION:  ___F with cough.  // Pneumonia?
 \n FINDINGS: \n \n Heart size is normal.  No effusion is
 seen at 3 p.m.
 \n IMPRESSION: \n \n 1.  No pneumonia.
"""


def test_a_report_as_mimic_nle_numbers_it() -> None:
    found = mimic_nle("s50000001", REPORT)
    assert [(s.id, s.text) for s in found] == [
        ("s50000001#0", "Heart size is normal."),
        ("s50000001#1", "No effusion is seen at 3 p.m.  1."),
        ("s50000001#2", "No pneumonia."),
    ]


def test_line_breaks_go_without_a_blank() -> None:
    assert mimic_nle_text("x\n FINDINGS: one\ntwo   three\n IMPRESSION: four") == "onetwo  threefour"


def test_a_report_without_findings_and_impression_has_none() -> None:
    assert mimic_nle("s1", "Just words. And more.") == ()
