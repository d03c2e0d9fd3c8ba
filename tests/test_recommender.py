"""What `FittedRecommender` adds to the public behaviour that `test_estimator` covers."""

import copy
import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.exceptions import (
    ExactSearchWarning,
    FeatureTypeWarning,
    IgnoredDataWarning,
    InvalidInputError,
    ShortageWarning,
    SkmindError,
    SkmindWarning,
    UnknownIdError,
)
from skmind.model_selection import LeaveLastOut, TemporalSplit, UserKFold
from skmind.retrieval.calibration import Plan
from tests.retrieval.cases import soft

SMALL = {"embedding_dim": 8, "max_epochs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def X():
    return make_interactions(40, 30, n_topics=5, n_interests=2, random_state=0).interactions


@pytest.fixture(scope="module")
def fitted(X):
    return MINDRecommender(**SMALL).fit(X)


def test_network_and_index_are_rebuilt_from_arrays(X, fitted):
    copied = copy.deepcopy(fitted)
    assert copied._snapshot.net is None
    assert copied._snapshot.index is None
    np.testing.assert_array_equal(copied.transform(X), fitted.transform(X))
    pd.testing.assert_frame_equal(copied.recommend(k=5), fitted.recommend(k=5))


def test_parameters_changed_after_fit_do_not_change_answers(X, fitted):
    changed = copy.deepcopy(fitted).set_params(n_interests=1, embedding_dim=4, user_col="person")
    np.testing.assert_array_equal(changed.transform(X), fitted.transform(X))


@pytest.mark.parametrize("ask", ["recommend_from_history", "interests_from_history"])
def test_features_of_strangers_need_features_in_fit(fitted, ask):
    table = pd.DataFrame({"user_id": [0], "age": [30.0]})
    with pytest.warns(IgnoredDataWarning, match="users= is ignored: fit was given no user feat"):
        getattr(fitted, ask)([[1, 2]], users=table)


def test_past_refuses_dates_where_fit_saw_numbers(X):
    dated = X.assign(timestamp=pd.to_datetime(X["timestamp"], unit="s"))
    for known, asked in ((X, dated), (dated, X)):
        rec = MINDRecommender(**SMALL, transform_history="past").fit(known)
        rec.transform(known)
        with pytest.raises(InvalidInputError, match="'timestamp' has .* the times of fit were"):
            rec.transform(asked)


# ------------------------------------------------------------------ the index


@pytest.fixture(scope="module")
def large():
    """A catalogue that an approximate index is calibrated on."""
    return make_interactions(300, 6000, n_topics=40, n_interests=2, random_state=0).interactions


INDEXES = {
    "annoy": {"n_trees": 5},
    "faiss": {},
}


@pytest.mark.parametrize("index", INDEXES)
def test_a_calibrated_index_is_rebuilt_bit_by_bit(large, index, monkeypatch):
    if index == "faiss":
        pytest.importorskip("faiss")
    monkeypatch.setattr("skmind.retrieval.calibration.CALIBRATION_KS", (10,))
    monkeypatch.setattr("skmind.retrieval.annoy.AnnoyIndex.MAX_VISITED_SHARE", 1.0)
    rec = MINDRecommender(**SMALL, index=index, **INDEXES[index]).fit(large)
    plan = rec._model.plan
    assert (rec.index_, plan.kind, plan.n_trees, plan.search_k) == (index, index, rec.n_trees, None)
    assert 0.93 < rec.index_recall(n_users=100) <= 1
    twin = pickle.loads(pickle.dumps(rec.set_params(index="exact")))
    assert twin._snapshot.search_index().effort == plan.effort
    assert twin.index_ == index
    assert twin.index_recall(k=100) == rec.index_recall(k=100)
    pd.testing.assert_frame_equal(twin.recommend(), rec.recommend(), check_exact=True)


def test_index_recall_tells_what_is_missed(large):
    poor = MINDRecommender(**SMALL, index="annoy", n_trees=1, search_k=30).fit(large)
    found, expected = poor.recommend(k=10), MINDRecommender(**SMALL).fit(large).recommend(k=10)
    both = found.merge(expected, on=["user_id", "item_id"])
    assert poor.index_recall(n_users=10**6) == pytest.approx(len(both) / len(expected))
    assert 0.02 < len(both) / len(expected) < 0.9
    assert poor.index_recall(n_users=50) == poor.index_recall(n_users=50)


def test_index_recall_of_exact_search_is_one(fitted):
    assert fitted.index_ == "exact"
    assert fitted.index_recall() == fitted.index_recall(k=1000, n_users=1) == 1
    for name in ("k", "n_users"):
        with pytest.raises(InvalidInputError, match=f"{name}=0 must be an integer of at least 1"):
            fitted.index_recall(**{name: 0})


def test_exact_search_where_an_index_is_no_faster(X, fitted):
    with pytest.warns(
        ExactSearchWarning, match="no faster than exact search on 30 items"
    ) as record:
        rec = MINDRecommender(**SMALL, index="annoy").fit(X)
    assert record[0].filename == __file__
    assert rec.index_ == "exact"
    pd.testing.assert_frame_equal(rec.recommend(), fitted.recommend(), check_exact=True)


def test_an_index_with_search_k_is_not_calibrated(X, monkeypatch):
    monkeypatch.setattr(Plan, "calibrated", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rec = MINDRecommender(**SMALL, index="annoy", search_k=3).fit(X)
    assert rec.index_ == "annoy"


def test_faiss_is_missed_before_anything_is_done(X, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr("skmind._estimator.prepare", None)
    with pytest.raises(ImportError, match=r"pip install skmind\[faiss\]"):
        MINDRecommender(index="faiss").fit(X)


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_threads_change_nothing(X, fitted, n_jobs):
    several = copy.deepcopy(fitted).set_params(n_jobs=n_jobs)
    for options in ({}, {"quotas": "equal"}, {"items": {0: [1, 2, 3, 4, 5, 6]}, "user_ids": [0]}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ShortageWarning)
            one, two = (rec.recommend(k=5, **options) for rec in (fitted, several))
        pd.testing.assert_frame_equal(two, one, check_exact=True)
    pd.testing.assert_frame_equal(several.audience([3]), fitted.audience([3]), check_exact=True)


def test_many_threads_build_network_and_index_once(X, fitted, monkeypatch):
    copied, built, barrier = copy.deepcopy(fitted), [], Barrier(16)
    for owner, name in ((type(fitted._model), "network_for_inference"), (Plan, "build")):
        original = getattr(owner, name)

        def spy(self, *arguments, original=original, name=name):
            built.append(name)
            return original(self, *arguments)

        monkeypatch.setattr(owner, name, spy)

    def ask(_):
        barrier.wait()
        return copied.recommend(k=5)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    assert sorted(built) == ["build", "network_for_inference"]
    expected = fitted.recommend(k=5)
    for answer in answers:
        pd.testing.assert_frame_equal(answer, expected, check_exact=True)


# ------------------------------------------------------------------ lists, weights and quotas


def test_lists_of_users(X, fitted):
    allowed = {0: list(range(20)), 1: [3, 4, 5], 777: [2, 9]}
    blocked = pd.DataFrame({"user_id": [0, 0, 1], "item_id": [0, 1, 3]})
    with pytest.warns(ShortageWarning, match="3 of 4 users get fewer than k=8 items, the fewest 0"):
        found = fitted.recommend([1, 0, 777, 2], k=8, items=allowed, exclude_items=blocked)
    seen = X.groupby("user_id")["item_id"].agg(set)
    rows = found.groupby("user_id")["item_id"].agg(list)
    assert set(rows[0]) < set(range(2, 20)) - seen[0]
    assert len(rows[0]) == 8
    assert set(rows[1]) == {4, 5} - seen[1]
    counts = X["item_id"].value_counts()
    assert rows[777] == sorted([2, 9], key=lambda item: -counts[item])
    assert 2 not in rows
    one = fitted.recommend([0], k=8, items=sorted(set(range(2, 20))))
    mine = found[found["user_id"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, one, check_exact=False, rtol=0, atol=1e-6)


def test_lists_of_strangers(fitted):
    histories = {"ann": [1, 2, 3], "bob": [7, 8]}
    found = fitted.recommend_from_history(
        histories, k=2, items={"bob": [1, 7, 4, 5], "ann": [9, 3, 6]}, exclude_items={"bob": [4]}
    )
    assert found.groupby("user_id")["item_id"].agg(set).to_dict() == {"ann": {6, 9}, "bob": {1, 5}}
    listed = fitted.recommend_from_history([[1, 2], [7]], k=1, items={1: [5], 0: [6]})
    assert listed["item_id"].tolist() == [6, 5]


def test_a_shortage_is_stated(fitted):
    for ask, first in ((fitted.recommend, [0]), (fitted.recommend_from_history, [[1, 2]])):
        with pytest.warns(
            ShortageWarning, match="1 of 1 .* after exclude_seen=True and items="
        ) as record:
            ask(first, k=5, items=[7, 8, 9])
        assert record[0].filename == __file__


def test_weights_multiply_the_scores_of_an_interest(X, fitted):
    weights = np.array([1.5, 2.0, 0.0, 1.5])
    interests, users = fitted.interests(fitted.users_), fitted.users_
    in_use = (np.abs(interests).sum(2) > 0) & (weights > 0)
    products = interests @ fitted.item_embeddings_.T * weights[:, None]
    products = np.where(in_use[:, :, None], products, -np.inf)
    found = fitted.recommend(k=30, exclude_seen=False, interest_weights=weights)
    found = found[found["interest"] >= 0]
    assert set(found["interest"]) == {0, 1, 3}
    for user, rows in found.groupby("user_id"):
        row = products[list(users).index(user)]
        codes = pd.Index(fitted.items_).get_indexer(rows["item_id"])
        assert sorted(codes) == list(range(30))
        t = fitted.score_temperature_ * weights[in_use[list(users).index(user)]].max()
        expected = soft(row.T, t)
        np.testing.assert_allclose(rows["score"], -np.sort(-expected), atol=1e-6)
        assert rows["interest"].tolist() == row.argmax(0)[codes].tolist()


def test_weights_of_each_user(fitted):
    each = np.array([[1, 0, 0, 0], [0, 3, 0, 0], [1, 1, 1, 1]])
    found = fitted.recommend([0, 1, 2], k=4, interest_weights=each)
    for user, weights in zip([0, 1, 2], each, strict=True):
        expected = fitted.recommend([user], k=4, interest_weights=weights)
        mine = found[found["user_id"] == user].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, expected, check_exact=False, rtol=0, atol=1e-6)
    same = fitted.recommend([2], k=4)
    pd.testing.assert_frame_equal(expected, same, check_exact=True)


def test_a_user_without_a_weighted_interest_gets_what_is_popular(fitted):
    """Histories of one item have one interest."""
    one = fitted.recommend_from_history([[3]], k=3, interest_weights=[0, 1, 1, 1])
    assert one["interest"].tolist() == [-1] * 3


def test_equal_quotas(fitted):
    found = fitted.recommend(k=6, quotas="equal")
    n_used = (np.abs(fitted.interests(fitted.users_)).sum(2) > 0).sum(1)
    counts = found.groupby(["user_id", "interest"]).size().unstack(fill_value=0)
    for user, n in zip(fitted.users_, n_used, strict=True):
        assert counts.loc[user].sum() == 6
        assert counts.loc[user, : n - 1].tolist() == [6 // n + (j < 6 % n) for j in range(n)]
    for _, rows in found.groupby("user_id"):
        assert rows["score"].is_monotonic_decreasing
        assert rows["item_id"].is_unique


def test_quotas_and_diversity_are_not_combined(fitted):
    with pytest.raises(InvalidInputError, match="quotas='equal' and diversity=0.5 can't be comb"):
        fitted.recommend(k=4, quotas="equal", diversity=0.5)
    with pytest.raises(InvalidInputError, match="quotas="):
        fitted.recommend_from_history([[1]], k=4, quotas=[1, 1, 1, 0])
    with pytest.raises(InvalidInputError, match="interest_weights"):
        fitted.recommend([0], interest_weights=[-1, 1, 1, 1])


def test_dropped_users_have_weights_too(fitted):
    """One row for each user asked for, as the caller may not know who is unknown."""
    each = [[1, 0, 0, 0], [0, 1, 0, 0]]
    kept = fitted.recommend([999, 0], k=3, unknown="drop", interest_weights=each)
    assert set(kept["user_id"]) == {0}
    assert set(kept["interest"]) == {1}


# ------------------------------------------------------------------ audience


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_audience_is_who_scores_an_item_highest(fitted, exclude_seen):
    """The other way round, `recommend` scores every item for every user."""
    items = [3, 17, 3]
    table = fitted.recommend(k=30, exclude_seen=False)
    if exclude_seen:
        seen = fitted._model.interactions
        owners = fitted.users_[np.repeat(np.arange(len(fitted.users_)), seen.lengths)]
        pairs = set(zip(owners.tolist(), fitted.items_[seen.items].tolist(), strict=True))
        keep = [pair not in pairs for pair in zip(table["user_id"], table["item_id"], strict=True)]
        table = table[keep]
    found = fitted.audience(items, k=6, exclude_seen=exclude_seen)
    assert found.columns.tolist() == ["item_id", "user_id", "score", "rank", "interest"]
    start = 0
    for item in items:
        expected = table[table["item_id"] == item].sort_values("score", ascending=False)[:6]
        mine = found[start : start + len(expected)]
        assert mine["item_id"].tolist() == [item] * len(expected)
        assert mine["rank"].tolist() == list(range(1, len(expected) + 1))
        for column in ("user_id", "interest"):
            assert mine[column].tolist() == expected[column].tolist()
        np.testing.assert_allclose(mine["score"], expected["score"], atol=1e-6)
        start += len(expected)
    assert start == len(found)


def test_an_audience_has_no_more_users_than_there_are(fitted):
    found = fitted.audience([5], k=1000, exclude_seen=False)
    assert sorted(found["user_id"]) == fitted.users_.tolist()
    assert len(fitted.audience([], k=3)) == 0


def test_an_audience_of_invalid_arguments(fitted):
    with pytest.raises(UnknownIdError, match="the item 99 was not in fit"):
        fitted.audience([3, 99])
    with pytest.raises(InvalidInputError, match="k=0 must be an integer of at least 1"):
        fitted.audience([3], k=0)
    with pytest.raises(InvalidInputError, match="exclude_seen='no' must be True or False"):
        fitted.audience([3], exclude_seen="no")


# ------------------------------------------------------------------ before encoding


@pytest.mark.parametrize(
    "arguments",
    [
        {"k": 0},
        {"diversity": 2},
        {"diversity_by": "genre"},
        {"quotas": [1, 1]},
        {"quotas": "equal", "diversity": 0.5},
        {"interest_weights": [1]},
        {"items": [10**6]},
        {"exclude_items": "one"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "ask",
    [lambda rec, **a: rec.recommend(**a), lambda rec, **a: rec.recommend_from_history([[1]], **a)],
)
def test_a_call_is_read_before_anybody_is_encoded(fitted, ask, arguments, monkeypatch):
    def encode(*_):
        raise AssertionError("a history was encoded")

    monkeypatch.setattr("skmind._model.encode", encode)
    with pytest.raises(SkmindError):
        ask(fitted, **arguments)


def test_the_ranks_of_an_invalid_k_encode_nobody(X, fitted, monkeypatch):
    monkeypatch.setattr("skmind._model.encode", None)
    with pytest.raises(InvalidInputError, match="k=0 must be an integer"):
        fitted.target_ranks(X, k=0)


def test_attributes_of_fit_are_missing_before(fitted):
    for name in ("users_", "items_", "item_counts_", "item_embeddings_"):
        assert hasattr(fitted, name)
        with pytest.raises(AttributeError, match=f"'MINDRecommender' has no attribute '{name}' be"):
            getattr(MINDRecommender(), name)


# ------------------------------------------------------------------ scores of pairs


@pytest.mark.parametrize("index", ["exact", "annoy"])
def test_scores_of_pairs_are_those_of_recommend(X, index):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExactSearchWarning)
        rec = MINDRecommender(**SMALL, index=index).fit(X)
    found = rec.recommend(k=30, exclude_seen=False)
    found = found.sample(frac=1, random_state=0)
    scores = rec.predict_scores(found["user_id"], found["item_id"])
    assert (scores.dtype, scores.shape) == (np.float32, (len(found),))
    np.testing.assert_allclose(scores, found["score"], atol=1e-6)
    np.testing.assert_array_equal(
        rec.predict_scores(found["user_id"].tolist(), found["item_id"].to_numpy()), scores
    )
    np.testing.assert_array_equal(rec.predict_scores(X), rec.predict_scores(X.user_id, X.item_id))
    records = X.to_records(index=False)
    np.testing.assert_array_equal(rec.predict_scores(records), rec.predict_scores(X))


def test_scores_of_unknown_pairs_are_nan(fitted):
    scores = fitted.predict_scores([0, 999, 0, 999], [3, 3, 999, 999])
    assert np.isnan(scores).tolist() == [False, True, True, True]
    assert fitted.predict_scores([], []).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [3]), "user_ids has 2 ids and item_ids 1; give one item per user"),
        (([0, 1],), "item_ids is None; give item_ids="),
        ((pd.Series([0, 1]),), "item_ids is None; give item_ids="),
        (
            (pd.Series([0, 1], index=[5, 6]), pd.Series([3, 4], index=[6, 5])),
            "are Series with different indexes, but pairs are matched by position",
        ),
        ((0, [3]), "must be a list or array, not the single value 0"),
        ((["a"], [3]), "user ids are of kind text"),
    ],
)
def test_pairs_that_can_not_be_read(fitted, arguments, message):
    with pytest.raises(SkmindError, match=message):
        fitted.predict_scores(*arguments)


# ------------------------------------------------------------------ similar items among some


def test_similar_items_among_some_and_without_some(fitted):
    everything = fitted.similar_items([3, 4], k=29)
    for arguments, kept in (
        ({"items": [3, 7, 9, 999]}, {3, 7, 9}),
        ({"exclude_items": [7, 999]}, set(range(30)) - {7}),
        ({"items": np.array([3, 7, 9]), "exclude_items": pd.Series([9])}, {3, 7}),
    ):
        found = fitted.similar_items([3, 4], k=1, **arguments)
        expected = everything[everything["similar_item_id"].isin(kept)].groupby("item_id").head(1)
        assert found["similar_item_id"].tolist() == expected["similar_item_id"].tolist()
        np.testing.assert_allclose(found["score"], expected["score"], atol=1e-6)
        assert found["rank"].tolist() == [1, 1]


def test_similar_items_say_what_is_missing(fitted):
    message = "1 of 2 item_ids get fewer than k=2 items, the fewest 1: .* left after items=; lower"
    with pytest.warns(ShortageWarning, match=message):
        assert len(fitted.similar_items([3, 4], k=2, items=[3, 7])) == 3
    with pytest.raises(UnknownIdError, match="items= has 1 ids, none of which was in fit"):
        fitted.similar_items([3], items=[999])
    for name in ("items", "exclude_items"):
        for lists in ({3: [4]}, pd.DataFrame({"item_id": [4]})):
            with pytest.raises(InvalidInputError, match=f"{name}= is a .*; give one list or array"):
                fitted.similar_items([3], **{name: lists})


# ------------------------------------------------------------------ extreme k and weights


@pytest.mark.parametrize("k", [10**9, 2**63 - 1])
def test_a_k_far_beyond_the_catalogue(X, fitted, k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShortageWarning)
        for options in ({}, {"quotas": "equal"}, {"diversity": 0.5}):
            expected = fitted.recommend(k=30 if not options.get("quotas") else 10**6, **options)
            pd.testing.assert_frame_equal(fitted.recommend(k=k, **options), expected)
    pd.testing.assert_frame_equal(fitted.target_ranks(X, k=k), fitted.target_ranks(X, k=30))
    pd.testing.assert_frame_equal(fitted.similar_items([3], k), fitted.similar_items([3], 30))
    assert fitted.index_recall(k=k, n_users=k) == 1
    message = f"k={k} is more than the 30 known items, and .* rows of arrays .* at most 30"
    for ask in (
        lambda: fitted.recommend(k=k, output="arrays"),
        lambda: fitted.recommend_from_history([[1]], k=k, output="arrays"),
        lambda: fitted.predict(X, k=k),
    ):
        with pytest.raises(InvalidInputError, match=message):
            ask()


@pytest.mark.parametrize("quotas", [None, "equal", [10**30, 0, 0, 0]])
def test_a_k_beyond_int64_is_an_error(X, fitted, quotas):
    for ask in (
        lambda k: fitted.recommend(k=k, quotas=quotas),
        lambda k: fitted.recommend_from_history([[1]], k=k, quotas=quotas),
        lambda k: fitted.predict(X, k=k),
        lambda k: fitted.similar_items([1], k=k),
        lambda k: fitted.audience([1], k=k),
        lambda k: fitted.target_ranks(X, k=k),
        lambda k: fitted.index_recall(k=k),
    ):
        with pytest.raises(InvalidInputError, match=r"k=10{30} must be below 2\*\*63"):
            ask(10**30)


@pytest.mark.parametrize("factor", [1e300, 1e-50, 1e-300])
def test_only_ratios_of_weights_decide_the_order(fitted, factor):
    weights = np.array([1, 2, 0.5, 0])
    for options in ({}, {"quotas": "equal"}, {"diversity": 0.3}):
        expected = fitted.recommend(k=8, interest_weights=weights / 2, **options)
        found = fitted.recommend(k=8, interest_weights=weights * factor, **options)
        pd.testing.assert_frame_equal(found, expected, check_exact=False, atol=1e-6)


def test_diversity_of_high_weights_never_prefers_padding(fitted):
    found = fitted.recommend(
        k=10, items=list(range(12)), exclude_seen=False, interest_weights=[1e6] * 4, diversity=0.1
    )
    assert (found.groupby("user_id").size() == 10).all()


# ------------------------------------------------------------------ tables after fit

LOG = pd.DataFrame(
    {
        "user_id": np.repeat(np.arange(12), 6),
        "item_id": np.random.default_rng(0).integers(15, size=72),
        "timestamp": np.arange(72),
    }
)
TINY = {"n_interests": 2, "embedding_dim": 8, "max_epochs": 1, "random_state": 0}


def tiny(X=LOG, tables=None, **params):
    return MINDRecommender(**TINY | params).fit(X, **tables or {})


ANSWERS = {  # method → the columns that it uses, and what it returns
    "predict": (["user_id"], lambda rec, X: rec.predict(X, k=3)),
    "transform": (["user_id"], lambda rec, X: rec.transform(X)),
    "score": (["user_id", "item_id", "timestamp"], lambda rec, X: rec.score(X)),
    "target_ranks": (["user_id", "item_id", "timestamp"], lambda rec, X: rec.target_ranks(X)),
    "recommend_from_history": (
        ["user_id", "item_id", "timestamp"],
        lambda rec, X: rec.recommend_from_history(X, k=3),
    ),
    "items=": (["user_id", "item_id"], lambda rec, X: rec.recommend([1], k=1, items=X)),
    "add_interactions": (
        ["user_id", "item_id", "timestamp"],
        lambda rec, X: rec.add_interactions(X).recommend(k=3),
    ),
    "partial_fit": (
        ["user_id", "item_id", "timestamp"],
        lambda rec, X: rec.partial_fit(X).item_embeddings_,
    ),
}


@pytest.mark.parametrize("method", ANSWERS)
@pytest.mark.parametrize("make", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_only_the_columns_that_are_used_are_needed(method, make):
    columns, ask = ANSWERS[method]
    whole = LOG.assign(rating=3, note="x")
    expected = ask(tiny(whole), make(whole))
    for part in (LOG[columns[::-1]], LOG.assign(more=1, user=2)[["more", *columns, "user"]]):
        found = ask(tiny(whole), make(part))
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    for column in columns:
        with pytest.raises(InvalidInputError, match=f"no column '{column}'"):
            ask(tiny(whole), make(LOG.drop(columns=column)))


def test_a_table_read_by_position_needs_all_columns_of_fit():
    rec = tiny(user_col=0, item_col=1, time_col=2)
    with pytest.raises(ValueError, match="feature names should match"):
        rec.predict(LOG[["item_id", "user_id", "timestamp"]])
    with pytest.raises(ValueError, match="feature names should match"):
        rec.predict(LOG[["user_id"]])


def test_an_array_with_the_columns_of_fit_elsewhere_raises():
    rec = tiny(LOG[["timestamp", "item_id", "user_id"]])
    for X in (LOG.to_numpy(), pd.DataFrame(LOG.to_numpy())):
        with pytest.raises(InvalidInputError, match="column 0 is read as 'user_id', but fit saw"):
            rec.predict(X)


@pytest.mark.parametrize("method", [m for m in ANSWERS if m not in ("items=", "partial_fit")])
def test_the_frame_of_an_array_is_read_as_the_array(method):
    _, ask = ANSWERS[method]
    array = LOG.to_numpy()
    frame = pd.DataFrame(array)
    rec = tiny(frame)
    np.testing.assert_array_equal(rec.item_embeddings_, tiny(array).item_embeddings_)
    if method == "recommend_from_history":  # may be a list of items per row
        with pytest.raises(InvalidInputError, match="histories is a table without column names"):
            ask(rec, frame)
        return
    found = ask(rec, frame)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(ask(tiny(array), array)))
    for splitter in (LeaveLastOut(), TemporalSplit(1), UserKFold(2)):
        for a, b in zip(splitter.split(frame), splitter.split(array), strict=True):
            np.testing.assert_array_equal(a[0], b[0])
            np.testing.assert_array_equal(a[1], b[1])


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("names", [[0, 1, 2], [2, 0, 1], [2022, 2023, 2024]])
@pytest.mark.parametrize("chosen", [False, True])
def test_integers_in_a_feature_table_are_names(side, names, chosen):
    ids = pd.Series(range(15), name=f"{side}_id")
    parts = pd.DataFrame(np.random.default_rng(0).normal(size=(15, 3)), columns=names)
    models = []
    for part in (parts, parts.add_prefix("c")):
        table = pd.concat([ids, part], axis=1)
        params = {f"{side}_features": part.columns.tolist()} if chosen else {}
        rec = tiny(tables={f"{side}s": table}, **params)
        rec.partial_fit(LOG[:5], **{f"{side}s": table}).partial_fit(LOG[5:9])
        models.append(rec)
        with pytest.raises(InvalidInputError, match="no column"):
            rec.partial_fit(LOG[:5], **{f"{side}s": table.iloc[:, :3]})
    np.testing.assert_array_equal(models[0].item_embeddings_, models[1].item_embeddings_)
    pd.testing.assert_frame_equal(models[0].recommend(k=3), models[1].recommend(k=3))


def test_an_integer_that_may_be_a_name_or_a_position_raises():
    table = pd.DataFrame({"item_id": range(15), 0: 1.0})
    with pytest.raises(InvalidInputError, match="item_features names 0, which is both a column of"):
        tiny(LOG.to_numpy(), {"items": table}, item_features=[0])
    table = pd.DataFrame({0: 1.0, 1: range(15)})
    with pytest.raises(InvalidInputError, match="may be in its first column, or in 1, which is"):
        tiny(LOG.to_numpy(), {"items": table}, item_col=1)


@pytest.mark.parametrize(("role", "other"), [("item", "user_id"), ("user", "item_id")])
def test_a_feature_table_that_was_joined_warns(role, other):
    table = LOG.assign(topic=LOG["item_id"] % 3).drop_duplicates(f"{role}_id")
    message = rf"the {role}s table has the column '{other}' .* {role}_features=\['topic'\]"
    with pytest.warns(FeatureTypeWarning, match=message):
        tiny(tables={f"{role}s": table})
    with warnings.catch_warnings():
        warnings.simplefilter("error", FeatureTypeWarning)
        tiny(tables={f"{role}s": table}, **{f"{role}_features": ["topic"]})


def test_float_ids_of_a_feature_table():
    long = LOG.assign(item_id=LOG["item_id"] + 2**53 + 1)
    rec = tiny(long, {"items": pd.DataFrame({"item_id": [7.0], "genre": ["a"]})})
    assert rec.items_.tolist() == [7, *sorted(long["item_id"].unique())]
    large = pd.DataFrame({"item_id": [2.0**53], "genre": ["a"]})
    message = "column 'item_id' of the items table has the float 9007199254740992.0"
    with pytest.raises(InvalidInputError, match=message):
        tiny(long, {"items": large})
    with pytest.raises(InvalidInputError, match=message):
        rec.partial_fit(long[:5], items=large)
    small = tiny(LOG.astype({"item_id": "int8"}), {"items": large.assign(item_id=[300.0])})
    assert 300 in small.items_.tolist()


@pytest.mark.parametrize("method", ["predict", "score", "add_interactions", "partial_fit"])
def test_float_ids_that_stand_for_several_integers_raise(method):
    long = LOG.assign(user_id=LOG["user_id"] + 2**53 + 1)
    rec = tiny(long)
    floats = long.astype({"user_id": float})
    with pytest.raises(InvalidInputError, match="column 'user_id' has the float 900719925474099"):
        getattr(rec, method)(floats)
    with pytest.raises(InvalidInputError, match="the list of user ids has the float 900719925474"):
        rec.recommend(floats["user_id"])


def test_a_number_and_its_text_in_one_column_are_warned_of():
    users = LOG["user_id"].astype(object).where(LOG["user_id"] != 4, "3")
    with pytest.warns(SkmindWarning, match="1 user ids are there both as text and .* such as '3'"):
        rec = tiny(LOG.assign(user_id=users))
    with pytest.warns(SkmindWarning, match="2 user ids are there both as text and as numbers"):
        rec.add_interactions(LOG[:2].assign(user_id=["5", "x"]))


def test_small_floats_in_every_method():
    X = LOG.astype("float16")
    rec = tiny(X)
    exact = tiny(LOG)
    assert rec.score(X) == exact.score(LOG)
    np.testing.assert_array_equal(rec.predict(X, k=3), exact.predict(LOG, k=3))
    found = rec.recommend_from_history([X["item_id"][:3]], k=3)["item_id"].tolist()
    assert found == exact.recommend_from_history([LOG["item_id"][:3]], k=3)["item_id"].tolist()


def test_a_series_of_lists_is_keyed_by_its_index():
    rec = tiny()
    histories = pd.Series([[1, 2], [3]], index=[501, 17])
    found = rec.recommend_from_history(histories, k=1, items=pd.Series([[4], [5]], [17, 501]))
    assert found[["user_id", "item_id"]].to_numpy().tolist() == [[501, 5], [17, 4]]
    lists = LOG.groupby("user_id")["item_id"].agg(list)
    expected = rec.recommend([7, 3], k=3, exclude_items=lists.to_dict(), exclude_seen=False)
    found = rec.recommend([7, 3], k=3, exclude_items=lists[::-1], exclude_seen=False)
    pd.testing.assert_frame_equal(found, expected)
    np.testing.assert_array_equal(
        rec.interests_from_history(histories), rec.interests_from_history(histories.tolist())
    )


def test_integer_names_of_a_log_are_names():
    names = {"user_id": 10, "item_id": 0, "timestamp": 30}
    table = LOG[["timestamp", "user_id", "item_id"]].rename(columns=names)
    rec = tiny(table, user_col=10, item_col=0, time_col=30)
    expected = tiny()
    np.testing.assert_array_equal(rec.item_embeddings_, expected.item_embeddings_)
    np.testing.assert_array_equal(rec.predict(table[[10]], k=3), expected.predict(LOG, k=3))
    assert rec.score(table[[0, 10, 30]]) == expected.score(LOG)
    with pytest.raises(InvalidInputError, match=r"no column 30; it has \[10, 0\]"):
        rec.score(table[[10, 0]])


def test_features_of_any_float():
    table = pd.DataFrame({"item_id": range(15), "x": np.arange(15) / 8})
    lists = [[value] for value in table["x"]]
    expected = tiny(tables={"items": table.assign(many=lists)})
    for dtype in ("float16", "longdouble"):
        cells = [np.array(value, dtype) for value in lists]
        other = table.astype({"x": dtype}).assign(many=cells)
        rec = tiny(tables={"items": other})
        np.testing.assert_array_equal(rec.item_embeddings_, expected.item_embeddings_)


@pytest.mark.parametrize("column", ["user_id", "item_id"])
@pytest.mark.parametrize(("dtype", "base"), [("float64", 2**60), ("float32", 2**24)])
def test_floats_that_may_have_been_several_ids_are_refused_by_fit(column, dtype, base):
    X = LOG.assign(**{column: (LOG[column] + base).astype(dtype)})
    with pytest.raises(InvalidInputError, match=f"column '{column}' has the float .* to int64"):
        MINDRecommender(**TINY).fit(X)
    if column == "user_id":
        for splitter in (LeaveLastOut(), UserKFold(2)):
            with pytest.raises(InvalidInputError, match="'user_id' has the float .* to int64"):
                next(splitter.split(X))


# ------------------------------------------------------------------ titles


TITLES = {item: f"title of {item}" for item in range(30) if item != 7}


def titles_are_right(frame, ids, titles):
    assert frame.columns.get_loc(titles) == frame.columns.get_loc(ids) + 1
    cells = frame[titles].astype(object).where(frame[titles].notna(), None)
    assert cells.tolist() == [TITLES.get(item) for item in frame[ids]]


def test_titles_add_a_column_after_each_column_of_item_ids(X, fitted):
    user = fitted.users_[0]
    history = [[1, 2, 3]]
    for frame in (
        fitted.recommend([user], k=30, exclude_seen=False, titles=TITLES),
        fitted.recommend_from_history(history, k=30, exclude_seen=False, titles=TITLES),
    ):
        assert 7 in frame["item_id"].tolist()
        titles_are_right(frame, "item_id", "title")
    similar = fitted.similar_items([7, 8], k=3, titles=TITLES)
    titles_are_right(similar, "item_id", "title")
    titles_are_right(similar, "similar_item_id", "similar_title")
    explained = fitted.explain(user, 7, titles=TITLES)
    titles_are_right(explained, "item_id", "title")
    titles_are_right(explained, "history_item_id", "history_title")


def test_titles_change_nothing_else(fitted):
    plain = fitted.recommend(k=4)
    with_titles = fitted.recommend(k=4, titles=TITLES)
    pd.testing.assert_frame_equal(with_titles.drop(columns="title"), plain)
    ids, _ = fitted.recommend(k=4, titles=TITLES, output="arrays")
    np.testing.assert_array_equal(ids.ravel(), plain["item_id"])


@pytest.mark.parametrize("way", ["copy", "save", "partial_fit"])
def test_titles_named_in_fit_are_kept(X, tmp_path, way):
    items = pd.DataFrame({"item_id": [*TITLES], "name": [*TITLES.values()], "size": 1.0})
    rec = MINDRecommender(**SMALL, item_title="name").fit(X, items=items)
    assert [f.name for f in rec._model.prepared.item_features.encoder.features] == ["size"]
    if way == "save":
        rec.save(tmp_path / "model")
        rec = MINDRecommender.load(tmp_path / "model")
        assert rec.item_title == "name"
    elif way == "copy":
        rec = pickle.loads(pickle.dumps(rec))
    else:
        new = pd.DataFrame({"item_id": [99], "name": ["new"], "size": 2.0})
        with warnings.catch_warnings():
            warnings.simplefilter("error", IgnoredDataWarning)
            rec.partial_fit(X.head(9).assign(item_id=[99] * 9), items=new)
        similar = rec.similar_items([99], k=1)
        assert similar["title"].tolist() == ["new"]
    titles_are_right(rec.recommend([X["user_id"][0]], k=20), "item_id", "title")
    other = rec.recommend([X["user_id"][0]], k=3, titles=dict.fromkeys(rec.items_, "other"))
    assert other["title"].tolist() == ["other"] * 3


def test_titles_that_conflict_with_a_column_of_ids(X):
    rec = MINDRecommender(**SMALL, item_col="title").fit(X.rename(columns={"item_id": "title"}))
    rec.recommend(k=1)
    with pytest.raises(InvalidInputError, match="item_col='title' is the name of a column of tit"):
        rec.recommend(k=1, titles=TITLES)


def test_a_missing_column_of_titles_stops_fit_before_training(X):
    rec = MINDRecommender(**SMALL, item_title="name")
    with pytest.raises(InvalidInputError, match="item_title='name' is not a column: X has"):
        rec.fit(X)
    assert not hasattr(rec, "items_")


# ------------------------------------------------------------------ repeats


PLAYS = {"embedding_dim": 8, "max_history": 6, "max_epochs": 6, "random_state": 0}


@pytest.fixture(scope="module")
def plays():
    """Sixty people who play three of forty songs over and over."""
    rng = np.random.default_rng(0)
    favourites = rng.integers(40, size=(60, 3))
    rows = [
        (user, song, t)
        for user in range(60)
        for t, song in enumerate(rng.choice(favourites[user], rng.integers(2, 12)))
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


@pytest.fixture(scope="module", params=[1, 3])
def player(request, plays):
    return MINDRecommender(**PLAYS, n_interests=request.param, exclude_seen=False).fit(plays)


def scores_with_repeats(rec, user, history):
    """The scores of all items, by loops over the events of the history."""
    t = rec.score_temperature_
    weights = rec._snapshot.model.weights["repeats"].astype(float)
    interests = rec.interests([user])[0]
    interests = interests[interests.any(axis=1)].astype(float)
    sums = np.exp(interests @ rec.item_embeddings_.T.astype(float) / t).sum(axis=0)
    for age, item in enumerate(history[::-1]):
        if age < len(weights):
            sums[rec.items_.tolist().index(item)] += np.exp(weights[age] / t)
    return t * np.log(sums / len(interests))


def test_items_of_the_history_score_higher(player, plays):
    histories = plays.groupby("user_id")["item_id"].agg(list)
    assert player._snapshot.model.weights["repeats"].mean() > 0.1
    for user in (0, 7, 31):
        scores = scores_with_repeats(player, user, histories[user])
        best = np.argsort(-scores, kind="stable")[:9]
        found = player.recommend([user], k=9)
        assert found["item_id"].tolist() == player.items_[best].tolist()
        np.testing.assert_allclose(found["score"], scores[best], atol=1e-5)
        folded_in = player.recommend_from_history({user: histories[user]}, k=9)
        pd.testing.assert_frame_equal(folded_in, found)
        pairs = pd.DataFrame({"user_id": user, "item_id": player.items_})
        np.testing.assert_allclose(player.predict_scores(pairs), scores, atol=1e-5)
        assert player.predict(pairs.head(1), k=9)[0].tolist() == found["item_id"].tolist()


def test_ranks_and_audiences_follow_the_scores_with_repeats(player, plays):
    table = player.recommend(k=len(player.items_))
    for k in (10, len(player.items_)):
        ranks = player.target_ranks(plays, k)
        merged = ranks.merge(table, on=["user_id", "item_id"], suffixes=("", "_asked"))
        expected = merged["rank_asked"].where(merged["rank_asked"] <= k)
        np.testing.assert_array_equal(merged["rank"], expected)
    audience = player.audience(player.items_[:5], k=7)
    for item, part in audience.groupby("item_id"):
        scores = table[table["item_id"] == item].nlargest(7, "score", keep="all")["score"]
        np.testing.assert_allclose(part["score"], scores[:7], atol=1e-6)


def test_unseen_items_score_as_without_repeats(player, plays):
    found = player.recommend(k=40, exclude_seen=True)
    both = found.merge(player.recommend(k=40), on=["user_id", "item_id"], suffixes=("", "_of_all"))
    assert len(both) == len(found)
    np.testing.assert_allclose(both["score"], both["score_of_all"], atol=1e-6)
    assert not found.merge(plays, on=["user_id", "item_id"]).size


def test_models_with_repeats_are_kept_and_continued(player, plays, tmp_path):
    player.save(tmp_path / "player")
    pd.testing.assert_frame_equal(
        MINDRecommender.load(tmp_path / "player").recommend(k=5), player.recommend(k=5)
    )
    before = player._snapshot.model.weights["repeats"]
    more = copy.deepcopy(player).partial_fit(plays.assign(timestamp=plays["timestamp"] + 100))
    assert not np.allclose(more._snapshot.model.weights["repeats"], before, atol=1e-3)
    rec = MINDRecommender(**PLAYS, warm_start=True).fit(plays)
    assert "repeats" not in rec._snapshot.model.weights
    rec.set_params(exclude_seen=False).fit(plays)
    assert rec._snapshot.model.weights["repeats"].mean() > 0.1


def test_weights_that_no_score_uses_are_not_shown(player, plays):
    assert player.repeat_weights_.shape == (6,)
    other = copy.deepcopy(player).set_params(loss="label_aware").partial_fit(plays)
    assert other.score_temperature_ is None
    assert other.repeat_weights_ is None


def test_label_aware_attention_has_no_repeats(plays):
    rec = MINDRecommender(**PLAYS, loss="label_aware", exclude_seen=False).fit(plays)
    assert "repeats" not in rec._snapshot.model.weights
    assert len(rec.recommend([0], k=3)) == 3
