"""Argument → validated argument; message → warning that points to the line of the caller."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from types import FrameType
from typing import Any

from .exceptions import InvalidInputError, SkmindWarning

# Packages that can be between the caller's code and skmind in the call stack: scikit-learn wraps
# `fit`, and joblib runs the fits of a search.
_INTERNAL_PACKAGES = frozenset({"contextlib", "joblib", "sklearn", "skmind"})


def check_count(value: Any, name: str, minimum: int = 1) -> int:
    """Return ``value`` as int, if it is an integer of at least ``minimum`` and below 2**63.

    Raises
    ------
    InvalidInputError
        If ``value`` is not such an integer.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < minimum:
        raise InvalidInputError(f"{name}={value!r} must be an integer of at least {minimum}")
    if int(value) >= 2**63:
        raise InvalidInputError(f"{name}={value!r} must be below 2**63; set a smaller {name}")
    return int(value)


def check_real(value: Any, name: str, low: float, high: float) -> float:
    """Return ``value`` as float after checking that it is a number from ``low`` to ``high``.

    Raises
    ------
    InvalidInputError
        If ``value`` is not a number or is outside this range.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:  # type: ignore[operator]
        raise InvalidInputError(f"{name}={value!r} must be a number from {low:g} to {high:g}")
    return float(value)


def check_option(value: Any, name: str, options: Sequence[str]) -> str:
    """Return ``value`` after checking that it is one of ``options``.

    Raises
    ------
    InvalidInputError
        If ``value`` is not one of ``options``.
    """
    if not isinstance(value, str) or value not in options:
        raise InvalidInputError(f"{name}={value!r} is not one of {', '.join(map(repr, options))}")
    return value


def machine_memory() -> int | None:
    """Return the bytes of memory of the machine; None if the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def warn(message: str, category: type[Warning] = SkmindWarning) -> None:
    """Issue a warning that points to the line of the caller's code that called skmind."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and _package(frame.f_globals) in _INTERNAL_PACKAGES:
        frame = frame.f_back
        level += 1
    # A worker thread has no frame of the caller; then `warnings` uses the outermost frame.
    warnings.warn(message, category, stacklevel=level - 1 if frame is None else level)


@contextmanager
def quiet_unless(flag: bool) -> Iterator[None]:
    """Hide skmind's warnings in the block, which another process issues, unless ``flag``."""
    if flag:  # without a change of the filters, which all threads share
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkmindWarning)
        yield


def _package(names: dict[str, Any]) -> str:
    return str(names.get("__name__")).partition(".")[0]
