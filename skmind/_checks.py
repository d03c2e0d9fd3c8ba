"""Argument → the argument, if it is valid; a message → a warning that points at the caller."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from types import FrameType
from typing import Any

from .exceptions import InvalidInputError, SkmindWarning

# A call passes through these on its way from the caller to us: scikit-learn wraps `fit`, and joblib
# runs the candidates of a search.
_OUR_SIDE = frozenset({"contextlib", "joblib", "sklearn", "skmind"})


def check_count(value: Any, name: str, minimum: int = 1) -> int:
    """Return ``value`` as int, if it is an integer of at least ``minimum``.

    Raises
    ------
    InvalidInputError
        If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < minimum:
        raise InvalidInputError(f"{name}={value!r} must be an integer of at least {minimum}")
    return int(value)


def check_real(value: Any, name: str, low: float, high: float) -> float:
    """Return ``value`` as float, if it is a number in the closed range from ``low`` to ``high``.

    Raises
    ------
    InvalidInputError
        If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:  # type: ignore[operator]
        raise InvalidInputError(f"{name}={value!r} must be a number from {low:g} to {high:g}")
    return float(value)


def check_option(value: Any, name: str, options: Sequence[str]) -> str:
    """Return ``value``, if it is one of ``options``.

    Raises
    ------
    InvalidInputError
        If it is anything else.
    """
    if not isinstance(value, str) or value not in options:
        raise InvalidInputError(f"{name}={value!r} is not one of {', '.join(map(repr, options))}")
    return value


def warn(message: str, category: type[Warning] = SkmindWarning) -> None:
    """Warn, and name the line of the caller's own code from which skmind was called."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and _package(frame.f_globals) in _OUR_SIDE:
        frame = frame.f_back
        level += 1
    # Without a caller's frame, as in a worker thread, warnings falls back on the outermost one.
    warnings.warn(message, category, stacklevel=level - 1 if frame is None else level)


def _package(names: dict[str, Any]) -> str:
    return str(names.get("__name__")).partition(".")[0]
