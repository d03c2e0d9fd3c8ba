import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from skmind.data.features import FeatureEncoder
from skmind.data.ids import IdEncoder
from skmind.data.interactions import Interactions
from skmind.data.prepare import Prepared, Schema
from skmind.exceptions import IdTypeError, InvalidInputError, ShortageWarning, UnknownIdError
from skmind.retrieval.base import TopK
from skmind.retrieval.query import (
    RecommendQuery,
    read_quotas,
    read_weights,
    warn_of_shortage,
)

SCHEMA = Schema("user_id", "item_id", "timestamp")
ITEMS = IdEncoder(np.array([f"i{code}" for code in range(6)], dtype=object), "item")
USERS = np.array([10, 11, 12, 10])  # one is asked for twice
SEEN = Interactions(np.array([0, 1, 2, 0], dtype=np.int32), np.array([0, 1, 3, 3, 4]))

NO_FEATURES = FeatureEncoder([]).transform({}, 6)
PREPARED = Prepared(ITEMS, ITEMS, SEEN, np.ones(6), NO_FEATURES, NO_FEATURES)

MASK = np.array([[True, True, False], [True, True, True], [False, False, False]])


def as_lists(lists):
    if lists is None:
        return None
    return [part.tolist() for part in np.split(lists.values, lists.offsets[1:-1])]


def read(**arguments):
    return RecommendQuery.read(USERS, SEEN, PREPARED, SCHEMA, 3, **{"k": 3, **arguments})


def asked(**arguments):
    query = read(**arguments)
    allowed = None if query.allowed is None else query.allowed.tolist()
    return as_lists(query.excluded), allowed, as_lists(query.lists)


def as_frame(lists):
    pairs = [(user, item) for user, items in lists.items() for item in items]
    return pd.DataFrame(pairs, columns=["user_id", "item_id"])


# ------------------------------------------------------------------ lists


def test_by_default_what_was_seen_is_excluded():
    assert asked() == ([[0], [1, 2], [], [0]], None, None)
    assert asked(exclude_seen=False) == ([[]] * 4, None, None)
    for value in (True, np.True_, None, np.False_):
        assert asked(exclude_seen=value) == asked(exclude_seen=value is not np.False_)


@pytest.mark.parametrize("value", ["no", "False", 0, 1, [], 1.0, np.array([True]), pd.NA])
def test_exclude_seen_is_true_or_false(value):
    with pytest.raises(InvalidInputError, match="exclude_seen=.* must be True or False, or None"):
        read(exclude_seen=value)


def test_lists_for_all_are_masks():
    assert asked(items=["i1", "i4", "unknown"])[1] == [code in (1, 4) for code in range(6)]
    assert asked(exclude_items=["i1", "unknown"])[1] == [code != 1 for code in range(6)]
    both = asked(items=["i1", "i4"], exclude_items=["i1"])
    assert both[1] == [code == 4 for code in range(6)]


@pytest.mark.parametrize("form", [dict, as_frame])
def test_a_block_list_a_user(form):
    lists = form({10: ["i3", "i0", "unknown"], 12: ["i5", "i4"], 99: ["i1"]})
    assert asked(exclude_items=lists) == ([[0, 3], [1, 2], [4, 5], [0, 3]], None, None)


@pytest.mark.parametrize("form", [dict, as_frame])
def test_an_allow_list_a_user(form):
    lists = form({10: ["i3", "i0", "i3", "unknown"], 12: ["i5", "i4"], 99: ["i1"]})
    assert asked(items=lists)[2] == [[3], [], [4, 5], [3]]  # i0 was seen; 11 has no entry
    assert asked(items=lists, exclude_seen=False)[2] == [[0, 3], [], [4, 5], [0, 3]]
    assert asked(items=lists, exclude_items=["i5"])[2] == [[3], [], [4], [3]]
    assert asked(items=lists, exclude_items={12: ["i4"]})[2] == [[3], [], [5], [3]]


