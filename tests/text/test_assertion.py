"""Sentences a reader would stumble over, written for this purpose: state of the bracketed mention, and its flags."""

from __future__ import annotations

import pytest

from whyray.text.assertion import assertions

CASES = """
negative|No evidence of effusion or [pneumothorax].
negative|No evidence of [effusion] or pneumothorax.
negative|No [consolidation], effusion, or pneumothorax.
negative|No consolidation, [effusion], or pneumothorax.
negative|No consolidation, effusion, or [pneumothorax].
negative|There is today no focal consolidation, pleural effusion or [pneumothorax].
negative|Neither effusion nor [pneumothorax] is present.
negative|Lungs are clear without [effusion] or edema.
negative|Cardiomegaly without [edema].
negative|There is no large right [effusion].
negative|No definite [pneumothorax] is seen.
negative|No [pneumothorax] is identified.
negative|[Pneumothorax] is not seen.
negative|[Effusion] and pneumothorax are not identified.
negative|Effusion and [pneumothorax] are not identified.
negative|Previously seen [effusion] has resolved.
negative|The [edema] has completely resolved.
negative|Resolved [pneumonia].
negative|Interval resolution of left lower lobe [consolidation].
negative|The right [effusion] is no longer seen.
negative|No airspace opacity to suggest [pneumonia].
negative|No [opacity] to suggest pneumonia.
negative|No findings suggestive of [edema].
negative|No opacity concerning for [pneumonia].
negative|There is nothing to suggest [pneumonia].
negative|The chest is negative for [pneumonia].
negative|The lungs are free of [consolidation].
negative|Lungs are clear of [infiltrate] and effusion.
negative|[Pneumonia] is unlikely.
negative|A nodule is [absent].
negative|[Pneumothorax] was ruled out.
negative|Nipple shadow rather than [nodule].
negative|The [chest tube] has been removed.
negative|Interval removal of the right [chest tube].
negative|No new [consolidation].
negative|No acute [fracture].
negative|Chest film fails to show [consolidation].
negative|Absence of [pneumothorax] is confirmed.
negative|The [effusion] has cleared.
negative|Stable cardiomegaly; no [effusion].
negative|There is atelectasis but no [effusion].
negative|NO [PNEUMOTHORAX].
negative|Clear lungs, without evidence of [pneumonia].
negative|Not a [pneumothorax] but a skin fold.
negative|No [effusion] and/or pneumothorax.
negative|No effusion and/or [pneumothorax].
negative|[Pneumothorax]: none.
negative|[Pneumothorax] - none.
negative|[Pneumothorax] – no.
negative|Right [effusion]: absent.
negative|Effusion, [pneumothorax]: none.
negative|CONSOLIDATION: no. [EFFUSION]: NOT SEEN.
negative|[Pneumonia]: unlikely.
negative|[Cardiomegaly]? no.
negative|Is there [cardiomegaly]? No.
negative|2. [Edema]: resolved.
uncertain|[Pneumonia]: possible.
uncertain|[Pneumonia]? Cannot be excluded.
uncertain|[Pneumonia]?
uncertain|Basal opacity ?[pneumonia].
uncertain|? small [pneumothorax], no effusion.
uncertain|Is this [atelectasis] or pneumonia?
uncertain|No [effusion]?
positive|Basal [opacity], pneumonia?
positive|Basal [opacity] ? pneumonia.
positive|No pneumothorax, the [effusion] is large.
positive|No effusion - the [heart] was enlarged.
negative|No consolidation - [effusion] or pneumothorax.
positive|[Pneumothorax]: small, right.
positive|[Cardiomegaly]? Yes.
positive|[Effusion]: no change.
positive|[Effusion]: no longer on the left alone.
positive|[Opacity]: scar unlikely.
positive|[Atelectasis]: no effusion.
positive|There is a small [effusion]: not seen before.
positive|There is an [effusion]: none, however, was drained.
positive|Lungs: [Pneumothorax] on the right.
positive|Heart: no. Lungs: [pneumothorax].
uncertain|[Pneumonia] cannot be excluded.
uncertain|[Pneumonia] cannot be entirely excluded.
uncertain|Underlying [consolidation] can not be excluded.
uncertain|A small [effusion] is not excluded.
uncertain|[Pneumothorax] is not ruled out.
uncertain|We cannot exclude [pneumonia].
uncertain|One cannot completely exclude [pneumonia].
uncertain|Opacity may represent [pneumonia].
uncertain|Opacity might reflect [atelectasis].
uncertain|Opacity could be [atelectasis].
uncertain|Possible small left [effusion].
uncertain|Probable right basal [atelectasis].
uncertain|Opacity likely due to [atelectasis].
uncertain|This is most likely [atelectasis].
uncertain|Basal opacity, possibly [pneumonia].
uncertain|Questionable [nodule].
uncertain|Question of a small [pneumothorax].
uncertain|Findings suggest mild [edema].
uncertain|Findings are suggestive of [edema].
uncertain|This is concerning for [pneumonia].
uncertain|Suspicious for [mass].
uncertain|[Atelectasis] versus pneumonia.
uncertain|Atelectasis versus [pneumonia].
uncertain|[Atelectasis] and/or pneumonia.
uncertain|Basal [atelectasis] or pneumonia.
uncertain|Basal atelectasis or [pneumonia].
uncertain|[Edema] is suspected.
uncertain|[Atelectasis] is possible.
uncertain|There may be a trace [effusion].
uncertain|No consolidation, possible [effusion].
uncertain|No pneumothorax; there may be a small [effusion].
uncertain|Differential includes [pneumonia].
uncertain|CT is advised to evaluate for [mass].
uncertain|Borderline [cardiomegaly].
uncertain|[Pneumonia] should be considered in this setting.
uncertain|A small pneumothorax or [effusion] is difficult to exclude.
uncertain|Suspected [pneumonia].
uncertain|Presumed [atelectasis] at the base.
uncertain|Perhaps a [nodule].
uncertain|Equivocal [nodule].
uncertain|A [fracture] is questioned.
positive|There is a left [effusion].
positive|Left [effusion], no pneumothorax.
positive|No effusion but there is [atelectasis].
positive|No effusion, there is [atelectasis].
positive|No effusion; [atelectasis] at the base.
positive|No effusion. [Atelectasis] at the base.
positive|No effusion and the [heart is enlarged].
positive|No change in the left [effusion].
positive|No significant change in the left [effusion].
positive|The [effusion] has not changed.
positive|[Cardiomegaly] is again noted.
positive|Unchanged [cardiomegaly].
positive|Stable small right [effusion].
positive|The [effusion] has not resolved.
positive|Partially resolved [effusion].
positive|Resolving [edema].
positive|Persistent [consolidation] despite treatment.
positive|Not only [effusion] but also edema.
positive|Opacity consistent with [pneumonia].
positive|Changes in keeping with [edema].
positive|Opacity due to [atelectasis].
positive|The lungs are clear except for [atelectasis].
positive|No acute disease apart from [atelectasis].
positive|[Cardiomegaly] without edema.
positive|[Pneumonia] in the left lower lobe, no effusion.
positive|[Atelectasis], no pneumothorax or effusion.
positive|A chest tube is in place, with a small [pneumothorax].
positive|Since the prior study the [effusion] is larger.
positive|The [mass] measures 3.5 cm.
positive|Not well seen because of [effusion].
positive|No prior film; [cardiomegaly] is present.
positive|Two or more [rib fractures].
positive|Left [effusion], which has grown.
historical|History of [pneumonia].
historical|Prior [pneumonia].
historical|Previous [pneumothorax] in childhood.
historical|Status post [rib fracture].
historical|Past [pneumonia].
comparison|Unchanged [effusion].
comparison|Stable [cardiomegaly].
comparison|The [edema] has improved.
comparison|New right [effusion].
comparison|Worsening [edema] since yesterday.
comparison|[Effusion], as compared with last week.
comparison|Increasing left [consolidation].
current|There is an [effusion].
current|On the prior study no film was made: [effusion].
"""
PARSED = [tuple(line.split("|", 1)) for line in CASES.strip().splitlines()]


@pytest.mark.parametrize(("wanted", "sentence"), PARSED, ids=[f"{w}: {s}" for w, s in PARSED])
def test_sentence(wanted: str, sentence: str) -> None:
    start, end = sentence.index("["), sentence.index("]") - 1
    (said,) = assertions(sentence.replace("[", "").replace("]", ""), [(start, end)])
    if wanted in ("historical", "comparison"):
        assert getattr(said, wanted), said
    elif wanted == "current":
        assert not said.historical and not said.comparison and said.state == "positive"
    else:
        assert said.state == wanted, said


def test_there_are_enough_of_them() -> None:
    assert len(PARSED) >= 120 and len(set(PARSED)) == len(PARSED)


def test_mentions_of_one_sentence_are_judged_apart() -> None:
    text = "Possible effusion, no pneumothorax, and cardiomegaly is unchanged."
    spans = [(text.index(w), text.index(w) + len(w)) for w in ("effusion", "pneumothorax", "cardiomegaly")]
    effusion, pneumothorax, cardiomegaly = assertions(text, spans)
    assert effusion.state == "uncertain" and pneumothorax.state == "negative"
    assert cardiomegaly.comparison


def test_nothing_is_said_of_nothing() -> None:
    assert assertions("No effusion.", []) == ()
