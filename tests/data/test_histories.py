import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from skmind.data.histories import read_histories, read_item_lists
from skmind.data.ids import IdEncoder
from skmind.data.prepare import Schema
from skmind.exceptions import IdTypeError, IgnoredDataWarning, InvalidInputError

SCHEMA = Schema("user", "item", "time")
ITEMS = IdEncoder(np.array(["a", "b", "c", "d"], dtype=object), "item")
COLUMNS = {"user": ["x", "y"], "item": ["a", "b"], "time": [1, 2]}


def as_lists(interactions):
    offsets = interactions.offsets
    return [
        interactions.items[start:end].tolist()
        for start, end in zip(offsets[:-1], offsets[1:], strict=True)
    ]


# ------------------------------------------------------------------ histories

LISTS = [["b", "new", "a"], [], ["new"], ["c", "c"]]
CODES = [[1, 0], [], [], [2, 2]]
FORMS = {
    "lists": LISTS,
    "pyarrow": pa.array(LISTS),
    "pyarrow in chunks": pa.chunked_array([pa.array(LISTS[:1]), pa.array(LISTS[1:])]),
    "lists of pyarrow": [pa.array(history, pa.string()) for history in LISTS],
    "lists of scalars": list(pa.array(LISTS)),
    "lists of generators": [(item for item in history) for history in LISTS],
    "tuples": tuple(map(tuple, LISTS)),
    "arrays": [np.array(history, dtype=object) for history in LISTS],
    "Series of lists": pd.Series(LISTS),
    "Series": [pd.Series(history, dtype=object) for history in LISTS],
    "polars": pl.Series(LISTS),
    "generator": (history for history in LISTS),
}


@pytest.mark.parametrize("histories", FORMS.values(), ids=FORMS)
def test_a_list_of_histories(histories):
    keys, interactions = read_histories(histories, SCHEMA, ITEMS)
    assert keys.tolist() == [0, 1, 2, 3]
    assert as_lists(interactions) == CODES
    assert interactions.items.dtype == np.int32
    assert interactions.times is None


@pytest.mark.parametrize("keys", [["x", "y", "z", "w"], [7, 3, 5, 1], ["x", 1, 2.5, "w"]])
def test_a_dict_of_histories(keys):
    by_key = dict(zip(keys, LISTS, strict=True))
    read_keys, interactions = read_histories(by_key, SCHEMA, ITEMS)
    assert read_keys.tolist() == keys
    assert as_lists(interactions) == CODES


@pytest.mark.parametrize("keys", [["x", "y", "z", "w"], [7, 3, 5, 2**53 + 1]])
def test_a_series_of_histories_is_keyed_by_its_index(keys):
    read_keys, interactions = read_histories(pd.Series(LISTS, index=keys), SCHEMA, ITEMS)
    assert read_keys.tolist() == keys
    assert as_lists(interactions) == CODES


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_table_of_histories(make):
    table = make(
        {
            "user": ["y", "x", "y", "z", "y", "x"],
            "item": ["a", "c", "new", "new", "b", "c"],
            "time": [3, 1, 2, 1, 1, 1],
        }
    )
    keys, interactions = read_histories(table, SCHEMA, ITEMS)
    assert keys.tolist() == ["y", "x", "z"]
    assert as_lists(interactions) == [[1, 0], [2, 2], []]
    assert interactions.times.tolist() == [1, 3, 1, 1]
    keys, interactions = read_histories(table, SCHEMA._replace(time=None), ITEMS)
    assert as_lists(interactions) == [[0, 1], [2, 2], []]


def test_a_two_dimensional_array_has_one_history_per_row():
    items = IdEncoder(np.array([5, 6, 7]), "item")
    keys, interactions = read_histories(np.array([[7, 5], [6, 9]]), SCHEMA, items)
    assert keys.tolist() == [0, 1]
    assert as_lists(interactions) == [[2, 0], [1]]


@pytest.mark.parametrize("seed", range(5))
def test_histories_of_every_form_equal_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    items = IdEncoder(np.arange(10, 20), "item")
    lists = [rng.integers(8, 24, rng.integers(6)).tolist() for _ in range(15)]
    expected = [[item - 10 for item in history if 10 <= item < 20] for history in lists]
    assert as_lists(read_histories(lists, SCHEMA, items)[1]) == expected
    as_dict = {f"p{i}": history for i, history in enumerate(lists)}
    assert as_lists(read_histories(as_dict, SCHEMA, items)[1]) == expected
    rows = [(i, item, t) for i, history in enumerate(lists) for t, item in enumerate(history)]
    table = pd.DataFrame(rows, columns=["user", "item", "time"])
    keys, interactions = read_histories(table.sample(frac=1, random_state=seed), SCHEMA, items)
    expected_by_key = {i: history for i, history in enumerate(expected) if lists[i]}
    assert dict(zip(keys.tolist(), as_lists(interactions), strict=True)) == expected_by_key


