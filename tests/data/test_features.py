import math
import os
import statistics
import subprocess
import sys
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from skmind.data.features import Column, Feature, FeatureEncoder, scale_rows, select_rows
from skmind.data.tables import take_column
from skmind.exceptions import (
    FeatureTypeWarning,
    IdTypeError,
    IgnoredDataWarning,
    InvalidInputError,
)

KIND = {"color": "category", "year": "category", "price": "number", "tags": "multiple"}


def is_missing(cell):
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def random_cells(rng, n, n_values=4):
    """Return columns as lists; a larger ``n_values`` adds values to those of a smaller one."""
    colors = [f"color{i}" for i in range(n_values)]
    return {
        "color": [None if rng.random() < 0.3 else str(rng.choice(colors)) for _ in range(n)],
        "year": rng.integers(2000, 2000 + n_values, n).tolist(),
        "price": [math.nan if rng.random() < 0.3 else rng.normal(5, 3) for _ in range(n)],
        "tags": [
            None if rng.random() < 0.2 else rng.choice(colors, rng.integers(4)).tolist()
            for _ in range(n)
        ],
    }


def as_columns(cells, rows):
    return {name: Column(pd.Series(values), rows) for name, values in cells.items()}


class Oracle:
    """Encode features in loops over cells."""

    def __init__(self, cells):
        self.learned = {}
        for name, values in cells.items():
            present = [cell for cell in values if not is_missing(cell)]
            if KIND[name] == "number":
                self.learned[name] = statistics.fmean(present), statistics.pstdev(present)
            elif KIND[name] == "multiple":
                self.learned[name] = sorted({value for cell in present for value in cell})
            else:
                self.learned[name] = sorted(set(present))

    def block(self, name, cell):
        """Return the part of a row for one feature, and whether the feature is present."""
        learned = self.learned[name]
        if KIND[name] == "number":
            if is_missing(cell):
                return [0.0, 0.0], False
            return [(cell - learned[0]) / learned[1], 1.0], True
        values = {} if is_missing(cell) else {cell} if KIND[name] == "category" else set(cell)
        values = values & set(learned) if values else set()
        return [(value in values) / max(len(values), 1) for value in learned], bool(values)

    def matrix(self, cells, rows, n_rows):
        matrix = []
        presence = []
        place = {row: i for i, row in enumerate(rows) if row >= 0}
        for row in range(n_rows):
            blocks = [
                self.block(name, cells[name][place[row]] if row in place else None)
                for name in cells
            ]
            n_present = sum(is_present for _, is_present in blocks)
            matrix.append([x / max(n_present, 1) for block, _ in blocks for x in block])
            presence.append(n_present)
        return np.array(matrix), presence


@pytest.mark.parametrize("seed", range(12))
def test_the_matrix_equals_that_of_loops(seed):
    rng = np.random.default_rng(seed)
    n = 25
    n_rows = 40
    fitted = random_cells(rng, n)
    asked = random_cells(rng, n, n_values=6)
    rows = rng.permutation(n_rows)[:n]
    rows[rng.integers(n, size=3)] = -1
    encoder = FeatureEncoder.fit(as_columns(fitted, rows))
    oracle = Oracle(fitted)
    assert [feature.name for feature in encoder.features] == list(KIND)
    assert {feature.name: feature.kind for feature in encoder.features} == KIND
    for cells in (fitted, asked):
        features = encoder.transform(as_columns(cells, rows), n_rows)
        matrix, presence = oracle.matrix(cells, rows.tolist(), n_rows)
        assert features.matrix.shape == (n_rows, encoder.width) == matrix.shape
        assert features.matrix.dtype == np.float32
        np.testing.assert_allclose(features.matrix.toarray(), matrix, atol=1e-6)
        assert features.presence.tolist() == presence
        assert features.encoder is encoder
    assert set(presence) >= {0, 2}  # the cases occurred


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_the_mean_over_the_present_features(seed):
    cells = random_cells(np.random.default_rng(seed), 30)
    del cells["price"]
    rows = np.arange(30)
    features = FeatureEncoder.fit(as_columns(cells, rows)).transform(as_columns(cells, rows), 31)
    sums = features.matrix.sum(axis=1).A1
    np.testing.assert_allclose(sums, features.presence > 0, rtol=1e-6)
    assert (features.presence[:30] > 0).all()
    assert sums[30] == 0


def test_numbers_are_standardised():
    prices = np.random.default_rng(0).normal(40, 7, 500)
    prices[::5] = np.nan
    columns = {"price": Column(pd.Series(prices), np.arange(500))}
    matrix = FeatureEncoder.fit(columns).transform(columns, 500).matrix.toarray()
    is_present = ~np.isnan(prices)
    assert (matrix[~is_present] == 0).all()
    assert (matrix[is_present, 1] == 1).all()
    assert abs(matrix[is_present, 0].mean()) < 1e-6
    assert abs(matrix[is_present, 0].std() - 1) < 1e-6


