"""Mistakes of users → the error or warning that names the mistake and what to do instead.

Each row of a table is one mistake. Its message must name the column or parameter, the value
received and what is valid. The recommender and the tables must stay as they were.
"""

import copy
import os
import re
import warnings
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import NotFittedError

from skmind import MINDRecommender
from skmind.data.prepare import RESULT_COLUMNS
from skmind.datasets import make_interactions
from skmind.exceptions import (
    IdTypeError,
    IgnoredDataWarning,
    InvalidInputError,
    NothingToLearnWarning,
    NothingToScoreWarning,
    ShortageWarning,
    SkmindError,
    SkmindWarning,
    UnknownIdError,
)
from skmind.model_selection import LeaveLastOut
from skmind.scoring import compare

SMALL = {
    "n_interests": 2,
    "embedding_dim": 4,
    "max_history": 5,
    "n_negatives": 10,
    "max_epochs": 1,
    "batch_size": 64,
    "random_state": 0,
}

DATA = make_interactions(20, 24, n_topics=6, n_interests=2, n_events=(3, 6), random_state=0)
X = DATA.interactions
ITEMS = DATA.item_table[["item_id", "topic"]].assign(price=np.linspace(1, 2, 24))
USERS = pd.DataFrame({"user_id": range(20), "age": np.linspace(20, 60, 20), "sex": ["f", "m"] * 10})
TEXT = X.astype({"user_id": str, "item_id": str})
N = len(X)


@pytest.fixture(scope="module")
def models():
    fitted = {
        "ints": MINDRecommender(**SMALL).fit(X),
        "text": MINDRecommender(**SMALL).fit(TEXT),
        "array": MINDRecommender(**SMALL).fit(X.to_numpy()),
        "no times": MINDRecommender(**SMALL, time_col=None, tie_order="rows").fit(X),
        "features": MINDRecommender(**SMALL).fit(X, items=ITEMS, users=USERS),
    }
    return {**fitted, "unfitted": MINDRecommender(**SMALL)}


class Row(NamedTuple):
    """One mistake: a call on a recommender, and the error that it must raise.

    Attributes
    ----------
    call : callable
        Takes the recommender.
    expected : class of the error or warning
    match : str
        Regular expression for the message.
    model : str
        Key of the fixture ``models``.
    params : dict
        Parameters to set before the call.
    """

    call: Any
    expected: Any
    match: str
    model: str = "ints"
    params: dict = {}


def fit(table, users=None, items=None, **params):
    """Return a call of fit, and the parameters to set before it."""
    return (lambda rec: rec.fit(table, users=users, items=items)), params


def with_value(table, column, value, row=3):
    """Return the table with another value in one cell."""
    values = table[column].tolist()
    values[row] = value
    return table.assign(**{column: pd.Series(values, dtype=object).infer_objects()})


def two_levels(table):
    columns = pd.MultiIndex.from_product([["log"], table.columns])
    return table.set_axis(columns, axis=1)


def copy_model(models, row):
    """Return a copy of the model of this row, with the parameters of the row set."""
    rec = copy.deepcopy(models[row.model])
    if row.model != "unfitted":
        rec.recommend(k=1)  # builds what is built on first use
    return rec.set_params(**row.params)


