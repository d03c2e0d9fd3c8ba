"""Feature columns of a table → one sparse matrix, a group of columns per feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from .._checks import warn
from ..exceptions import IgnoredDataWarning, InvalidInputError
from .ragged import pair_keys
from .tables import join_scalars, legal_text, scalar_array

_LISTS = list | tuple | set | frozenset | np.ndarray
_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True)
class Feature:
    """What ``fit`` learned of one column.

    Attributes
    ----------
    name : str
    kind : {"category", "multiple", "number"}
    values : ndarray
        The vocabulary; for a number, its mean and standard deviation.
    """

    name: str
    kind: str
    values: np.ndarray

    @property
    def width(self) -> int:
        """Columns of the matrix: one per value; for a number the value and its presence."""
        return len(self.values)


class Column(NamedTuple):
    """A feature column as it was read.

    Attributes
    ----------
    values : Series of length n
    rows : ndarray of shape (n,), int
        Row of the matrix that each value belongs to; negative ones are left out.
    """

    values: pd.Series
    rows: np.ndarray


class FeatureEncoder:
    """Columns of any type → groups of columns of a sparse matrix.

    Object, text, category, bool and integer columns are categories, float columns numbers, columns
    of lists have several categories at once. A category's row has a 1 in the column of its value;
    of ``m`` categories each has 1/m; a number has its standardised value and a 1. A missing or
    unseen value leaves zeros, so that it adds nothing to the mean that a vector is.

    Parameters
    ----------
    features : list of Feature
    """

    def __init__(self, features: list[Feature]) -> None:
        self.features = features

    @property
    def width(self) -> int:
        """Number of columns of the matrix."""
        return sum(feature.width for feature in self.features)

    @classmethod
    def fit(cls, columns: Mapping[str, Column]) -> FeatureEncoder:
        """Learn vocabularies, means and deviations.

        Raises
        ------
        InvalidInputError
            If a float column is infinite somewhere.
        IdTypeError
            If a category, or a value in a list, is no scalar.

        Warns
        -----
        IgnoredDataWarning
            If a column has missing values only; it is left out.
        """
        features = []
        for name, (column, _) in columns.items():
            feature = _fit_column(name, column)
            if feature.width:
                features.append(feature)
                continue
            warn(
                f"feature column {name!r} has no value at all and is ignored",
                IgnoredDataWarning,
            )
        return cls(features)

    def transform(self, columns: Mapping[str, Column], n_rows: int) -> Features:
        """Features of ``n_rows`` ids; values that ``fit`` did not see count as missing.

        Raises
        ------
        InvalidInputError
            If a number is infinite, or a number column holds something else.
        IdTypeError
            If a category, or a value in a list, is no scalar.
        """
        blocks = []
        for feature in self.features:
            values, rows = columns[feature.name]
            source = np.full(n_rows, -1)
            source[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
            blocks.append(select_rows(_encode_column(feature, values), source))
        return _mean(self, blocks, n_rows)

    def extended(self, columns: Mapping[str, Column]) -> FeatureEncoder:
        """The encoder that knows the categories of ``columns`` too, after its own.

        Numbers keep the mean and deviation of ``fit``, and features without a column everything.
        """
        features = []
        for feature in self.features:
            if feature.name in columns and feature.kind != "number":
                feature = _with_values(feature, columns[feature.name].values)
            features.append(feature)
        return FeatureEncoder(features)

    def columns_in(self, other: FeatureEncoder) -> np.ndarray:
        """For each column of the matrix, the column of the same value in ``other``'s, or -1."""
        starts = np.cumsum([0, *(feature.width for feature in other.features)])
        there = {feature.name: i for i, feature in enumerate(other.features)}
        found = [np.empty(0, dtype=np.int64)]
        for feature in self.features:
            i = there.get(feature.name)
            if i is None or other.features[i].kind != feature.kind:
                found.append(np.full(feature.width, -1))
            elif feature.kind == "number":
                found.append(starts[i] + np.arange(feature.width))
            else:
                columns = pd.Index(other.features[i].values).get_indexer(feature.values)
                found.append(np.where(columns < 0, -1, starts[i] + columns))
        return np.concatenate(found)