# ------------------------------------------------------------------ columns of every type


def fit_transform(cells, asked=None):
    """Return the feature fitted on one column, and the dense matrix of ``asked``."""
    cells = pd.Series(cells)
    asked = cells if asked is None else pd.Series(asked)
    encoder = FeatureEncoder.fit({"f": Column(cells, np.arange(len(cells)))})
    features = encoder.transform({"f": Column(asked, np.arange(len(asked)))}, len(asked))
    return encoder.features[0], features.matrix.toarray().tolist()


TEXTS = {
    "object": lambda cells: pd.Series(cells, dtype=object),
    "str": lambda cells: pd.Series(cells, dtype="str"),
    "string[python]": lambda cells: pd.Series(cells, dtype="string[python]"),
    "pyarrow-backed": lambda cells: pd.Series(cells, dtype=pd.ArrowDtype(pa.string())),
    "categorical": lambda cells: pd.Series(pd.Categorical(cells)),
    "categorical, more categories": lambda cells: pd.Series(pd.Categorical(cells, list("xba"))),
    "odd index": lambda cells: pd.Series(cells, index=[4, 4, 4, 0]),
    "polars": lambda cells: take_column(pl.DataFrame({"f": cells}), "f", "x"),
    "polars enum": lambda cells: take_column(
        pl.DataFrame({"f": pl.Series(cells, dtype=pl.Enum(["b", "a"]))}), "f", "x"
    ),
    "pyarrow": lambda cells: take_column(pa.table({"f": cells}), "f", "x"),
    "pyarrow dictionary": lambda cells: take_column(
        pa.table({"f": pa.array(cells).dictionary_encode()}), "f", "x"
    ),
}
INTEGERS = {
    "object": lambda cells: pd.Series(cells, dtype=object),
    "Int64": lambda cells: pd.Series(cells, dtype="Int64"),
    "pyarrow-backed": lambda cells: pd.Series(cells, dtype=pd.ArrowDtype(pa.int64())),
    "categorical": lambda cells: pd.Series(pd.Categorical(cells)),
    "polars": lambda cells: take_column(pl.DataFrame({"f": cells}), "f", "x"),
    "pyarrow": lambda cells: take_column(pa.table({"f": cells}), "f", "x"),
}
NUMBERS = {
    "float32": lambda cells: pd.Series(cells, dtype="float32"),
    "Float64": lambda cells: pd.Series(cells, dtype="Float64"),
    "pyarrow-backed": lambda cells: pd.Series(cells, dtype=pd.ArrowDtype(pa.float64())),
    "polars": lambda cells: take_column(pl.DataFrame({"f": cells}), "f", "x"),
    "pyarrow": lambda cells: take_column(pa.table({"f": cells}), "f", "x"),
}
LISTS = {
    "lists": lambda cells: pd.Series(cells),
    "tuples": lambda cells: pd.Series([cell if cell is None else tuple(cell) for cell in cells]),
    "sets": lambda cells: pd.Series([cell if cell is None else set(cell) for cell in cells]),
    "frozensets": lambda cells: pd.Series([c if c is None else frozenset(c) for c in cells]),
    "arrays": lambda cells: pd.Series([c if c is None else np.array(c, object) for c in cells]),
    "pyarrow-backed": lambda cells: pd.Series(cells, dtype=pd.ArrowDtype(pa.list_(pa.string()))),
    "polars": lambda cells: take_column(pl.DataFrame({"f": cells}), "f", "x"),
    "pyarrow": lambda cells: take_column(pa.table({"f": cells}), "f", "x"),
}


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_text_is_a_category(make):
    feature, matrix = fit_transform(make(["b", None, "a", "b"]))
    assert (feature.kind, feature.values.tolist(), feature.width) == ("category", ["a", "b"], 2)
    assert matrix == [[0, 1], [0, 0], [1, 0], [0, 1]]


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_a_column_of_one_value(make):
    feature, matrix = fit_transform(make(["a", None, "a", "a"]))
    assert (feature.kind, feature.values.tolist()) == ("category", ["a"])
    assert matrix == [[1], [0], [1], [1]]


@pytest.mark.parametrize("make", INTEGERS.values(), ids=INTEGERS)
def test_integers_are_categories_with_and_without_missing_values(make):
    for cells in ([3, 1, 3], [3, None, 1]):
        feature, matrix = fit_transform(make(cells))
        assert (feature.kind, feature.values.tolist()) == ("category", [1, 3])
        assert matrix == [[cell == 1, cell == 3] for cell in cells]


