"""Feature columns of a table → one sparse matrix, with a group of columns per feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from .._checks import warn
from ..exceptions import FeatureTypeWarning, IdTypeError, IgnoredDataWarning, InvalidInputError
from .feature_types import first_value, warn_of_lists, warn_of_values
from .ragged import pair_keys
from .tables import (
    MAX_EXACT_FLOAT,
    check_exact,
    factorize,
    id_kind,
    is_frame,
    join_scalars,
    scalar_array,
    valid_text,
)

MAX_NUMBER = 1e20  # beside larger numbers in a column, all others are equal
MAX_STANDARDISED = 1e9  # the network multiplies up to four of them, and float32 ends at 3e38
_SETS = set | frozenset


@dataclass(frozen=True)
class Feature:
    """A feature that ``fit`` learned from one column.

    Attributes
    ----------
    name : str
    kind : {"category", "multiple", "number", "vector"}
        One category per row, several categories per row, a number, or a vector of numbers.
    values : ndarray of shape (width,)
        The vocabulary; for a number, its mean and standard deviation; for a vector, those of each
        of its numbers.
    """

    name: str
    kind: str
    values: np.ndarray

    @property
    def width(self) -> int:
        """Number of columns of the matrix: one per category; value and presence of each number."""
        return len(self.values)

    @property
    def is_numeric(self) -> bool:
        """Whether ``values`` are means and standard deviations instead of a vocabulary."""
        return self.kind in ("number", "vector")


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

    Object, text, category, bool and integer columns are categories, columns of floats or Decimals
    are numbers, and columns of lists have several categories per row. Lists of floats or Decimals
    are vectors, which equal one float column per number. A category is encoded as a 1 in the column
    of its value, ``m`` categories as 1/m each, and a number as its standardised value and a 1.
    Missing and unseen values leave zeros, so that they add nothing to the mean over the features.
    True, 1 and 1.0 are the same category.

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
            If a number is infinite or too large, or vectors differ in length.
        IdTypeError
            If a category, or a value in a list, is not a scalar.

        Warns
        -----
        IgnoredDataWarning
            If a column has only missing values; it is left out.
        FeatureTypeWarning
            If categories are probably dates, numbers, joined lists or free text.
        """
        features = []
        for name, (values, _) in columns.items():
            feature = _fit_feature(name, _readable(name, values))
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
            If a number is infinite or too large, a number column holds other values, or a vector
            has another length than in ``fit``.
        IdTypeError
            If a category, or a value in a list, is not a scalar.

        Warns
        -----
        FeatureTypeWarning
            If the values of a column are of another kind than in ``fit``, so that none is known.
        """
        blocks = (_encode(feature, columns[feature.name]) for feature in self.features)
        return _join_blocks(self, blocks, n_rows)

    def extended(self, columns: Mapping[str, Column]) -> FeatureEncoder:
        """Return an encoder that also knows the categories of ``columns``.

        New categories follow the known ones. Numbers keep their mean and standard deviation, and
        features without a column stay as they are.
        """
        features = []
        for feature in self.features:
            if feature.name in columns and not feature.is_numeric:
                values = _readable(feature.name, columns[feature.name].values)
                feature = _extend_vocabulary(feature, values)
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
            elif feature.is_numeric:
                n_common = min(feature.width, other.features[i].width)
                parts.append(offsets[i] + np.arange(n_common))
                parts.append(np.full(feature.width - n_common, -1))
            else:
                codes = _positions(other.features[i].values, _as_integers(feature.values))
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
        Number of these features; each number of a vector counts.
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
        sums = scale_rows(self.matrix, np.maximum(self.presence, 1)).tocsc()
        offsets = self.encoder.column_offsets
        blocks = []
        for i, feature in enumerate(encoder.features):
            block = _Block.of_columns(sums, offsets[i], offsets[i + 1])
            if feature.name in columns:
                is_replaced = np.zeros(n_rows, dtype=bool)
                is_replaced[columns[feature.name].rows] = True
                kept = block.where(~is_replaced[block.rows])
                block = kept.joined(_encode(feature, columns[feature.name]))
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
        columns: dict[Any, slice] = {
            feature.name: slice(offsets[i], offsets[i + 1])
            for i, feature in enumerate(self.encoder.features)
            if not feature.is_numeric
        }
        if not isinstance(name, str | Integral) or name not in columns:
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


# ------------------------------------------------------------------ cells


def _readable(name: str, column: pd.Series) -> pd.Series:
    """Return a column with Decimals as floats.

    Raises
    ------
    IdTypeError
        If a cell is a sparse matrix, a frame or an iterator.
    """
    if str(column.dtype).startswith("decimal"):  # of Arrow
        column = column.astype(object)
    if column.dtype != object:
        return column
    types = set(map(type, column))
    for cell_type in types:
        cure = _cell_cure(cell_type)
        if cure:
            raise IdTypeError(
                f"feature column {name!r} has a {cell_type.__name__} in a cell, but a cell must be "
                f"a string, number or date, or a list of them; {cure}"
            )
    if any(issubclass(cell_type, Decimal) for cell_type in types):
        return pd.Series(map(_without_decimal, column), index=column.index)
    return column


def _cell_cure(cell_type: type) -> str:
    """Return how to convert cells of a type that is not read; "" for other types."""
    if issubclass(cell_type, sparse.spmatrix | sparse.sparray):
        return "convert each to an array: cell.toarray().ravel()"
    if issubclass(cell_type, Iterator):
        return "convert each to a list: list(cell)"
    return "give a column per value" if is_frame(cell_type) else ""


def _without_decimal(value: Any) -> Any:
    """Return a Decimal as float, pandas.NA as nan, and other values unchanged."""
    if isinstance(value, Decimal):
        return float(value) if not value.is_nan() else np.nan
    return np.nan if value is pd.NA else value


# ------------------------------------------------------------------ learning


def _fit_feature(name: str, column: pd.Series) -> Feature:
    """Return the feature; its width is 0 if no row has a value."""
    if _holds_vectors(column):
        numbers = _vectors(name, column)
        return Feature(name, "vector", np.concatenate([_mean_and_scale(x) for x in numbers.T]))
    if _has_lists(column):
        warn_of_lists(name, column)
        return Feature(name, "multiple", _vocabulary(name, _explode_lists(name, column)))
    if column.dtype.kind != "f":
        return Feature(name, "category", _vocabulary(name, column))
    numbers = _numbers(name, column)
    values = np.empty(0) if np.isnan(numbers).all() else _mean_and_scale(numbers[:, 0])
    return Feature(name, "number", values)


def _mean_and_scale(numbers: np.ndarray) -> np.ndarray:
    """Return the mean and the standard deviation of the numbers that are not nan."""
    numbers = np.sort(numbers[~np.isnan(numbers)])  # sums don't depend on the order of the rows
    if not len(numbers):
        return np.array([0.0, 1.0])
    mean = numbers.mean()
    scale = numbers.std()
    if scale <= 1e-12 * abs(mean):  # the numbers are equal except for rounding
        scale = 1.0
    return np.array([mean, scale])


def _extend_vocabulary(feature: Feature, column: pd.Series) -> Feature:
    """Return a category feature that also knows the categories of ``column``."""
    if feature.kind == "multiple":
        column = _explode_lists(feature.name, column)
    _, distinct = _factorize(feature.name, column)
    new = _sorted(distinct[_known_positions(feature, distinct) < 0])
    if not len(new):
        return feature
    known = _as_integers(feature.values)
    return replace(feature, values=join_scalars(known, new, f"feature column {feature.name!r}"))


def _vocabulary(name: str, column: pd.Series) -> np.ndarray:
    """Return the distinct values, sorted if they can be compared."""
    codes, distinct = _factorize(name, column)
    warn_of_values(name, distinct, len(codes))
    return _sorted(distinct)


def _sorted(values: np.ndarray) -> np.ndarray:
    """Return the values in order, or unchanged if they can't be compared."""
    try:
        return np.sort(values)
    except TypeError:
        return values


