"""A value of a JSON file and its kind → nothing, or an error that says what the value must be.

A kind is a function of a value and of where it is, such as "n_users in sizes in manifest.json". It
raises a `ModelFileError` unless the value is of that kind.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from sys import float_info
from typing import Any

from ..exceptions import ModelFileError

Kind = Callable[[Any, str], None]

MAX_COLUMN = 2**63 - 1  # integers that name columns are of 64 bits

# Unlike the built-in repr, this one ends early for values that are huge or deeply nested.
_short = reprlib.Repr()
_short.maxlevel = 2
_short.maxstring = 80
_short.maxlist = 20


def shown(value: Any) -> str:
    """Return a short text for a value of any size and depth."""
    return _short.repr(value)


def _of(expected: str, holds: Callable[[Any], bool]) -> Kind:
    def check(value: Any, where: str) -> None:
        if not holds(value):
            raise ModelFileError(f"{where} is {shown(value)}, but must be {expected}")

    return check


def integer(minimum: int, maximum: int) -> Kind:
    """Return the kind of integers from ``minimum`` to ``maximum``; a boolean is none."""
    return _of(
        f"an integer from {minimum} to {maximum}",
        lambda value: type(value) is int and minimum <= value <= maximum,
    )


def number(minimum: float = -float_info.max, maximum: float = float_info.max) -> Kind:
    """Return the kind of integers and finite floats from ``minimum`` to ``maximum``."""
    return _of(
        f"a number from {minimum:g} to {maximum:g}",
        lambda value: type(value) in (int, float) and minimum <= value <= maximum,
    )


def option(*options: str) -> Kind:
    """Return the kind of the texts in ``options``."""
    return _of(f"one of {', '.join(options)}", lambda value: value in options)


def _is_text(value: Any) -> bool:
    return type(value) is str and (
        value.isascii() or not any("\ud800" <= c < "\ue000" for c in value)
    )


boolean = _of("true or false", lambda value: type(value) is bool)
text = _of("text", _is_text)
column = _of(
    "text or a 64-bit integer",
    lambda value: _is_text(value) or (type(value) is int and abs(value) <= MAX_COLUMN),
)
scalar = _of(
    "text, a number, true, false or null",
    lambda value: value is None or type(value) in (bool, int, float) or _is_text(value),
)


def anything(value: Any, where: str) -> None:
    """Accept every value."""


def optional(kind: Kind) -> Kind:
    """Return the kind of None and of what ``kind`` accepts."""

    def check(value: Any, where: str) -> None:
        if value is not None:
            kind(value, where)

    return check


def list_of(kind: Kind) -> Kind:
    """Return the kind of lists whose entries are of one kind."""

    def check(value: Any, where: str) -> None:
        if type(value) is not list:
            raise ModelFileError(f"{where} is {shown(value)}, but must be a list")
        for entry in value:
            kind(entry, f"an entry of {where}")

    return check


def mapping_of(kind: Kind) -> Kind:
    """Return the kind of objects with any keys, whose values are of one kind."""

    def check(value: Any, where: str) -> None:
        _check_object(value, where)
        for key, entry in value.items():
            text(key, f"a key of {where}")
            kind(entry, f"{shown(key)} in {where}")

    return check


def record(kinds: Mapping[str, Kind]) -> Kind:
    """Return the kind of objects with these keys; a key may be missing if None is valid for it.

    So a later version can add keys and still read the models of earlier versions.
    """

    def check(value: Any, where: str) -> None:
        _check_object(value, where)
        if not value.keys() <= kinds.keys():
            raise ModelFileError(
                f"{where} has the unknown keys {shown(sorted(value.keys() - kinds.keys()))}; it "
                f"must have the keys {', '.join(sorted(kinds))}"
            )
        for key, kind in kinds.items():
            kind(value.get(key), f"{key} in {where}")

    return check


def _check_object(value: Any, where: str) -> None:
    if type(value) is not dict:
        raise ModelFileError(f"{where} is {shown(value)}, but must be an object with keys")