def test_a_list_for_all_and_one_for_each():
    found = asked(items=["i3", "i4"], exclude_items={10: ["i3"]})
    assert found[0] == [[0, 3], [1, 2], [], [0, 3]]
    assert found[1] == [code in (3, 4) for code in range(6)]


def test_empty_lists_of_users():
    assert asked(items={})[2] == [[]] * 4
    assert asked(exclude_items={10: []})[0] == [[0], [1, 2], [], [0]]


def test_invalid_lists():
    with pytest.raises(UnknownIdError, match="items= has 2 ids, none of which was in fit"):
        asked(items=["x", "y"])
    with pytest.raises(InvalidInputError, match="items must hold a list of item ids per user, got"):
        asked(items={10: "i1"})
    with pytest.raises(InvalidInputError, match="write {user: "):
        asked(exclude_items={10: 3})
    with pytest.raises(IdTypeError, match=r"user ids are of kind text \(such as '10'\)"):
        asked(items={"10": ["i1"]})
    with pytest.raises(InvalidInputError, match="no column 'item_id'"):
        asked(items=pd.DataFrame({"user_id": [10], "thing": ["i1"]}))


@pytest.mark.parametrize("name", ["items", "exclude_items"])
def test_an_index_of_users_needs_a_list_per_user(name):
    table = as_frame({10: ["i3"], 12: ["i5", "i4"]})
    ids = table.set_index("user_id")["item_id"]
    by_both = table.assign(n=1).groupby(["user_id", "item_id"])["n"].sum()
    for series in (ids, ids[:0], by_both):
        match = (
            f"^{name} is a Series with one item per row and the index 'user_id'; pass {name}"
            rf"\.rename\('item_id'\)\.reset_index\(\) .*, or {name}.to_numpy\(\) for one list"
        )
        with pytest.raises(InvalidInputError, match=match):
            read(**{name: series})
    assert asked(**{name: ids.rename("item_id").reset_index()}) == asked(**{name: table})
    assert asked(**{name: ids.to_numpy()}) == asked(**{name: ids.rename_axis(None)})
    lists = ids.groupby("user_id").agg(list)
    assert asked(**{name: lists}) == asked(**{name: table})


# ------------------------------------------------------------------ weights and quotas


def test_weights_of_all_and_of_each():
    for weights in ([0, 1, 2.5], [[0, 1, 2.5]] * 3):
        found = read_weights(weights, MASK.shape)
        assert found.dtype == np.float32
        assert found.tolist() == [[0, 1, 2.5]] * 3


@pytest.mark.parametrize(
    "weights", [[-1, 1, 1], [np.nan, 1, 1], [np.inf, 1, 1], [0, 0, 0], [[1, 1, 1]] * 2 + [[0] * 3]]
)
def test_invalid_weights(weights):
    with pytest.raises(InvalidInputError, match="interest_weights has values from .* at least 0"):
        read_weights(weights, MASK.shape)


@pytest.mark.parametrize("factor", [1e300, 1e31, 1e-31, 1e-50, 5e-324 * 2**60])
def test_only_ratios_of_extreme_weights_count(factor):
    found = read_weights(np.array([0, 0.5, 1.0]) * factor, MASK.shape)
    np.testing.assert_allclose(found, [[0, 0.5, 1]] * 3)


@pytest.mark.parametrize("weights", [[1e300, 1, 0], [1, 1e-300, 0], [1e30, 1e-30, 0]])
def test_a_tiny_weight_keeps_its_interest_in_use(weights):
    found = read_weights(weights, MASK.shape)
    assert (np.isfinite(found).all(), (found[:, 0] > found[:, 1]).all()) == (True, True)
    assert ((found[:, 1] > 0).all(), (found[:, 2] == 0).all()) == (True, True)


