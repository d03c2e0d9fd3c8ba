"""Planted interests and recommendations with one right answer; at the end, the real model."""

import math
import sys
import warnings
from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from skmind import MINDRecommender, inspection
from skmind.datasets import make_interactions
from skmind.exceptions import IdTypeError, InterestCollapseWarning, InvalidInputError
from skmind.inspection import (
    InterestCurveDisplay,
    hits_by_interest,
    interest_curve,
    interest_diagnostics,
)
from skmind.metrics import ndcg_at_k
from skmind.model_selection import LeaveLastOut, UserKFold

E1, E2, E3, NONE = np.eye(4)[0], np.eye(4)[1], np.eye(4)[2], np.zeros(4)


class Planted(BaseEstimator):
    """Answers with the interests {user: (K, 4)} and the lists {user: [(item, interest)]} given."""

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

    def interests(self, user_ids):
        nothing = np.zeros_like(next(iter(self.interests_of.values())))
        rows = [self.interests_of.get(user, nothing) for user in user_ids]
        return np.reshape(rows, (len(user_ids), *nothing.shape))

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
    monkeypatch.setattr(inspection, "_BLOCK", 2)


# ------------------------------------------------------------------ interest_diagnostics


def test_orthogonal_interests_count_in_full():
    found = interest_diagnostics(planted([E1, E2, E3], [E1, E3, NONE], [NONE, 5 * E2, NONE]))
    assert found.n_users == 3
    assert found.n_interests == 2.0
    assert found.effective_number == pytest.approx((3 + 2 + 1) / 3)
    assert found.mean_cosine == pytest.approx(0.0)


def test_equal_interests_count_once_and_warn():
    rec = planted([E1, E1, 2 * E1], [E2, E2, NONE], [E3, NONE, NONE])
    message = (
        r"of the 2 users who have several .* 1\.000 different ones of 2\.5, with a cosine of 1\.000"
        ".*n_interests=1.*dropout.*interest_curve"
    )
    with pytest.warns(InterestCollapseWarning, match=message) as record:
        found = interest_diagnostics(rec)
    assert record[0].filename == __file__
    assert found.effective_number == pytest.approx(1.0)
    assert found.mean_cosine == pytest.approx(1.0)


def test_effective_number_of_two_vectors_is_that_of_their_eigenvalues():
    cosine = 0.6  # eigenvalues .8 and .2
    found = interest_diagnostics(planted([E1, cosine * E1 + 0.8 * E2]))
    expected = math.exp(-(0.8 * math.log(0.8) + 0.2 * math.log(0.2)))
    assert found.effective_number == pytest.approx(expected)
    assert found.mean_cosine == pytest.approx(cosine)


def test_opposite_interests_have_a_negative_cosine_and_one_direction():
    with pytest.warns(InterestCollapseWarning):
        found = interest_diagnostics(planted([E1, -E1]))
    assert found.mean_cosine == pytest.approx(-1.0)
    assert found.effective_number == pytest.approx(1.0)


@pytest.mark.parametrize(
    "interests", [[[E1], [E1]], [[E1, NONE], [E1, NONE]], [[E1, E1], [E1, E2]]]
)
def test_no_collapse_without_several_interests_or_where_they_differ(interests):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interest_diagnostics(planted(*interests))


@pytest.mark.parametrize(("cosine", "warns"), [(0.99, True), (0.97, False)])
def test_collapse_is_judged_without_users_of_one_interest(cosine, warns):
    near = cosine * E1 + math.sqrt(1 - cosine**2) * E2
    single = [[E1, NONE]] * 20  # their effective number is 1, whatever the others'
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        interest_diagnostics(planted([E1, near], *single))
    assert [w.category for w in record] == [InterestCollapseWarning] * warns


def test_usage_is_counted_by_hand():
    lists = {
        0: [(0, 0), (1, 0), (2, 2), (3, 1)],
        1: [(4, 0), (5, 0), (6, 0)],
        2: [(7, -1), (8, -1), (9, -1)],  # popular items, in place of an interest's
    }
    rec = planted([E1, E2, E3], [E1, NONE, E3], [E1, NONE, NONE], lists=lists)
    usage = interest_diagnostics(rec, k=3).usage
    assert usage.index.name == "interest"
    assert usage["in_use"].tolist() == pytest.approx([1, 1 / 3, 2 / 3])
    assert usage["share_of_recommended"].tolist() == pytest.approx([5 / 6, 0, 1 / 6])
    assert usage["wins_any"].tolist() == pytest.approx([2 / 3, 0, 1 / 3])
    assert interest_diagnostics(rec, k=4).usage["wins_any"].iloc[1] == pytest.approx(1 / 3)


