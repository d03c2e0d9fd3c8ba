"""The curve of planted recommendations, where p-values are known, and of a fitted model."""

import math
from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator

from skmind import MINDRecommender
from skmind.exceptions import InvalidInputError
from skmind.inspection import _diagnostics, interest_curve, interest_diagnostics
from skmind.inspection._curve import sign_flip_p_value
from skmind.metrics import ndcg_at_k
from skmind.model_selection import LeaveLastOut, UserKFold

# Each of 40 users has items 0 and 1, then item 100 + user id. Users 41 and 42 have one event, so
# nothing can be held out.
HISTORY = pd.DataFrame(
    {
        "user_id": [*np.repeat(np.arange(40), 3), 41, 42],
        "item_id": [*np.ravel([(0, 1, 100 + user) for user in range(40)]), 0, 1],
        "timestamp": [*np.tile([5, 6, 7], 40), 5, 5],
    }
)
# By number of interests, the users to whom `Planted` recommends the item held out.
USERS_WITH_HIT = {1: range(10), 2: range(5, 20), 4: range(10)}


class Planted(BaseEstimator):
    """Recommender of item 50, a miss, and then of the last item to the users with a hit."""

    def __init__(self, n_interests=3, random_state=None, user_col="user_id", time_col="timestamp"):
        self.n_interests = n_interests
        self.random_state = random_state
        self.user_col = user_col
        self.time_col = time_col
        self.item_col = "item_id"

    def fit(self, X, y=None, *, users, items):
        X = pd.DataFrame({name: np.asarray(X[name]) for name in (self.user_col, "item_id")})
        self.users_ = X[self.user_col].unique()
        self.items_ = X["item_id"].unique()
        self.tables_ = users, items
        FITTED.append(self)
        return self

    def interests(self, user_ids):
        return np.tile(np.eye(8)[: self.n_interests], (len(user_ids), 1, 1))

    def recommend(self, user_ids, k, *, exclude_seen, unknown):
        assert exclude_seen is None
        lists = {
            user: [50, 100 + user] if user in USERS_WITH_HIT[self.n_interests] else [50]
            for user in user_ids
        }
        rows = [
            (user, item, 0.5, rank, 0)
            for user, items in lists.items()
            for rank, item in enumerate(items[:k], start=1)
        ]
        return pd.DataFrame(rows, columns=[self.user_col, "item_id", "score", "rank", "interest"])


FITTED: list[Planted] = []


@pytest.fixture
def planted_fits():
    """Every `Planted` that was fitted in this test."""
    FITTED.clear()
    return FITTED


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """The curve must not depend on where a block of users ends."""
    monkeypatch.setattr(_diagnostics, "USERS_PER_BLOCK", 2)


def test_curve_has_the_planted_means_and_exact_p_values(planted_fits):
    estimator = Planted(random_state=7)
    curve = interest_curve(estimator, HISTORY, n_interests=[1, 2, 4], metric="hit_rate@2")
    assert curve["n_interests"].tolist() == [1, 2, 4]
    assert set(curve["metric"]) == {"hit_rate@2"}
    assert curve["n_users"].tolist() == [40] * 3
    assert curve["mean"].tolist() == pytest.approx([10 / 40, 15 / 40, 10 / 40])
    assert curve["difference"].tolist() == pytest.approx([0, 5 / 40, 0])
    ten_win_five_lose = 2 * sum(math.comb(15, n) for n in range(6)) / 2**15
    assert curve["p_value"].tolist() == pytest.approx([np.nan, ten_win_five_lose, 1], nan_ok=True)
    assert curve["std_error"][0] == pytest.approx(np.std([1] * 10 + [0] * 30, ddof=1) / 40**0.5)
    assert curve["effective_number"].tolist() == pytest.approx([1, 2, 4])
    assert curve["mean_cosine"].tolist() == pytest.approx([np.nan, 0, 0], nan_ok=True)
    assert (curve["fit_seconds"] >= 0).all()
    assert [(rec.n_interests, rec.random_state) for rec in planted_fits] == [(1, 7), (2, 7), (4, 7)]
    assert estimator.n_interests == 3
    assert not hasattr(estimator, "users_")


def test_the_metric_looks_at_k_recommendations():
    curve = interest_curve(Planted(), HISTORY, n_interests=[1, 2], metric="recall@1")
    assert curve["mean"].tolist() == [0, 0]