@pytest.mark.parametrize("factor", [1e-30, 1e-6, 7.0, 1e30])
def test_other_weights_stay_as_they_are(factor):
    found = read_weights([[0, factor, 2 * factor], [1, 2, 3], [factor / 2] * 3], MASK.shape)
    expected = np.array([[0, factor, 2 * factor], [1, 2, 3], [factor / 2] * 3])
    for row, known in zip(found, expected, strict=True):
        scale = row.max() / known.max()
        assert scale == pytest.approx(1) or known.max() > 1e30 or known.max() < 1e-30
        np.testing.assert_allclose(row, known * scale)


@pytest.mark.parametrize(
    "values",
    [1.0, [1, 1], [[1, 1, 1]] * 2, "high", [[1], [1, 2]], None, {"a": 1}, [10**400, 1, 1]],
)
def test_invalid_shapes(values):
    with pytest.raises(InvalidInputError, match=r"interest_weights=.* = \(3,\) or .* = \(3, 3\)$"):
        read_weights(values, MASK.shape)
    with pytest.raises(InvalidInputError, match=r'quotas=.* = \(3, 3\) or "equal"$'):
        read_quotas(values, 3, MASK.shape)


def shared(quotas, k, mask):
    return RecommendQuery(k, SEEN, quotas=read_quotas(quotas, k, mask.shape)).quotas_of(mask)


def test_equal_quotas_are_shared_by_the_interests_in_use():
    assert shared("equal", 7, MASK).tolist() == [[4, 3, 0], [3, 2, 2], [0, 0, 0]]
    assert shared("equal", 2, MASK).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    apart = np.array([[True, False, True]])
    assert shared("equal", 3, apart).tolist() == [[2, 0, 1]]


def test_quotas_for_all_users_and_per_user():
    assert shared([0, 1, 2], 3, MASK).tolist() == [[0, 1, 2]] * 3
    per_user = [[3, 0, 0], [1, 1, 1], [0, 0, 3]]
    assert shared(per_user, 3, MASK).tolist() == per_user


ROWS = [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0], [1.0, 1.0, 1.0]]
BY_USER = pd.DataFrame(ROWS, index=[10, 11, 12, 10])
BY_INTEREST = pd.Series([3.0, 0.0, 0.0])


@pytest.mark.parametrize(
    "values",
    [
        BY_USER,
        BY_USER.rename_axis("user_id"),
        BY_USER.astype(int).astype({0: "Int64"}),
        BY_USER.set_axis(USERS.astype(float)),
        BY_USER.set_axis(["0", "1", "2"], axis=1),
        pd.DataFrame(ROWS),
        pl.DataFrame(ROWS, schema=["0", "1", "2"], orient="row"),
        BY_INTEREST,
        BY_INTEREST.rename_axis("interest"),
    ],
)
def test_labels_in_the_order_of_the_rows(values):
    expected = np.broadcast_to(np.asarray(values, dtype=float), (4, 3)).tolist()
    assert read(interest_weights=values).weights.tolist() == expected
    assert read(quotas=values).quotas.tolist() == expected


OF_USERS = r"whose index .* is not in the order of the users \[10, 11, 12, 10\]; pass {0}.loc\[use"
OF_INTERESTS = r"but the interests are numbered \[0, 1, 2\]; pass {0}\[\[0, 1, 2\]\] if these are"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (BY_USER.set_axis([12, 11, 10, 10]), OF_USERS),
        (BY_USER.set_axis(list("abcd")), OF_USERS),
        (BY_USER.set_axis([1, 2, 3, 4]), OF_USERS + r".* or numpy.asarray\({0}\) if it is in the"),
        (pd.DataFrame(ROWS).rename_axis("user_id"), OF_USERS),
        (BY_USER.set_axis(pd.MultiIndex.from_product([[0, 1], [0, 1]])), OF_USERS),
        (BY_USER.set_axis([0, 2, 1], axis=1), OF_INTERESTS),
        (BY_USER.set_axis(["user_id", "a", "b"], axis=1), OF_INTERESTS),
        (pl.DataFrame(ROWS, schema=["a", "b", "c"], orient="row"), r"with the columns \['a', 'b'"),
        (BY_INTEREST[::-1], r"whose index is \[2, 1, 0\], " + OF_INTERESTS),
        (BY_INTEREST.set_axis([1, 2, 3]), OF_INTERESTS + ".* if it is in the order of the inter"),
        (BY_INTEREST.rename_axis("user_id"), OF_INTERESTS),
    ],
)
def test_labels_in_another_order_are_refused(values, message):
    for name in ("interest_weights", "quotas"):
        with pytest.raises(InvalidInputError, match=f"^{name} is a .*" + message.format(name)):
            read(**{name: values})