@pytest.mark.parametrize("histories", [[], {}, pd.DataFrame({"user": [], "item": [], "time": []})])
def test_no_histories(histories):
    keys, interactions = read_histories(histories, SCHEMA, ITEMS)
    assert len(keys) == 0
    assert as_lists(interactions) == []


def test_views_of_dicts_are_ordered():
    times = {"b": "a", "a": "b"}
    histories = [times.keys(), times.values()]
    by_list = read_histories([list(view) for view in histories], SCHEMA, ITEMS)[1]
    assert as_lists(read_histories(histories, SCHEMA, ITEMS)[1]) == as_lists(by_list)


@pytest.mark.parametrize("one", ["a", b"a", 1, None, 0.5])
@pytest.mark.parametrize("container", [lambda one: [["a"], one], lambda one: {"x": [], "y": one}])
def test_a_single_history_raises(one, container):
    with pytest.raises(InvalidInputError, match=r"a list of item ids per user, got .*\[\[id, id"):
        read_histories(container(one), SCHEMA, ITEMS)


@pytest.mark.parametrize(
    ("histories", "error", "message"),
    [
        ([[1, 2]], IdTypeError, "item ids are of kind number .* kind text"),
        ([["a", None]], InvalidInputError, "the list of item ids has 1 missing"),
        ([[["a"]]], IdTypeError, r"the list of item ids has the id \['a'\] of type list"),
        (pa.array([[["a"]]]), IdTypeError, r"item ids has the id \['a'\] of type list"),
        (torch.tensor([1]), InvalidInputError, "must hold a list of item ids per user, got 1; for"),
        (torch.tensor(1), InvalidInputError, "must hold a list of item ids per user, got 1; for"),
        ([torch.tensor(1)], InvalidInputError, "a list of item ids per user, got 1; for"),
        (pa.array([["a"], None]), InvalidInputError, "a list of item ids per user, got None; for"),
        ({("x", 1): ["a"]}, IdTypeError, "the keys of histories has the id .* of type tuple"),
        ({None: ["a"]}, InvalidInputError, "the keys of histories has 1 missing"),
        (pd.Series([["a"], ["b"]], [9, 9]), InvalidInputError, "the keys of histories have 9 more"),
        (pd.Series(["a"], [9]), InvalidInputError, "histories must hold a list of item ids per"),
        ([["a"], {"a"}], InvalidInputError, "list 1 of histories is a set, .*, most recent last$"),
        ({"x": frozenset("a")}, InvalidInputError, "list 0 of histories is a frozenset, but sets"),
        (pd.Series([{"a"}], [9]), InvalidInputError, "sets have no order; pass a list, most rec"),
        ([{"a": 5}], InvalidInputError, "is a dict, whose values would .*list of its keys, most"),
        ({("a", "b"), ("b",)}, InvalidInputError, "histories is a set, so .* pass a list of lists"),
        (pd.DataFrame([["a", "b", 1]]), InvalidInputError, "histories is a table without col"),
        (pd.DataFrame({"user": [1], "item": ["a"]}), InvalidInputError, "no column 'time'"),
        (
            COLUMNS,
            InvalidInputError,
            r"the keys 'user' and 'item', .*pandas.DataFrame\(histories\)",
        ),
        (pd.Series(COLUMNS), InvalidInputError, "histories has the keys 'user' and 'item'"),
    ],
)
def test_invalid_histories_raise(histories, error, message):
    with pytest.raises(error, match=message):
        read_histories(histories, SCHEMA, ITEMS)


def test_people_may_have_the_positions_of_columns_as_keys():
    by_position = Schema(0, 1, 2)
    histories = {0: ["a"], 1: ["b"]}
    assert as_lists(read_histories(histories, by_position, ITEMS)[1]) == [[0], [1]]


