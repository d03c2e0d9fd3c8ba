"""Feature columns of a table → one sparse matrix, with a group of columns per feature."""

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
from .tables import join_scalars, scalar_array, valid_text

_LIST_TYPES = list | tuple | set | frozenset | np.ndarray
_MAX_FLOAT32 = np.finfo(np.float32).max


@dataclass(frozen=True)
class Feature:
    """A feature that ``fit`` learned from one column.

    Attributes
    ----------
    name : str
    kind : {"category", "multiple", "number"}
        One category per row, several categories per row, or a number.
    values : ndarray of shape (width,)
        The vocabulary; for a number, its mean and standard deviation.
    """

    name: str
    kind: str
    values: np.ndarray

    @property
    def width(self) -> int:
        """Number of columns of the matrix: one per category, or value and presence of a number."""
        return len(self.values)


class Column(NamedTuple):
    """The values of a feature column, before encoding.

    Attributes
    ----------
    values : Series of length n
    rows : ndarray of shape (n,), int
        Row of the matrix that each value belongs to; values with a negative row are ignored.
    """

    values: pd.Series
    rows: np.ndarray


class FeatureEncoder:
    """Encode columns of any type as groups of columns of a sparse matrix.

    Object, text, category, bool and integer columns are categories, float columns are numbers, and
    columns of lists have several categories per row. A category is encoded as a 1 in the column of
    its value, ``m`` categories as 1/m each, and a number as its standardised value and a 1. Missing
    and unseen values leave zeros, so that they add nothing to the mean over the features.

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

    @property
    def column_offsets(self) -> np.ndarray:
        """First column of each feature, then the width, int64 of shape (n_features + 1,)."""
        return np.cumsum([0, *(feature.width for feature in self.features)])

    @classmethod
    def fit(cls, columns: Mapping[str, Column]) -> FeatureEncoder:
        """Learn vocabularies, means and standard deviations.

        Raises
        ------
        InvalidInputError
            If a number is infinite or too large for float32.
        IdTypeError
            If a category, or a value in a list, is not a scalar.

        Warns
        -----
        IgnoredDataWarning
            If a column has only missing values; it is left out.
        """
        features = []
        for name, (values, _) in columns.items():
            feature = _fit_feature(name, values)
            if feature.width:
                features.append(feature)
            else:
                warn(
                    f"feature column {name!r} has only missing values and is ignored",
                    IgnoredDataWarning,
                )
        return cls(features)

    def transform(self, columns: Mapping[str, Column], n_rows: int) -> Features:
        """Return the features of ``n_rows`` ids; values that ``fit`` has not seen count as missing.

        Raises
        ------
        InvalidInputError
            If a number is infinite or too large for float32, or a number column holds other values.
        IdTypeError
            If a category, or a value in a list, is not a scalar.
        """
        blocks = []
        for feature in self.features:
            values, rows = columns[feature.name]
            value_of_row = np.full(n_rows, -1)
            value_of_row[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
            blocks.append(select_rows(_encode_values(feature, values), value_of_row))
        return _join_blocks(self, blocks, n_rows)

    def extended(self, columns: Mapping[str, Column]) -> FeatureEncoder:
        """Return an encoder that also knows the categories of ``columns``.

        New categories follow the known ones. Numbers keep their mean and standard deviation, and
        features without a column stay as they are.
        """
        features = []
        for feature in self.features:
            if feature.name in columns and feature.kind != "number":
                feature = _extend_vocabulary(feature, columns[feature.name].values)
            features.append(feature)
        return FeatureEncoder(features)

    def columns_in(self, other: FeatureEncoder) -> np.ndarray:
        """Match the columns of the matrix with the columns of ``other``; -1 if there is no match.

        Returns
        -------
        ndarray of shape (width,), int64
            One entry per column of this encoder's matrix.
        """
        positions = {feature.name: i for i, feature in enumerate(other.features)}
        offsets = other.column_offsets
        parts = [np.empty(0, dtype=np.int64)]
        for feature in self.features:
            i = positions.get(feature.name)
            if i is None or other.features[i].kind != feature.kind:
                parts.append(np.full(feature.width, -1))
            elif feature.kind == "number":
                parts.append(offsets[i] + np.arange(feature.width))
            else:
                codes = pd.Index(other.features[i].values).get_indexer(feature.values)
                parts.append(np.where(codes < 0, -1, offsets[i] + codes))
        return np.concatenate(parts)


@dataclass(frozen=True)
class Features:
    """Features of n ids.

    Attributes
    ----------
    encoder : FeatureEncoder
    matrix : csr_matrix of shape (n, width), float32
        Mean over the features that the id has a value for.
    presence : ndarray of shape (n,), float32
        Number of features that the id has a value for.
    """

    encoder: FeatureEncoder
    matrix: sparse.csr_matrix
    presence: np.ndarray

    def updated(
        self, encoder: FeatureEncoder, columns: Mapping[str, Column], n_rows: int
    ) -> Features:
        """Return the features with new values for known or new ids.

        Parameters
        ----------
        encoder : FeatureEncoder
            The encoder of these features, or what its method `extended` returned.
        columns : dict of str to Column
            New values by name of the feature, without negative rows. Features without a
            column stay as they are.
        n_rows : int
            Number of ids after the update, at least n.

        Raises
        ------
        InvalidInputError, IdTypeError
            As `FeatureEncoder.transform`.
        """
        sums = scale_rows(self.matrix, np.maximum(self.presence, 1))
        offsets = self.encoder.column_offsets
        blocks = []
        for i, feature in enumerate(encoder.features):
            block = sums[:, offsets[i] : offsets[i + 1]]
            block.resize(n_rows, feature.width)
            if feature.name in columns:
                values, rows = columns[feature.name]
                # Stack the new values below the old ones, and select one of both per id.
                stacked = sparse.vstack([block, _encode_values(feature, values)], format="csr")
                chosen = np.arange(n_rows)
                chosen[rows] = n_rows + np.arange(len(rows))
                block = select_rows(stacked, chosen)
            blocks.append(block)
        return _join_blocks(encoder, blocks, n_rows)

    def values_of(self, name: Any, parameter: str) -> FeatureValues:
        """Return the values of one category feature.

        Parameters
        ----------
        name : str or int
        parameter : str
            The parameter that chose the feature, for the message.

        Raises
        ------
        InvalidInputError
            If there is no category feature of that name.
        """
        offsets = self.encoder.column_offsets.tolist()
        columns = {
            feature.name: slice(offsets[i], offsets[i + 1])
            for i, feature in enumerate(self.encoder.features)
            if feature.kind != "number"
        }
        if not isinstance(name, str | int) or name not in columns:
            valid = f"one of {list(columns)}" if columns else "None, as fit was given none"
            raise InvalidInputError(
                f"{parameter}={name!r} is not a feature of fit that holds categories, or lists of "
                f"them; use {valid}"
            )
        return FeatureValues(self.matrix, columns[name])


class FeatureValues(NamedTuple):
    """The values of one feature per id: the nonzero entries of ``matrix[:, columns]``."""

    matrix: sparse.csr_matrix
    columns: slice

    def max_count(self, codes: np.ndarray) -> int:
        """Return an upper bound of the number of values of each of ``codes``."""
        starts = self.matrix.indptr
        return int((starts[codes + 1] - starts[codes]).max(initial=0))


def scale_rows(matrix: sparse.csr_matrix, factors: np.ndarray) -> sparse.csr_matrix:
    """Return the matrix with each row multiplied by its factor, float32."""
    values = matrix.data * np.repeat(factors, np.diff(matrix.indptr))
    return sparse.csr_matrix(
        (values.astype(np.float32), matrix.indices, matrix.indptr), matrix.shape
    )


def select_rows(matrix: sparse.csr_matrix, rows: np.ndarray) -> sparse.csr_matrix:
    """Return the given rows of the matrix; -1 gives an empty row."""
    # Row i of the selector has a 1 in the column rows[i]; the product picks rows of the matrix.
    selected = np.flatnonzero(rows >= 0)
    ones = np.ones(len(selected), dtype=np.float32)
    shape = (len(rows), matrix.shape[0])
    selector = sparse.csr_matrix((ones, (selected, rows[selected])), shape=shape)
    return selector @ matrix


# ------------------------------------------------------------------ learning


def _fit_feature(name: str, column: pd.Series) -> Feature:
    """Return the feature; its width is 0 if no row has a value."""
    if _has_lists(column):
        return Feature(name, "multiple", _vocabulary(name, _explode_lists(column)))
    if column.dtype.kind != "f":
        return Feature(name, "category", _vocabulary(name, column))
    numbers = _numbers(name, column)
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers):
        return Feature(name, "number", numbers)
    mean = numbers.mean()
    scale = numbers.std()
    if scale <= 1e-12 * abs(mean):  # the numbers are equal except for rounding
        scale = 1.0
    return Feature(name, "number", np.array([mean, scale]))


def _extend_vocabulary(feature: Feature, column: pd.Series) -> Feature:
    """Return a category feature that also knows the categories of ``column``."""
    if feature.kind == "multiple":
        column = _explode_lists(column)
    values = _vocabulary(feature.name, column)
    new_values = values[pd.Index(feature.values).get_indexer(values) < 0]
    if not len(new_values):
        return feature
    joined = join_scalars(feature.values, new_values, f"feature column {feature.name!r}")
    return replace(feature, values=joined)


def _vocabulary(name: str, column: pd.Series) -> np.ndarray:
    """Return the distinct values, sorted if they can be compared."""
    distinct = pd.unique(_present_values(name, column))
    try:
        return np.sort(distinct)
    except TypeError:
        return distinct


# ------------------------------------------------------------------ encoding


def _encode_values(feature: Feature, column: pd.Series) -> sparse.csr_matrix:
    """Return the block of one feature, of shape (len(column), feature.width)."""
    if feature.kind == "number":
        return _encode_numbers(feature, column)
    return _encode_categories(feature, column)


def _encode_numbers(feature: Feature, column: pd.Series) -> sparse.csr_matrix:
    """Return the standardised number and a 1 per row; zeros where it is missing."""
    numbers = _numbers(feature.name, column)
    rows = np.flatnonzero(~np.isnan(numbers))
    mean, scale = feature.values
    pairs = np.column_stack([(numbers[rows] - mean) / scale, np.ones(len(rows))])
    codes = np.tile([0, 1], len(rows))
    return sparse.csr_matrix(
        (pairs.ravel(), (np.repeat(rows, 2), codes)), shape=(len(column), feature.width)
    )


def _encode_categories(feature: Feature, column: pd.Series) -> sparse.csr_matrix:
    """Return 1/m in the columns of the m distinct categories of each row."""
    shape = (len(column), feature.width)
    column = column.reset_index(drop=True)
    if feature.kind == "multiple":
        column = _explode_lists(column)
    column = column.dropna()
    codes = pd.Index(feature.values).get_indexer(_present_values(feature.name, column))
    is_known = codes >= 0
    rows = column.index.to_numpy(dtype=np.int64)[is_known]
    # A category that occurs twice in a list counts once.
    keys = np.unique(pair_keys(rows, codes[is_known], feature.width))
    rows, codes_plus_1 = np.divmod(keys, feature.width + 1)
    weights = 1.0 / np.bincount(rows)[rows]
    return sparse.csr_matrix((weights, (rows, codes_plus_1 - 1)), shape=shape)


def _join_blocks(encoder: FeatureEncoder, blocks: list[sparse.csr_matrix], n_rows: int) -> Features:
    """Return the features of ``n_rows`` ids: the mean over the blocks that have a value."""
    presence = np.zeros(n_rows, dtype=np.float32)
    for block in blocks:
        presence += np.diff(block.indptr) > 0
    empty = sparse.csr_matrix((n_rows, 0), dtype=np.float32)  # hstack needs at least one block
    sums = sparse.hstack([empty, *blocks], format="csr", dtype=np.float32)
    return Features(encoder, scale_rows(sums, 1 / np.maximum(presence, 1)), presence)


# ------------------------------------------------------------------ values of a column


def _has_lists(column: pd.Series) -> bool:
    return column.dtype.kind not in "iufbM" and any(
        isinstance(cell, _LIST_TYPES) for cell in column
    )


def _explode_lists(column: pd.Series) -> pd.Series:
    """Return the values of all lists, each with the index of its list."""
    with valid_text():
        return column.astype(object).explode()


def _present_values(name: str, column: pd.Series) -> np.ndarray:
    """Return the values that are not missing."""
    return scalar_array(column.dropna(), f"feature column {name!r}")


def _numbers(name: str, column: pd.Series) -> np.ndarray:
    """Return a number column as float64; missing values are nan."""
    values = _present_values(name, column)
    if len(values) and values.dtype.kind not in "iufb":
        raise InvalidInputError(
            f"feature column {name!r} held floats in fit but has other values now, such as "
            f"{values[0]!r}; convert it to float"
        )
    numbers = np.full(len(column), np.nan)
    numbers[column.notna().to_numpy()] = values
    is_too_large = np.abs(numbers) > _MAX_FLOAT32
    if is_too_large.any():
        raise InvalidInputError(
            f"feature column {name!r} is infinite, or too large for float32, in row "
            f"{int(is_too_large.argmax())}; "
            "replace such values by a smaller number or by nan (missing)"
        )
    return numbers