@pytest.mark.parametrize("make", NUMBERS.values(), ids=NUMBERS)
def test_floats_are_numbers(make):
    feature, matrix = fit_transform(make([1.0, None, 4.0]))
    assert (feature.kind, feature.values.tolist(), feature.width) == ("number", [2.5, 1.5], 2)
    assert matrix == [[-1, 1], [0, 0], [1, 1]]


@pytest.mark.parametrize("make", LISTS.values(), ids=LISTS)
def test_lists_are_several_categories_that_count_once_each(make):
    feature, matrix = fit_transform(make([["b", "a", "b"], None, [], ["c"]]))
    assert (feature.kind, feature.values.tolist()) == ("multiple", ["a", "b", "c"])
    assert matrix == [[0.5, 0.5, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        ([True, False, None], [False, True]),
        (pd.Series([True, False, None], dtype="boolean"), [False, True]),
        (np.array([True, False, True]), [False, True]),
        ([2, "a", None], [2, "a"]),  # can't be sorted: in order of appearance
        (["a", 2, "a"], ["a", 2]),
        (pd.to_datetime(["2020-01-02", "2020-01-01", None]), None),
        (pd.to_datetime(["2020-01-02", "2020-01-01", None], utc=True), None),
        ([2**60 + 1, 2**60, 2**60], [2**60, 2**60 + 1]),
    ],
)
def test_other_categories(cells, values):
    feature, matrix = fit_transform(cells)
    assert feature.kind == "category"
    assert values is None or feature.values.tolist() == values
    assert np.count_nonzero(matrix, axis=1).tolist() == pd.notna(pd.Series(cells)).tolist()
    assert matrix[0] != matrix[1]


def test_lists_may_hold_missing_values_and_cells_single_ones():
    feature, matrix = fit_transform([["a", None], "b", [np.nan], None])
    assert feature.values.tolist() == ["a", "b"]
    assert matrix == [[1, 0], [0, 1], [0, 0], [0, 0]]


# ------------------------------------------------------------------ missing and unseen


def test_unseen_values_count_as_missing():
    assert fit_transform(["a", "b"], ["c", "b", None])[1] == [[0, 0], [0, 1], [0, 0]]
    assert fit_transform([1, 2], [3, 1])[1] == [[0, 0], [1, 0]]
    assert fit_transform([["a"], ["b"]], [["c", "a"], ["c"], "b"])[1] == [[1, 0], [0, 0], [0, 1]]


def test_integers_that_became_floats_match():
    assert fit_transform([1, 2], [2.0, np.nan, 1.0])[1] == [[0, 1], [0, 0], [1, 0]]


@pytest.mark.parametrize("cells", [[3, 5], np.array([True, False]), pd.array([1, None], "Int64")])
def test_a_number_column_may_hold_integers(cells):
    numbers = pd.Series(cells).astype("Float64").to_numpy(float, na_value=np.nan)
    expected = [[0, 0] if np.isnan(x) else [(x - 2) / 2, 1] for x in numbers]
    assert fit_transform([0.0, 4.0], cells)[1] == expected


@pytest.mark.parametrize(
    "cells",
    [
        [None, None],
        [np.nan, np.nan],
        pd.Series([None, None], dtype="string"),
        pd.Series([None, None], dtype="Float64"),
        pd.Series([None, None], dtype="Int64"),
        pd.Series(pd.Categorical([None, None])),
        pd.Series(pd.to_datetime([None, None])),
        [[], []],
        [set(), None],
        [[None], [np.nan]],
        np.empty(0),
    ],
    ids=str,
)
def test_a_column_without_any_value_is_ignored_with_a_warning(cells):
    n = len(cells)
    columns = {
        "empty": Column(pd.Series(cells), np.arange(n)),
        "f": Column(pd.Series(["a"]), np.zeros(1, int)),
    }
    with pytest.warns(
        IgnoredDataWarning, match="feature column 'empty' has only missing values"
    ) as warned:
        encoder = FeatureEncoder.fit(columns)
    assert len(warned) == 1
    assert [feature.name for feature in encoder.features] == ["f"]
    assert encoder.transform(columns, 2).matrix.toarray().tolist() == [[1], [0]]


def test_no_features():
    encoder = FeatureEncoder.fit({})
    features = encoder.transform({}, 3)
    assert encoder.width == 0
    assert features.matrix.shape == (3, 0)
    assert features.presence.tolist() == [0, 0, 0]


def test_no_rows():
    encoder = FeatureEncoder.fit({"f": Column(pd.Series(["a", "b"]), np.arange(2))})
    none = {"f": Column(pd.Series([], dtype=object), np.empty(0, dtype=np.int32))}
    assert encoder.transform(none, 0).matrix.shape == (0, 2)
    assert encoder.transform(none, 2).matrix.toarray().tolist() == [[0, 0], [0, 0]]