# ------------------------------------------------------------------ encoding


class _Block(NamedTuple):
    """The nonzero entries of the columns of one feature.

    Attributes
    ----------
    rows, columns : ndarray of shape (n_entries,), int
        Columns count from the first one of the feature, and ascend per row.
    values : ndarray of shape (n_entries,)
    """

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @classmethod
    def of_columns(cls, matrix: sparse.csc_matrix, start: int, stop: int) -> _Block:
        """Return the entries of the columns from ``start`` to before ``stop``."""
        places = slice(matrix.indptr[start], matrix.indptr[stop])
        n_entries = np.diff(matrix.indptr[start : stop + 1])
        columns = np.repeat(np.arange(stop - start), n_entries)
        return cls(matrix.indices[places], columns, matrix.data[places])

    def where(self, is_kept: np.ndarray) -> _Block:
        """Return the entries that the mask selects."""
        return _Block(*(part[is_kept] for part in self))

    def joined(self, other: _Block) -> _Block:
        """Return the entries of both; they have no row in common."""
        return _Block(*(np.concatenate(parts) for parts in zip(self, other, strict=True)))

    def presence(self, feature: Feature, n_rows: int) -> np.ndarray:
        """Return how often the feature counts in the mean of each row."""
        if feature.is_numeric:
            return np.bincount(self.rows[self.columns % 2 == 1], minlength=n_rows)
        return np.bincount(self.rows, minlength=n_rows) > 0


