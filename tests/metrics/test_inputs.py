"""From ids to codes; what the public functions make of them is tested in test_metrics.py."""

import numpy as np
import pandas as pd
import pytest

from skmind.exceptions import IdTypeError, InvalidInputError, UnknownIdError
from skmind.metrics import _inputs

COLUMNS = _inputs.Columns("user_id", "item_id", "rank")


def test_metrics_are_parsed_in_order():
    parsed = _inputs.parse_metrics(["mrr@2", "ndcg@10", "hit_rate@2"])
    assert list(parsed.items()) == [
        ("mrr@2", ("mrr", 2)),
        ("ndcg@10", ("ndcg", 10)),
        ("hit_rate@2", ("hit_rate", 2)),
    ]
    assert _inputs.parse_metrics("map@3") == {"map@3": ("map", 3)}


def test_one_error_lists_all_invalid_metrics():
    message = r"unknown name 'x@5'; unknown name 'mrr@0' \(did you mean 'mrr@10'\?\); .* name 7"
    with pytest.raises(InvalidInputError, match=message):
        _inputs.parse_metrics(["x@5", "ndcg@5", "mrr@0", 7])


@pytest.mark.parametrize("k", [1, 3, 100])
def test_top_codes_equal_a_loop(k):
    rng = np.random.default_rng(0)
    users = rng.integers(22, size=120)
    items = rng.integers(50, size=120)
    lists = [items[users == user][:k].tolist() for user in range(20)]
    n_ranks = max(map(len, lists))
    expected = [row + [-1] * (n_ranks - len(row)) for row in lists]
    assert _inputs.top_codes(users, items, 20, k).tolist() == expected


def test_top_codes_of_nothing():
    none = np.array([], dtype=np.int64)
    assert _inputs.top_codes(none, none, 0, 5).shape == (0, 0)
    assert _inputs.top_codes(none, none, 3, 5).shape == (3, 0)


def test_lists_are_matched():
    true = pd.DataFrame({"user_id": list("bbbac"), "item_id": [5, 5, 1, 9, 2]})
    pred = pd.DataFrame(
        {"user_id": list("zabbb"), "item_id": [5, 1, 7, 1, 5], "rank": [1, 1, 3, 1, 2]}
    )
    relevance, n_relevant, user_ids, *_ = _inputs.match_lists(true, pred, 10, COLUMNS)
    assert user_ids.tolist() == ["b", "a", "c"]
    assert n_relevant.tolist() == [2, 1, 1]  # an item counts once
    assert relevance.tolist() == [[True, True, False], [False] * 3, [False] * 3]
    matched = _inputs.match_lists([[1, 5, 5], None], [[1], []], 10, COLUMNS)
    relevance, n_relevant, user_ids, *_ = matched
    assert user_ids is None
    assert n_relevant.tolist() == [2, 0]
    assert relevance.tolist() == [[True], [False]]


def test_lists_are_read_in_the_order_of_their_ranks():
    frame = pd.DataFrame({"user_id": [7, 8, 7], "item_id": list("abc"), "rank": [2, 1, 1]})
    pred = _inputs.read_lists(frame, "y_pred", COLUMNS)
    items = [pred.items[pred.users == user].tolist() for user in range(pred.n_users)]
    assert dict(zip(pred.user_ids.tolist(), items, strict=True)) == {7: ["c", "a"], 8: ["b"]}
    true = _inputs.read_lists(frame.drop(columns="rank"), "y_true", COLUMNS)
    assert true.items.tolist() == ["a", "b", "c"]


def test_vector_rows():
    items = np.array(["b", "a", "b"], dtype=object)
    assert _inputs.vector_rows(items, ["a", "b", "c"], 3).tolist() == [1, 0, 1]
    assert _inputs.vector_rows(np.array([2.0, 0.0]), range(3), 3).tolist() == [2, 0]
    with pytest.raises(UnknownIdError, match="item 'b', which has no row .* add its vector"):
        _inputs.vector_rows(items, ["a", "c"], 2)
    with pytest.raises(IdTypeError, match="item_ids are of the kind 'number' .* 'text'"):
        _inputs.vector_rows(items, range(3), 3)
    with pytest.raises(InvalidInputError, match="item_ids has 2 ids, 1 of them distinct"):
        _inputs.vector_rows(items, ["a", "a"], 2)


def test_iterators_are_read_as_lists():
    lists = _inputs.read_lists([iter([3, 1]), (i for i in ())], "y_pred", COLUMNS)
    assert lists.items.tolist() == [3, 1]
    assert lists.users.tolist() == [0, 0]
    assert lists.n_users == 2
