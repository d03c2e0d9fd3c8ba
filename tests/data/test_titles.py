"""Titles of every kind of table become the same texts, and bad ones are refused with a cure."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skmind.data.ids import IdEncoder
from skmind.data.parquet import ParquetTable
from skmind.data.prepare import Schema, check_distinct_roles, check_title_columns
from skmind.data.titles import learn_titles, read_titles, title_cells, title_texts
from skmind.exceptions import IdTypeError, InvalidInputError, SkmindWarning, UnknownIdError

SCHEMA = Schema("user", "item", None)
ENCODER = IdEncoder(np.array([10, 20, 30]), "item")
TABLE = pd.DataFrame({"item": [30, 99, 10], "title": ["Heat", "Unknown", "Alien"]})
EXPECTED = ["Alien", "", "Heat"]

KINDS = {
    "dict": {30: "Heat", 99: "Unknown", 10: "Alien"},
    "Series": TABLE.set_index("item")["title"],
    "frame": TABLE,
    "frame of another column": TABLE.set_axis(["item", "name"], axis=1),
    "frame of several columns": TABLE.assign(year=2000),
    "frame with an index of ids": TABLE.set_index("item"),
    "categories": TABLE.astype({"title": "category"}),
    "polars": pl.from_pandas(TABLE),
    "arrow": pa.Table.from_pandas(TABLE),
    "missing": {30: "Heat", 20: None, 10: "Alien"},
    "not a number": pd.Series(["Heat", np.nan, "Alien"], index=[30, 20, 10]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_titles(kind):
    assert read_titles(KINDS[kind], ENCODER, SCHEMA).tolist() == EXPECTED


def test_the_column_named_in_fit_comes_before_the_column_title():
    table = TABLE.assign(name=["a", "b", "c"])
    assert read_titles(table, ENCODER, SCHEMA._replace(title="name")).tolist() == ["c", "", "a"]
    assert read_titles(table, ENCODER, SCHEMA).tolist() == EXPECTED


def test_titles_of_a_position_are_in_the_column_item_id():
    table = TABLE.set_axis(["item_id", "title"], axis=1)
    schema = Schema(0, 1, None)
    assert read_titles(table, ENCODER, schema).tolist() == EXPECTED
    assert read_titles(table.set_index("item_id"), ENCODER, schema).tolist() == EXPECTED


@pytest.mark.parametrize(
    ("titles", "error", "message"),
    [
        (["Heat"], InvalidInputError, r"titles is a list, which .* pass a dict \{item id: title\}"),
        (np.array(["Heat"]), InvalidInputError, "titles is a ndarray"),
        ("items.csv", InvalidInputError, r"read the table first: pandas.read_csv\('items.csv'\)"),
        (TABLE[["title"]], InvalidInputError, "titles.*'item'"),
        (
            TABLE.set_axis(["item", "name"], axis=1).assign(year=0),
            InvalidInputError,
            r"columns \['name', 'year'\] beside 'item', but none is named 'title'",
        ),
        (pd.concat([TABLE, TABLE]), InvalidInputError, "titles has the id 30 more than once"),
        (pd.Series(["a"], index=pd.MultiIndex.from_tuples([(10, 1)])), InvalidInputError, "levels"),
        ({98: "a", 99: "b"}, UnknownIdError, "none of the 2 ids of titles .* such as 98, .* as 10"),
        ({"10": "a"}, IdTypeError, "convert them to the same type"),
        ({10: ["a", "b"]}, IdTypeError, r"titles has the title \['a', 'b'\] of type list"),
        ({10: "\ud800"}, InvalidInputError, "titles: the text .* half of a surrogate pair"),
        ({None: "a", 10: "b"}, InvalidInputError, "the keys of titles"),
    ],
)
def test_bad_titles_get_a_sentence_with_the_cure(titles, error, message):
    with pytest.raises(error, match=message):
        read_titles(titles, ENCODER, SCHEMA)


def test_row_numbers_instead_of_ids_are_warned_of():
    ids = IdEncoder(np.array([1, 2]), "item")
    rows = pd.Series(["title of 1", "title of 2"])
    with pytest.warns(SkmindWarning, match=r"numbers its rows from 0.*set_index\('item'\)"):
        read_titles(rows, ids, SCHEMA)


@pytest.mark.filterwarnings("error")
def test_row_numbers_that_are_ids_are_not_warned_of():
    assert read_titles(pd.Series(["a", "b"]), IdEncoder(np.arange(2), "item"), SCHEMA).tolist() == [
        "a",
        "b",
    ]


def test_texts_and_cells():
    assert title_texts([1.5, None, "a", np.nan, True], "titles").tolist() == [
        "1.5", "", "a", "", "True"
    ]  # fmt: skip
    assert title_texts([], "titles").tolist() == []
    cells = title_cells(np.array(["a", "", "c"], dtype=object), np.array([2, 1, -1, 0]))
    assert cells.tolist() == ["c", None, None, "a"]


# ------------------------------------------------------------------ in fit

NAMED = SCHEMA._replace(title="title")
X = pd.DataFrame({"user": [1, 1, 2], "item": [10, 20, 10], "title": ["old", "Heat", "new"]})


def test_titles_are_read_from_the_items_or_else_from_the_last_rows(tmp_path):
    assert learn_titles(X, TABLE, SCHEMA, ENCODER) is None
    assert learn_titles(X, TABLE, NAMED, ENCODER).tolist() == EXPECTED
    assert learn_titles(X, None, NAMED, ENCODER).tolist() == ["new", "Heat", ""]
    X.to_parquet(tmp_path / "log.parquet")
    stored = ParquetTable(tmp_path / "log.parquet")
    assert learn_titles(stored, None, NAMED, ENCODER).tolist() == ["new", "Heat", ""]
    array = X.to_numpy(dtype=object)
    schema = Schema(0, 1, None, title=2)
    assert learn_titles(array, None, schema, ENCODER).tolist() == ["new", "Heat", ""]


def test_known_titles_stay_where_new_tables_have_none():
    known = np.array(["a", "b"], dtype=object)
    assert learn_titles(X, TABLE, NAMED, ENCODER, known).tolist() == ["Alien", "b", "Heat"]
    bare = X[["user", "item"]]
    assert learn_titles(bare, None, NAMED, ENCODER, known).tolist() == ["a", "b", ""]
    assert known.tolist() == ["a", "b"]


def test_a_missing_column_is_named_with_the_columns_that_are_there():
    with pytest.raises(InvalidInputError, match=r"'name' is not a column: .*\['item', 'title'\]"):
        learn_titles(X, TABLE, SCHEMA._replace(title="name"), ENCODER)
    with pytest.raises(InvalidInputError, match="'name' is not a column: X has"):
        learn_titles(X, None, SCHEMA._replace(title="name"), ENCODER)


@pytest.mark.parametrize("role", ["user", "item"])
def test_a_column_of_ids_can_not_be_named_like_one_of_titles(role):
    schema = SCHEMA._replace(**{role: "title"})
    with pytest.raises(InvalidInputError, match=f"{role}_col='title' is the name of a column of t"):
        check_title_columns(schema)
    check_distinct_roles(schema)
    with pytest.raises(InvalidInputError, match="column of titles"):
        check_distinct_roles(schema._replace(title="name"))
    with pytest.raises(InvalidInputError, match="must name a different column"):
        check_distinct_roles(SCHEMA._replace(title="item"))
