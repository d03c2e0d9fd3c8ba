"""The table of an index has exact search, whole recall at full effort, and legal values only."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from skmind import MINDRecommender
from skmind.exceptions import InvalidInputError
from skmind.inspection import index_curve


@pytest.mark.parametrize("index", ["annoy", "faiss"])
def test_recall_rises_to_that_of_exact_search(fitted, index):
    if index == "faiss":
        pytest.importorskip("faiss")
    _, rec, _ = fitted
    curve = index_curve(rec, index=index, search_k=[100_000, 1], k=5, n_users=40)
    assert curve["index"].tolist() == ["exact", index, index]
    np.testing.assert_array_equal(curve["search_k"], [np.nan, 1, 100_000])
    assert curve["k"].eq(5).all()
    exact, low, high = curve["recall"]
    assert exact == high == 1
    assert 0 < low <= 1
    assert (curve["users_per_second"] > 0).all()


def test_values_are_chosen_up_to_the_size_of_the_index(fitted):
    _, rec, _ = fitted
    values = index_curve(rec, k=3, n_users=5)["search_k"].dropna()
    assert values.iloc[0] == 3
    assert values.iloc[-1] == len(rec.items_)
    assert values.is_monotonic_increasing


def test_the_recommender_does_not_change(fitted):
    _, rec, _ = fitted
    before = rec.recommend(k=3)
    index = rec._snapshot.search_index()
    index_curve(rec, search_k=[1], n_users=5)
    assert rec._snapshot.search_index() is index
    assert rec.recommend(k=3).equals(before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": "exact"}, "index='exact' is not one of 'annoy', 'faiss'"),
        ({"search_k": 5}, "search_k=5 must be a list of integers"),
        ({"search_k": []}, r"search_k=\[\] must be a list"),
        ({"search_k": "12"}, "search_k='12' must be a list"),
        ({"search_k": [0]}, "search_k=0 must be an integer of at least 1"),
        ({"k": 0}, "k=0"),
        ({"n_users": 0}, "n_users=0"),
    ],
)
def test_bad_arguments(fitted, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        index_curve(fitted[1], **arguments)


def test_only_a_fitted_model_is_measured():
    with pytest.raises(NotFittedError):
        index_curve(MINDRecommender())
