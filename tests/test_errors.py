"""Every error says what came, what was wanted, what to do, in one line, and survives a trip between processes."""

from __future__ import annotations

import pickle

import pytest

from whyray.errors import InputError, MissingExtra, UnknownName, WhyrayError, clipped, printable, suggestion


@pytest.mark.parametrize(
    "error",
    [
        InputError("/data/x.dcm", "half of the pixel data is missing", "copy the file again"),
        UnknownName("finding", "efusion", ("effusion", "edema")),
        MissingExtra("timm", "timm: models", "zoo"),
    ],
)
def test_errors_pickle(error: WhyrayError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is type(error) and str(again) == str(error)


def test_an_input_error_names_the_file_only_and_stays_one_line() -> None:
    error = InputError("/home/jane.doe/bad\nname\x1b[31m.dcm", "it is empty", "export it again")
    assert "\n" not in str(error) and "\x1b" not in str(error) and "jane.doe" not in str(error)
    assert str(error).endswith("it is empty; export it again.")


def test_words() -> None:
    assert printable("a\tb\x00") == "a?b?"
    assert clipped("abcdefghij", 5) == "ab…ij" and clipped("abc", 5) == "abc"
    assert suggestion("xyz", ()) == "none is known"
    assert suggestion("zzz", ("alpha", "beta")) == "known: alpha, beta"