def test_numbers_of_rows_may_not_be_users_in_another_order():
    arguments = {"k": 3, "interest_weights": pd.DataFrame(ROWS[:3])}
    seen = SEEN.take(np.array([-1, -1, -1]))
    for users in ([2, 1, 0], [0, 2, 1]):
        with pytest.raises(InvalidInputError, match="is not in the order of the users"):
            RecommendQuery.read(np.array(users), seen, PREPARED, SCHEMA, 3, **arguments)
    for users in ([0, 1, 2], [3, 1, 0]):
        found = RecommendQuery.read(np.array(users), seen, PREPARED, SCHEMA, 3, **arguments)
        assert found.weights.tolist() == ROWS[:3]


@pytest.mark.parametrize(
    ("values", "cure"),
    [
        (np.ma.array([1, 2, 0], mask=[0, 1, 0]), r"\.filled\(0\) if what is masked counts as 0"),
        ([np.ma.array([1.0, 2, 0])] * 4, r"pass numpy\.ma\.stack\({0}\)\.filled"),
        (torch.tensor([1.0, 2, 0], requires_grad=True), r"pass {0}\.detach\(\)"),
    ],
)
def test_masks_and_gradients_are_refused(values, cure):
    for name in ("interest_weights", "quotas"):
        with pytest.raises(InvalidInputError, match=f"^{name} has a .*" + cure.format(name)):
            read(**{name: values})


@pytest.mark.parametrize(
    "quotas", [[1, 1, 2], [1, 1, 0], [-1, 2, 2], [0.5, 1.5, 1], [np.inf, 1, 2]]
)
def test_invalid_quotas(quotas):
    with pytest.raises(InvalidInputError, match=r'quotas=.* "equal", or integers .* up to k=3'):
        read_quotas(quotas, 3, MASK.shape)


# ------------------------------------------------------------------ shortage


def top(*lengths, k=3):
    codes = np.where(np.arange(k) < np.array(lengths)[:, None], np.arange(k), -1)
    return TopK(codes, codes, codes)


def test_nothing_is_said_of_full_rows():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_shortage(top(3, 3), read(), 9)
        warn_of_shortage(top(), read(), 9)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "known items is left after exclude_seen=True; lower k"),
        ({"exclude_seen": False}, "known items is left; lower k"),
        ({"items": ["i1"]}, "is left after exclude_seen=True and items=; lower"),
        ({"exclude_seen": False, "exclude_items": {}}, "is left after exclude_items=; lower"),
    ],
)
def test_a_shortage_has_its_numbers_and_reasons(arguments, why):
    with pytest.warns(ShortageWarning, match="2 of 3 users get fewer than k=3 items") as record:
        warn_of_shortage(top(3, 1, 2), read(**arguments), 9)
    assert "the fewest 1: no other of the 9 known" in str(record[0].message)
    assert why in str(record[0].message)
    assert record[0].filename == __file__


def test_quotas_and_diversity_contradict_each_other():
    with pytest.raises(InvalidInputError, match="quotas='equal' and diversity=0.5 can't be comb"):
        read(quotas="equal", diversity=0.5)
