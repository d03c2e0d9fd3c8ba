"""Growing in parts gives the result of preparing all rows at once, except the order of new ids."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skmind.data.extend import append, grow
from skmind.data.prepare import Schema, prepare
from skmind.exceptions import IdTypeError, IgnoredDataWarning, InvalidInputError

SCHEMA = Schema("user", "item", "time")
OLD = pd.DataFrame(
    {
        "user": ["m", "m", "m", "z", "z"],
        "item": [50, 20, 30, 20, 40],
        "time": [10, 20, 30, 10, 20],
    }
)
NEW = pd.DataFrame(
    {  # known and new users and items, an older time, and ties with known and new rows
        "user": ["b", "m", "z", "m", "b", "a", "m"],
        "item": [10, 35, 20, 50, 20, 35, 20],
        "time": [5, 15, 20, 30, 5, 1, 15],
    }
)
USERS = ["m", "z", "a", "b"]
ITEMS = [20, 30, 40, 50, 10, 35]


def histories(prepared):
    log = prepared.interactions
    parts = np.split(prepared.items.ids[log.items], log.offsets[1:-1])
    return dict(zip(prepared.users.ids.tolist(), (part.tolist() for part in parts), strict=True))


KINDS = {
    "pandas": lambda table: table,
    "polars": pl.from_pandas,
    "arrow": pa.Table.from_pandas,
    "array": lambda table: table.to_numpy(dtype=object),
    "floats": lambda table: table.astype({"item": float}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("time", ["time", None])
def test_histories_equal_those_of_one_table(kind, time):
    schema = SCHEMA._replace(time=time)
    known = prepare(OLD, schema)
    grown, is_new = grow(known, KINDS[kind](NEW), schema)
    assert grown.users.ids.tolist() == USERS
    assert grown.items.ids.tolist() == ITEMS
    assert grown.items.ids.dtype == known.items.ids.dtype
    assert histories(grown) == histories(prepare(pd.concat([OLD, NEW]), schema))
    assert grown.counts.tolist() == [5, 1, 1, 2, 1, 2]
    expected = {  # m: 50 (10), new 35 and 20 (15), 20 (20), 30 and then the new 50 (30)
        "time": [False, True, True, False, False, True, False, False, True, True, True, True],
        None: [False] * 3 + [True] * 3 + [False] * 2 + [True] * 4,
    }
    assert is_new.tolist() == expected[time]
    assert histories(known) == {"m": [50, 20, 30], "z": [20, 40]}  # not changed


def test_ids_and_times_of_another_kind_raise():
    known = prepare(OLD, SCHEMA)
    with pytest.raises(IdTypeError, match="user ids are of kind number"):
        grow(known, NEW.assign(user=1), SCHEMA)
    with pytest.raises(IdTypeError, match="item ids are of kind text"):
        append(known, NEW.astype({"item": str}), SCHEMA)
    with pytest.raises(InvalidInputError, match="times are of type datetime64.* saw int64"):
        grow(known, NEW.assign(time=pd.to_datetime(NEW["time"])), SCHEMA)


# ------------------------------------------------------------------ features

COLORS = pd.DataFrame(
    {
        "item": [20, 30, 40],
        "color": ["red", "green", None],
        "tags": [["x"], ["y", "x"], None],
        "price": [1.0, 3.0, None],
    }
)
MORE = pd.DataFrame(
    {
        "item": [30, 35, 10, 77],
        "color": ["red", "amber", "green", "blue"],
        "tags": [["a", "y"], None, ["x"], ["x", "a"]],
        "price": [9.0, 2.0, None, 5.0],
    }
)


def test_known_values_keep_their_columns_and_new_ones_follow():
    known = prepare(OLD, SCHEMA, items=COLORS)
    grown, _ = grow(known, NEW, SCHEMA, items=MORE)
    old = known.item_features.encoder.features
    new = grown.item_features.encoder.features
    assert [f.values.tolist() for f in old] == [["green", "red"], ["x", "y"], [2.0, 1.0]]
    assert [f.values.tolist() for f in new] == [
        ["green", "red", "amber", "blue"],
        ["x", "y", "a"],
        [2.0, 1.0],  # mean and deviation stay
    ]
    assert grown.items.ids.tolist() == [*ITEMS, 77]
    expected = {  # green, red, amber, blue; x, y, a; price, 1
        20: [0, 1, 0, 0, 1, 0, 0, -1, 1],
        30: [0, 1, 0, 0, 0, 0.5, 0.5, 7, 1],  # the new row
        40: [0] * 9,
        50: [0] * 9,
        10: [1, 0, 0, 0, 1, 0, 0, 0, 0],
        35: [0, 0, 1, 0, 0, 0, 0, 0, 1],
        77: [0, 0, 0, 1, 0.5, 0, 0.5, 3, 1],
    }
    presence = {20: 3, 30: 3, 40: 0, 50: 0, 10: 2, 35: 2, 77: 3}
    for code, item in enumerate(grown.items.ids.tolist()):
        row = grown.item_features.matrix[code].toarray()[0]
        np.testing.assert_allclose(row * max(presence[item], 1), expected[item], atol=1e-6)
        assert grown.item_features.presence[code] == presence[item]
    assert known.item_features.matrix.shape == (4, 6)


def test_features_stay_without_a_table():
    known = prepare(OLD, SCHEMA, items=COLORS)
    grown, _ = grow(known, NEW, SCHEMA)
    matrix = grown.item_features.matrix.toarray()
    np.testing.assert_allclose(matrix[:4], known.item_features.matrix.toarray(), rtol=1e-6)
    assert not matrix[4:].any()
    assert grown.item_features.encoder.width == known.item_features.encoder.width


def test_features_in_the_interactions():
    schema = SCHEMA._replace(user_features=("city", "level"))
    old = OLD.assign(city=["bonn", "bonn", "rome", "rome", "rome"], level=1)
    new = NEW.assign(city=["oslo", "kiev", "rome", "oslo", "bonn", "rome", "kiev"], level=1)
    users = pd.DataFrame({"user": ["z"], "level": [2]})
    grown, _ = grow(prepare(old, schema), new, schema, users=users)
    city, level = grown.user_features.encoder.features
    assert city.values.tolist() == ["rome", "bonn", "oslo"]  # kiev was never the newest
    assert level.values.tolist() == [1, 2]
    matrix = grown.user_features.matrix.toarray()[:, : len(city.values)]
    # at equal times the last row counts
    assert dict(zip(USERS, city.values[matrix.argmax(axis=1)].tolist(), strict=True)) == {
        "m": "oslo",
        "z": "rome",
        "a": "rome",
        "b": "bonn",
    }


def test_a_table_must_have_the_columns_of_fit():
    known = prepare(OLD, SCHEMA, items=COLORS)
    with pytest.raises(InvalidInputError, match="items table has no column 'price', which is"):
        grow(known, NEW, SCHEMA, items=MORE.drop(columns="price"))
    match = r"columns \['size'\] of the items table are ignored: .*\['color', 'tags', 'price'\]"
    with pytest.warns(IgnoredDataWarning, match=match):
        grow(known, NEW, SCHEMA, items=MORE.assign(size=1))
    schema = SCHEMA._replace(item_features=("color",))  # no warning if features were chosen
    known = prepare(OLD, schema, items=COLORS)
    grown, _ = grow(known, NEW, schema, items=MORE)
    assert [f.name for f in grown.item_features.encoder.features] == ["color"]


# ------------------------------------------------------------------ interactions only


def test_append_leaves_out_items_that_are_not_known():
    known = prepare(OLD, SCHEMA, items=COLORS)
    match = "3 of 7 interactions have items that are not known, such as 10, and are ignored; use"
    with pytest.warns(IgnoredDataWarning, match=match):
        grown = append(known, NEW, SCHEMA)
    assert grown.items is known.items
    assert grown.item_features is known.item_features
    assert grown.users.ids.tolist() == USERS
    kept = NEW[NEW["item"].isin(OLD["item"])]
    expected = histories(prepare(pd.concat([OLD, kept]), SCHEMA)) | {"a": []}
    assert histories(grown) == expected
    assert grown.counts.tolist() == [5, 1, 1, 2]
    assert known.counts.tolist() == [2, 1, 1, 1]


def test_append_without_times_takes_unseen_feature_values_as_missing():
    schema = Schema("user", "item", None, user_features=("city",))
    known = prepare(OLD.assign(city="bonn"), schema)
    new = pd.DataFrame({"user": ["a", "b"], "item": [20, 20], "city": ["bonn", "oslo"]})
    grown = append(known, new, schema)
    assert grown.user_features.matrix.toarray().tolist() == [[1], [1], [1], [0]]
    assert grown.user_features.encoder is known.user_features.encoder