@pytest.mark.parametrize("library", [pl.from_pandas, pa.Table.from_pandas])
def test_curve_is_the_same_in_any_frame_and_under_any_names(library):
    expected = interest_curve(Planted(), HISTORY, n_interests=[1, 2])
    renamed = HISTORY.rename(columns={"user_id": "who", "timestamp": "when"})
    estimator = Planted(user_col="who", time_col="when")
    curve = interest_curve(estimator, library(renamed), n_interests=[1, 2])
    pd.testing.assert_frame_equal(
        curve.drop(columns="fit_seconds"), expected.drop(columns="fit_seconds")
    )


def test_a_users_value_is_the_mean_over_folds(planted_fits):
    curve = interest_curve(Planted(), HISTORY, n_interests=[1, 2], cv=LeaveLastOut(n_splits=2))
    assert len(planted_fits) == 4
    assert curve["n_users"].tolist() == [40, 40]
    # The other fold holds out item 1, which is never recommended.
    assert curve["mean"].tolist() == pytest.approx([5 / 40, 7.5 / 40])


def test_test_users_outside_training_are_dropped():
    class HalfOfTheUsers:
        """Test all users' last events, but train only on users below 20 and on 41 and 42."""

        def get_n_splits(self):
            return 1

        def split(self, X):
            train, test = next(LeaveLastOut().split(X))
            users = X["user_id"].to_numpy()
            yield train[(users[train] < 20) | (users[train] > 40)], test

    curve = interest_curve(Planted(), HISTORY, n_interests=[2], cv=HalfOfTheUsers())
    assert curve["n_users"].tolist() == [20]
    assert curve["mean"].tolist() == pytest.approx([15 / 20])


def test_feature_tables_reach_fit(planted_fits):
    tables = {"users": pd.DataFrame({"a": [1]}), "items": pd.DataFrame({"b": [1]})}
    interest_curve(Planted(), HISTORY, n_interests=[1], **tables)
    assert [rec.tables_ for rec in planted_fits] == [(tables["users"], tables["items"])]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_interests": 4}, r"n_interests=4 must be a sequence of one or more distinct integers"),
        ({"n_interests": []}, r"n_interests=\[\] must be a sequence of one or more"),
        ({"n_interests": [2, 2]}, r"n_interests=\[2, 2\] must be a sequence of one or more dist"),
        ({"n_interests": [0, 1]}, "n_interests=0 must be an integer of at least 1"),
        ({"metric": "ndgc@5"}, "unknown name 'ndgc@5' .did you mean 'ndcg@5'"),
        ({"metric": ["recall@5"]}, "unknown name"),
        ({"cv": "split"}, "cv='split' must be a splitter, such as"),
        ({"X": HISTORY.to_numpy()}, "X is a ndarray; pass a table"),
        ({"cv": UserKFold(2)}, "none of the 21 users to test was in fit"),
    ],
)
def test_curve_rejects_invalid_arguments(changes, message, planted_fits):
    with pytest.raises(InvalidInputError, match=message):
        interest_curve(Planted(), **{"X": HISTORY, **changes})
    assert len(planted_fits) == isinstance(changes.get("cv"), UserKFold)  # otherwise before any fit


@pytest.mark.parametrize(
    "differences", [[0.3, -0.1, 0.0, 0.2, 0.5], [1.0, -0.5, 0.25, 0.0, -0.75, 0.125]]
)
def test_p_value_of_few_differences_equals_enumeration_of_all_flips(differences):
    differences = np.array(differences)
    sums = [differences @ signs for signs in product([1, -1], repeat=len(differences))]
    expected = np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-12)
    assert sign_flip_p_value(differences) == pytest.approx(expected)


def test_p_values_are_uniform_for_noise_and_small_for_an_effect():
    rng = np.random.default_rng(0)
    noise = [sign_flip_p_value(rng.normal(size=30)) for _ in range(40)]
    assert 0.3 < np.mean(noise) < 0.7
    assert sign_flip_p_value(rng.normal(1, 1, size=60)) < 0.001
    assert sign_flip_p_value(np.zeros(5)) == 1.0


def test_curve_of_a_model_equals_a_fit_by_hand(fitted, small_parameters):
    X, rec, test = fitted
    curve = interest_curve(
        MINDRecommender(**small_parameters), X, n_interests=[1, 3], metric="ndcg@5"
    ).set_index("n_interests")
    assert curve.loc[3, "mean"] == pytest.approx(
        ndcg_at_k(test, rec.recommend(test["user_id"], 5), k=5)
    )
    assert curve.loc[3, "difference"] == pytest.approx(curve["mean"].diff()[3])
    assert 0 < curve.loc[3, "p_value"] <= 1
    assert curve.loc[3, "mean_cosine"] == pytest.approx(interest_diagnostics(rec).mean_cosine)