# ------------------------------------------------------------------ extreme and invalid values


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9 / 3])
def test_a_constant_number_has_the_scale_1(value):
    """Because of rounding, the standard deviation of equal numbers is not exactly 0."""
    cells = [value] * 7
    feature, _ = fit_transform(cells)
    assert feature.values[1] == 1
    ((shifted, presence),) = fit_transform(cells, [1.5 * value + 1])[1]
    np.testing.assert_allclose(shifted, 0.5 * value + 1, rtol=1e-6)
    assert presence == 1


def test_small_deviations_of_large_numbers_are_kept():
    feature, _ = fit_transform([1.7e9, 1.7e9 + 2])
    assert feature.values.tolist() == [1.7e9 + 1, 1]


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e20, -1e39, 1e300])
def test_infinite_numbers_raise(value):
    message = r"feature column 'f' is infinite, or too large \(1e\+20 or more\), in row 1; replace"
    with pytest.raises(InvalidInputError, match=message):
        fit_transform([1.0, value, 2.0])
    with pytest.raises(InvalidInputError, match=message):
        fit_transform([1.0, 2.0], [np.nan, value])
    with pytest.raises(InvalidInputError, match=message):
        fit_transform(pd.Series([1.0, value], dtype="Float64"))


@pytest.mark.parametrize(
    "asked", [["x", None], ["1.5"], pd.to_datetime(["2020-01-01"]), [1.0, "x"]], ids=str
)
def test_other_values_in_a_number_column_raise(asked):
    with pytest.raises(InvalidInputError, match="'f' held floats in fit but has other .*, such as"):
        fit_transform([1.0, 2.0], asked)


def test_a_number_column_of_any_type_may_be_empty():
    assert fit_transform([1.0, 3.0], [None, None])[1] == [[0, 0], [0, 0]]


@pytest.mark.parametrize("cells", [[{"a": 1}, {"a": 2}], [[["a"]], [["b"]]], [[("a", 1)]]])
def test_values_that_are_not_scalars_raise(cells):
    with pytest.raises(IdTypeError, match="feature column 'f' has the value .* must be a string"):
        fit_transform(cells)


def test_lists_in_a_column_of_single_categories_raise():
    with pytest.raises(IdTypeError, match="feature column 'f' has the value .* of type list"):
        fit_transform(["a", "b"], [["a"], ["b"]])


# ------------------------------------------------------------------ columns and rows of the matrix


def test_columns_in_another_encoder():
    def encoder(**cells):
        return FeatureEncoder.fit(
            {name: Column(pd.Series(v), np.arange(len(v))) for name, v in cells.items()}
        )

    old = encoder(
        color=["a", "c"], price=[1.0, 2.0], gone=["x", "y"], tags=[["t"], ["u"]], kind=[1]
    )
    new = encoder(
        tags=[["u"], ["v"], ["t"]],  # t, u, v
        price=[5.0, 6.0],
        color=["b", "c", "a"],  # a, b, c
        kind=[0.5, 1.5],  # a category in the old one
        fresh=["x"],
    )
    # old columns: color a c | price value presence | gone x y | tags t u | kind 1
    assert new.columns_in(old).tolist() == [6, 7, -1, 2, 3, 0, -1, 1, -1, -1, -1]
    assert old.columns_in(new).tolist() == [5, 7, 3, 4, -1, -1, 0, 1, -1]
    assert new.columns_in(new).tolist() == list(range(new.width))
    assert new.columns_in(FeatureEncoder([])).tolist() == [-1] * new.width
    assert FeatureEncoder([]).columns_in(new).tolist() == []


def test_scale_rows():
    dense = np.array([[1.0, 0, 2], [0, 0, 0], [0, 3, 0]], dtype=np.float32)
    matrix = sparse.csr_matrix(dense)
    scaled = scale_rows(matrix, np.array([2.0, 5.0, 0.5]))
    assert scaled.toarray().tolist() == [[2, 0, 4], [0, 0, 0], [0, 1.5, 0]]
    assert scaled.dtype == np.float32
    assert matrix.toarray().tolist() == dense.tolist()


def test_select_rows():
    matrix = sparse.csr_matrix(np.array([[1.0, 0], [0, 2], [3, 4]], dtype=np.float32))
    selected = select_rows(matrix, np.array([2, -1, 0, 2]))
    assert selected.toarray().tolist() == [[3, 4], [0, 0], [1, 0], [3, 4]]
    assert selected.dtype == np.float32
    assert select_rows(matrix, np.empty(0, dtype=int)).shape == (0, 2)