def check_error(models, row):
    rec = copy_model(models, row)
    attributes = dict(vars(rec))
    tables = [table.copy() for table in (X, ITEMS, USERS)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        warnings.filterwarnings("error", category=UserWarning, module="skmind")
        with pytest.raises(row.expected, match=row.match):
            row.call(rec)
    assert vars(rec).keys() == attributes.keys()
    for name, value in vars(rec).items():
        assert value is attributes[name], name
    for table, original in zip(tables, (X, ITEMS, USERS), strict=True):
        pd.testing.assert_frame_equal(table, original)


# ------------------------------------------------------------------ fit

MISSING_COLUMN = r"no column '{0}'; it has \[.*'.*\]. Rename the column or set {1}_col= to one of"
FITTED_COLUMN = r"no column '{0}'; it has \[.*\]. Rename .* or fit again with {1}_col= set to"
NO_ID = "column '{}' has 1 missing or infinite ids, the first in row 3; drop these rows or give"
NO_TIME = "column 'timestamp' has 1 missing or infinite times, .* row 3; drop .* time_col=None to"
NO_SCALAR = "column '{}' has the .*{} of type {}, but .* a string, number or date.*; (join|take)"
OTHER_KIND = r"^{} ids are of kind {} \(such as .*\) but fit saw ids of kind {} \(such .*; convert"
TEXT_TIME = (
    "column 'timestamp' has values of type {}, such as {}, but must be numeric or datetime; convert"
)
POSITION = r"{}={} is not a column of the table, which has {}; give a position from 0 to 2"
NO_ROWS = "the table of interactions has no rows; pass at least one"
NO_SPARSE = (
    r"is a sparse matrix .*give one row per interaction: .*\.tocoo.*DataFrame.*time_col=None"
)
NO_TABLE = "(?s)Expected 2D array, got {} array instead.*Reshape your data"

FIT = {
    # columns
    "no user column": (*fit(X.drop(columns="user_id")), MISSING_COLUMN.format("user_id", "user")),
    "no item column": (*fit(X.drop(columns="item_id")), MISSING_COLUMN.format("item_id", "item")),
    "no time column": (
        *fit(X.drop(columns="timestamp")),
        MISSING_COLUMN.format("timestamp", "time"),
    ),
    "wrong user_col": (*fit(X, user_col="uid"), MISSING_COLUMN.format("uid", "user")),
    "wrong item_col in polars": (
        *fit(pl.from_pandas(X), item_col="iid"),
        MISSING_COLUMN.format("iid", "item"),
    ),
    "wrong time_col in arrow": (
        *fit(pa.Table.from_pandas(X), time_col="t"),
        MISSING_COLUMN.format("t", "time"),
    ),
    "position beyond a frame": (
        *fit(X, user_col=9),
        POSITION.format("user_col", 9, r"the columns \[.*\]"),
    ),
    "negative position": (
        *fit(X, item_col=-1),
        POSITION.format("item_col", -1, r"the columns \[.*\]"),
    ),
    "position beyond an array": (
        *fit(X.to_numpy(), time_col=3),
        POSITION.format("time_col", 3, "3 columns"),
    ),
    "a flag as position": (
        *fit(X, user_col=True),
        POSITION.format("user_col", True, r"the columns \[.*\]"),
    ),
    "a column name twice": (*fit(pd.concat([X, X[["user_id"]]], axis=1)), "user_id", ValueError),
    "no columns at all": (
        *fit(pd.DataFrame()),
        r"no column 'timestamp'; it has \[\].*set time_col=",
    ),
    "two levels of columns": (
        *fit(two_levels(X)),
        "are a MultiIndex; flatten .*X.columns = \\['_'.join",
    ),
    # ids
    "missing user": (*fit(with_value(X, "user_id", None)), NO_ID.format("user_id")),
    "missing item": (*fit(with_value(X, "item_id", np.nan)), NO_ID.format("item_id")),
    "missing text": (*fit(with_value(TEXT, "item_id", pd.NA)), NO_ID.format("item_id")),
    "infinite user": (*fit(with_value(X, "user_id", np.inf)), NO_ID.format("user_id")),
    "missing in an array": (
        *fit(with_value(X, "user_id", np.nan).to_numpy()),
        "column 0 has 1 missing or infinite ids, the first in row 3; drop",
    ),
    "tuples as users": (
        *fit(X.assign(user_id=[(u, "x") for u in X["user_id"]])),
        NO_SCALAR.format("user_id", r"\(\d+, 'x'\)", "tuple"),
        IdTypeError,
    ),
    "lists as items": (
        *fit(X.assign(item_id=[[i] for i in X["item_id"]])),
        NO_SCALAR.format("item_id", r"\[\d+\]", "list"),
        IdTypeError,
    ),
    "a dict among the ids": (
        *fit(with_value(X, "item_id", {"id": 3})),
        NO_SCALAR.format("item_id", r"\{'id': 3\}", "dict"),
        IdTypeError,
    ),
    # times
    "missing time": (*fit(with_value(X, "timestamp", None)), NO_TIME),
    "infinite time": (*fit(with_value(X, "timestamp", np.inf)), NO_TIME),
    "not a time": (
        *fit(
            X.assign(
                timestamp=with_value(X, "timestamp", None)["timestamp"].astype("datetime64[ns]")
            )
        ),
        NO_TIME,
    ),
    "times as text": (
        *fit(X.assign(timestamp="2020-01-31")),
        TEXT_TIME.format("string", "'2020-01-31'"),
    ),
    "times as flags": (*fit(X.assign(timestamp=True)), "of type boolean.*True.*; set time_col= to"),
    "times far away": (
        *fit(
            X.assign(timestamp=np.array(["2020-01-01"] * (len(X) - 1) + ["9999-01-01"], "M8[s]")),
        ),
        "'timestamp' has a date outside the years 1678 to 2261 .*; correct or drop it",
    ),
    # rows
    "no rows": (*fit(X.head(0)), NO_ROWS),
    "no rows in polars": (*fit(pl.from_pandas(X).head(0)), NO_ROWS),
    "no rows in arrow": (*fit(pa.Table.from_pandas(X.head(0))), NO_ROWS),
    "no rows in an array": (
        *fit(np.empty((0, 3))),
        r"0 sample\(s\) .* minimum of 1 is",
        ValueError,
    ),
    "no rows in a list": (*fit([]), NO_TABLE.format("1D"), ValueError),
    "min_item_count too high": (
        *fit(X, min_item_count=1000),
        r"min_item_count=1000 leaves no item: the most frequent one has \d+ .*; lower min_item_c",
    ),
    # not a table
    "None": (*fit(None), "X is None of type NoneType. Reshape your data: give a table .*path of"),
    "a number": (*fit(3), NO_TABLE.format("scalar")),
    "path as bytes": (*fit(b"x.parquet"), r"got scalar .*b'x.parquet' .*pass os.fsdecode\(X\)"),
    "dates that were missing": (
        *fit(X.assign(timestamp=[np.iinfo(np.int64).min, *X["timestamp"][1:]])),
        "column 'timestamp' has 1 times such as -9223372036854775808, the first in row 0, .*NaT",
    ),
    "rows of a path": (*fit(list("a/b.parquet")), "X is a list of characters .*read_parquet"),
    "no path": (*fit("ratings.csv"), r"X='ratings.csv' can't be read as Parquet .* give the path"),
    "paths of nothing": (*fit(["a", "b"]), r"X=\['a', 'b'\] can't be read as Parquet"),
    "a dict": (*fit(X.to_dict("list")), r"is a dict; pass a DataFrame \(pandas.DataFrame\(X\)\)"),
    "one column": (*fit(np.zeros((4, 1))), r"1 feature\(s\) .* minimum of 2 is req", ValueError),
    "one dimension": (*fit(np.zeros(4)), NO_TABLE.format("1D"), ValueError),
    "three dimensions": (
        *fit(np.zeros((2, 2, 2))),
        "dim 3, while dim <= 2 is required",
        ValueError,
    ),
    "rows of unequal length": (*fit([[1, 2, 3], [1, 2]]), "list of rows of unequal length"),
    "a sparse matrix": (*fit(sparse.csr_matrix(X.to_numpy())), NO_SPARSE),
    "complex numbers": (*fit(X.to_numpy() * 1j), "Complex data not supported", ValueError),
    # weights
    "weight column that is nowhere": (
        *fit(X, weight_col="stars"),
        MISSING_COLUMN.format("stars", "weight"),
    ),
    "weight column and another": (
        *fit(X.drop(columns="item_id"), weight_col="stars"),
        r"no column 'item_id', no column 'stars'.*set item_col= and weight_col= to some of these",
    ),
    "weights that are the users": (
        *fit(X, weight_col="user_id"),
        "'timestamp', weight_col='user_id': each must name a different column",
    ),
    "weights at the position of the items": (
        *fit(X, weight_col=1),
        r"and time_col='timestamp' and weight_col=1 are the columns \[.*\] of X; each must",
    ),
    "weights by name in an array": (
        *fit(X.to_numpy(), weight_col="stars"),
        "weight_col='stars' is not a column of the table, which has 3 columns; give a position",
    ),
    **{
        f"weights: {name}": (*fit(X.assign(stars=stars), weight_col="stars"), message)
        for name, stars, message in (
            (
                "missing",
                [None] + [1.0] * (N - 1),
                f"^column 'stars' must .* {N} rows .* nan in row 0",
            ),
            (
                "negative",
                [1] * (N - 1) + [-1],
                f"^column 'stars' must .* got -1 in row {N - 1}; drop",
            ),
            ("text", ["5"] * N, "^column 'stars' must have one number .*'5'.*pandas.to_numeric"),
            (
                "all 0",
                [0] * N,
                "^column 'stars': the weight is zero in every row of X.*; give a row",
            ),
        )
    },
    # feature tables
    "item twice": (
        *fit(X, items=pd.concat([ITEMS, ITEMS.tail(1)])),
        "column 'item_id' of the items table has the id .*23.* more than once; keep one row per id",
    ),
    "user twice": (
        *fit(X, users=pd.concat([USERS, USERS.head(1)])),
        "column 'user_id' of the users table has the id .*0.* more than once; keep one row per id",
    ),
    "missing id in a feature table": (
        *fit(X, items=with_value(ITEMS, "item_id", None)),
        "column 'item_id' of the items table has 1 missing or infinite ids, the first in row 3",
    ),
    "feature table without ids": (
        *fit(X, items=ITEMS[["topic"]]),
        MISSING_COLUMN.format("item_id", "item"),
    ),
    "features that are no table": (
        *fit(X, users={"user_id": [1]}),
        "the users table must be a DataFrame, got dict",
    ),
    "features as an array": (
        *fit(X, items=ITEMS.to_numpy()),
        "the items table must be a DataFrame, got ndarray",
    ),
    "other ids in a feature table": (
        *fit(X, items=ITEMS.astype({"item_id": str})),
        OTHER_KIND.format("item", "text", "number"),
        IdTypeError,
    ),
    "infinite feature": (
        *fit(X, items=with_value(ITEMS, "price", np.inf)),
        "feature column 'price' is infinite.* in row 3; replace .* a smaller number or by nan",
    ),
    "item feature that is nowhere": (
        *fit(X, item_features=["color"]),
        r"item_features names 'color', which is not in X, .* give the table that has it \(items=\)",
    ),
    "item feature that is no name": (
        *fit(X.to_numpy(), item_features=[["color"]]),
        r"^item_features has \['color'\] of type list; give the names of columns as text, or",
    ),
    "item features as a table": (
        *fit(X, item_features=ITEMS),
        "^item_features is a DataFrame, but must be a list of names.* the table to fit: items=",
    ),
    "sparse cells": (
        *fit(X, items=ITEMS.assign(price=[sparse.eye(1, 2).tocsr() for _ in range(24)])),
        r"feature column 'price' has a csr_.* in a cell, but .*: cell.toarray\(\).ravel\(\)",
        IdTypeError,
    ),
    "generators in cells": (
        *fit(X, items=ITEMS.assign(price=[iter("ab") for _ in range(24)])),
        r"feature column 'price' has a str\w*_iterator in a cell, but .*: list\(cell\)",
        IdTypeError,
    ),
    "frames in cells": (
        *fit(X, items=ITEMS.assign(price=pd.Series([ITEMS] * 24, dtype=object))),
        "feature column 'price' has a DataFrame in a cell, but .*; give a column per value",
        IdTypeError,
    ),
    "user feature that is nowhere": (
        *fit(X, user_features=["color"]),
        "user_features names 'color', which is not in X, .* or set user_features= to some of these",
    ),
    # column names
    "column twice": (
        *fit(pd.concat([X, X[["item_id"]]], axis=1)),
        "more than one column 'item_id'",
    ),
    **{
        f"unused column {name!r}": (
            *fit(X.assign(z=1).rename(columns={"z": name})),
            r"has the column .* of type \w+ beside names that are text; .*columns.astype\(str\)",
        )
        for name in (0, 1.5, None, ("a", 1))
    },
    "unused column twice": (
        *fit(pd.concat([X, X[["item_id"]] * 2, X], axis=1).set_axis([*"abcdabe"], axis=1)),
        "more than one column 'a', 'b'",
    ),
    **{
        f"{role} named {name}": (
            *fit(X.rename(columns={f"{role}_id": name}), **{f"{role}_col": name}),
            rf"^{role}_col='{name}' is the name of a column of results; rename it: X.rename\(",
        )
        for role in ("user", "item")
        for name in sorted(RESULT_COLUMNS)
    },
    "two names of results": (
        *fit(X.set_axis(["item_id", "x", "timestamp"], axis=1), user_col="item_id", item_col=1),
        "user_col='item_id' and item_col=1 would both be named 'item_id' in results",
    ),
    "a position and its name": (
        *fit(X, user_col=1),
        r"user_col=1, item_col='item_id' and time_col='timestamp' are the columns \['item_id', 'it",
    ),
    "one position twice": (
        *fit(X.to_numpy(), user_col=1),
        r"user_col=1, item_col='item_id' and time_col='timestamp' are the columns \[1, 1, 2\] of",
    ),
    # device
    "no such device": (
        *fit(X, device="gpu"),
        "device='gpu' is not supported; use 'auto', 'cpu', 'cuda' or 'cuda:1'",
    ),
}


MOMENTS = pd.to_datetime(X["timestamp"], unit="s")
TIMES = {
    "numbers": X,
    "dates": X.assign(timestamp=MOMENTS),
    "zoned dates": X.assign(timestamp=MOMENTS.dt.tz_localize("Asia/Tokyo")),
}
CONVERSIONS = {
    ("numbers", "dates"): r"to_datetime\(X\['timestamp'\], unit='s'\)",
    ("numbers", "zoned dates"): "unit='s', utc=True",
    ("dates", "numbers"): r"\(X\['timestamp'\] - pandas.Timestamp\(0\)\) // pandas.Timedelta",
    ("zoned dates", "numbers"): r"pandas.Timestamp\(0, tz='UTC'\)\) // pandas.Timedelta",
    ("dates", "zoned dates"): r"X\['timestamp'\].dt.tz_localize",
    ("zoned dates", "dates"): r"X\['timestamp'\].dt.tz_convert\('UTC'\).dt.tz_localize\(None",
}
CALLS = {
    "partial_fit": MINDRecommender.partial_fit,
    "add_interactions": MINDRecommender.add_interactions,
    "score": MINDRecommender.score,
    "target_ranks": MINDRecommender.target_ranks,
    "recommend_from_history": MINDRecommender.recommend_from_history,
    "interests_from_history": MINDRecommender.interests_from_history,
    "transform": lambda rec, X: rec.set_params(transform_history="past").transform(X),
    "compare": lambda rec, X: compare(rec, rec, X),
}
LIBRARIES = {
    "pandas": lambda X: X,
    "objects": lambda X: X.astype(object),
    "polars": pl.from_pandas,
    "pyarrow": pa.Table.from_pandas,
}


@pytest.fixture(scope="module", params=[False, True], ids=["fitted", "loaded"])
def models_of_times(request, tmp_path_factory):
    models = {}
    for kind, table in TIMES.items():
        models[kind] = MINDRecommender(**SMALL).fit(table)
        if request.param:
            path = tmp_path_factory.mktemp("times") / "model"
            models[kind].save(path)
            models[kind] = MINDRecommender.load(path)
    return models


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_times_of_another_kind_than_in_fit(models_of_times, call):
    for kind, fitted_kind in CONVERSIONS:
        rec = copy.deepcopy(models_of_times[fitted_kind])
        message = rf"^column 'timestamp' has {kind.removeprefix('zoned ')}.*, but the times of fit "
        message += rf"were .*{CONVERSIONS[kind, fitted_kind]}"
        for convert in LIBRARIES.values():
            with pytest.raises(InvalidInputError, match=message):
                call(rec, convert(TIMES[kind]))
        if kind == "dates":
            call(rec, TIMES[fitted_kind])


TIMES_OF_TYPES = {
    "timedelta64": (pd.to_timedelta(X["timestamp"], unit="s"), r"pandas.Timestamp.*total_seconds"),
    "period": (MOMENTS.dt.to_period("h"), r"\.dt\.to_timestamp\(\)"),
    "interval": (pd.cut(X["timestamp"], 5), r"pandas.IntervalIndex\(column\).left"),
    "time": (MOMENTS.dt.time, "a time of day has no date; join both: pandas.to_datetime"),
    "string": (MOMENTS.dt.strftime("%H:%M"), "a time of day has no date; join both"),
    "decimal": (X["timestamp"].map(Decimal), r"convert it to int64 or float: .astype\('int64'\)"),
    "bytes": (X["timestamp"].map(lambda t: b"2020"), r"decode it first: .str.decode\('utf-8'\)"),
    "mixed-integer": ([1, "a"] + [2] * (N - 2), "pandas.to_numeric or pandas.to_datetime, so that"),
}


@pytest.mark.parametrize("kind", TIMES_OF_TYPES)
def test_times_that_are_neither_numbers_nor_dates(models, kind):
    values, cure = TIMES_OF_TYPES[kind]
    table = X.assign(timestamp=values)
    message = f"^column 'timestamp' has values of type {kind}, such as .* or datetime; .*{cure}"
    for read in (
        MINDRecommender(**SMALL).fit,
        models["ints"].score,
        lambda X: list(LeaveLastOut().split(X)),
    ):
        with pytest.raises(InvalidInputError, match=message):
            read(table)


@pytest.mark.parametrize(
    "table",
    [
        pa.Table.from_pandas(X.assign(timestamp=pd.cut(X["timestamp"], 5))),
        pl.from_pandas(X).with_columns(timestamp=pl.struct(left="timestamp", right="timestamp")),
    ],
    ids=["pyarrow", "polars"],
)
def test_types_of_other_libraries_that_are_not_read(table):
    with pytest.raises(InvalidInputError, match="column 'timestamp' has .*; convert|type dict"):
        MINDRecommender(**SMALL).fit(table)


def test_partial_fit_without_the_column_of_weights():
    rec = MINDRecommender(**SMALL, weight_col="stars").fit(X.assign(stars=range(1, N + 1)))
    message = FITTED_COLUMN.format("stars", "weight") + r".*same weight: X.assign\(stars=1\)"
    row = Row(lambda rec: rec.partial_fit(X), InvalidInputError, message, "weights")
    check_error({"weights": rec}, row)


NO_TEXT = (
    r"^(feature )?(column|the list|the keys)\b.*: the text '.*ud[c8][80]0' has half of a surrogate "
    "pair, which no file .*; drop it, or"
)


@pytest.mark.parametrize("column", ["user_id", "item_id"])
@pytest.mark.parametrize("others", ["text", "mixed"])
@pytest.mark.parametrize("as_array", [False, True])
def test_fit_of_half_a_surrogate_pair(models, column, others, as_array):
    values = X[column].astype(str if others == "text" else object).astype(object)
    values[3] = "\ud800"
    table = X.assign(**{column: values})
    call, params = fit(table.to_numpy() if as_array else table)
    check_error(models, Row(call, InvalidInputError, NO_TEXT, "unfitted", params))


@pytest.mark.parametrize("values", ["\ud800", ["a", "b\ud800"]])
def test_feature_of_half_a_surrogate_pair(models, values):
    items = X[["item_id"]].drop_duplicates()
    items["tag"] = pd.Series([values] * len(items), items.index, dtype=object)
    call, params = fit(X, items=items)
    check_error(models, Row(call, InvalidInputError, NO_TEXT, "unfitted", params))


@pytest.mark.parametrize("model", ["unfitted", "ints"])
@pytest.mark.parametrize("mistake", FIT)
def test_fit(models, mistake, model):
    call, params, match, *error = FIT[mistake]
    check_error(models, Row(call, *(error or [InvalidInputError]), match, model, params))


def test_fit_without_cuda(models, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    call, params = fit(X, device="cuda:1")
    match = "device='cuda:1', but torch finds no CUDA device; use 'auto'"
    check_error(models, Row(call, InvalidInputError, match, params=params))


# ------------------------------------------------------------------ parameters

INVALID_VALUES = {
    "user_col": [None, 1.5, ["user_id"]],
    "item_col": [None, 1.5],
    "time_col": [1.5, ["timestamp"]],
    "tie_order": ["row", None, True],
    "user_features": ["age", 3],
    "item_features": ["topic", 3],
    "item_title": [["title"], 1.5],
    "min_item_count": [0, 1.0, None, True],
    "weight_col": [1.5, ["stars"]],
    "precision": ["float16", 32, None],
    "samples_per_epoch": [0, 1.5, "all", True],
    "horizon": [0, 1.5, None, 10**30],
    "n_interests": [0, 2.0, "4", True, np.True_, 257],
    "adaptive_interests": [2, "yes"],
    "embedding_dim": [0, 8.0, True, 16385],
    "max_history": [0, None, True, 1000001],
    "n_routing_iter": [0, 1.5, True, 101],
    "n_encoder_layers": [-1, 0.5, True, 65],
    "loss": ["soft", None, "hard"],
    "label_attention": ["soft", 0, -1.0, True, 1e300, 1e-300],
    "temperature": [0, -0.1, float("nan"), float("inf"), True, 1e-300, 1e300],
    "item_dropout": [-0.1, 1, 1.0, False],
    "encoder_dropout": [-0.1, 1, 1.0, False, "none"],
    "init": ["svd", "zeros", None, 1],
    "exclude_seen": ["no", None, 2],
    "dropout": [-0.1, 1, None, False],
    "n_negatives": [0, "none", 1.5, True, 10**30],
    "negative_sampling": ["popular", None],
    "max_epochs": [0, 1.5, True],
    "batch_size": [0, 10.0, "all", True],
    "learning_rate": [0, -1e-3, "auto", float("nan"), True, 1e300, 1e-300, Fraction(1, 100)],
    "weight_decay": [-1e-3, None, float("inf"), False, float("nan"), 1e300],
    "early_stopping": ["auto", 2],
    "validation_fraction": [0, 1, 1.5, True],
    "n_iter_no_change": [0, None, True],
    "warm_start": ["yes", 2],
    "checkpoint_dir": [0, b"folder", True],
    "transform_history": ["all", None],
    "index": ["hnsw", None],
    "n_trees": [0, 10.0, True, 1001],
    "search_k": [0, -1, 2.5, True],
    "n_jobs": [2.0, "all", 0, True],
    "device": [0, None],
    "random_state": ["seed", -1, 1.5, True, 2**32],
    "verbose": [-1, "yes"],
}


def test_every_parameter_has_invalid_values_here():
    assert set(INVALID_VALUES) == set(MINDRecommender().get_params())


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in INVALID_VALUES.items() for value in values],
)
@pytest.mark.parametrize("model", ["unfitted", "ints"])
def test_parameters(models, name, value, model):
    match = (
        rf"The '{name}' parameter of MINDRecommender must be .*\. Got {re.escape(repr(value))} ins"
    )
    call, params = fit(X, **{name: value})
    check_error(models, Row(call, ValueError, match, model, params))


