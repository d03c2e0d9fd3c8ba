"""Categories of a feature column → a warning, if they are probably something else."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from .._checks import warn
from ..exceptions import FeatureTypeWarning

MIN_VALUES = 50  # small tables have too few rows to judge
NEAR_UNIQUE_SHARE = 0.8  # 1.25 rows per category
MIN_CATEGORIES = 8  # fewer categories have many rows each
MAX_PARTS_PER_CATEGORY = 0.5  # joined lists repeat their parts in other lists
TYPICAL_SHARE = 0.9  # of the distinct texts; others may stand for missing values
MIN_LIST_LENGTH = 3
SAMPLE_SIZE = 1000  # distinct values whose text is examined
SEPARATORS = "|;,"
_DATE_KINDS = {"datetime64", "datetime", "date", "period", "timedelta64", "timedelta", "time"}
_DATE_PATTERN = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\b.*|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}\b.*")
_CURRENCY = r"(?:[$€£¥₹₽₩₺₫฿¢%]|EUR|USD|GBP|CHF|JPY|CNY|INR|CAD|AUD|kr)"
_AMOUNT_PATTERN = re.compile(
    rf"(?:{_CURRENCY}\s*)?[+-]?(?:\d+|\d{{1,3}}(?:[.,'\s]\d{{3}})+)(?:[.,]\d+)?(?:\s*{_CURRENCY})?"
)
_DIGITS_PATTERN = re.compile(r"[+-]?\d+")  # often codes, such as postal codes
_DATE_ADVICE = "convert it to a number, such as a year, or days as floats"


def warn_of_values(name: str, distinct: np.ndarray, n_values: int) -> None:
    """Warn of dates, joined lists, numbers as text and near-unique values.

    Parameters
    ----------
    name : str
        Of the column.
    distinct : ndarray of shape (n_categories,)
    n_values : int
        Number of values that are not missing.

    Warns
    -----
    FeatureTypeWarning
    """
    if n_values < MIN_VALUES or len(distinct) < MIN_CATEGORIES:
        return
    kind = pd.api.types.infer_dtype(distinct)
    advice = None
    if kind in _DATE_KINDS:
        advice = _DATE_ADVICE
    elif kind == "string":
        advice = _advice_of_text(distinct[:SAMPLE_SIZE].tolist())
    elif kind.startswith("mixed") and _are_amounts(distinct[:SAMPLE_SIZE].tolist()):
        advice = "convert it to float, texts to nan: pandas.to_numeric(column, errors='coerce')"
    if advice is None and len(distinct) >= NEAR_UNIQUE_SHARE * n_values:
        advice = "drop it, or convert it to numbers (embeddings of text, as lists of floats)"
        if kind in ("integer", "floating", "mixed-integer-float"):
            advice = "convert it to float if it is an amount, and drop it if it is an id"
    if advice is not None:
        warn(
            f"feature column {name!r} is read as categories, but {len(distinct)} of its "
            f"{n_values} values ({len(distinct) / n_values:.0%}) are distinct, such as "
            f"{first_value(distinct)!r:.60}; {advice}",
            FeatureTypeWarning,
        )


def first_value(values: np.ndarray) -> Any:
    """Return the first value as a Python object; ``tolist`` turns dates into integers."""
    return pd.Series(values[:1]).astype(object).iloc[0]


def warn_of_lists(name: str, column: pd.Series) -> None:
    """Warn of lists that are probably vectors: integers or bools, in lists of the same length.

    Warns
    -----
    FeatureTypeWarning
    """
    lists = [cell for cell in column if isinstance(cell, list | tuple | np.ndarray)]
    length = len(lists[0]) if lists else 0
    if length < MIN_LIST_LENGTH or any(len(cell) != length for cell in lists):
        return
    array = np.asarray(lists)
    if array.dtype.kind not in "iub":
        return
    ordered = np.sort(array, axis=1)
    repeats = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if repeats.mean() > 0.5:
        warn(
            f"feature column {name!r} is read as lists of categories, but all lists have "
            f"{length} values, and {repeats.mean():.0%} of them repeat one; if they are vectors, "
            "convert them to float",
            FeatureTypeWarning,
        )


def _are_amounts(values: list) -> bool:
    """Return whether nearly all values are numbers, and some of these have a fraction."""
    numbers = [value for value in values if isinstance(value, Real)]
    has_fractions = any(not float(value).is_integer() for value in numbers)
    return has_fractions and len(numbers) >= TYPICAL_SHARE * len(values)


def _advice_of_text(texts: list[str]) -> str | None:
    """Return what to do with texts that hold something else; None for plain categories."""
    if all(text.startswith(("[", "{")) for text in texts):
        return f"parse it to lists ({_parser(texts[0])})"
    if _share(_DATE_PATTERN, texts) >= TYPICAL_SHARE:
        return _DATE_ADVICE
    if _share(_AMOUNT_PATTERN, texts) >= TYPICAL_SHARE and _share(_DIGITS_PATTERN, texts) < 0.5:
        return "remove the signs around the numbers, and convert it to float"
    for separator in SEPARATORS:
        has_separator = [separator in text for text in texts]
        parts = {part.strip() for text in texts for part in text.split(separator)}
        if np.mean(has_separator) >= 0.5 and len(parts) <= MAX_PARTS_PER_CATEGORY * len(texts):
            return f"split it to lists: .str.split({separator!r})"
    return None


def _parser(text: str) -> str:
    """Return the call that reads lists from texts such as this one."""
    parsers: dict[str, Callable[[str], Any]] = {
        "json.loads": json.loads,
        "ast.literal_eval": ast.literal_eval,
    }
    for name, parse in parsers.items():
        try:
            parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return name
    return "numpy.fromstring(text.strip('[]'), sep=' ')"


def _share(pattern: re.Pattern, texts: list[str]) -> float:
    """Return the share of the texts that match the pattern."""
    return sum(pattern.fullmatch(text.strip()) is not None for text in texts) / len(texts)