def test_the_given_columns_are_not_changed():
    cells = random_cells(np.random.default_rng(0), 20)
    frame = pd.DataFrame(cells)
    before = frame.copy(deep=True)
    columns = {name: Column(frame[name], np.arange(20)) for name in frame}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FeatureEncoder.fit(columns).transform(columns, 20)
    pd.testing.assert_frame_equal(frame, before)


# ------------------------------------------------------------------ values of one feature


def test_values_of_a_feature_are_those_of_the_cells():
    cells = random_cells(np.random.default_rng(0), 30)
    columns = as_columns(cells, np.arange(30))
    features = FeatureEncoder.fit(columns).transform(columns, 30)
    for name in ("color", "year", "tags"):
        matrix, columns = features.values_of(name, "by")
        learned = Oracle(cells).learned[name]
        has_value = matrix[:, columns].toarray() > 0
        for cell, row in zip(cells[name], has_value, strict=True):
            cell = [] if is_missing(cell) else cell if name == "tags" else [cell]
            assert {learned[column] for column in np.flatnonzero(row)} == set(cell)


def test_max_count_bounds_the_number_of_values():
    columns = as_columns({"tags": [["a", "b"], [], ["a"], None]}, np.arange(4))
    values = FeatureEncoder.fit(columns).transform(columns, 4).values_of("tags", "by")
    assert values.max_count(np.array([[0, 1]])) == 2
    assert values.max_count(np.array([[1, 3, -1]])) == 0
    assert values.max_count(np.array([[2, 1]])) == 1
    assert values.max_count(np.empty((0, 5), dtype=np.int64)) == 0


def test_values_of_need_a_category_feature():
    columns = as_columns(random_cells(np.random.default_rng(0), 9), np.arange(9))
    features = FeatureEncoder.fit(columns).transform(columns, 9)
    for name in ("price", "colour", None, ["color"]):
        with pytest.raises(InvalidInputError, match=r"^by=.* one of \['color', 'year', 'tags'\]$"):
            features.values_of(name, "by")


def test_new_categories_follow_the_known_ones_and_numbers_keep_their_scale():
    def columns(colors, prices):
        values = {"color": pd.Series(colors), "price": pd.Series(prices)}
        return {name: Column(part, np.arange(len(part))) for name, part in values.items()}

    encoder = FeatureEncoder.fit(columns(["red", "blue"], [1.0, 3.0]))
    same = encoder.extended(columns(["blue", "blue"], [100.0, 200.0]))
    assert [feature.values.tolist() for feature in same.features] == [["blue", "red"], [2.0, 1.0]]
    grown = encoder.extended(columns(["green", "amber", "red"], [5.0, 6.0, 7.0]))
    assert grown.features[0].values.tolist() == ["blue", "red", "amber", "green"]
    assert grown.features[1].values.tolist() == [2.0, 1.0]


# ------------------------------------------------------------------ vectors

VECTORS = np.array([[0.5, 1, 2], [1.5, np.nan, 4], [np.nan] * 3, [2.5, 5, 0]])
VECTOR_CELLS = [None if np.isnan(row).all() else row.tolist() for row in VECTORS]


def arrow(type_):
    values = [c and [None if np.isnan(x) else x for x in c] for c in VECTOR_CELLS]
    return pa.array(values, type_)


SOURCES = {
    "lists": lambda: pd.Series(VECTOR_CELLS),
    "lists with None": lambda: pd.Series([[0.5, 1, 2], [1.5, None, 4], None, [2.5, 5, 0]]),
    "an empty list": lambda: pd.Series([[] if cell is None else cell for cell in VECTOR_CELLS]),
    "vectors of nan": lambda: pd.Series(list(VECTORS)),
    "tuples": lambda: pd.Series([None if c is None else tuple(c) for c in VECTOR_CELLS]),
    "float32": lambda: pd.Series([None if c is None else np.float32(c) for c in VECTOR_CELLS]),
    "Series": lambda: pd.Series([None if c is None else pd.Series(c) for c in VECTOR_CELLS]),
    "arrow": lambda: take_column(pa.table({"f": arrow(pa.list_(pa.float64()))}), "f", "x"),
    "arrow, fixed": lambda: take_column(pa.table({"f": arrow(pa.list_(pa.float32(), 3))}), "f", ""),
    "pandas and arrow": lambda: pd.Series(
        VECTOR_CELLS, dtype=pd.ArrowDtype(pa.list_(pa.float64(), 3))
    ),
    "polars list": lambda: take_column(pl.DataFrame({"f": VECTOR_CELLS}), "f", "x"),
    "polars array": lambda: take_column(
        pl.DataFrame({"f": pl.Series(VECTOR_CELLS, dtype=pl.Array(pl.Float32, 3))}), "f", "x"
    ),
    "structured": lambda: take_column(np.array([(v,) for v in VECTORS], [("f", "f8", 3)]), "f", ""),
}


