"""Phrases of the phantom's reports. Filled in: ``side`` (right), ``place`` (the right lower zone),
``adj`` (right lower zone), ``size``."""

from __future__ import annotations

State = tuple[str, ...]

# how a reader states what is there
SEEN: dict[str, State] = {
    "atelectasis": (
        "There is {side} basal atelectasis.",
        "Bands of atelectasis are seen at the {side} base.",
        "{Adj} atelectasis is present.",
    ),
    "cardiomegaly": (
        "The heart is enlarged.",
        "There is cardiomegaly.",
        "The cardiac silhouette is enlarged.",
        "Heart size is increased, with a cardiothoracic ratio of about {size}.",
    ),
    "consolidation": (
        "There is consolidation in {place}.",
        "{Adj} consolidation is present.",
        "Dense consolidation occupies part of {place}.",
    ),
    "edema": (
        "There is pulmonary edema.",
        "Findings are those of pulmonary edema.",
        "Perihilar vessels are indistinct and engorged, with pulmonary edema.",
    ),
    "lung_opacity": (
        "There is a hazy opacity in {place}.",
        "Ill-defined opacity is seen in {place}.",
        "{Adj} opacity is noted.",
    ),
    "mass": (
        "A {size} cm mass is seen in {place}.",
        "There is a {adj} mass measuring {size} cm.",
        "A lobulated mass projects over {place}.",
    ),
    "nodule": (
        "There is a {size} cm nodule in {place}.",
        "A nodule projects over {place}.",
        "A rounded nodule of {size} cm lies in {place}.",
    ),
    "pleural_effusion": (
        "There is a {side} pleural effusion.",
        "A {side} pleural effusion is present.",
        "Pleural fluid is seen on the {side}.",
    ),
    "pneumonia": ("There is {adj} pneumonia.", "Pneumonia is present in {place}."),
    "pneumothorax": (
        "There is a {side} pneumothorax.",
        "A {side} pneumothorax is present.",
        "A pneumothorax is noted on the {side}, with a visible pleural edge.",
    ),
}
HEDGED: dict[str, State] = {
    "atelectasis": ("There may be mild {side} basal atelectasis.", "Possible atelectasis at the {side} base."),
    "cardiomegaly": (
        "The heart is possibly enlarged.",
        "Heart size is borderline; mild cardiomegaly cannot be excluded.",
    ),
    "consolidation": ("Possible consolidation in {place}.", "Early {adj} consolidation cannot be excluded."),
    "edema": ("Mild pulmonary edema cannot be excluded.", "There may be early pulmonary edema."),
    "lung_opacity": ("There is a questionable opacity in {place}.", "A faint {adj} opacity is possible."),
    "mass": ("A mass in {place} cannot be excluded.", "Possible mass in {place}."),
    "nodule": ("Possible nodule in {place}.", "A faint {adj} nodule is questioned."),
    "pleural_effusion": (
        "There may be a small {side} pleural effusion.",
        "A trace {side} pleural effusion cannot be excluded.",
    ),
    "pneumonia": ("Early {adj} pneumonia cannot be excluded.", "Possible {adj} pneumonia."),
    "pneumothorax": ("A small {side} pneumothorax cannot be excluded.", "Possible tiny {side} pneumothorax."),
}
# what is said of a finding that is not there; several may share a sentence
ABSENT: dict[str, str] = {
    "atelectasis": "atelectasis",
    "cardiomegaly": "cardiomegaly",
    "consolidation": "consolidation",
    "edema": "pulmonary edema",
    "lung_opacity": "focal opacity",
    "nodule": "nodule",
    "pleural_effusion": "pleural effusion",
    "pneumothorax": "pneumothorax",
    "pneumonia": "pneumonia",
}
NEGATIVE: State = ("There is no {what}.", "No {what} is seen.", "No evidence of {what}.", "No {what}.")
DEVICE: State = ("{What} in place.", "There is {what}.", "{What} is noted.")
NORMAL: State = ("No acute cardiopulmonary abnormality.", "No acute abnormality of the chest.", "No acute findings.")

# evidence -> diagnosis: the phrase of the evidence, the cue, the diagnosis
EVIDENCE: dict[str, State] = {
    "lung_opacity": ("patchy opacity in {place}", "{adj} opacity", "hazy {adj} opacity"),
    "consolidation": ("consolidation in {place}", "{adj} consolidation"),
    "enlarged_cardiomediastinum": ("the enlarged cardiomediastinal contour",),
}
# evidence that has no label of its own
OTHER_EVIDENCE: dict[str, State] = {
    "edema": ("engorgement of the perihilar vessels", "vascular indistinctness with septal lines"),
    "pleural_effusion": ("blunting of the {side} costophrenic angle", "a meniscus at the {side} base"),
    "pneumothorax": ("a thin pleural line on the {side}", "absence of markings beyond a line on the {side}"),
}
SURE: State = ("is consistent with", "is compatible with", "is in keeping with", "is due to", "reflects")
UNSURE: State = (
    "may represent",
    "could reflect",
    "is concerning for",
    "may be due to",
    "likely represents",
    "suggests",
)
NAMES: dict[str, str] = {
    "atelectasis": "atelectasis",
    "consolidation": "consolidation",
    "edema": "pulmonary edema",
    "pleural_effusion": "a {side} pleural effusion",
    "pneumonia": "pneumonia",
    "pneumothorax": "a {side} pneumothorax",
}