PARAMETERS_OF_ANSWERS = [
    ("n_jobs", 0),
    ("n_jobs", True),
    ("transform_history", "all"),
    ("device", 0),
]


@pytest.mark.parametrize(("name", "value"), PARAMETERS_OF_ANSWERS)
@pytest.mark.parametrize(
    "call", [lambda rec: rec.recommend([0]), lambda rec: rec.transform(X)], ids=["ask", "transform"]
)
def test_parameters_that_become_invalid_after_fit(models, name, value, call):
    match = f"The '{name}' parameter of MINDRecommender must be .* Got {value!r} instead"
    check_error(models, Row(call, ValueError, match, "ints", {name: value}))


SIZES = {
    "embedding_dim": 2**14,
    "max_history": 10**6,
    "n_encoder_layers": 64,
    "n_interests": 256,
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_beyond_the_memory_of_the_machine(models, monkeypatch, name):
    monkeypatch.setattr(os, "sysconf", lambda _: 2**7)  # pages, and bytes of each: 16 kB
    match = rf"{name}={SIZES[name]}.* and \d+ items need at least [\d,]+ GB of .* has 0 GB; use sm"
    for model in ("unfitted", "ints"):
        call, params = fit(X, **{name: SIZES[name]})
        check_error(models, Row(call, InvalidInputError, match, model, params))


def test_a_long_history_has_one_layer_at_most(models):
    sizes = {"max_history": 30_000, "n_encoder_layers": 2}
    call, params = fit(X, **sizes)
    match = (
        "n_encoder_layers=2 compares all pairs of max_history=30000 items, 9e.08 .* or n_encoder_l"
    )
    check_error(models, Row(call, InvalidInputError, match, "unfitted", params))
    assert MINDRecommender(**SMALL | sizes | {"n_encoder_layers": 1}).fit(X).n_epochs_ == 1


def test_where_the_memory_of_the_machine_is_unknown(monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    assert MINDRecommender(**SMALL).fit(X).n_epochs_ == 1


# ------------------------------------------------------------------ before fit

METHODS = {
    "transform": lambda rec: rec.transform(X),
    "predict": lambda rec: rec.predict(X),
    "score": lambda rec: rec.score(X),
    "target_ranks": lambda rec: rec.target_ranks(X),
    "interests": lambda rec: rec.interests([0]),
    "interests_from_history": lambda rec: rec.interests_from_history([[1]]),
    "recommend": lambda rec: rec.recommend([0]),
    "recommend_from_history": lambda rec: rec.recommend_from_history([[1]]),
    "predict_scores": lambda rec: rec.predict_scores([0], [1]),
    "similar_items": lambda rec: rec.similar_items([1]),
    "audience": lambda rec: rec.audience([1]),
    "explain": lambda rec: rec.explain(0, 1),
    "describe_interests": lambda rec: rec.describe_interests(),
    "explore": lambda rec: rec.explore(),
    "index_recall": lambda rec: rec.index_recall(),
    "index_": lambda rec: rec.index_,
    "export_onnx": lambda rec: rec.export_onnx("nowhere"),
    "get_feature_names_out": lambda rec: rec.get_feature_names_out(),
    "save": lambda rec: rec.save("never written"),
    "add_interactions": lambda rec: rec.add_interactions(X),
}
WITHOUT_A_FIT = {
    "fit", "fit_transform", "get_params", "load", "partial_fit", "set_callbacks", "set_params",
    "set_output",
}  # fmt: skip


def test_every_method_that_needs_a_fitted_model_is_here():
    public = {name for name in dir(MINDRecommender()) if not name.startswith("_")}
    methods = {name for name in public if callable(getattr(MINDRecommender, name, None))}
    requests = {"get_metadata_routing"}
    requests |= {f"set_{name}_request" for name in ("fit", "partial_fit", "predict", "score")}
    assert methods - requests - WITHOUT_A_FIT == set(METHODS) - {"index_"}


@pytest.mark.parametrize("method", METHODS)
def test_before_fit(models, method):
    match = "This MINDRecommender instance is not fitted yet. Call 'fit'"
    check_error(models, Row(METHODS[method], NotFittedError, match, "unfitted"))


# ------------------------------------------------------------------ arguments after fit

NOT_A_COUNT = "^k={} must be an integer of at least 1"
NOT_A_LIST = "^{0} ids must be a list or array, not the single value {1}; write \\[{1}\\]"
NOT_AN_OPTION = "^{}={} is not one of {}"
NOT_A_SHARE = "^diversity={} must be a number from 0 to 1"
NO_CATEGORY = "^diversity_by={} is not a feature of fit that holds .* lists of them; use {}$"
NOT_LISTS = r"histories must hold a list of item ids per user, got {}; for one user write \[\["
NOT_KNOWN = "items= has 2 ids, none of which was in fit; name at least one that is in items_, or"
REPEATED = pd.concat([X, X[["user_id"]]], axis=1)
BAD_WEIGHT = (
    f"sample_weight must have one finite number of at least 0 for each of the {N} rows of X"
)

INVALID_CALLS = [
    # text
    *(
        Row(call, InvalidInputError, NO_TEXT, "text")
        for call in (
            lambda rec: rec.recommend(["\udc80"]),
            lambda rec: rec.recommend(items=["1", "\ud800"]),
            lambda rec: rec.recommend_from_history([["1", "a\ud800"]]),
            lambda rec: rec.recommend_from_history({"\ud800": ["1"]}),
            lambda rec: rec.similar_items(np.array(["\ud800"], dtype=object)),
        )
    ),
    # k
    *(
        Row(call, InvalidInputError, NOT_A_COUNT.format(re.escape(repr(k))))
        for k in (0, -3, 2.0, "3", None, True)
        for call in (
            lambda rec, k=k: rec.recommend([0], k),
            lambda rec, k=k: rec.recommend_from_history([[1]], k),
            lambda rec, k=k: rec.similar_items([1], k),
            lambda rec, k=k: rec.predict(X, k=k),
        )
    ),
    # options
    *(
        Row(
            lambda rec, value=value: rec.recommend([0, 999], unknown=value),
            InvalidInputError,
            NOT_AN_OPTION.format("unknown", re.escape(repr(value)), "'popular', 'error', 'drop'"),
        )
        for value in ("ignore", None, 0, ["drop"])
    ),
    *(
        Row(
            call,
            InvalidInputError,
            NOT_AN_OPTION.format("output", repr(value), "'frame', 'arrays'"),
        )
        for value in ("pandas", None, 0)
        for call in (
            lambda rec, value=value: rec.recommend([0], output=value),
            lambda rec, value=value: rec.recommend_from_history([[1]], output=value),
        )
    ),
    *(
        Row(call, InvalidInputError, NOT_A_SHARE.format(re.escape(repr(value))))
        for value in (-0.1, 1.1, float("nan"), "high", None, True)
        for call in (
            lambda rec, value=value: rec.recommend([0], diversity=value),
            lambda rec, value=value: rec.recommend_from_history([[1]], diversity=value),
        )
    ),
    *(
        Row(call, InvalidInputError, NO_CATEGORY.format(re.escape(repr(value)), legal), model)
        for value, legal, model in (
            ("gerne", r"one of \['topic'\]", "features"),
            ("price", r"one of \['topic'\]", "features"),  # a number
            (["topic"], r"one of \['topic'\]", "features"),
            (0, r"one of \['topic'\]", "features"),
            ("topic", "None, as fit was given none", "ints"),
        )
        for call in (
            lambda rec, value=value: rec.recommend([0], diversity_by=value),
            lambda rec, value=value: rec.recommend_from_history([[1]], diversity_by=value),
        )
    ),
    # users
    Row(
        lambda rec: rec.recommend([3, 998, 999], unknown="error"),
        UnknownIdError,
        "^2 of user_ids were not in fit, the first is 998; use unknown='popular' or 'drop', or rec",
    ),
    Row(
        lambda rec: rec.recommend(["3", "nobody"], unknown="error"),
        UnknownIdError,
        "^1 of user_ids were not in fit, the first is 'nobody'; use",
        "text",
    ),
    *(
        Row(call, InvalidInputError, NOT_A_LIST.format(kind, re.escape(repr(value))))
        for value in (3, 3.5, "3", np.int64(3))
        for kind, call in (
            ("user", lambda rec, value=value: rec.recommend(value)),
            ("user", lambda rec, value=value: rec.interests(value)),
            ("user", lambda rec, value=value: rec.predict_scores(value, [1])),
            ("item", lambda rec, value=value: rec.predict_scores([0], value)),
            ("item", lambda rec, value=value: rec.similar_items(value)),
            ("item", lambda rec, value=value: rec.similar_items([1], items=value)),
            ("item", lambda rec, value=value: rec.similar_items([1], exclude_items=value)),
            ("item", lambda rec, value=value: rec.recommend([0], items=value)),
            ("item", lambda rec, value=value: rec.recommend([0], exclude_items=value)),
        )
    ),
    Row(
        lambda rec: rec.recommend(X),
        InvalidInputError,
        "the list of user ids must have one dimension, .* but is a DataFrame; pass one of its col",
    ),
    Row(
        lambda rec: rec.interests(np.zeros((2, 2))),
        InvalidInputError,
        "the list of user ids must have one dimension, .* but is a ndarray",
    ),
    Row(
        lambda rec: rec.recommend([0, None]),
        InvalidInputError,
        "the list of user ids has 1 missing or infinite ids, the first in row 1; drop",
    ),
    Row(
        lambda rec: rec.recommend([(0, "x")]),
        IdTypeError,
        r"the list of user ids has the .*\(0, 'x'\) of type tuple, but .* must be a string, number",
    ),
    # ids of another kind
    *(
        Row(call, IdTypeError, OTHER_KIND.format(kind, "text", "number"))
        for kind, call in (
            ("user", lambda rec: rec.recommend(["1"])),
            ("user", lambda rec: rec.interests(["1"])),
            ("user", lambda rec: rec.explain("1", 1)),
            ("item", lambda rec: rec.explain(1, "1")),
            ("user", lambda rec: rec.predict_scores(["1"], [1])),
            ("item", lambda rec: rec.predict_scores([1], ["1"])),
            ("item", lambda rec: rec.similar_items(["1"])),
            ("item", lambda rec: rec.similar_items([1], items=["1"])),
            ("user", lambda rec: rec.predict_scores(TEXT)),
            ("item", lambda rec: rec.recommend([0], items=["1"])),
            ("item", lambda rec: rec.recommend([0], exclude_items=["1"])),
            ("item", lambda rec: rec.recommend_from_history([["1"]])),
            ("item", lambda rec: rec.interests_from_history({"a": ["1"]})),
            ("user", lambda rec: rec.transform(TEXT)),
            ("user", lambda rec: rec.predict(TEXT)),
            ("user", lambda rec: rec.score(TEXT)),
            ("item", lambda rec: rec.score(X.astype({"item_id": str}))),
        )
    ),
    Row(
        lambda rec: rec.recommend([1]),
        IdTypeError,
        OTHER_KIND.format("user", "number", "text"),
        "text",
    ),
    # items
    Row(lambda rec: rec.recommend([0], items=[998, 999]), UnknownIdError, NOT_KNOWN),
    Row(lambda rec: rec.recommend_from_history([[1]], items=[998, 999]), UnknownIdError, NOT_KNOWN),
    Row(
        lambda rec: rec.recommend([0], items=[]), UnknownIdError, "items= has 0 ids, none of which"
    ),
    Row(
        lambda rec: rec.similar_items([1, 999]),
        UnknownIdError,
        "^the item 999 was not in fit; items_ has the known ids",
    ),
    Row(
        lambda rec: rec.explain(0, 999), UnknownIdError, "^the item 999 was not in fit; items_ has"
    ),
    Row(
        lambda rec: rec.explain(999, 1), UnknownIdError, "^the user 999 was not in fit; users_ has"
    ),
    Row(
        lambda rec: rec.explain([0], 1),
        IdTypeError,
        r"the list of user ids has the .*\[0\] of type list",
    ),
    # histories
    *(
        Row(call, InvalidInputError, NOT_LISTS.format(got))
        for histories, got in (
            ([1, 2, 3], "1"),
            (["a", "b"], "'a'"),
            ("ab", "'ab'"),
            (5, "5"),
            (None, "None"),
            ([None], "None"),
            ({"zoe": 3}, "3"),
            (np.array([1, 2]), "(np.int64\\(1\\)|1)"),
        )
        for call in (
            lambda rec, histories=histories: rec.recommend_from_history(histories),
            lambda rec, histories=histories: rec.interests_from_history(histories),
        )
    ),
    Row(
        lambda rec: rec.recommend_from_history([[1, None]]),
        InvalidInputError,
        "the list of item ids has 1 missing or infinite ids, the first in row 1",
    ),
    Row(
        lambda rec: rec.recommend_from_history(X.drop(columns="timestamp")),
        InvalidInputError,
        FITTED_COLUMN.format("timestamp", "time") + ".* or fit with time_col=None",
    ),
    Row(
        lambda rec: rec.recommend_from_history(X.assign(timestamp="today")),
        InvalidInputError,
        TEXT_TIME.format("string", "'today'"),
    ),
    # profiles
    Row(
        lambda rec: rec.recommend_from_history({99: [1]}, users=USERS[["user_id", "age"]]),
        InvalidInputError,
        "^the users table has no column 'sex', which is a feature that fit learned; it has .* Add",
        "features",
    ),
    Row(
        lambda rec: rec.recommend_from_history({0: [1]}, users=USERS.assign(age="old")),
        InvalidInputError,
        "'age' held floats in fit but has other values now, such as 'old'; convert it to float",
        "features",
    ),
    Row(
        lambda rec: rec.recommend_from_history({0: [1]}, users=with_value(USERS, "age", np.inf)),
        InvalidInputError,
        "feature column 'age' is infinite.* in row 3; replace",
        "features",
    ),
    Row(
        lambda rec: rec.interests_from_history({0: [1]}, users=pd.concat([USERS, USERS])),
        InvalidInputError,
        "column 'user_id' of the users table has the id .* more than once; keep one row per id",
        "features",
    ),
    Row(
        lambda rec: rec.interests_from_history({0: [1]}, users=[[0, 30.0, "f"]]),
        InvalidInputError,
        "the users table must be a DataFrame, got list",
        "features",
    ),
    # tables
    *(
        Row(
            lambda rec, method=method, table=table: getattr(rec, method)(table), error, match, model
        )
        for method in ("transform", "predict", "score", "target_ranks")
        for table, error, match, model in (
            (X.head(0), InvalidInputError, NO_ROWS, "ints"),
            (
                X.drop(columns="user_id"),
                InvalidInputError,
                FITTED_COLUMN.format("user_id", "user"),
                "ints",
            ),
            (REPEATED, InvalidInputError, "more than one column 'user_id'; it has", "ints"),
            (X.to_numpy()[:, :2], ValueError, "X has 2 features, .* is expecting 3 feat", "array"),
            (X.assign(z=1).to_numpy(), ValueError, "X has 4 features, .* is expecting 3", "array"),
            (np.zeros((2, 3, 2)), ValueError, "dim 3, while dim <= 2 is required", "array"),
            (sparse.csr_matrix(X.to_numpy()), InvalidInputError, NO_SPARSE, "array"),
            (two_levels(X), InvalidInputError, "are a MultiIndex; flatten them", "ints"),
            (with_value(X, "user_id", None), InvalidInputError, NO_ID.format("user_id"), "ints"),
            ({"user_id": [1]}, InvalidInputError, "is a dict; pass a DataFrame", "ints"),
            (None, ValueError, NO_TABLE.format("scalar"), "array"),
        )
    ),
    Row(
        lambda rec: rec.transform(X),
        InvalidInputError,
        "transform_history='past' needs times: set time_col to a column of X and fit again",
        "no times",
        {"transform_history": "past"},
    ),
    Row(
        lambda rec: rec.transform(X.assign(timestamp="today")),
        InvalidInputError,
        TEXT_TIME.format("string", "'today'"),
        params={"transform_history": "past"},
    ),
    # weights
    *(
        Row(lambda rec, call=call, w=w: getattr(rec, call)(X, sample_weight=w), error, match, model)
        for call in ("fit", "partial_fit")
        for model in ("ints", "unfitted")
        for w, error, match in (
            ([1, 2], InvalidInputError, BAD_WEIGHT),
            ([-1] * N, InvalidInputError, BAD_WEIGHT),
            ([np.nan] * N, InvalidInputError, BAD_WEIGHT),
            ([np.inf] * N, InvalidInputError, BAD_WEIGHT),
            (np.ones((N, 1)), InvalidInputError, BAD_WEIGHT),
            ("balanced", InvalidInputError, "sample_weight must have one number .* 'balanced'"),
            ([0] * N, InvalidInputError, "^sample_weight: the weight is zero in every row of X"),
            (pd.Series(1.0, range(1, N + 1)), InvalidInputError, "with another index than X; give"),
        )
    ),
    Row(
        lambda rec: rec.score(X, sample_weight=pd.Series(1.0, X.index[::-1])),
        InvalidInputError,
        "another index than X; give it in the rows of X: sample_weight.loc",
    ),
    Row(
        lambda rec: rec.fit(X.assign(w=1), sample_weight=[1] * N),
        InvalidInputError,
        "sample_weight is given, but weight_col='w' names the column .*; give one of them",
        "unfitted",
        {"weight_col": "w"},
    ),
    Row(lambda rec: rec.score(X, sample_weight=[1, 2]), InvalidInputError, BAD_WEIGHT),
    Row(lambda rec: rec.score(X, sample_weight=[-1] * N), InvalidInputError, BAD_WEIGHT),
    Row(lambda rec: rec.score(X, sample_weight=[np.nan] * N), InvalidInputError, BAD_WEIGHT),
    Row(lambda rec: rec.score(X, sample_weight=np.ones((N, 2))), InvalidInputError, BAD_WEIGHT),
    Row(
        lambda rec: rec.score(X, sample_weight="balanced"),
        InvalidInputError,
        "sample_weight must have one number for each row of X, got 'balanced'",
    ),
    Row(
        lambda rec: rec.score(X, sample_weight=[0] * N),
        InvalidInputError,
        "sample_weight is 0 in every row that can be scored; give one a positive weight",
    ),
]


@pytest.mark.parametrize("row", INVALID_CALLS, ids=lambda row: row.match)
def test_invalid_calls(models, row):
    check_error(models, row)


# ------------------------------------------------------------------ warnings

NOTHING_TO_LEARN = "nothing to learn: no user has two interactions, or there is only one item; the"
NOTHING_TO_SCORE = "nothing to score: no user of X was in fit or has two rows.* split by time"
UNKNOWN_USERS = X.drop_duplicates("user_id").assign(user_id=range(900, 920))

WARNINGS = {
    "one row": (fit(X.head(1)), NothingToLearnWarning, NOTHING_TO_LEARN),
    "one row of a list": (fit([[1, 2, 3]]), NothingToLearnWarning, NOTHING_TO_LEARN),
    "one event each": (fit(X.drop_duplicates("user_id")), NothingToLearnWarning, NOTHING_TO_LEARN),
    "one item": (fit(X.assign(item_id=5)), NothingToLearnWarning, NOTHING_TO_LEARN),
    "a feature without values": (
        fit(X, items=ITEMS.assign(topic=None)),
        IgnoredDataWarning,
        "feature column 'topic' has only missing values and is ignored",
    ),
    "more than three unnamed columns": (
        fit(X.assign(rating=5, note=0).to_numpy()),
        IgnoredDataWarning,
        r"has 5 unnamed columns; 0, 1 and 2 are used as user, item and time, and \[3, 4\] are "
        "ignored. Pass a DataFrame, or set user_col, item_col and time_col to positions",
    ),
    "no item to score": (
        (lambda rec: rec.fit(X).score(X.assign(item_id=X["item_id"] + 900)), {}),
        IgnoredDataWarning,
        r"no item of the \d+ targets in X was in fit, such as 9\d\d, where .* such as 0; all count",
    ),
    "features of other items": (
        fit(TEXT, items=ITEMS.assign(item_id=[f"{i:.1f}" for i in ITEMS["item_id"]])),
        SkmindWarning,
        "none of the 24 ids in column 'item_id' of the items table occurs in X: they are such as "
        r"'0\.0', those of X such as '0'; all are new items, without .*convert the table to the",
    ),
    "features of other users": (
        fit(X, users=USERS.assign(user_id=USERS["user_id"] + 900)),
        SkmindWarning,
        "none of the 20 ids in .*users table occurs in X: they are such as 900, .* such as 0; all",
    ),
    "features of other items, later": (
        (
            lambda rec: rec.fit(TEXT, items=ITEMS.astype({"item_id": str})).partial_fit(
                TEXT, items=ITEMS.assign(item_id=[f"0{i}" for i in ITEMS["item_id"]])
            ),
            {},
        ),
        SkmindWarning,
        "none of the 24 ids .* such as '00', those of X such as '0'",
    ),
    "nobody to score": (
        (lambda rec: rec.fit(X).score(UNKNOWN_USERS), {}),
        NothingToScoreWarning,
        NOTHING_TO_SCORE,
    ),
}


@pytest.mark.parametrize("mistake", WARNINGS)
def test_warnings(models, mistake):
    (call, params), category, match = WARNINGS[mistake]
    rec = MINDRecommender(**SMALL).set_params(**params)
    with pytest.warns(category, match=match) as record:
        result = call(rec)
    assert [warning.category for warning in record] == [category]
    if category in (NothingToLearnWarning, NothingToScoreWarning):
        assert record[0].filename == __file__  # points at the caller's line
    if np.isscalar(result):
        assert np.isnan(result) if category is NothingToScoreWarning else result == 0
    else:
        top = rec.recommend(k=3, exclude_seen=False)
        assert top.groupby("user_id").size().tolist() == [min(3, len(rec.items_))] * len(rec.users_)
        assert np.isfinite(rec.item_embeddings_).all()


def test_an_ignored_feature_has_no_effect():
    with pytest.warns(IgnoredDataWarning, match="'empty'"):
        rec = MINDRecommender(**SMALL).fit(X, items=ITEMS.assign(empty=np.nan))
    expected = MINDRecommender(**SMALL).fit(X, items=ITEMS)
    np.testing.assert_array_equal(rec.item_embeddings_, expected.item_embeddings_)


def test_positions_silence_the_warning_of_unnamed_columns():
    options = {"user_col": 0, "item_col": 1, "time_col": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rec = MINDRecommender(**SMALL, **options).fit(X.assign(rating=5).to_numpy())
    np.testing.assert_array_equal(
        rec.item_embeddings_, MINDRecommender(**SMALL).fit(X).item_embeddings_
    )


# ------------------------------------------------------------------ unusual, but valid


def same(frame, expected):
    pd.testing.assert_frame_equal(
        frame.reset_index(drop=True), expected.reset_index(drop=True), rtol=0, atol=1e-6
    )


def popular(frame):
    assert (frame["interest"] == -1).all()
    assert len(frame) > 0


UNUSUAL_CALLS = {
    "repeated rows": lambda rec: len(rec.fit(pd.concat([X, X])).recommend(k=2)) == 2 * 20,
    "floats for integers": lambda rec: same(
        rec.recommend([1.0, 2.0]).astype({"user_id": int}), rec.recommend([1, 2])
    ),
    "flags of numpy": lambda rec: same(rec.recommend(np.array([1, 2])), rec.recommend([1, 2])),
    "unknown users": lambda rec: popular(rec.recommend([998, 999])),
    "unknown users left out": lambda rec: same(
        rec.recommend([998, 1], unknown="drop"), rec.recommend([1])
    ),
    "nobody": lambda rec: len(rec.recommend([])) == 0,
    "nobody's history": lambda rec: len(rec.recommend_from_history([])) == 0,
    "nobody's history in a dict": lambda rec: len(rec.recommend_from_history({})) == 0,
    "an empty history": lambda rec: popular(rec.recommend_from_history([[]])),
    "a history of unknown items": lambda rec: popular(rec.recommend_from_history([[777]])),
    "k of numpy": lambda rec: same(rec.recommend([1], np.int64(3)), rec.recommend([1], 3)),
    "nothing left": lambda rec: len(rec.recommend(exclude_items=rec.items_)) == 0,
    "allowed and excluded": lambda rec: len(rec.recommend(items=[3], exclude_items=[3])) == 0,
    "unknown excluded items": lambda rec: same(
        rec.recommend([1], exclude_items=[998, 999]), rec.recommend([1])
    ),
    "no excluded items": lambda rec: same(rec.recommend([1], exclude_items=[]), rec.recommend([1])),
    "no similar items": lambda rec: len(rec.similar_items([])) == 0,
    "unknown users to transform": lambda rec: (
        not rec.transform(X.assign(user_id=X["user_id"] + 900)).any()
    ),
    "unknown users to score": lambda rec: 0 < rec.score(X.assign(user_id=X["user_id"] + 900)) < 1,
    "columns of other tables": lambda rec: same(
        rec.recommend_from_history(X.assign(rating=3), k=2), rec.recommend_from_history(X, k=2)
    ),
    "an empty feature table": lambda rec: (
        len(rec.fit(X, items=ITEMS[["item_id"]].head(0)).items_) > 0
    ),
}


@pytest.mark.parametrize("name", UNUSUAL_CALLS)
def test_unusual_calls_are_valid(models, name):
    rec = copy_model(models, Row(None, None, ""))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ShortageWarning)
        assert UNUSUAL_CALLS[name](rec) in (True, None)


def test_strings_in_an_array_are_text_ids():
    rec = MINDRecommender(**SMALL).fit([[str(u), str(i), t] for u, i, t in X.to_numpy().tolist()])
    expected = MINDRecommender(**SMALL).fit(TEXT)
    assert rec.users_.tolist() == expected.users_.tolist()
    np.testing.assert_array_equal(rec.item_embeddings_, expected.item_embeddings_)


@pytest.mark.parametrize("ids", [[3, 4], (3, 4), np.array([3, 4]), []], ids=str)
@pytest.mark.parametrize("method", ["predict", "transform", "score", "add_interactions"])
def test_lists_of_users_are_no_table(models, method, ids):
    message = (
        f"Expected 2D array, got 1D array instead: X is a .* of {len(ids)} single values.*Reshape "
        r"your data: give a table .*pandas.DataFrame\({'user_id': X}\) for .*; recommend\(X\) takes"
    )
    with pytest.raises(InvalidInputError, match=message):
        getattr(models["ints"], method)(ids)


def test_new_features_of_new_items_are_usual():
    rec = MINDRecommender(**SMALL).fit(X, items=ITEMS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkmindWarning)
        rec.partial_fit(X, items=ITEMS.assign(item_id=ITEMS["item_id"] + 900))
    assert len(rec.items_) == 48


def test_errors_are_also_the_builtins_that_callers_expect(models):
    rec = models["ints"]
    for error, builtin, call in (
        (InvalidInputError, ValueError, lambda: rec.recommend([0], k=0)),
        (IdTypeError, TypeError, lambda: rec.recommend(["1"])),
        (UnknownIdError, KeyError, lambda: rec.similar_items([999])),
    ):
        with pytest.raises(error, match=".") as info:
            call()
        assert isinstance(info.value, builtin)
        assert isinstance(info.value, SkmindError)
        assert not str(info.value).startswith("'")  # unlike that of KeyError


@pytest.mark.parametrize(
    "columns",
    [{"user_col": "item_id"}, {"time_col": "user_id"}, {"item_col": 0, "user_col": 0}],
)
def test_a_column_cannot_have_two_roles(columns):
    X = pd.DataFrame({"user_id": [1, 1], "item_id": [1, 2], "timestamp": [1, 2]})
    with pytest.raises(InvalidInputError, match="user_col=.*each must name a different column"):
        MINDRecommender(**columns).fit(X)


def test_a_feature_must_be_a_column_of_its_table():
    X = pd.DataFrame({"user_id": [1, 1], "item_id": [1, 2], "timestamp": [1, 2]})
    items = pd.DataFrame({"item_id": [1, 2], "genre": ["a", "b"]})
    message = r"item_features names 'gerne', .* items table, which has \['item_id', 'genre'\]"
    with pytest.raises(InvalidInputError, match=message):
        MINDRecommender(item_features=["gerne"]).fit(X, items=items)