def test_shares_of_nothing_are_nan():
    assert interest_diagnostics(planted([E1, E2])).usage["share_of_recommended"].isna().all()


def test_users_asked_for_count_once_and_strangers_never():
    rec = planted([E1, E2], [E1, NONE], lists={0: [(0, 1)], 1: [(0, 0)]})
    found = interest_diagnostics(rec, [99, 0, 98, 97, 0])
    assert found.n_users == 1
    assert found.n_interests == 2.0
    assert found.usage["share_of_recommended"].tolist() == [0, 1]


def test_diagnostics_are_readable_and_frozen():
    found = interest_diagnostics(planted([E1, E2], lists={0: [(0, 1), (1, 1), (2, 0)]}))
    first, *table = repr(found).splitlines()
    assert (
        first == "InterestDiagnostics(n_users=1, n_interests=2, effective_number=2, mean_cosine=0)"
    )
    assert table[-1].split() == ["1", "1.0", "0.667", "1.0"]
    with pytest.raises(AttributeError):
        found.n_users = 3


@pytest.mark.parametrize("user_ids", [[], [98, 99]])
def test_diagnostics_need_a_user_with_interests(user_ids):
    with pytest.raises(InvalidInputError, match=f"none of the {len(user_ids)} users has an inter"):
        interest_diagnostics(planted([E1, E2]), user_ids)


def test_diagnostics_refuse_illegal_arguments():
    with pytest.raises(InvalidInputError, match="k=0 must be an integer of at least 1"):
        interest_diagnostics(planted([E1]), k=0)
    with pytest.raises(NotFittedError, match="not fitted"):
        interest_diagnostics(MINDRecommender())


# ------------------------------------------------------------------ hits_by_interest


def random_case(seed):
    """Lists of 4 for 9 users, and a test table with repetitions, strangers and unknown items."""
    rng = np.random.default_rng(seed)
    lists = {
        user: [(int(item), int(rng.integers(-1, 3))) for item in rng.permutation(10)[:4]]
        for user in range(9)
    }
    rec = planted(*[[E1, E2, E3]] * 9, lists=lists)
    users, items = rng.integers(0, 12, 60), rng.integers(0, 14, 60)
    return rec, pd.DataFrame({"user_id": users, "item_id": items})


def slow_counts(rec, X, k):
    recommended, hits = [0, 0, 0], [0, 0, 0]
    relevant = set(zip(X["user_id"], X["item_id"], strict=True))
    for user in set(X["user_id"]) & set(rec.lists):
        for item, interest in rec.lists[user][:k]:
            if interest >= 0:
                recommended[interest] += 1
                hits[interest] += (user, item) in relevant
    return recommended, hits


@pytest.mark.parametrize(("seed", "k"), list(product(range(3), [2, 4])))
def test_hits_equal_those_of_a_loop(seed, k):
    rec, X = random_case(seed)
    found = hits_by_interest(rec, X, k=k)
    recommended, hits = slow_counts(rec, X, k)
    assert sum(hits) > 0
    assert found["n_recommended"].tolist() == recommended
    assert found["n_hits"].tolist() == hits
    np.testing.assert_allclose(found["share_of_recommended"] * sum(recommended), recommended)
    np.testing.assert_allclose(found["share_of_hits"] * sum(hits), hits)
    np.testing.assert_allclose(found["precision"].fillna(0) * recommended, hits)


@pytest.mark.parametrize("library", [pl.from_pandas, pa.Table.from_pandas])
def test_hits_are_the_same_in_any_frame_and_under_any_names(library):
    rec, X = random_case(0)
    expected = hits_by_interest(rec, X)
    rec.user_col, rec.item_col = "item_id", "thing"
    renamed = X.set_axis(["item_id", "thing"], axis=1)
    pd.testing.assert_frame_equal(hits_by_interest(rec, library(renamed)), expected)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_exclude_seen_is_passed_on(exclude_seen):
    rec, X = random_case(0)
    hits_by_interest(rec, X, exclude_seen=exclude_seen)
    assert set(rec.exclude_seen) == {exclude_seen}