@dataclass(frozen=True)
class Features:
    """Features of a list of ids.

    Attributes
    ----------
    encoder : FeatureEncoder
    matrix : csr_matrix of shape (n, width), float32
        Mean over the features that the id has a value for.
    presence : ndarray of shape (n,), float32
        Number of these features.
    """

    encoder: FeatureEncoder
    matrix: sparse.csr_matrix
    presence: np.ndarray

    def updated(
        self, encoder: FeatureEncoder, columns: Mapping[str, Column], n_rows: int
    ) -> Features:
        """The features after new values of some, or more, ids; no row of ``columns`` is negative.

        Parameters
        ----------
        encoder : FeatureEncoder
            This one's, or one that `FeatureEncoder.extended` made of it.
        columns : dict of str to Column
            By the names of features; a feature that is missing stays as it is.
        n_rows : int
            Ids that there are now.

        Raises
        ------
        InvalidInputError, IdTypeError
            As `FeatureEncoder.transform`.
        """
        before = scale_rows(self.matrix, np.maximum(self.presence, 1))
        starts = np.cumsum([0, *(feature.width for feature in self.encoder.features)])
        blocks = []
        for i, feature in enumerate(encoder.features):
            block = before[:, starts[i] : starts[i + 1]]
            block.resize(n_rows, feature.width)
            if feature.name in columns:
                values, rows = columns[feature.name]
                source = np.arange(n_rows)
                source[rows] = n_rows + np.arange(len(rows))
                both = sparse.vstack([block, _encode_column(feature, values)], format="csr")
                block = select_rows(both, source)
            blocks.append(block)
        return _mean(encoder, blocks, n_rows)

    def values_of(self, name: Any, parameter: str) -> Values:
        """The values of one category feature.

        Raises
        ------
        InvalidInputError
            If there is no category feature of that name.
        """
        starts = np.cumsum([0, *(feature.width for feature in self.encoder.features)])
        columns = {
            feature.name: slice(start, start + feature.width)
            for feature, start in zip(self.encoder.features, starts[:-1].tolist(), strict=True)
            if feature.kind != "number"
        }
        if not isinstance(name, str | int) or name not in columns:
            legal = f"one of {list(columns)}" if columns else "None, as fit was given none"
            raise InvalidInputError(
                f"{parameter}={name!r} is not a feature of fit that holds categories, or lists of "
                f"them; use {legal}"
            )
        return Values(self.matrix, columns[name])


class Values(NamedTuple):
    """Which values of one feature each id has: where ``matrix`` is not zero in ``columns``."""

    matrix: sparse.csr_matrix
    columns: slice

    def most(self, codes: np.ndarray) -> int:
        """Upper bound of the number of values of one of ``codes``."""
        starts = self.matrix.indptr
        return int((starts[codes + 1] - starts[codes]).max(initial=0))


def _mean(encoder: FeatureEncoder, blocks: list[sparse.csr_matrix], n_rows: int) -> Features:
    """The features of ``n_rows`` ids from the block of each feature."""
    presence = np.zeros(n_rows, dtype=np.float32)
    for block in blocks:
        presence += np.diff(block.indptr) > 0
    blocks = [sparse.csr_matrix((n_rows, 0), dtype=np.float32), *blocks]
    matrix = sparse.hstack(blocks, format="csr", dtype=np.float32)
    return Features(encoder, scale_rows(matrix, 1 / np.maximum(presence, 1)), presence)


def scale_rows(matrix: sparse.csr_matrix, factors: np.ndarray) -> sparse.csr_matrix:
    """The matrix with each row multiplied by its factor."""
    values = matrix.data * np.repeat(factors, np.diff(matrix.indptr))
    return sparse.csr_matrix(
        (values.astype(np.float32), matrix.indices, matrix.indptr), matrix.shape
    )


