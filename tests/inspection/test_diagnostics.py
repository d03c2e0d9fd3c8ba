"""Diagnostics of planted interests and recommendations, and of a fitted model."""

import math
import warnings
from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from skmind import MINDRecommender
from skmind.exceptions import (
    IdTypeError,
    IgnoredDataWarning,
    InterestCollapseWarning,
    InvalidInputError,
)
from skmind.inspection import _diagnostics, hits_by_interest, interest_diagnostics

E1, E2, E3, _ = np.eye(4)
NONE = np.zeros(4)  # an interest that is not in use


class Planted(BaseEstimator):
    """Recommender with given interests {user: (K, 4)} and lists {user: [(item, interest)]}."""

    def __init__(self, interests=None, lists=None, user_col="user_id", item_col="item_id"):
        self.interests_of = {user: np.array(rows) for user, rows in (interests or {}).items()}
        self.lists = lists or {}
        self.user_col = user_col
        self.item_col = item_col
        self.users_ = np.array(list(self.interests_of))
        self.items_ = np.arange(10)
        self.exclude_seen = []

    def fit(self, X, y=None):
        return self

    def _frozen(self):
        return self

    def interests(self, user_ids):
        no_interests = np.zeros_like(next(iter(self.interests_of.values())))
        rows = [self.interests_of.get(user, no_interests) for user in user_ids]
        return np.reshape(rows, (len(user_ids), *no_interests.shape))

    def recommend(self, user_ids, k, *, exclude_seen=True, unknown):
        assert unknown == "drop"
        self.exclude_seen.append(exclude_seen)
        rows = [
            (user, item, 0.5, rank, interest)
            for user in user_ids
            for rank, (item, interest) in enumerate(self.lists.get(user, [])[:k], start=1)
        ]
        columns = [self.user_col, self.item_col, "score", "rank", "interest"]
        frame = pd.DataFrame(rows, columns=columns)
        return frame.astype({"rank": int, "interest": int})