def test_precision_is_nan_where_an_interest_wins_nothing():
    rec = planted([E1, E2], lists={0: [(1, 0)]})
    found = hits_by_interest(rec, pd.DataFrame({"user_id": [0], "item_id": [2]}))
    assert found["precision"].fillna(-1).tolist() == [0, -1]
    assert found["share_of_hits"].isna().all()


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([[0, 1]], InvalidInputError, "X is a list; give a table"),
        (pd.DataFrame({"user": [0]}), InvalidInputError, "no column 'user_id'"),
        (pd.DataFrame({"user_id": [7, 8, 8], "item_id": 1}), InvalidInputError, "none of the 2 us"),
        (pd.DataFrame({"user_id": ["0"], "item_id": 1}), IdTypeError, "user ids are of kind text"),
        (pd.DataFrame({"user_id": [0], "item_id": "1"}), IdTypeError, "item ids are of kind text"),
    ],
)
def test_hits_refuse_illegal_tables(X, error, message):
    with pytest.raises(error, match=message):
        hits_by_interest(planted([E1]), X)


def test_hits_refuse_illegal_arguments():
    X = pd.DataFrame({"user_id": [0], "item_id": 1})
    with pytest.raises(InvalidInputError, match="k=0 must be an integer of at least 1"):
        hits_by_interest(planted([E1]), X, k=0)
    with pytest.raises(NotFittedError, match="not fitted"):
        hits_by_interest(MINDRecommender(), X)


# ------------------------------------------------------------------ interest_curve

# Each of 40 people did 0, 1 and last 100 + their number; of 41 and 42, who did one thing, nothing
# can be held out.
HISTORY = pd.DataFrame(
    {
        "user_id": [*np.repeat(np.arange(40), 3), 41, 42],
        "item_id": [*np.ravel([(0, 1, 100 + user) for user in range(40)]), 0, 1],
        "timestamp": [*np.tile([5, 6, 7], 40), 5, 5],
    }
)
FOUND = {1: range(10), 2: range(5, 20), 4: range(10)}  # who is given the item held out, by K


class Oracle(BaseEstimator):
    """Recommends an item nobody wants first, then to those in FOUND what they will do last."""

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
        SEEN.append(self)
        return self

    def interests(self, user_ids):
        return np.tile(np.eye(8)[: self.n_interests], (len(user_ids), 1, 1))

    def recommend(self, user_ids, k, *, exclude_seen, unknown):
        assert exclude_seen
        lists = [[50] + [100 + u] * (u in FOUND[self.n_interests]) for u in user_ids]
        rows = [
            (user, item, 0.5, rank, 0)
            for user, found in zip(user_ids, lists, strict=True)
            for rank, item in enumerate(found[:k], start=1)
        ]
        return pd.DataFrame(rows, columns=[self.user_col, "item_id", "score", "rank", "interest"])


SEEN = []  # every Oracle that was fitted


@pytest.fixture
def fitted():
    SEEN.clear()
    return SEEN


def test_curve_has_the_planted_means_and_exact_p_values(fitted):
    estimator = Oracle(random_state=7)
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
    assert [(rec.n_interests, rec.random_state) for rec in fitted] == [(1, 7), (2, 7), (4, 7)]
    assert estimator.n_interests == 3
    assert not hasattr(estimator, "users_")


def test_k_of_the_metric_counts():
    curve = interest_curve(Oracle(), HISTORY, n_interests=[1, 2], metric="recall@1")
    assert curve["mean"].tolist() == [0, 0]


@pytest.mark.parametrize("library", [pl.from_pandas, pa.Table.from_pandas])
def test_curve_is_the_same_in_any_frame_and_under_any_names(library):
    expected = interest_curve(Oracle(), HISTORY, n_interests=[1, 2])
    renamed = HISTORY.rename(columns={"user_id": "who", "timestamp": "when"})
    estimator = Oracle(user_col="who", time_col="when")
    curve = interest_curve(estimator, library(renamed), n_interests=[1, 2])
    pd.testing.assert_frame_equal(
        curve.drop(columns="fit_seconds"), expected.drop(columns="fit_seconds")
    )


