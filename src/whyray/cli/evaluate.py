"""``whyray evaluate``: tables with n and intervals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from .language import language
from .options import Card, Data, Device, Json, Layer, Limit, Model, Seed, SomeModel, Threads, Weights

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Measure a classifier, or its explanations, on a data set."
)

Out = Annotated[
    Path,
    typer.Option(
        "-o", "--out", help="Folder of the run; an interrupted run goes on from there, computing nothing twice."
    ),
]
PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", help="TOML plan (docs/evaluate.md); options override its keys.", show_default=False),
]
SomeData = Annotated[
    str | None, typer.Option("-d", "--dataset", help="phantom, nih14:PATH, folder:PATH[#split] ...", show_default=False)
]
Explainers = Annotated[
    list[str] | None,
    typer.Option(
        "-x",
        "--explainer",
        metavar="NAME[:KEY=VALUE,...]",
        help="Explainer; again for more. Default: gradcam, lime, lrp, shap. The controls always join.",
        show_default=False,
    ),
]
Findings = Annotated[
    list[str] | None, typer.Option("-f", "--finding", help="Only this finding; again for more.", show_default=False)
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FACT=VALUE",
        help="Only cases with this fact, such as 'dataset=NIH ChestX-ray14'; again for more.",
        show_default=False,
    ),
]
RegionMap = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FINDING=REGION,...",
        help="Experts' regions that count as a finding of the classifier. Default: those of the same name.",
        show_default=False,
    ),
]
SomeSeed = Annotated[int | None, typer.Option(help="Seed of everything random. Default: 0.", show_default=False)]


@app.callback()
def evaluate() -> None:
    """Commands that measure."""


@app.command()
def classifier(
    model: Model = "mini",
    dataset: Data = "phantom#test",
    limit: Limit = None,
    weights: Weights = None,
    card: Card = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """AUC, AUPRC, sensitivity, specificity, F1, calibration of each finding, with patient-bootstrap 95 % intervals."""
    from .. import api
    from . import show

    show.process_settings(threads)
    subject = api.load_model(model, device=device, weights=weights, card=card)
    failures: list[str] = []
    options: dict[str, Any] = {"limit": limit, "seed": seed, "refused": failures.append}
    try:
        with show.progress("evaluate", quiet=as_json) as reporter:
            scores = api.evaluate_classifier(subject, dataset, report=reporter, **options)
        show.scores(scores, as_json)
    finally:
        show.failed(failures)
    raise typer.Exit(1 if failures else 0)


@app.command()
def localisation(
    out: Out,
    dataset: SomeData = None,
    model: SomeModel = None,
    explainers: Explainers = None,
    findings: Findings = None,
    region_map: RegionMap = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(help="otsu_filled, tuned, area_matched, top_k; again for more. Default: all.", show_default=False),
    ] = None,
    sign: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[EXPLAINER=]SIGN",
            help="Which half of a map counts: positive, absolute, negative. Default: positive.",
            show_default=False,
        ),
    ] = None,
    tolerance_px: Annotated[
        float | None, typer.Option(help="A hit may lie so far outside.", show_default=False)
    ] = None,
    tolerance_mm: Annotated[float | None, typer.Option(help="The same in millimetres.", show_default=False)] = None,
    plan: PlanFile = None,
    where: Where = None,
    limit: Limit = None,
    weights: Weights = None,
    card: Card = None,
    layer: Layer = None,
    seed: SomeSeed = None,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Do the maps lie where experts drew the finding? Hits, mass, both IoU, with intervals; report.html in OUT."""
    from .. import api
    from . import show

    show.process_settings(threads)
    tolerances = {"tolerance_px": tolerance_px, "tolerance_mm": tolerance_mm}
    local = {"modes": mode, **tolerances, **api.sign_options(sign or ())}
    given = _given(dataset, model, explainers, findings, limit, seed)
    tables = {"map": api.map_options(region_map or ()), "localisation": _known(local)}
    changes = given | _known({**tables, "where": api.where_options(where or ())})
    asked = api.evaluation_plan(plan, changes)
    subject = api.load_model(asked.model, layer=layer, device=device, weights=weights, card=card)
    evaluate = partial(api.evaluate_localisation, subject, asked.dataset, out, plan=asked)
    _measured(evaluate, show.localisation, out, as_json)