def wide_columns(vectors, rows):
    return {f"f{i}": Column(pd.Series(part), rows) for i, part in enumerate(np.transpose(vectors))}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_vectors_equal_one_float_column_per_number(make):
    rows = np.arange(4)
    other = {"color": Column(pd.Series(["a", "b", "a", None]), rows)}
    cells = {"f": Column(make(), rows)} | other
    wide = wide_columns(VECTORS, rows) | other
    encoder = FeatureEncoder.fit(cells)
    features = encoder.transform(cells, 5)
    expected = FeatureEncoder.fit(wide).transform(wide, 5)
    assert (encoder.features[0].kind, encoder.features[0].width) == ("vector", 6)
    np.testing.assert_allclose(features.matrix.toarray(), expected.matrix.toarray(), atol=1e-7)
    assert features.presence.tolist() == expected.presence.tolist() == [4, 3, 1, 3, 0]
    # New vectors of one known and one new id, and a new category.
    new_rows = np.array([1, 5])
    new = np.array([[1.0, 2, 3], [4, np.nan, 6]])
    colors = {"color": Column(pd.Series(["c", "a"]), new_rows)}
    new_cells = {"f": Column(pd.Series(list(new)), new_rows)} | colors
    new_wide = wide_columns(new, new_rows) | colors
    updated = features.updated(encoder.extended(new_cells), new_cells, 6)
    expected = expected.updated(expected.encoder.extended(new_wide), new_wide, 6)
    np.testing.assert_allclose(updated.matrix.toarray(), expected.matrix.toarray(), atol=1e-6)
    assert updated.presence.tolist() == expected.presence.tolist() == [4, 4, 1, 3, 0, 3]


def test_vectors_match_the_same_vectors_of_another_encoder():
    old = FeatureEncoder.fit({"f": Column(pd.Series([[0.5, 1.5], [1.0, 2.5]]), np.arange(2))})
    new = FeatureEncoder.fit({"f": Column(pd.Series([[0.5, 1.5, 3.5]]), np.arange(1))})
    assert new.columns_in(old).tolist() == [0, 1, 2, 3, -1, -1]
    assert old.columns_in(new).tolist() == [0, 1, 2, 3]


def test_a_number_that_no_vector_has_adds_nothing():
    feature, matrix = fit_transform([[0.5, np.nan], [1.5, np.nan]], [[0.5, 2.0], [1.5, np.nan]])
    assert feature.values.tolist() == [1.0, 0.5, 0.0, 1.0]
    assert matrix == [[-0.5, 0.5, 1, 0.5], [1, 1, 0, 0]]


def test_vectors_of_integers_are_numbers_if_fit_saw_floats():
    _, matrix = fit_transform([[0.0, 1.0], [2.0, 3.0]], [[2, 1], np.array([True, False]), None])
    assert matrix == [[0.5, 0.5, -0.5, 0.5], [0, 0.5, -1, 0.5], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("cells", "received"),
    [
        ([[0.5, 1.0], [0.5]], "of length 2 in row 0, but a vector of length 1 in row 1; give all"),
        ([None, np.zeros(3) + 0.5, np.zeros(4)], "of length 3 in row 1, but .* 4 in row 2"),
        ([[0.5, 1.0], ["a", "b"]], r"of length 2 in row 0, but \['a', 'b'\] in row 1"),
        ([[0.5, 1.0], "text"], "but 'text' in row 1"),
        ([[0.5, 1.0], 2.0], "but 2.0 in row 1"),
        ([[0.5, 1.0], [[1.0], [2.0]]], r"but \[\[1.0\], \[2.0\]\] in row 1"),
        ([[0.5, 1.0], [[1.0], [2.0, 3.0]]], r"but \[\[1.0\], \[2.0, 3.0\]\] in row 1"),
        ([np.ones((2, 2))], r", but array\("),
        ([[0.5, 1.0], {0.5, 1.0}], "but {.*} in row 1"),
    ],
)
def test_vectors_that_are_none_raise(cells, received):
    message = f"feature column 'f' holds vectors of floats.*{received}"
    with pytest.raises(InvalidInputError, match=message):
        fit_transform(cells)


@pytest.mark.parametrize("asked", [[[1.0]], [[1.0, 2.0, 3.0]], ["text"], [3.5]])
def test_later_vectors_have_the_length_of_fit(asked):
    with pytest.raises(InvalidInputError, match="of length 2 in fit, but .* in row 0; give all"):
        fit_transform([[0.5, 1.0], [1.5, 2.0]], asked)


def test_infinite_numbers_in_vectors_raise():
    with pytest.raises(InvalidInputError, match="'f' is infinite, or too large .*, in row 1; "):
        fit_transform([[0.5, 1.0], [0.5, np.inf]])