def test_a_users_value_is_the_mean_over_folds(fitted):
    curve = interest_curve(Oracle(), HISTORY, n_interests=[1, 2], cv=LeaveLastOut(n_splits=2))
    assert len(fitted) == 4
    assert curve["n_users"].tolist() == [40, 40]
    assert curve["mean"].tolist() == pytest.approx([5 / 40, 7.5 / 40])  # nobody is given item 1


def test_test_users_outside_training_are_dropped():
    class Halves:
        """Everyone's last event; only users below 20, who are tested, and 41 and 42 trained on."""

        def get_n_splits(self):
            return 1

        def split(self, X):
            train, test = next(LeaveLastOut().split(X))
            users = X["user_id"].to_numpy()
            yield train[(users[train] < 20) | (users[train] > 40)], test

    curve = interest_curve(Oracle(), HISTORY, n_interests=[2], cv=Halves())
    assert curve["n_users"].tolist() == [20]
    assert curve["mean"].tolist() == pytest.approx([15 / 20])


def test_feature_tables_reach_fit(fitted):
    tables = {"users": pd.DataFrame({"a": [1]}), "items": pd.DataFrame({"b": [1]})}
    interest_curve(Oracle(), HISTORY, n_interests=[1], **tables)
    assert [rec.tables_ for rec in fitted] == [(tables["users"], tables["items"])]


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
        ({"X": HISTORY.to_numpy()}, "X is a ndarray; give a table"),
        ({"cv": UserKFold(2)}, "none of the 21 users to test was in fit"),
    ],
)
def test_curve_refuses_illegal_arguments(changes, message, fitted):
    with pytest.raises(InvalidInputError, match=message):
        interest_curve(Oracle(), **{"X": HISTORY, **changes})
    assert len(fitted) == isinstance(changes.get("cv"), UserKFold)  # else, nothing was fitted


@pytest.mark.parametrize(
    "differences", [[0.3, -0.1, 0.0, 0.2, 0.5], [1.0, -0.5, 0.25, 0.0, -0.75, 0.125]]
)
def test_p_value_of_few_differences_is_that_of_all_flips(differences):
    differences = np.array(differences)
    sums = [differences @ signs for signs in product([1, -1], repeat=len(differences))]
    expected = np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-12)
    assert inspection._sign_flip_p(differences) == pytest.approx(expected)


def test_p_values_of_noise_are_uniform_and_those_of_an_effect_small():
    rng = np.random.default_rng(0)
    noise = [inspection._sign_flip_p(rng.normal(size=30)) for _ in range(40)]
    assert 0.3 < np.mean(noise) < 0.7
    assert inspection._sign_flip_p(rng.normal(1, 1, size=60)) < 0.001
    assert inspection._sign_flip_p(np.zeros(5)) == 1.0


# ------------------------------------------------------------------ InterestCurveDisplay

CURVE = pd.DataFrame(
    {"n_interests": [4, 1], "metric": "ndcg@5", "mean": [0.3, 0.2], "std_error": [0.01, 0.02]}
)