@app.command()
def faithfulness(
    out: Out,
    dataset: SomeData = None,
    model: SomeModel = None,
    explainers: Explainers = None,
    findings: Findings = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            help="Findings of a picture: predicted (called by the model), present (labelled), all. Default: predicted.",
            show_default=False,
        ),
    ] = None,
    few: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Pictures that are explained again (noise, seeds, random layers). Default: 8.",
            show_default=False,
        ),
    ] = None,
    plan: PlanFile = None,
    where: Where = None,
    limit: Limit = None,
    weights: Weights = None,
    card: Card = None,
    layer: Layer = None,
    seed: SomeSeed = None,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Do the maps show what the classifier uses? Deletion, insertion, ROAD, stability, random layers; report.html."""
    from .. import api
    from . import show

    show.process_settings(threads)
    given = _given(dataset, model, explainers, findings, limit, seed)
    tables = {"faithfulness": _known({"few": few}), "where": api.where_options(where or ())}
    changes = given | _known({**tables, "pairs": pairs})
    asked = api.evaluation_plan(plan, changes)
    subject = api.load_model(asked.model, layer=layer, device=device, weights=weights, card=card)
    evaluate = partial(api.evaluate_faithfulness, subject, asked.dataset, out, plan=asked)
    _measured(evaluate, show.faithfulness, out, as_json)


@app.command()
def counterfactual(
    out: Out,
    dataset: SomeData = None,
    model: SomeModel = None,
    explainers: Annotated[
        list[str] | None,
        typer.Option(
            "-x",
            "--explainer",
            metavar="NAME[:KEY=VALUE,...]",
            help="Counterfactuals, and maps to compare theirs with; again for more. Default: latent_shift, gradient, "
            "guided_backprop, integrated_gradients. The controls always join.",
            show_default=False,
        ),
    ] = None,
    findings: Findings = None,
    region_map: RegionMap = None,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map2d",
            metavar="MODE",
            help="2-D map of the path: max, mean, mm, int, max_frame0; the first is compared. Default: all.",
            show_default=False,
        ),
    ] = None,
    few: Annotated[
        int | None,
        typer.Option(
            min=0, help="Pictures whose maps are made again under noise and blur. Default: 8.", show_default=False
        ),
    ] = None,
    drawn: Annotated[
        bool, typer.Option("--drawn", help="Only findings that an expert drew, not those that are only labelled.")
    ] = False,
    plan: PlanFile = None,
    where: Where = None,
    limit: Limit = None,
    weights: Weights = None,
    card: Card = None,
    layer: Layer = None,
    seed: SomeSeed = None,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Do counterfactuals reach their targets? Closeness, realism, company, maps, the true twin; report.html in OUT."""
    from .. import api
    from . import show

    show.process_settings(threads)
    given = _given(dataset, model, explainers, findings, limit, seed)
    wanted = {"maps": maps, "few": few, "drawn": drawn or None}
    tables = {"map": api.map_options(region_map or ()), "counterfactual": _known(wanted)}
    asked = api.evaluation_plan(plan, given | _known({**tables, "where": api.where_options(where or ())}))
    subject = api.load_model(asked.model, layer=layer, device=device, weights=weights, card=card)
    evaluate = partial(api.evaluate_counterfactual, subject, asked.dataset, out, plan=asked)
    _measured(evaluate, show.counterfactual, out, as_json)


app.command()(language)


@app.command()
def patterns(
    out: Out,
    dataset: Data = "phantom:val=300,test=300",
    model: Model = "mini",
    bank: Annotated[
        str, typer.Option("--bank", help="Folder of a pattern bank. Default: the one of the model.", show_default=False)
    ] = "",
    limit: Limit = None,
    weights: Weights = None,
    card: Card = None,
    layer: Layer = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """What does a pattern bank explain, and are its patterns what was planted? Controls in the same table."""
    from .. import api
    from . import show

    show.process_settings(threads)
    subject = api.load_model(model, layer=layer, device=device, weights=weights, card=card)
    made = api.evaluate_patterns(subject, dataset, out, bank=bank, limit=limit, seed=seed)
    show.scores(made.scores, as_json)


def _measured(evaluate: Callable[..., Any], shown: Callable[..., None], out: Path, as_json: bool) -> None:
    """Evaluate with a bar, print the tables, and end with 1 where a picture failed."""
    from . import show

    with show.progress("evaluate", quiet=as_json) as reporter:
        result = evaluate(report=reporter)
    shown(result, out, as_json)
    raise typer.Exit(1 if result.failures else 0)


def _given(
    dataset: str | None,
    model: str | None,
    explainers: list[str] | None,
    findings: list[str] | None,
    limit: int | None,
    seed: int | None,
) -> dict[str, Any]:
    """Keys of the plan that the options set."""
    values = {"dataset": dataset, "model": model, "limit": limit, "seed": seed}
    return _known({**values, "explainers": explainers, "findings": findings})


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None and value != {}}