def select_rows(matrix: sparse.csr_matrix, rows: np.ndarray) -> sparse.csr_matrix:
    """These rows of the matrix, an empty one for -1."""
    known = np.flatnonzero(rows >= 0)
    ones = np.ones(len(known), dtype=np.float32)
    shape = (len(rows), matrix.shape[0])
    return sparse.csr_matrix((ones, (known, rows[known])), shape=shape) @ matrix


def _fit_column(name: str, column: pd.Series) -> Feature:
    """The feature; of width 0 if no row has a value."""
    if _has_lists(column):
        return Feature(name, "multiple", _vocabulary(name, _exploded(column)))
    if column.dtype.kind != "f":
        return Feature(name, "category", _vocabulary(name, column))
    numbers = _numbers(name, column)
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers):
        return Feature(name, "number", numbers)
    mean, scale = numbers.mean(), numbers.std()
    is_constant = scale <= 1e-12 * abs(mean)  # but for rounding
    return Feature(name, "number", np.array([mean, 1.0 if is_constant else scale]))


def _with_values(feature: Feature, column: pd.Series) -> Feature:
    """A feature of categories that knows those of ``column`` too."""
    if feature.kind == "multiple":
        column = _exploded(column)
    values = _vocabulary(feature.name, column)
    new = values[pd.Index(feature.values).get_indexer(values) < 0]
    if not len(new):
        return feature
    name = f"feature column {feature.name!r}"
    return replace(feature, values=join_scalars(feature.values, new, name))


def _has_lists(column: pd.Series) -> bool:
    return column.dtype.kind not in "iufbM" and any(isinstance(cell, _LISTS) for cell in column)


def _exploded(column: pd.Series) -> pd.Series:
    """The values of lists, each with the index of its list."""
    with legal_text():
        return column.astype(object).explode()


def _vocabulary(name: str, column: pd.Series) -> np.ndarray:
    distinct = pd.unique(_scalars(name, column))
    try:
        return np.sort(distinct)
    except TypeError:
        return distinct


def _scalars(name: str, column: pd.Series) -> np.ndarray:
    """The values that are not missing."""
    return scalar_array(column.dropna(), f"feature column {name!r}")


def _numbers(name: str, column: pd.Series) -> np.ndarray:
    """A number column as float64, nan where missing."""
    values = _scalars(name, column)
    if len(values) and values.dtype.kind not in "iufb":
        raise InvalidInputError(
            f"feature column {name!r} held floats in fit but has other values now, such as "
            f"{values[0]!r}; convert it to float"
        )
    numbers = np.full(len(column), np.nan)
    numbers[column.notna().to_numpy()] = values
    too_large = np.abs(numbers) > _LARGEST
    if too_large.any():
        raise InvalidInputError(
            f"feature column {name!r} is infinite, or too large, in row {int(too_large.argmax())}; "
            "replace infinite values by a finite number or by nan (missing)"
        )
    return numbers


def _encode_column(feature: Feature, column: pd.Series) -> sparse.csr_matrix:
    """One feature's block of the matrix, shape (len(column), feature.width)."""
    shape = (len(column), feature.width)
    if feature.kind == "number":
        numbers = _numbers(feature.name, column)
        rows = np.flatnonzero(~np.isnan(numbers))
        mean, scale = feature.values
        values = np.column_stack([(numbers[rows] - mean) / scale, np.ones(len(rows))])
        codes = np.tile([0, 1], len(rows))
        return sparse.csr_matrix((values.ravel(), (np.repeat(rows, 2), codes)), shape=shape)
    column = column.reset_index(drop=True)
    if feature.kind == "multiple":
        column = _exploded(column)
    column = column.dropna()
    codes = pd.Index(feature.values).get_indexer(_scalars(feature.name, column))
    known = codes >= 0
    rows, codes = column.index.to_numpy(dtype=np.int64)[known], codes[known]
    distinct = np.unique(pair_keys(rows, codes, feature.width))
    rows, codes = np.divmod(distinct, feature.width + 1)
    codes -= 1
    weights = 1.0 / np.bincount(rows)[rows]  # a value named twice counts once
    return sparse.csr_matrix((weights, (rows, codes)), shape=shape)
