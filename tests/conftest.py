"""Fixtures of the whole suite. The only place that knows where development data may lie."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from whyray.contracts import Classifier, Context


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    """The command line takes over signals and the number of threads; give them back."""
    kept = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    threads = torch.get_num_threads() if (torch := sys.modules.get("torch")) else 0
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
    if threads:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def dev_data() -> Path:
    """Root of the development data (``dev/``, ``dicom_zoo/``); skips where it is absent."""
    default = Path(__file__).resolve().parents[1] / "../shared/data"
    root = Path(os.environ.get("WHYRAY_DEV_DATA", default)).resolve()
    if not (root / "dev" / "images.csv").is_file():
        pytest.skip("no development data: set WHYRAY_DEV_DATA to its folder")
    return root


@pytest.fixture(scope="session")
def with_artefacts() -> Callable[[Classifier], Context]:
    """classifier -> a context whose artefacts are untrained ones: enough for promises, not for pictures."""

    def context(classifier: Classifier) -> Context:
        from whyray.models._narrators import KINDS

        makers = {"autoencoder": untrained_autoencoder, "patterns": untrained_bank}
        makers |= {kind: partial(untrained_sentences, network=network) for (network, _), kind in KINDS.items()}
        makers["sentences-wenlex"] = untrained_weak
        return Context(artefact=lambda kind, _fingerprint: makers[kind](classifier))

    return context


def untrained_autoencoder(classifier: Classifier) -> Any:
    """A tiny autoencoder of grey pictures."""
    import torch

    from whyray.cards import Preparation
    from whyray.models._autoencoders import Autoencoder
    from whyray.networks.autoencoder import SmallAE

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = SmallAE(widths=(4, 8, 8), latent=3).eval().requires_grad_(False)
    return Autoencoder("tiny", module, Preparation(size=(64, 64), mean=(0.5,), std=(0.25,)), classifier.fingerprint)


def untrained_bank(classifier: Classifier) -> Any:
    """Two random members of eight latents, half of which are four patterns."""
    import numpy as np

    from whyray.patterns.bank import Pattern, PatternBank
    from whyray.patterns.site import site_of

    site, rng = site_of(classifier), np.random.default_rng(0)
    decoder = rng.normal(size=(16, site.d_out))
    return PatternBank(
        fingerprint=classifier.fingerprint,
        findings=classifier.findings,
        site=site,
        basis=None,
        members=2,
        k=3,
        kind="topk",
        encoder=rng.normal(size=(16, site.d_in)).astype(np.float32),
        encoder_bias=rng.normal(size=16).astype(np.float32),
        threshold=None,
        readout=(0.1 * decoder @ site.weights.T).astype(np.float32),
        base=np.zeros(len(site.bias)),
        cluster=np.array([0, 1, 2, 3, -1, -1, -1, -1] * 2),
        patterns=tuple(Pattern(f"p{i:04d}") for i in range(4)),
    )


def untrained_sentences(classifier: Classifier, network: Any) -> Any:
    """A generator of eight tokens at most a sentence."""
    import torch

    from whyray.models._narrators import Sentences
    from whyray.networks.narrator import narrator
    from whyray.patterns.site import site_of
    from whyray.text.bpe import learned

    site, tokenizer = site_of(classifier), learned(["patchy opacity may represent pneumonia"], 290)
    sizes: dict[str, int | float] = {"width": 16, "hidden": 16} | (
        {} if network == "tienet" else {"layers": 1, "heads": 2}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = narrator(network, len(tokenizer), site.d_in, site.grid, len(site.bias), sizes).eval()
    return Sentences("tiny", network, module, tokenizer, classifier.findings, None, classifier.fingerprint)


def untrained_weak(classifier: Classifier) -> Any:
    """A generator that learned one sentence a diagnosis and audience, and draws pictures of 16 x 16."""
    import torch

    from whyray.models._text_autoencoders import TextCoder, build
    from whyray.models._wenlex import WeakGenerator, new_adapter, new_head, new_network
    from whyray.patterns.site import site_of
    from whyray.text.bpe import learned
    from whyray.text.nle_database import Entry

    diagnoses, audiences, site = classifier.findings, ("clinician", "lay"), site_of(classifier)
    texts = {d: f"Patchy opacity in the left lung may represent {d.replace('_', ' ')}." for d in diagnoses}
    tokenizer = learned(list(texts.values()), 300)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build({"width": 16, "layers": 1, "heads": 2, "longest": 12}, len(tokenizer))
        coder = TextCoder("tiny", tokenizer, module.eval())
        sizes = {"adapter": "llama", "side": 2, "tokens": 2, "blocks": 1, "heads": 2}
        adapters = {a: new_adapter(sizes, coder, site.d_in, len(site.bias)).eval() for a in audiences}
        network = new_network({"widths": [8, 8], "start": 4}, 16).eval()
        heads = {"diagnosis": new_head(16, len(diagnoses)), "side": new_head(16, 4), "severity": new_head(16, 3)}
    databases = {a: tuple(Entry(d, text, a, "made up") for d, text in texts.items()) for a in audiences}
    preparation = classifier.card.preparation
    return WeakGenerator(
        "tiny", coder, diagnoses, audiences, databases, adapters, network, heads, preparation, classifier.fingerprint
    )