def test_vectors_are_not_categories_to_diversify_by():
    columns = {"f": Column(pd.Series([[0.5, 1.0]]), np.arange(1))}
    features = FeatureEncoder.fit(columns).transform(columns, 1)
    with pytest.raises(InvalidInputError, match="^by='f' is not a feature of fit that holds categ"):
        features.values_of("f", "by")


@pytest.mark.parametrize("number", [3e9, -3e9])
@pytest.mark.parametrize("cells", [[0.0, 2.0], [[0.0, 0.5], [2.0, 2.5]]])
def test_numbers_that_are_far_off_raise(cells, number):
    asked = [number] if cells[0] == 0 else [[1.0, number]]
    message = "'f' has -?3e[+]09 in row 0, more than 1e[+]09 standard deviations from the mean of"
    with pytest.raises(InvalidInputError, match=message):
        fit_transform(cells, asked)


# ------------------------------------------------------------------ equal categories

SAME = [
    np.array([1, 0, np.nan]),
    pd.Series([True, False, None], dtype=object),
    pd.Series([1, 0, None], dtype=object),
    pd.Series([True, 0, None], dtype=object),
    pd.Series([1, False, None], dtype=object),
    pd.Series([True, False, None], dtype="boolean"),
    pd.Series([1, 0, None], dtype="Int8"),
    pd.Series([True, False, None], dtype=pd.ArrowDtype(pa.bool_())),
    pd.Series(pd.Categorical([True, False, None])),
    pd.Series(pd.Categorical([1, 0, None])),
]


@pytest.mark.parametrize("later", SAME)
@pytest.mark.parametrize("first", SAME[1:])  # floats are numbers in fit
def test_true_and_1_are_one_category(first, later):
    feature, matrix = fit_transform(first, later)
    assert feature.values.tolist() == [0, 1]
    assert matrix == [[0, 1], [1, 0], [0, 0]]
    columns = {"f": Column(pd.Series(later), np.arange(3))}
    assert FeatureEncoder([feature]).extended(columns).features == [feature]


def test_true_and_1_are_one_category_in_lists_and_beside_text():
    assert fit_transform([[True], [False]], [[1], [0, 1]])[1] == [[0, 1], [0.5, 0.5]]
    feature, matrix = fit_transform(["True", True, "1"], [1, "True", "1", True, 1.0])
    assert feature.values.tolist() == ["True", 1, "1"]
    assert not any(isinstance(value, bool) for value in feature.values)
    assert np.argmax(matrix, axis=1).tolist() == [1, 0, 2, 1, 1]


def test_vocabularies_of_bools_in_earlier_models_match_integers():
    feature = Feature("f", "category", np.array([False, True]))
    encoder = FeatureEncoder([feature])
    columns = {"f": Column(pd.Series([1, 0, 2]), np.arange(3))}
    assert encoder.transform(columns, 3).matrix.toarray().tolist() == [[0, 1], [1, 0], [0, 0]]
    assert encoder.extended(columns).features[0].values.tolist() == [0, 1, 2]
    new = FeatureEncoder.fit(columns)
    assert new.columns_in(encoder).tolist() == [0, 1, -1]
    assert encoder.columns_in(new).tolist() == [0, 1]


def test_long_integers_match_exactly():
    ids = [2**60 + 1, 2**60, -5]
    assert fit_transform(ids, np.array([2**60, 2**60 + 2], dtype=np.uint64))[1] == [
        [0, 1, 0],
        [0, 0, 0],
    ]
    with pytest.raises(InvalidInputError, match="'f' has the float 1.152921504606847e.18: from"):
        fit_transform(ids, [float(2**60)])


INTERVALS = pd.cut(pd.Series([1.0, 5.0, 9.0, np.nan]), [0, 4, 8, 10])


def test_intervals_are_categories():
    feature, matrix = fit_transform(INTERVALS)
    assert (feature.kind, feature.width) == ("category", 3)
    assert matrix == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    other = pd.cut(pd.Series([1.0, 5.0, 9.0]), [0, 4, 7, 11])  # one bin is the same
    assert fit_transform(INTERVALS, other)[1] == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    columns = {"f": Column(other, np.arange(3))}
    grown = FeatureEncoder([feature]).extended(columns)
    assert grown.features[0].width == 5
    assert np.argmax(grown.transform(columns, 3).matrix.toarray(), axis=1).tolist() == [0, 3, 4]


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ([1, 2], ["1", "2"]),
        (["a"], [1]),
        (pd.to_datetime(["2020-01-02"]), ["2020-01-02"]),
        (pd.to_datetime(["2020-01-02"]), [1577923200000000000]),
        (INTERVALS, pd.cut(pd.Series([1.0, 5.0]), [0, 3, 6])),
    ],
)
def test_values_of_another_kind_are_named(first, later):
    with pytest.warns(FeatureTypeWarning, match="fit has not seen any value of feature column 'f'"):
        _, matrix = fit_transform(first, later)
    assert not np.any(matrix)