def planted(*interests, **changes):
    return Planted(dict(enumerate(interests)), **changes)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Right answers must not depend on where a block of users ends."""
    monkeypatch.setattr(_diagnostics, "USERS_PER_BLOCK", 2)


# ------------------------------------------------------------------ interest_diagnostics


def test_orthogonal_interests_count_in_full():
    diagnostics = interest_diagnostics(planted([E1, E2, E3], [E1, E3, NONE], [NONE, 5 * E2, NONE]))
    assert diagnostics.n_users == 3
    assert diagnostics.n_interests == 2.0
    assert diagnostics.effective_number == pytest.approx((3 + 2 + 1) / 3)
    assert diagnostics.mean_cosine == pytest.approx(0.0)


def test_equal_interests_count_once_and_warn():
    rec = planted([E1, E1, 2 * E1], [E2, E2, NONE], [E3, NONE, NONE])
    message = (
        r"of the 2 users with several interests .* 2\.5 interests in use have an effective "
        r"number of 1\.000 and a mean cosine of 1\.000.*n_interests=1.*item_dropout.*interest_curve"
    )
    with pytest.warns(InterestCollapseWarning, match=message) as record:
        diagnostics = interest_diagnostics(rec)
    assert record[0].filename == __file__
    assert diagnostics.effective_number == pytest.approx(1.0)
    assert diagnostics.mean_cosine == pytest.approx(1.0)


def test_effective_number_of_two_vectors_follows_from_their_eigenvalues():
    cosine = 0.6  # eigenvalues .8 and .2
    diagnostics = interest_diagnostics(planted([E1, cosine * E1 + 0.8 * E2]))
    expected = math.exp(-(0.8 * math.log(0.8) + 0.2 * math.log(0.2)))
    assert diagnostics.effective_number == pytest.approx(expected)
    assert diagnostics.mean_cosine == pytest.approx(cosine)


def test_opposite_interests_have_a_negative_cosine_and_one_direction():
    with pytest.warns(InterestCollapseWarning):
        diagnostics = interest_diagnostics(planted([E1, -E1]))
    assert diagnostics.mean_cosine == pytest.approx(-1.0)
    assert diagnostics.effective_number == pytest.approx(1.0)


@pytest.mark.parametrize(
    "interests", [[[E1], [E1]], [[E1, NONE], [E1, NONE]], [[E1, E1], [E1, E2]]]
)
def test_no_collapse_without_several_interests_or_where_they_differ(interests):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interest_diagnostics(planted(*interests))


@pytest.mark.parametrize(("cosine", "warns"), [(0.99, True), (0.97, False)])
def test_users_with_one_interest_do_not_affect_the_collapse_warning(cosine, warns):
    similar = cosine * E1 + math.sqrt(1 - cosine**2) * E2
    single = [[E1, NONE]] * 20  # effective number 1
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        interest_diagnostics(planted([E1, similar], *single))
    assert [w.category for w in record] == [InterestCollapseWarning] * warns


def test_usage_equals_counts_by_hand():
    lists = {
        0: [(0, 0), (1, 0), (2, 2), (3, 1)],
        1: [(4, 0), (5, 0), (6, 0)],
        2: [(7, -1), (8, -1), (9, -1)],  # popular items, which no interest wins
    }
    rec = planted([E1, E2, E3], [E1, NONE, E3], [E1, NONE, NONE], lists=lists)
    usage = interest_diagnostics(rec, k=3).usage
    assert usage.index.name == "interest"
    assert usage["in_use"].tolist() == pytest.approx([1, 1 / 3, 2 / 3])
    assert usage["share_of_recommended"].tolist() == pytest.approx([5 / 6, 0, 1 / 6])
    assert usage["wins_any"].tolist() == pytest.approx([2 / 3, 0, 1 / 3])
    assert interest_diagnostics(rec, k=4).usage["wins_any"].iloc[1] == pytest.approx(1 / 3)


def test_shares_are_nan_without_recommendations():
    assert interest_diagnostics(planted([E1, E2])).usage["share_of_recommended"].isna().all()


def test_repeated_users_count_once_and_unknown_users_are_left_out():
    rec = planted([E1, E2], [E1, NONE], lists={0: [(0, 1)], 1: [(0, 0)]})
    diagnostics = interest_diagnostics(rec, [99, 0, 98, 97, 0])
    assert diagnostics.n_users == 1
    assert diagnostics.n_interests == 2.0
    assert diagnostics.usage["share_of_recommended"].tolist() == [0, 1]


def test_diagnostics_have_a_readable_repr_and_are_frozen():
    diagnostics = interest_diagnostics(planted([E1, E2], lists={0: [(0, 1), (1, 1), (2, 0)]}))
    head, *table = repr(diagnostics).splitlines()
    means = "n_interests=2, effective_number=2, mean_cosine=0"
    assert head == f"InterestDiagnostics(n_users=1, {means})"
    assert table[-1].split() == ["1", "1.0", "0.667", "1.0"]
    with pytest.raises(AttributeError):
        diagnostics.n_users = 3


@pytest.mark.parametrize("user_ids", [[], [98, 99]])
def test_diagnostics_need_a_user_with_interests(user_ids):
    with pytest.raises(InvalidInputError, match=f"none of the {len(user_ids)} users has an inter"):
        interest_diagnostics(planted([E1, E2]), user_ids)


def test_diagnostics_reject_invalid_arguments():
    with pytest.raises(InvalidInputError, match="k=0 must be an integer of at least 1"):
        interest_diagnostics(planted([E1]), k=0)
    with pytest.raises(NotFittedError, match="not fitted"):
        interest_diagnostics(MINDRecommender())


# ------------------------------------------------------------------ hits_by_interest


def random_case(seed):
    """Lists of 4 items for 9 users; a table with repeated rows, unknown users and unknown items."""
    rng = np.random.default_rng(seed)
    lists = {
        user: [(int(item), int(rng.integers(-1, 3))) for item in rng.permutation(10)[:4]]
        for user in range(9)
    }
    rec = planted(*[[E1, E2, E3]] * 9, lists=lists)
    users = rng.integers(0, 12, 60)
    items = rng.integers(0, 14, 60)
    return rec, pd.DataFrame({"user_id": users, "item_id": items})


def count_in_a_loop(rec, X, k):
    n_recommended = [0, 0, 0]
    n_hits = [0, 0, 0]
    relevant = set(zip(X["user_id"], X["item_id"], strict=True))
    for user in set(X["user_id"]) & set(rec.lists):
        for item, interest in rec.lists[user][:k]:
            if interest >= 0:
                n_recommended[interest] += 1
                n_hits[interest] += (user, item) in relevant
    return n_recommended, n_hits


@pytest.mark.parametrize(("seed", "k"), list(product(range(3), [2, 4])))
def test_hits_equal_counts_of_a_loop(seed, k):
    rec, X = random_case(seed)
    hits = hits_by_interest(rec, X, k=k)
    n_recommended, n_hits = count_in_a_loop(rec, X, k)
    assert sum(n_hits) > 0
    assert hits["n_recommended"].tolist() == n_recommended
    assert hits["n_hits"].tolist() == n_hits
    np.testing.assert_allclose(hits["share_of_recommended"] * sum(n_recommended), n_recommended)
    np.testing.assert_allclose(hits["share_of_hits"] * sum(n_hits), n_hits)
    np.testing.assert_allclose(hits["precision"].fillna(0) * n_recommended, n_hits)


@pytest.mark.parametrize("library", [pl.from_pandas, pa.Table.from_pandas])
def test_hits_are_the_same_in_any_frame_and_under_any_names(library):
    rec, X = random_case(0)
    expected = hits_by_interest(rec, X)
    rec.user_col = "item_id"
    rec.item_col = "thing"
    renamed = X.set_axis(["item_id", "thing"], axis=1)
    pd.testing.assert_frame_equal(hits_by_interest(rec, library(renamed)), expected)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_exclude_seen_is_passed_on(exclude_seen):
    rec, X = random_case(0)
    hits_by_interest(rec, X, exclude_seen=exclude_seen)
    assert set(rec.exclude_seen) == {exclude_seen}


def test_precision_is_nan_where_an_interest_wins_nothing():
    rec = planted([E1, E2], lists={0: [(1, 0)]})
    hits = hits_by_interest(rec, pd.DataFrame({"user_id": [0], "item_id": [2]}))
    assert hits["precision"].fillna(-1).tolist() == [0, -1]
    assert hits["share_of_hits"].isna().all()


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([[0, 1]], InvalidInputError, "X is a list; pass a table"),
        (pd.DataFrame({"user": [0]}), InvalidInputError, "no column 'user_id'"),
        (pd.DataFrame({"user_id": [7, 8, 8], "item_id": 1}), InvalidInputError, "none of the 2 us"),
        (pd.DataFrame({"user_id": ["0"], "item_id": 1}), IdTypeError, "user ids are of kind text"),
        (pd.DataFrame({"user_id": [0], "item_id": "1"}), IdTypeError, "item ids are of kind text"),
    ],
)
def test_hits_reject_invalid_tables(X, error, message):
    with pytest.raises(error, match=message):
        hits_by_interest(planted([E1]), X)


def test_hits_reject_invalid_arguments():
    X = pd.DataFrame({"user_id": [0], "item_id": 1})
    with pytest.raises(InvalidInputError, match="k=0 must be an integer of at least 1"):
        hits_by_interest(planted([E1]), X, k=0)
    with pytest.raises(NotFittedError, match="not fitted"):
        hits_by_interest(MINDRecommender(), X)


# ------------------------------------------------------------------ a fitted model


def test_diagnostics_of_a_model_are_consistent(fitted):
    _, rec, _ = fitted
    diagnostics = interest_diagnostics(rec, ["stranger", "stranger 2", *rec.users_])
    assert diagnostics.n_users == 60
    in_use = (rec.interests(rec.users_) != 0).any(axis=2)
    assert diagnostics.n_interests == in_use.sum(axis=1).mean()
    assert 1 < diagnostics.effective_number <= diagnostics.n_interests
    assert -1 <= diagnostics.mean_cosine < 1
    assert diagnostics.usage["share_of_recommended"].sum() == pytest.approx(1)
    assert diagnostics.usage["in_use"].sum() == pytest.approx(diagnostics.n_interests)


def test_diagnostics_of_a_model_do_not_depend_on_the_block_size(fitted, monkeypatch):
    _, rec, test = fitted
    diagnostics = repr(interest_diagnostics(rec))
    hits = hits_by_interest(rec, test)
    monkeypatch.undo()
    assert repr(interest_diagnostics(rec)) == diagnostics
    pd.testing.assert_frame_equal(hits_by_interest(rec, test), hits)


@pytest.mark.parametrize("user_ids", [[], ["stranger"] * 3])
def test_diagnostics_of_a_model_need_a_user_with_interests(fitted, user_ids):
    with pytest.raises(InvalidInputError, match=f"none of the {len(set(user_ids))} users has"):
        interest_diagnostics(fitted[1], user_ids)


def test_hits_of_a_model_add_up_to_the_hits_of_its_recommendations(fitted):
    _, rec, test = fitted
    hits = hits_by_interest(rec, test, k=5)
    top = rec.recommend(test["user_id"], 5)
    assert hits["n_recommended"].sum() == len(top) == 5 * 60
    assert hits["n_hits"].sum() == len(top.merge(test, on=["user_id", "item_id"])) > 0


def test_hits_warn_of_a_table_of_unknown_items(fitted):
    _, rec, test = fitted
    with pytest.warns(IgnoredDataWarning, match="targets in X was in fit, such as .*; none is hit"):
        hits = hits_by_interest(rec, test.assign(item_id="unknown"))
    assert hits["n_hits"].sum() == 0


def test_hits_reject_a_table_of_unknown_users(fitted):
    _, rec, test = fitted
    with pytest.raises(InvalidInputError, match="none of the 1 users to test was in fit"):
        hits_by_interest(rec, test.assign(user_id="stranger"))