def _encode(feature: Feature, column: Column) -> _Block:
    """Return the entries of one feature, in the rows of the matrix."""
    values = _readable(feature.name, column.values)
    if feature.is_numeric:
        block = _encode_numbers(feature, values)
    else:
        block = _encode_categories(feature, values)
    rows = column.rows[block.rows]
    return block._replace(rows=rows).where(rows >= 0)


def _encode_numbers(feature: Feature, column: pd.Series) -> _Block:
    """Return the standardised value and a 1 of each number that is not missing."""
    means, scales = feature.values.reshape(-1, 2).T
    if feature.kind == "vector":
        numbers = _vectors(feature.name, column, len(means))
    else:
        numbers = _numbers(feature.name, column)
    standardised = (numbers - means) / scales
    is_too_large = np.abs(standardised) > MAX_STANDARDISED
    if is_too_large.any():
        row, i = np.argwhere(is_too_large)[0].tolist()
        raise InvalidInputError(
            f"feature column {feature.name!r} has {numbers[row, i]:g} in row {row}, more than "
            f"{MAX_STANDARDISED:.0e} standard deviations from the mean of fit ({means[i]:g}, with "
            f"the standard deviation {scales[i]:g}); correct it, or replace it by nan (missing)"
        )
    rows, places = np.nonzero(~np.isnan(numbers))
    values = np.column_stack([standardised[rows, places], np.ones(len(rows))])
    columns = np.column_stack([2 * places, 2 * places + 1])
    return _Block(np.repeat(rows, 2), columns.ravel(), values.ravel())


def _encode_categories(feature: Feature, column: pd.Series) -> _Block:
    """Return 1/m in the columns of the m distinct categories of each row."""
    rows = np.arange(len(column))
    if feature.kind == "multiple":
        column = _explode_lists(feature.name, column.set_axis(rows))
        rows = column.index.to_numpy(dtype=np.int64)
    codes, distinct = _factorize(feature.name, column)
    codes = _known_positions(feature, distinct)[codes]
    is_known = codes >= 0
    codes = codes[is_known]
    rows = rows[column.notna().to_numpy()][is_known]
    if feature.kind == "category":
        return _Block(rows, codes, np.ones(len(rows)))
    # A category that occurs twice in a list counts once.
    keys = np.unique(pair_keys(rows, codes, feature.width))
    rows, codes_plus_1 = np.divmod(keys, feature.width + 1)
    return _Block(rows, codes_plus_1 - 1, 1.0 / np.bincount(rows)[rows])