ROWS = [["u", "a", 5], ["v", "b", 6], ["u", "c", 7]]
NAMES = r"place {}, such as {}, .*columns=\['user', 'item', 'time'\]"


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        (ROWS, NAMES.format(0, "'u'")),
        (np.array(ROWS, dtype=object), NAMES.format(0, "'u'")),
        ([["a", "b", "2024"], ["b", "c", "2024"], ["c", "a", "2024"]], NAMES.format(2, "'2024'")),
        ([["x"], ["y"], ["z"]], "no item of the 3 ids in histories was in fit, such as 'x', where"),
        (
            {9: ["x,y,z", "a,b"], 7: ["c "]},
            "no item of the 3 ids .* the ids of fit are such as 'a'",
        ),
        (pd.DataFrame({"user": 1, "item": ["x", "y", "z"], "time": 0}), "no item of the 3 ids"),
    ],
)
def test_histories_that_are_not_histories_of_these_items_warn(histories, message):
    with pytest.warns(IgnoredDataWarning, match=message):
        read_histories(histories, SCHEMA, ITEMS)


@pytest.mark.parametrize(
    "histories",
    [
        [["x", "y"]],
        [["x", "a"], ["y", "b"]],
        [["x", "a"], ["y", "b"], ["c", "z"]],
        [["x", "a"], ["y", "b"], ["z"]],
        [["a"], [], ["x", "b"]],
    ],
)
def test_some_unknown_items_of_histories_are_usual(histories, recwarn):
    read_histories(histories, SCHEMA, ITEMS)
    assert not len(recwarn)


# ------------------------------------------------------------------ lists of items


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("as_table", [True, False])
def test_item_lists_equal_those_of_a_loop(seed, as_table):
    rng = np.random.default_rng(seed)
    items = IdEncoder(np.arange(10, 20), "item")
    by_user = {  # some users are not asked for, some items are unknown
        f"u{user}": rng.integers(8, 24, rng.integers(6)).tolist() for user in rng.permutation(9)
    }
    users = np.array([f"u{user}" for user in rng.integers(12, size=15)], dtype=object)
    expected = [
        (row, item - 10)
        for row, user in enumerate(users)
        for item in by_user.get(user, [])
        if 10 <= item < 20
    ]
    assert expected
    lists = by_user
    if as_table:
        pairs = [(user, item) for user, ids in by_user.items() for item in ids]
        lists = pd.DataFrame(pairs, columns=["user", "item"])
    else:
        as_series = pd.Series(by_user)
        for parts in zip(
            read_item_lists(lists, "items", SCHEMA, items, users),
            read_item_lists(as_series, "items", SCHEMA, items, users),
            strict=True,
        ):
            np.testing.assert_array_equal(*parts)
    rows, codes = read_item_lists(lists, "items", SCHEMA, items, users)
    assert codes.dtype == np.int32
    assert list(zip(rows.tolist(), codes.tolist(), strict=True)) == expected


def test_sets_of_items_and_lists_of_unknown_users():
    users = np.array(["x", "y"], dtype=object)
    rows, codes = read_item_lists({"x": {"a"}, "z": ["b"]}, "items", SCHEMA, ITEMS, users)
    assert rows.tolist() == [0]
    assert ITEMS.ids[codes].tolist() == ["a"]
    assert not len(read_item_lists({"z": ["a"]}, "items", SCHEMA, ITEMS, users)[0])


@pytest.mark.parametrize(
    ("lists", "error", "message"),
    [
        ({"x": "a"}, InvalidInputError, r"items must hold a list .*'a'; write \{user: \[id, id"),
        ({"x": [1]}, IdTypeError, "item ids are of kind number .* kind text"),
        ({"x": [None]}, InvalidInputError, "the list of item ids has 1 missing"),
        ({1: ["a"]}, IdTypeError, "user ids are of kind number .* this call has ids of kind t"),
        ({None: ["a"]}, InvalidInputError, "the keys of items has 1 missing"),
        (pd.Series([["a"]] * 2, ["x", "x"]), InvalidInputError, "keys of items have 'x' more than"),
        (pd.DataFrame([["a", "b"]]), InvalidInputError, "items is a table without column names"),
        (pd.DataFrame({"user": ["x"]}), InvalidInputError, "no column 'item'.* item_col="),
        (pd.DataFrame({"item": ["a"], "title": ["b"]}), InvalidInputError, r"pass items\['item'\]"),
        (COLUMNS, InvalidInputError, "items has the keys 'user' and 'item', .*DataFrame.items"),
    ],
)
def test_invalid_item_lists_raise(lists, error, message):
    with pytest.raises(error, match=message):
        read_item_lists(lists, "items", SCHEMA, ITEMS, np.array(["x"], dtype=object))
