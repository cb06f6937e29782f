"""The public names: few, sorted, real, documented."""

from __future__ import annotations

import inspect

import whyray


def test_at_most_25_names_sorted() -> None:
    assert whyray.__all__ == sorted(whyray.__all__)
    assert len(whyray.__all__) <= 25
    assert dir(whyray) == whyray.__all__


def test_every_name_is_real_and_documented() -> None:
    for name in whyray.__all__:
        thing = getattr(whyray, name)
        if name != "__version__":
            assert inspect.getdoc(thing), f"{name} has no docstring"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(whyray, "explane")