def _join_blocks(encoder: FeatureEncoder, blocks: Iterable[_Block], n_rows: int) -> Features:
    """Return the features of ``n_rows`` ids: the mean over the features that have a value."""
    presence = np.zeros(n_rows, dtype=np.float32)
    no_codes = np.empty(0, dtype=np.int32)
    parts = [_Block(no_codes, no_codes, np.empty(0, dtype=np.float32))]
    offsets = encoder.column_offsets
    for feature, offset, block in zip(encoder.features, offsets, blocks, strict=False):
        presence += block.presence(feature, n_rows)
        rows = block.rows.astype(np.int32, copy=False)
        columns = (offset + block.columns).astype(np.int32)
        parts.append(_Block(rows, columns, block.values.astype(np.float32, copy=False)))
    rows, columns, values = map(np.concatenate, zip(*parts, strict=True))
    sums = sparse.csr_matrix((values, (rows, columns)), shape=(n_rows, encoder.width))
    return Features(encoder, scale_rows(sums, 1 / np.maximum(presence, 1)), presence)


# ------------------------------------------------------------------ categories of a column


def _factorize(name: str, column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of the values that are not missing, and the distinct values.

    Raises
    ------
    InvalidInputError
        If floats stand for integers and are too large to be exact.
    """
    values = _present_values(name, column)
    check_exact(values, f"feature column {name!r}")
    return factorize(_as_integers(values))


def _as_integers(values: np.ndarray) -> np.ndarray:
    """Return categories with bools as integers, and floats too if all of them are whole.

    Decimals, which can be in lists and sets, are floats.
    """
    if values.dtype.kind == "b":
        return values.astype(np.int64)
    if values.dtype.kind == "f":
        is_whole = (np.floor(values) == values) & (np.abs(values) < MAX_EXACT_FLOAT)
        return values.astype(np.int64) if is_whole.all() else values
    if values.dtype == object and pd.api.types.infer_dtype(values) != "string":
        if any(isinstance(value, Decimal) for value in values):
            return _as_integers(pd.Series(map(_without_decimal, values)).to_numpy())
        integers = np.empty(len(values), dtype=object)
        integers[:] = [int(x) if isinstance(x, bool | np.bool_) else x for x in values]
        return integers
    return values


def _positions(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the positions in a vocabulary of values that passed `_as_integers`, or -1."""
    known = _as_integers(known)
    if known.dtype == values.dtype and np.array_equal(known, values):
        return np.arange(len(known))
    parts = [pd.Series(part, dtype=part.dtype) for part in (known, values)]
    if known.dtype != values.dtype and not known.dtype.kind == values.dtype.kind == "M":
        parts = [part.astype(object) for part in parts]  # integers and floats compare exactly
    # Without a dtype, pandas would convert objects, for instance to an IntervalIndex, in which
    # intervals that overlap can't be found.
    index, target = (pd.Index(part, dtype=part.dtype) for part in parts)
    return index.get_indexer(target)


def _known_positions(feature: Feature, values: np.ndarray) -> np.ndarray:
    """`_positions` in the vocabulary; warn if no value is known and their kind is another."""
    positions = _positions(feature.values, values)
    if len(values) and (positions < 0).all():
        kinds = [id_kind(part) for part in (_as_integers(feature.values), values)]
        if kinds[0] != kinds[1] or kinds[0] == "interval":
            warn(
                f"fit has not seen any value of feature column {feature.name!r}, such as "
                f"{first_value(values)!r} ({kinds[1]}); fit saw values such as "
                f"{first_value(feature.values)!r} ({kinds[0]}). Convert them to the same type, and "
                "cut intervals at the same bins",
                FeatureTypeWarning,
            )
    return positions


def _is_list(cell: Any) -> bool:
    return isinstance(cell, list | tuple | _SETS) or getattr(cell, "ndim", 0) > 0


def _has_lists(column: pd.Series) -> bool:
    return column.dtype.kind not in "iufbMm" and any(map(_is_list, column))


def _explode_lists(name: str, column: pd.Series) -> pd.Series:
    """Return the values of all lists, each with the index of its list."""
    with valid_text(f"feature column {name!r}"):
        cells = map(_as_ordered, column)
        return pd.Series(list(cells), index=column.index, dtype=object).explode()


def _as_ordered(cell: Any) -> Any:
    """Return a set as a sorted list, since its order differs between processes."""
    if isinstance(cell, _SETS):
        return sorted(cell, key=lambda value: (type(value).__name__, repr(value)))
    if isinstance(cell, list | tuple) or not _is_list(cell):
        return cell
    array = _cell_array(cell)  # of another library
    return array if array.ndim == 1 else cell


def _present_values(name: str, column: pd.Series) -> np.ndarray:
    """Return the values that are not missing."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biu":
        return column.to_numpy()
    values = scalar_array(column.dropna(), f"feature column {name!r}")
    if values.dtype in (np.float16, np.longdouble):
        return values.astype(np.float64)  # pandas can't index others
    return values


# ------------------------------------------------------------------ numbers of a column


def _numbers(name: str, column: pd.Series) -> np.ndarray:
    """Return a number column as float64 of shape (n, 1); missing values are nan."""
    values = _present_values(name, column)
    if len(values) and values.dtype.kind not in "iufb":
        raise InvalidInputError(
            f"feature column {name!r} held floats in fit but has other values now, such as "
            f"{values[0]!r}; convert it to float"
        )
    numbers = np.full((len(column), 1), np.nan)
    numbers[column.notna().to_numpy(), 0] = values
    return _check_size(name, numbers)


def _check_size(name: str, numbers: np.ndarray) -> np.ndarray:
    """Return the numbers of shape (n, d) unless one is infinite or too large."""
    is_too_large = np.abs(numbers) >= MAX_NUMBER
    if is_too_large.any():
        raise InvalidInputError(
            f"feature column {name!r} is infinite, or too large ({MAX_NUMBER:.0e} or more), in row "
            f"{int(is_too_large.any(axis=1).argmax())}; "
            "replace such values by a smaller number or by nan (missing)"
        )
    return numbers


def _holds_vectors(column: pd.Series) -> bool:
    """Return whether a cell is a list of numbers that has floats."""
    if not _has_lists(column):
        return False
    lists = (cell for cell in column if _is_list(cell) and not isinstance(cell, _SETS))
    return any(map(_has_floats, map(_cell_array, lists)))


def _has_floats(array: np.ndarray) -> bool:
    if array.dtype == object:
        return pd.api.types.infer_dtype(array, skipna=True) in ("floating", "mixed-integer-float")
    return array.dtype.kind == "f" and not np.isnan(array).all()


def _cell_array(cell: Any) -> np.ndarray:
    """Return a cell as an array; one of two dimensions stands for what can't be converted."""
    try:
        array = np.asarray(cell)
    except (RuntimeError, TypeError, ValueError):  # lists in a list, or a tensor with a gradient
        return np.empty((0, 0), dtype=object)
    if array.ndim == 1 and array.dtype == object and any(isinstance(x, Decimal) for x in array):
        return pd.Series(map(_without_decimal, array)).to_numpy()
    return array


def _vectors(name: str, column: pd.Series, length: int | None = None) -> np.ndarray:
    """Return a column of vectors as float64 of shape (n, length); missing values are nan.

    Parameters
    ----------
    name : str
    column : Series
    length : int or None, default=None
        Length of the vectors in ``fit``. None: the length of the first vector.
    """
    source = "fit"
    rows = []
    vectors = []
    for row, cell in enumerate(column):
        vector = _cell_array(cell)
        if vector.dtype == object and vector.ndim == 1:  # None becomes nan
            vector = pd.Series(vector).infer_objects().to_numpy()
        if vector.shape == (0,) or (not vector.ndim and pd.isna(cell) is True):
            continue
        is_vector = vector.ndim == 1 and vector.dtype.kind in "iufb"
        if length is None and is_vector:
            length = len(vector)
            source = f"row {row}"
        if not is_vector or len(vector) != length:
            expected = "" if length is None else f", of length {length} in {source}"
            received = f"a vector of length {len(vector)}" if is_vector else f"{cell!r:.60}"
            raise InvalidInputError(
                f"feature column {name!r} holds vectors of floats{expected}, but {received} in row "
                f"{row}; give all vectors the same length, and missing ones as None. Lists of "
                "categories must hold integers or text"
            )
        rows.append(row)
        vectors.append(vector)
    numbers = np.full((len(column), length or 0), np.nan)
    if rows:
        numbers[rows] = vectors
    return _check_size(name, numbers)
