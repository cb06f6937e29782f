"""``whyray patterns``: what it refuses, before anything is computed or sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from whyray.cli.app import app
from whyray.errors import SettingError, UnmetNeed, WeightsError

RUN = CliRunner()


def refused(*words: str) -> BaseException:
    result = RUN.invoke(app, ["patterns", *words])
    assert result.exception is not None
    return result.exception


def test_a_folder_without_a_bank_says_how_to_get_one(tmp_path: Path) -> None:
    error = refused("show", str(tmp_path))
    assert isinstance(error, WeightsError) and "holds no patterns" in str(error)


def test_an_annotator_in_the_clear_is_refused(tmp_path: Path) -> None:
    words = ("name", str(tmp_path), "-a", str(tmp_path), "--annotator", "http://models.example.org/v1")
    error = refused(*words)
    assert isinstance(error, SettingError) and "use https" in str(error)
    assert not any(tmp_path.iterdir()), "nothing was begun"


def test_a_model_without_a_bank_is_an_unmet_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whyray.models._artefacts.BUNDLED", tmp_path)
    monkeypatch.setattr("whyray.models._artefacts._cache", lambda: tmp_path)
    for words in (("show",), ("browse", "-o", str(tmp_path / "bank.html"))):
        assert isinstance(refused(*words), UnmetNeed)


def test_pictures_are_for_consent_only_by_default() -> None:
    text = RUN.invoke(app, ["patterns", "name", "--help"], env={"COLUMNS": "200"}).output
    assert "--send-images" in text and "Consent" in text and "--no-send-images" not in text