@pytest.fixture
def plt():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def test_display_draws_means_and_errors_in_order(plt):
    display = InterestCurveDisplay.from_curve(CURVE)
    line, _, (bars,) = display.errorbar_
    assert line.get_xydata().tolist() == [[1, 0.2], [4, 0.3]]
    ends = [segment[:, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [[0.18, 0.22], [0.29, 0.31]])
    assert display.ax_.get_xticks().tolist() == [1, 4]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == (
        "Interests a user (n_interests)",
        "ndcg@5",
    )
    assert display.figure_ is display.ax_.figure


def test_display_draws_into_the_axes_given(plt):
    _, ax = plt.subplots()
    assert InterestCurveDisplay.from_curve(CURVE, ax=ax).ax_ is ax
    assert InterestCurveDisplay(CURVE).plot().ax_ is not ax


def test_display_of_an_estimator_is_that_of_its_curve(plt):
    _, ax = plt.subplots()
    display = InterestCurveDisplay.from_estimator(
        Oracle(), HISTORY, n_interests=[1, 2], metric="hit_rate@2", ax=ax
    )
    assert display.ax_ is ax
    assert display.curve["mean"].tolist() == pytest.approx([10 / 40, 15 / 40])


@pytest.mark.parametrize(
    ("curve", "lacking"),
    [(CURVE.drop(columns=["mean"]), r"\['mean'\]"), ([1, 2], r"\['n_interests', 'metric'")],
)
def test_display_needs_the_columns_of_a_curve(curve, lacking):
    with pytest.raises(InvalidInputError, match=f"curve lacks the columns {lacking}"):
        InterestCurveDisplay.from_curve(curve)


def test_display_says_what_to_install(monkeypatch, fitted):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    display = InterestCurveDisplay(CURVE)
    with pytest.raises(ImportError, match=r"needs matplotlib.*pip install skmind\[plot\]"):
        display.plot()
    with pytest.raises(ImportError, match=r"pip install skmind\[plot\]"):
        InterestCurveDisplay.from_estimator(Oracle(), HISTORY)
    assert fitted == []


# ------------------------------------------------------------------ the real model

SMALL = {"embedding_dim": 8, "max_epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def real():
    """Text ids, an estimator fitted on all but everyone's last event, and those events."""
    X = make_interactions(
        60, 80, n_topics=8, n_interests=2, n_events=(6, 12), random_state=0
    ).interactions
    X = X.assign(user_id="u" + X["user_id"].astype(str), item_id="i" + X["item_id"].astype(str))
    train, test = next(LeaveLastOut().split(X))
    rec = MINDRecommender(n_interests=3, **SMALL).fit(X.iloc[train])
    return X, rec, X.iloc[test]


def test_diagnostics_of_a_model_are_consistent(real):
    _, rec, _ = real
    found = interest_diagnostics(rec, ["stranger", "stranger 2", *rec.users_])
    assert found.n_users == 60
    assert found.n_interests == (rec.interests(rec.users_) != 0).any(axis=2).sum(axis=1).mean()
    assert 1 < found.effective_number <= found.n_interests
    assert -1 <= found.mean_cosine < 1
    assert found.usage["share_of_recommended"].sum() == pytest.approx(1)
    assert found.usage["in_use"].sum() == pytest.approx(found.n_interests)


def test_diagnostics_of_a_model_do_not_depend_on_blocks(real, monkeypatch):
    _, rec, test = real
    in_blocks = repr(interest_diagnostics(rec)), hits_by_interest(rec, test)
    monkeypatch.undo()
    assert repr(interest_diagnostics(rec)) == in_blocks[0]
    pd.testing.assert_frame_equal(hits_by_interest(rec, test), in_blocks[1])


@pytest.mark.parametrize("user_ids", [[], ["stranger"] * 3])
def test_diagnostics_of_a_model_need_a_user_with_interests(real, user_ids):
    with pytest.raises(InvalidInputError, match=f"none of the {len(set(user_ids))} users has"):
        interest_diagnostics(real[1], user_ids)


def test_hits_of_a_model_add_up_to_its_hit_rate(real):
    _, rec, test = real
    found = hits_by_interest(rec, test, k=5)
    top = rec.recommend(test["user_id"], 5)
    assert found["n_recommended"].sum() == len(top) == 5 * 60
    assert found["n_hits"].sum() == len(top.merge(test, on=["user_id", "item_id"])) > 0


def test_hits_refuse_a_table_of_strangers(real):
    _, rec, test = real
    with pytest.raises(InvalidInputError, match="none of the 1 users to test was in fit"):
        hits_by_interest(rec, test.assign(user_id="stranger"))


def test_curve_of_a_model_equals_a_fit_by_hand(real):
    X, rec, test = real
    curve = interest_curve(
        MINDRecommender(**SMALL), X, n_interests=[1, 3], metric="ndcg@5"
    ).set_index("n_interests")
    assert curve.loc[3, "mean"] == pytest.approx(
        ndcg_at_k(test, rec.recommend(test["user_id"], 5), k=5)
    )
    assert curve.loc[3, "difference"] == pytest.approx(curve["mean"].diff()[3])
    assert 0 < curve.loc[3, "p_value"] <= 1
    assert curve.loc[3, "mean_cosine"] == pytest.approx(interest_diagnostics(rec).mean_cosine)