def test_unseen_values_of_the_same_kind_are_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_transform(["a"], ["b"])
        fit_transform([1, 2], [3.5])
        fit_transform(pd.to_datetime(["2020-01-02"]), pd.to_datetime(["2020-01-03"]))


def test_sets_give_the_same_columns_in_every_process():
    code = (
        "import numpy as np, pandas as pd\n"
        "from skmind.data.features import Column, FeatureEncoder\n"
        "cells = pd.Series([{'b', 'a', 2, 'c', 10}, frozenset({'d', 'a', 'e'}), {7, 'x', 2.5}])\n"
        "columns = {'f': Column(cells, np.arange(3))}\n"
        "encoder = FeatureEncoder.fit(columns)\n"
        "print(encoder.features[0].values.tolist())\n"
        "print(encoder.transform(columns, 3).matrix.toarray().tolist())\n"
    )
    outputs = set()
    for seed in "0123":
        env = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        outputs.add(subprocess.run(command, env=env, check=True, capture_output=True).stdout)
    assert len(outputs) == 1
    assert b"'x'" in outputs.pop()


# ------------------------------------------------------------------ Decimals

HALVES = [0.5, 2.0, None, 2.0]
DECIMALS = {
    "objects": lambda cells: pd.Series(cells, dtype=object),
    "nan": lambda cells: pd.Series([Decimal("NaN") if c is None else c for c in cells]),
    "signalling nan": lambda cells: pd.Series([Decimal("sNaN") if c is None else c for c in cells]),
    "NA": lambda cells: pd.Series([pd.NA if c is None else c for c in cells], dtype=object),
    "beside integers": lambda cells: pd.Series([2 if c == 2 else c for c in cells], dtype=object),
    "beside floats": lambda cells: pd.Series([2.0 if c == 2 else c for c in cells], dtype=object),
    "pyarrow-backed": lambda cells: pd.Series(cells, dtype=pd.ArrowDtype(pa.decimal128(9, 2))),
    "pyarrow": lambda cells: take_column(pa.table({"f": cells}), "f", "item_features"),
    "polars": lambda cells: take_column(pl.DataFrame({"f": cells}), "f", "item_features"),
}


@pytest.mark.parametrize("make", DECIMALS.values(), ids=DECIMALS)
def test_decimals_are_numbers_like_floats(make):
    column = make([None if value is None else Decimal(str(value)) for value in HALVES])
    feature, matrix = fit_transform(column)
    expected, expected_matrix = fit_transform(HALVES)
    assert feature.kind == expected.kind == "number"
    assert feature.values.tolist() == expected.values.tolist()
    assert matrix == expected_matrix
    assert fit_transform(HALVES, column)[1] == expected_matrix
    assert fit_transform(column, HALVES)[1] == expected_matrix
    integers = [3, 2, 1]  # whole Decimals match categories, as whole floats do
    assert fit_transform(integers, column)[1] == fit_transform(integers, HALVES)[1]


@pytest.mark.parametrize("container", [list, tuple, np.array, pa.array], ids=range(4))
def test_lists_of_decimals_are_vectors_like_lists_of_floats(container):
    vectors = [[0.5, 2.0], [1.5, None], None, [2.5, 1.0]]
    to_decimals = [
        vector and container([x if x is None else Decimal(str(x)) for x in vector])
        for vector in vectors
    ]
    if container is pa.array:
        to_decimals = take_column(
            pa.table({"f": [v and v.to_pylist() for v in to_decimals]}), "f", "item_features"
        )
    feature, matrix = fit_transform(pd.Series(list(to_decimals), dtype=object))
    expected, expected_matrix = fit_transform(pd.Series(vectors, dtype=object))
    assert feature.kind == expected.kind == "vector"
    assert feature.values.tolist() == expected.values.tolist()
    assert matrix == expected_matrix


def test_decimals_among_categories_equal_floats():
    for make in (lambda x: [x, "a"], lambda x: [{x, "b"}, {"a"}], lambda x: [{x}, {x, 1.5}]):
        feature, matrix = fit_transform(pd.Series(make(Decimal(2)), dtype=object))
        expected, expected_matrix = fit_transform(pd.Series(make(2.0), dtype=object))
        assert feature.kind == expected.kind
        assert feature.values.tolist() == expected.values.tolist()
        assert matrix == expected_matrix


def test_infinite_decimals_raise():
    with pytest.raises(InvalidInputError, match="feature column 'f' is infinite, .* in row 1"):
        fit_transform(pd.Series([Decimal(1), Decimal("Infinity")], dtype=object))
