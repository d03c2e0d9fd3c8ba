"""The recommender from fit to recommend, on data whose right answer is known.

What it answers is compared with a brute-force search over its public vectors, with the metrics of
`skmind.metrics`, and with itself where two ways must lead to the same place.
"""

import contextlib
import copy
import logging
import random
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone

import skmind._estimator
import skmind._recommender
import skmind.retrieval.calibration
from skmind import MINDRecommender
from skmind.datasets import fetch_movielens, make_interactions
from skmind.exceptions import (
    IgnoredDataWarning,
    InvalidInputError,
    NothingToLearnWarning,
    NothingToScoreWarning,
    UnknownIdError,
)
from skmind.metrics import intra_list_diversity_at_k, ndcg_at_k
from skmind.model_selection import LeaveLastOut
from tests.retrieval.cases import soft

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

SMALL = {
    "n_interests": 3,
    "embedding_dim": 8,
    "max_history": 10,
    "n_negatives": 20,
    "max_epochs": 2,
    "batch_size": 64,
    "learning_rate": 0.01,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def data():
    return make_interactions(50, 40, n_topics=8, n_interests=2, n_events=(3, 15), random_state=0)


@pytest.fixture(scope="module")
def X(data):
    return data.interactions


@pytest.fixture(scope="module")
def fitted(X):
    return MINDRecommender(**SMALL).fit(X)


def histories_of(X):
    """Items of each user, oldest first, as lists by user id."""
    return X.sort_values("timestamp", kind="stable").groupby("user_id")["item_id"].agg(list)


def brute_force(rec, interests, k, banned=(), allowed=None):
    """Item ids, scores and interests of one person's top k, by looking at every item."""
    used = np.flatnonzero(interests.any(axis=1))
    scores = interests[used] @ rec.item_embeddings_.T  # (K, n_items)
    best = soft(scores.T, rec.score_temperature_)
    order = [i for i in np.argsort(-best, kind="stable") if rec.items_[i] not in set(banned)]
    if allowed is not None:
        order = [i for i in order if rec.items_[i] in set(allowed)]
    order = order[:k]
    return rec.items_[order], best[order], used[scores.argmax(axis=0)[order]]


def by_popularity(X, k, banned=()):
    counts = X["item_id"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    counts = counts[~counts.index.isin(list(banned))]
    return counts.index[:k].tolist(), (counts / len(X)).tolist()[:k]


def assert_same_answers(one, other):
    """Bit-equal vectors and recommendations, whatever the ids are called."""
    np.testing.assert_array_equal(one.item_embeddings_, other.item_embeddings_)
    for mine, theirs in zip(
        one.recommend(k=7, output="arrays"), other.recommend(k=7, output="arrays"), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


# ------------------------------------------------------------------ planted interests


def planted(seed, noise=0.1):
    """Training rows, the last event of each user, and which items each user has planted."""
    made = make_interactions(400, 200, noise=noise, random_state=seed)
    train, test = next(LeaveLastOut().split(made.interactions))
    likes = made.user_interests[:, made.item_interest]  # (n_users, n_items)
    topics = made.user_interests, made.item_interest
    return made.interactions.iloc[train], made.interactions.iloc[test], likes, topics


def topics_found(rec, topics):
    """Share of a user's planted topics that the ten best items hold."""
    user_interests, item_interest = topics
    top, _ = rec.recommend(exclude_seen=False, output="arrays")
    hit = np.zeros_like(user_interests)
    hit[np.arange(len(top))[:, None], item_interest[top]] = True
    return float((hit & user_interests).sum() / user_interests.sum())


PLANTED = {"embedding_dim": 16, "max_epochs": 6, "batch_size": 256, "learning_rate": 0.015}


def test_several_interests_find_what_is_planted_and_beat_one():
    ratios = []
    for seed in (0, 1):
        train, test, likes, topics = planted(seed)
        one, four = (
            MINDRecommender(n_interests=n_interests, random_state=seed, **PLANTED).fit(train)
            for n_interests in (1, 4)
        )
        best, _ = four.recommend(k=1, exclude_seen=False, output="arrays")
        assert likes[np.arange(len(likes)), best[:, 0]].mean() > 0.7  # a tenth by chance
        assert four.score(test) > 0.2  # 0.026 by chance
        ratios.append(four.score(test) / one.score(test))
        assert topics_found(four, topics) > 0.6  # a quarter by chance
    assert np.mean(ratios) > 1.2


def test_noise_twin_stays_at_chance():
    train, test, _, _ = planted(0, noise=1.0)
    rec = MINDRecommender(random_state=0, **PLANTED).fit(train)
    popular = train["item_id"].value_counts().index.tolist()
    seen = train.groupby("user_id")["item_id"].agg(set)
    lists = [[i for i in popular if i not in seen[u]][:10] for u in test["user_id"]]
    chance = ndcg_at_k(test["item_id"].to_list(), lists)
    assert chance < 0.05
    assert 0.0 < rec.score(test) < chance + 0.03


# ------------------------------------------------------------------ recommend


def test_recommend_is_the_exact_search_over_the_public_vectors(X, fitted):
    seen = X.groupby("user_id")["item_id"].agg(set)
    users = fitted.users_.tolist()
    result = fitted.recommend(k=5)
    assert result.columns.tolist() == ["user_id", "item_id", "score", "rank", "interest"]
    assert result["user_id"].tolist() == np.repeat(users, 5).tolist()
    assert result["rank"].tolist() == [1, 2, 3, 4, 5] * len(users)
    for user, interests in zip(users, fitted.interests(users), strict=True):
        mine = result[result["user_id"] == user]
        items, scores, winners = brute_force(fitted, interests, 5, banned=seen[user])
        assert mine["item_id"].tolist() == items.tolist()
        np.testing.assert_allclose(mine["score"], scores, rtol=0, atol=1e-6)
        assert mine["interest"].tolist() == winners.tolist()
        assert (np.diff(mine["score"]) <= 0).all()
    assert result["score"].between(-1.00001, 1.00001).all()
    assert result["interest"].nunique() == 3


def test_seen_items_come_only_when_asked_for(X, fitted):
    seen = X.groupby("user_id")["item_id"].agg(set)

    def share_seen(result):
        pairs = zip(result["user_id"], result["item_id"], strict=True)
        return np.mean([item in seen[user] for user, item in pairs])

    assert share_seen(fitted.recommend()) == 0
    included = fitted.recommend(exclude_seen=False)
    assert share_seen(included) > 0.1
    for user in fitted.users_[:5]:
        items, _, _ = brute_force(fitted, fitted.interests([user])[0], 10)
        assert included[included["user_id"] == user]["item_id"].tolist() == items.tolist()


@pytest.mark.parametrize("n_allowed", [1, 3, 30])
def test_only_the_items_asked_for(X, fitted, n_allowed):
    allowed = [*range(n_allowed), 777]  # an unknown one is passed over
    seen = X.groupby("user_id")["item_id"].agg(set)
    result = fitted.recommend([4, 9], k=4, items=allowed)
    for user in (4, 9):
        items, _, _ = brute_force(fitted, fitted.interests([user])[0], 4, seen[user], allowed)
        assert result[result["user_id"] == user]["item_id"].tolist() == items.tolist()
    left = set(range(n_allowed)) - {0, 2}
    both = fitted.recommend([4], k=4, items=allowed, exclude_items=[0, 2], exclude_seen=False)
    assert set(both["item_id"]) <= left
    assert len(both) == min(4, len(left))


def test_excluded_items_make_room_for_the_next(fitted):
    best = fitted.recommend([4], k=6)["item_id"].tolist()
    rest = fitted.recommend([4], k=4, exclude_items=[best[0], best[2], 777])["item_id"].tolist()
    assert rest == [best[1], best[3], best[4], best[5]]
    assert fitted.recommend([4], exclude_items=fitted.items_).empty


def test_unknown_users_get_the_popular_items(X, fitted):
    items, shares = by_popularity(X, 3)
    result = fitted.recommend([999, 4, 998], k=3)
    assert result["user_id"].tolist() == [999] * 3 + [4] * 3 + [998] * 3
    for stranger in (999, 998):
        mine = result[result["user_id"] == stranger]
        assert mine["item_id"].tolist() == items
        np.testing.assert_allclose(mine["score"], shares, rtol=1e-6)
        assert mine["interest"].tolist() == [-1] * 3
    known = result[result["user_id"] == 4].reset_index(drop=True)
    pd.testing.assert_frame_equal(known, fitted.recommend([4], k=3))
    items, _ = by_popularity(X, 3, banned=items[:2])
    filtered = fitted.recommend([999], k=3, exclude_items=result["item_id"][:2])
    assert filtered["item_id"].tolist() == items


def test_unknown_users_as_an_error_or_dropped(fitted):
    with pytest.raises(UnknownIdError, match="^2 of user_ids .* the first is 999; use "):
        fitted.recommend([999, 4, 998], unknown="error")
    dropped = fitted.recommend([999, 4, 998, 2], k=3, unknown="drop")
    pd.testing.assert_frame_equal(dropped, fitted.recommend([4, 2], k=3, unknown="error"))
    assert fitted.recommend([999], unknown="drop").empty
    assert fitted.recommend([999], unknown="drop", output="arrays")[0].shape == (0, 10)


def test_users_come_in_the_order_asked_and_as_often(fitted):
    order = [9, 2, 9, 0]
    result = fitted.recommend(order, k=3)
    assert result["user_id"].tolist() == np.repeat(order, 3).tolist()
    one = [fitted.recommend([user], k=3) for user in order]
    expected = pd.concat(one, ignore_index=True)
    pd.testing.assert_frame_equal(result, expected, check_exact=False, rtol=0, atol=1e-6)
    everybody = fitted.recommend(k=3)
    pd.testing.assert_frame_equal(everybody, fitted.recommend(fitted.users_, k=3))
    for kind in (
        pd.Series(order),
        pl.Series(order),
        np.array(order),
        tuple(order),
        pa.array(order),
    ):
        pd.testing.assert_frame_equal(fitted.recommend(kind, k=3), result)


def test_as_arrays(fitted):
    frame = fitted.recommend([9, 2], k=4)
    ids, scores = fitted.recommend([9, 2], k=4, output="arrays")
    assert ids.tolist() == frame["item_id"].to_numpy().reshape(2, 4).tolist()
    np.testing.assert_array_equal(scores, frame["score"].to_numpy().reshape(2, 4))
    assert ids.dtype == np.int64
    assert scores.dtype == np.float32


IDS = {
    "int": (lambda ids: ids, np.float64),
    "small int": (lambda ids: ids.astype("int8"), np.float64),
    "long int": (lambda ids: ids + 2**53, object),
    "negative int": (lambda ids: -ids - 2**53, object),
    "unsigned": (lambda ids: ids.astype("uint64") + np.uint64(2**63 + 1), object),
    "float": (lambda ids: ids / 2, np.float64),
    "text": (lambda ids: ids.map("i{:02d}".format), object),
    "date": (lambda ids: pd.to_datetime(ids, unit="D"), "datetime64[ns]"),
    "bool": (lambda ids: ids > 20, object),
    "mixed": (lambda ids: ids.where(ids > 20, ids.astype(str)), object),
}


@pytest.mark.parametrize("kind", IDS)
def test_who_asks_for_more_than_there_is_gets_what_there_is(X, kind):
    convert, dtype = IDS[kind]
    table = X.assign(item_id=convert(X["item_id"]))
    rec = MINDRecommender(**SMALL).fit(table)
    n_items = len(rec.items_)
    n_seen = table.groupby("user_id")["item_id"].nunique()
    n_left = n_items - n_seen[rec.users_].to_numpy()
    result = rec.recommend(k=1000)
    assert result.groupby("user_id").size().reindex(rec.users_, fill_value=0).tolist() == (
        n_left.tolist()
    )
    assert not result["item_id"].isna().any()
    assert result["item_id"].isin(rec.items_).all()
    ids, scores = rec.recommend(k=1000, output="arrays")
    assert ids.shape == scores.shape == (len(rec.users_), 1000)
    assert ids.dtype.kind == np.dtype(dtype).kind
    padding = np.arange(1000) >= n_left[:, None]
    np.testing.assert_array_equal(pd.isna(ids), padding)
    np.testing.assert_array_equal(np.isneginf(scores), padding)
    assert {*ids[~padding].tolist()} <= {*rec.items_.tolist()}  # Python compares every digit
    if n_left.any():
        again = rec.recommend([0], k=1, items=ids[~padding], exclude_seen=False)
        assert again["item_id"].isin(rec.items_).all()  # these ids are taken back
    predicted = rec.predict(table, k=n_items + 3)
    assert predicted.shape == (len(table), n_items + 3)
    assert pd.isna(predicted[:, -3:]).all()
    full = rec.recommend([0, 1], k=n_items, exclude_seen=False, output="arrays")[0]
    assert full.dtype == rec.items_.dtype  # without padding, ids are as they were


def test_diversity_spreads_the_list(fitted):
    def diversity(result):
        lists = result.groupby("user_id")["item_id"].agg(list).tolist()
        return intra_list_diversity_at_k(
            lists, fitted.item_embeddings_, item_ids=fitted.items_, k=5
        )

    results = {d: fitted.recommend(k=5, diversity=d) for d in (0.0, 0.3, 0.7, 1.0)}
    spread = [diversity(result) for result in results.values()]
    assert (np.diff(spread) > 0.005).all()
    pd.testing.assert_frame_equal(results[0.0], fitted.recommend(k=5))
    for result in results.values():
        assert len(result) == 5 * 50
        assert not result.duplicated(["user_id", "item_id"]).any()
    first = {d: result[result["rank"] == 1]["item_id"].tolist() for d, result in results.items()}
    assert first[0.7] == first[0.0]


@pytest.fixture(scope="module")
def with_topics(data, X):
    """Fitted with each item's topic, once as a category and once as a list; some have none."""
    table = data.item_table[["item_id", "topic"]].astype({"topic": object})
    table.loc[::9, "topic"] = None
    table["tags"] = [[] if topic is None else [topic] for topic in table["topic"]]
    table["price"] = np.linspace(1, 2, len(table))
    return MINDRecommender(**SMALL).fit(X, items=table), table.set_index("item_id")["topic"]


def test_diversity_by_a_category_takes_every_one_there_is(with_topics):
    rec, topics = with_topics
    candidates = rec.recommend(k=25)  # what k=5 chooses from
    result = rec.recommend(k=5, diversity=1.0, diversity_by="topic")
    assert (result.groupby("user_id").size() == 5).all()

    def n_kinds(frame):  # an item without a topic is a kind of its own
        kinds = [topics[i] if topics[i] is not None else f"item {i}" for i in frame["item_id"]]
        return pd.Series(kinds, frame.index).groupby(frame["user_id"]).nunique()

    assert (n_kinds(rec.recommend(k=5)) < 5).any()
    np.testing.assert_array_equal(n_kinds(result), np.minimum(n_kinds(candidates), 5))


def test_a_list_of_one_value_is_a_category(with_topics):
    rec, _ = with_topics
    one, other = (rec.recommend(diversity=0.3, diversity_by=by) for by in ("topic", "tags"))
    pd.testing.assert_frame_equal(one, other)
    assert not one.equals(rec.recommend(diversity=0.3))


def test_without_diversity_it_does_not_matter_by_what(with_topics):
    rec, _ = with_topics
    pd.testing.assert_frame_equal(rec.recommend(diversity_by="topic"), rec.recommend())


def test_diversity_by_a_category_from_histories(X, with_topics):
    rec, _ = with_topics
    options = {"k": 4, "diversity": 0.5, "diversity_by": "topic", "output": "arrays"}
    ids, scores = rec.recommend_from_history(histories_of(X)[[4, 9]].tolist(), **options)
    expected_ids, expected_scores = rec.recommend([4, 9], **options)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(scores, expected_scores, rtol=0, atol=1e-6)


# ------------------------------------------------------------------ people who were not in fit


def test_histories_in_every_form_answer_as_recommend_does(X, fitted):
    expected = fitted.recommend(k=5)
    histories = histories_of(X)
    shuffled = X.sample(frac=1, random_state=1)
    strangers = X.assign(user_id=X["user_id"] + 1000)
    forms = {
        "lists": histories.tolist(),
        "arrays": [np.array(history) for history in histories],
        "tuples": tuple(map(tuple, histories)),
        "series": histories.reset_index(drop=True),
        "dict": histories.to_dict(),
        "frame": X,
        "shuffled": shuffled,
        "polars": pl.from_pandas(X),
        "arrow": pa.Table.from_pandas(X),
        "strangers": strangers,
    }
    for name, form in forms.items():
        result = fitted.recommend_from_history(form, k=5).sort_values(["user_id", "rank"])
        result = result.reset_index(drop=True)
        if name == "strangers":
            result["user_id"] -= 1000
        pd.testing.assert_frame_equal(result, expected, check_exact=False, rtol=0, atol=1e-6)
    vectors = fitted.interests_from_history(histories.tolist())
    np.testing.assert_allclose(vectors, fitted.interests(histories.index), rtol=0, atol=1e-6)


def test_people_keep_the_order_and_the_name_in_which_they_were_given(fitted):
    named = fitted.recommend_from_history({"zoe": [3, 4], "adam": [7]}, k=2)
    assert named["user_id"].tolist() == ["zoe", "zoe", "adam", "adam"]
    listed = fitted.recommend_from_history([[3, 4], [7]], k=2)
    assert listed["user_id"].tolist() == [0, 0, 1, 1]
    pd.testing.assert_frame_equal(named.drop(columns="user_id"), listed.drop(columns="user_id"))


def test_histories_take_the_same_options_as_recommend(X, fitted):
    histories = histories_of(X)[[4, 9]].tolist()
    for options in (
        {"exclude_seen": False},
        {"items": [1, 2, 3, 5, 8]},
        {"exclude_items": [1, 2, 3, 5, 8]},
        {"diversity": 0.5},
    ):
        ids, scores = fitted.recommend_from_history(histories, 4, output="arrays", **options)
        expected_ids, expected_scores = fitted.recommend([4, 9], 4, output="arrays", **options)
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_allclose(scores, expected_scores, rtol=0, atol=1e-6)


def test_unknown_items_of_a_history_are_passed_over(X, fitted):
    with_unknown = fitted.recommend_from_history([[777, 3, 888, 4]], k=5)
    pd.testing.assert_frame_equal(with_unknown, fitted.recommend_from_history([[3, 4]], k=5))
    popular = fitted.recommend_from_history([[777], []], k=3)
    assert popular["item_id"].tolist() == by_popularity(X, 3)[0] * 2
    assert popular["interest"].tolist() == [-1] * 6
    assert not fitted.interests_from_history([[777], []]).any()


# ------------------------------------------------------------------ vectors


def test_interests_are_unit_vectors_as_many_as_the_history_allows(X, fitted):
    users = fitted.users_
    interests = fitted.interests(users)
    assert interests.shape == (50, 3, 8)
    assert interests.dtype == np.float32
    lengths = np.minimum(X.groupby("user_id").size()[users].to_numpy(), SMALL["max_history"])
    expected = np.maximum(1, np.minimum(3, np.floor(np.log2(lengths))))
    assert (np.abs(interests).sum(2) > 0).sum(1).tolist() == expected.tolist()
    norms = np.linalg.norm(interests, axis=2)
    np.testing.assert_allclose(norms[norms > 0], 1, atol=1e-5)
    every = MINDRecommender(**SMALL, adaptive_interests=False).fit(X).interests(users)
    assert (np.abs(every).sum(2) > 0).all()
    assert fitted.interests([]).shape == (0, 3, 8)


def test_transform_gives_each_row_its_users_interests(X, fitted):
    table = pd.concat([X, X.head(2).assign(user_id=[777, 888])])
    vectors = fitted.transform(table)
    assert vectors.shape == (len(X) + 2, 24)
    assert vectors.dtype == np.float32
    expected = fitted.interests(X["user_id"]).reshape(len(X), 24)
    np.testing.assert_allclose(vectors[:-2], expected, rtol=0, atol=1e-6)
    assert not vectors[-2:].any()
    assert fitted.get_feature_names_out().tolist() == [f"mindrecommender{i}" for i in range(24)]


def test_a_longer_past_than_max_history_does_not_count(X, fitted):
    lengths = X.groupby("user_id").size()
    assert lengths.max() > SMALL["max_history"]
    for history in histories_of(X)[lengths[lengths > SMALL["max_history"]].index[:3]]:
        whole, newest, older = fitted.interests_from_history(
            [history, history[-SMALL["max_history"] :], history[:-1]]
        )
        np.testing.assert_array_equal(whole, newest)
        assert not np.allclose(whole, older)


@pytest.mark.parametrize("times", ["distinct", "tied", "dates"])
def test_transform_of_the_past_knows_only_what_came_strictly_before(X, times):
    table = X.copy()
    if times == "tied":
        table["timestamp"] = table.groupby("user_id").cumcount() // 3
    if times == "dates":
        table["timestamp"] = pd.to_datetime(table["timestamp"], unit="s")
    rec = MINDRecommender(**SMALL, transform_history="past", tie_order="rows").fit(table)
    rows = table.sample(60, random_state=0)
    past = [
        table[(table["user_id"] == row.user_id) & (table["timestamp"] < row.timestamp)]
        for row in rows.itertuples()
    ]
    histories = [part.sort_values("timestamp", kind="stable")["item_id"].tolist() for part in past]
    assert min(map(len, histories)) == 0
    assert max(map(len, histories)) > SMALL["max_history"]
    expected = rec.interests_from_history(histories).reshape(60, 24)
    np.testing.assert_allclose(rec.transform(rows), expected, rtol=0, atol=1e-6)
    first = table.groupby("user_id")["timestamp"].idxmin()
    assert not rec.transform(table.loc[first]).any()  # nothing comes before the first
    step = pd.Timedelta(seconds=1) if times == "dates" else 1
    later = table.tail(5).assign(timestamp=table["timestamp"].max() + step)
    full = copy.deepcopy(rec).set_params(transform_history="full")
    np.testing.assert_allclose(rec.transform(later), full.transform(later), rtol=0, atol=1e-6)
    strangers = table.head(3).assign(user_id=[777, 888, 999])
    assert not rec.transform(strangers).any()


def test_transform_of_the_past_does_not_see_the_rows_own_item(X):
    rec = MINDRecommender(**SMALL, transform_history="past").fit(X)
    rows = X.tail(40)
    other = rows.assign(item_id=rows["item_id"].to_numpy()[::-1])
    np.testing.assert_array_equal(rec.transform(rows), rec.transform(other))
    full = copy.deepcopy(rec).set_params(transform_history="full")
    assert not np.allclose(rec.transform(rows), full.transform(rows))


def test_transform_of_the_past_needs_times(X):
    rec = MINDRecommender(**SMALL, transform_history="past", time_col=None).fit(X)
    with pytest.raises(InvalidInputError, match="transform_history='past' needs times: set time_c"):
        rec.transform(X)


# ------------------------------------------------------------------ predict, similar, explain


def test_predict_repeats_what_recommend_says_for_each_row(X, fitted):
    table = pd.concat([X.sample(20, random_state=0), X.head(1).assign(user_id=999)])
    predicted = fitted.predict(table, k=4)
    expected, _ = fitted.recommend(table["user_id"], k=4, output="arrays")
    np.testing.assert_array_equal(predicted, expected)
    assert predicted.dtype == np.int64
    assert fitted.predict(X).shape == (len(X), 10)


def test_similar_items_are_the_nearest_by_cosine(fitted):
    result = fitted.similar_items([3, 17, 3], k=4)
    assert result.columns.tolist() == ["item_id", "similar_item_id", "score", "rank"]
    assert result["item_id"].tolist() == [3] * 4 + [17] * 4 + [3] * 4
    assert result["rank"].tolist() == [1, 2, 3, 4] * 3
    vectors = fitted.item_embeddings_
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for item, mine in result.groupby("item_id"):
        cosines = vectors @ vectors[list(fitted.items_).index(item)]
        order = [i for i in np.argsort(-cosines) if fitted.items_[i] != item][:4]
        assert mine["similar_item_id"].tolist()[:4] == fitted.items_[order].tolist()
        np.testing.assert_allclose(mine["score"][:4], cosines[order], rtol=0, atol=1e-6)
    assert len(fitted.similar_items([3], k=1000)) == len(fitted.items_) - 1
    with pytest.raises(UnknownIdError, match="^the item 999 was not in fit; items_ has"):
        fitted.similar_items([3, 999, 998])


@pytest.mark.parametrize("n_encoder_layers", [0, 1])
def test_explain_splits_the_cosine_among_the_history(X, n_encoder_layers):
    longer = {**SMALL, "max_epochs": 4}  # so that the encoder adds something
    rec = MINDRecommender(**longer, n_encoder_layers=n_encoder_layers).fit(X)
    rests = []
    for row in rec.recommend(k=2).head(40).itertuples():
        parts = rec.explain(row.user_id, row.item_id)
        assert parts.columns.tolist() == [
            "user_id",
            "item_id",
            "interest",
            "history_item_id",
            "weight",
            "contribution",
        ]
        assert (parts["user_id"] == row.user_id).all()
        assert (parts["item_id"] == row.item_id).all()
        assert (parts["interest"] == row.interest).all()
        assert parts["contribution"].is_monotonic_decreasing
        vector = rec.item_embeddings_[rec.items_.tolist().index(row.item_id)]
        cosines = rec.interests([row.user_id])[0] @ vector
        assert row.interest == cosines.argmax()
        cosine = cosines[row.interest]
        rests.append(abs(parts["contribution"].sum() - cosine))
        np.testing.assert_allclose(parts["weight"].sum(), 1, atol=1e-5)
        history = histories_of(X)[row.user_id][-SMALL["max_history"] :]
        assert sorted(parts["history_item_id"]) == sorted(history)
    if n_encoder_layers:
        assert max(rests) > 0.05
    else:
        assert max(rests) < 1e-5


def test_exclude_seen_is_the_default_of_all_methods(X):
    never = MINDRecommender(**SMALL, exclude_seen=True).fit(X)
    always = copy.deepcopy(never).set_params(exclude_seen=False)
    for rec, other in ((never, always), (always, never)):
        default = rec.exclude_seen
        calls = [
            lambda rec, **options: rec.recommend([3, 4], k=8, **options),
            lambda rec, **options: rec.recommend_from_history([[1, 2, 3]], k=8, **options),
            lambda rec, **options: rec.audience([3], k=20, **options),
            lambda rec, **options: rec.target_ranks(X[X["item_id"] < 9], 40, **options),
        ]
        for call in calls:
            pd.testing.assert_frame_equal(call(rec), call(other, exclude_seen=default))
            assert not call(rec).equals(call(rec, exclude_seen=not default))
        rows = X[X["user_id"] == 4].head(1)
        first = rec.recommend([4], k=8)["item_id"].tolist()
        assert rec.predict(rows, k=8)[0].tolist() == first
    last = X.groupby("user_id").tail(1)
    assert never.score(last) > always.score(last)


@pytest.mark.parametrize(
    ("exclude_seen", "loss", "init"),
    [
        (True, "mixture", "cooccurrence"),
        (False, "mixture", "cooccurrence"),
        (True, "label_aware", "cooccurrence"),
        (False, "label_aware", "random"),
    ],
)
def test_the_start_follows_whether_items_come_again(X, exclude_seen, loss, init):
    settings = SMALL | {"exclude_seen": exclude_seen, "loss": loss}
    auto, chosen = (MINDRecommender(**settings, init=start).fit(X) for start in ("auto", init))
    np.testing.assert_array_equal(auto.item_embeddings_, chosen.item_embeddings_)
    other = {"cooccurrence": "random", "random": "cooccurrence"}[init]
    rec = MINDRecommender(**settings, init=other).fit(X)
    assert not np.allclose(rec.item_embeddings_, auto.item_embeddings_, atol=0.01)


def test_a_warm_start_keeps_the_vectors_with_any_init(X):
    rec = MINDRecommender(**SMALL, init="cooccurrence", warm_start=True).fit(X)
    before = rec.item_embeddings_
    rec.set_params(learning_rate=1e-10).fit(X)
    np.testing.assert_allclose(rec.item_embeddings_, before, atol=1e-5)


def test_explain_knows_only_what_fit_saw(fitted):
    with pytest.raises(UnknownIdError, match="^the user 999 was not in fit; users_ has"):
        fitted.explain(999, 3)
    with pytest.raises(UnknownIdError, match="^the item 999 was not in fit; items_ has"):
        fitted.explain(4, 999)


def test_explain_leaves_the_rest_to_user_features(X):
    users = pd.DataFrame({"user_id": range(51), "group": np.arange(51) % 3})
    rec = MINDRecommender(**SMALL, n_encoder_layers=0).fit(X, users=users)
    best = rec.recommend([4], k=1).iloc[0]
    parts = rec.explain(4, best["item_id"])
    assert parts["interest"].iloc[0] == best["interest"]
    assert abs(parts["contribution"].sum() - best["score"]) > 1e-3
    assert rec.explain(50, 3).empty  # a user without history has nothing to say for an item


# ------------------------------------------------------------------ score


def gain(*ranks):
    return sum(1 / np.log2(rank + 1) for rank in ranks)


def rows(*pairs):
    """Interactions (user, item) in this order of time, after everything else."""
    users, items = zip(*pairs, strict=True)
    return pd.DataFrame(
        {"user_id": users, "item_id": items, "timestamp": 2_000_000_000 + np.arange(len(pairs))}
    )


def test_score_by_hand(fitted):
    top, _ = fitted.recommend([4, 9], k=10, output="arrays")
    (a, b), unseen = top, 777
    late = fitted.recommend([4], k=20)["item_id"].iloc[15]
    assert fitted.score(rows((4, a[0]))) == pytest.approx(1)
    assert fitted.score(rows((4, a[2]))) == pytest.approx(0.5)
    assert fitted.score(rows((4, late))) == 0
    assert fitted.score(rows((4, a[0]), (4, a[2]))) == pytest.approx(gain(1, 3) / gain(1, 2))
    assert fitted.score(rows((4, a[1]), (4, a[1]))) == pytest.approx(gain(2))  # counts once
    assert fitted.score(rows((4, a[0]), (4, unseen))) == pytest.approx(gain(1) / gain(1, 2))
    assert fitted.score(rows((4, unseen))) == 0
    two = rows((9, b[2]), (4, a[0]), (4, unseen))
    mine, theirs = gain(1) / gain(1, 2), 0.5
    assert fitted.score(two) == pytest.approx((mine + theirs) / 2)
    assert fitted.score(two, None, [3, 1, 1]) == pytest.approx((mine + 3 * theirs) / 4)
    assert fitted.score(two, sample_weight=[2, 0, 4]) == pytest.approx((mine + theirs) / 2)
    assert fitted.score(two, sample_weight=[0, 1, 1]) == pytest.approx(mine)
    assert isinstance(fitted.score(two), float)


def test_what_is_to_be_found_is_not_excluded_but_the_rest_of_the_history_is(X, fitted):
    for user in (0, 1, 2, 3, 4):
        for target in set(histories_of(X)[user]):
            rest = [item for item in histories_of(X)[user] if item != target]
            top, _, _ = brute_force(fitted, fitted.interests([user])[0], 10, banned=rest)
            expected = gain(top.tolist().index(target) + 1) if target in top else 0
            assert fitted.score(rows((user, target))) == pytest.approx(expected)
    assert fitted.score(X) > 0


def test_score_folds_unknown_users_in(fitted):
    past = [3, 777, 12, 5]
    top = fitted.recommend_from_history([past], k=10)["item_id"].tolist()
    stranger = [(999, item) for item in past]
    assert fitted.score(rows(*stranger, (999, top[2]))) == pytest.approx(0.5)
    assert fitted.score(rows(*stranger, (999, 888))) == 0
    table = rows(*stranger, (999, top[2]))
    assert fitted.score(table.sample(frac=1, random_state=0)) == pytest.approx(0.5)
    # whoever has a single row can't be scored, and does not count
    assert fitted.score(pd.concat([table, rows((998, 3))])) == pytest.approx(0.5)
    known = rows((4, fitted.recommend([4], k=1)["item_id"][0]))
    weights = [9, 9, 9, 9, 3, 1]  # of the stranger, only the last row's counts
    both = pd.concat([table, known])
    assert fitted.score(both, sample_weight=weights) == pytest.approx((3 * 0.5 + 1) / 4)


def test_score_is_the_metric_of_what_is_recommended(X):
    X = X.drop_duplicates(["user_id", "item_id"])  # recommend leaves out what was seen
    last = X.iloc[next(LeaveLastOut().split(X))[1]]
    for held_out in (last, X.sample(frac=0.3, random_state=0)):
        rec = MINDRecommender(**SMALL).fit(X.drop(held_out.index))
        test = held_out[held_out["user_id"].isin(rec.users_)]
        expected = ndcg_at_k(test, rec.recommend(test["user_id"].unique()), k=10)
        assert 0 < expected < 1
        assert rec.score(test) == pytest.approx(expected)


# ------------------------------------------------------------------ features


@pytest.fixture(scope="module")
def cold():
    """Planted data, of which a fifth of the items and of the users have no interaction."""
    made = make_interactions(
        200, 60, n_topics=6, n_interests=1, n_events=(8, 12), noise=0.05, random_state=0
    )
    X = made.interactions
    made.cold_items = np.arange(0, 60, 5)
    made.cold_users = np.arange(0, 200, 5)
    is_cold = X["item_id"].isin(made.cold_items) | X["user_id"].isin(made.cold_users)
    made.warm = X[~is_cold]
    made.topics = made.item_table[["item_id", "topic"]]
    made.favourites = pd.DataFrame(
        {"user_id": range(200), "favourite": made.user_interests.argmax(axis=1)}
    )
    return made


LEARNING = {**SMALL, "n_interests": 1, "max_epochs": 12, "learning_rate": 0.02}


def test_item_features_find_the_items_that_nobody_has_seen(cold):
    rec = MINDRecommender(**LEARNING).fit(cold.warm, items=cold.topics)
    assert rec.items_.tolist() == list(range(60))
    assert (rec.item_counts_[cold.cold_items] == 0).all()
    best = rec.recommend(k=1, items=cold.cold_items)
    matches = (
        cold.item_interest[best["item_id"]]
        == (cold.favourites["favourite"].to_numpy()[best["user_id"]])
    )
    assert matches.mean() > 0.8  # a sixth by chance
    without = MINDRecommender(**LEARNING).fit(cold.warm)
    assert not set(cold.cold_items) & set(without.items_)
    anywhere = rec.recommend(k=10)
    assert anywhere["item_id"].isin(cold.cold_items).any()  # without being asked for
    only_ids = MINDRecommender(**LEARNING).fit(cold.warm, items=cold.topics[["item_id"]])
    best = only_ids.recommend(k=1, items=cold.cold_items)
    matches = (
        cold.item_interest[best["item_id"]]
        == (cold.favourites["favourite"].to_numpy()[best["user_id"]])
    )
    assert matches.mean() < 0.5  # it is the feature that finds them


def test_user_features_speak_for_users_without_history(cold):
    rec = MINDRecommender(**LEARNING).fit(cold.warm, users=cold.favourites)
    assert rec.users_.tolist() == list(range(200))
    best = rec.recommend(cold.cold_users, k=5)
    assert (best["interest"] >= 0).all()
    favourite = cold.favourites["favourite"].to_numpy()
    matches = cold.item_interest[best["item_id"]] == favourite[best["user_id"]]
    assert matches.mean() > 0.8
    # the same for people that fit has not heard of, and without a history
    strangers = {f"new {i}": [] for i in range(6)}
    table = pd.DataFrame({"user_id": list(strangers), "favourite": range(6)})
    best = rec.recommend_from_history(strangers, k=5, users=table)
    expected = np.repeat(np.arange(6), 5)
    assert (cold.item_interest[best["item_id"]] == expected).mean() > 0.8
    unseen = rec.recommend_from_history({"x": []}, k=5, users=table.assign(favourite=99).head(0))
    assert (unseen["interest"] == -1).all()
    with pytest.warns(IgnoredDataWarning, match="users= has .* 6 people, such as 'old 0', but"):
        nobody = rec.recommend_from_history(
            strangers, users=table.assign(user_id=[f"old {i}" for i in range(6)])
        )
    assert (nobody["interest"] == -1).all()


def test_unseen_feature_values_count_as_missing(cold):
    rec = MINDRecommender(**LEARNING).fit(cold.warm, users=cold.favourites)
    history = {"a": [1, 2, 3]}
    unseen = pd.DataFrame({"user_id": ["a"], "favourite": [99]})
    missing = pd.DataFrame({"user_id": ["a"], "favourite": [None]})
    pd.testing.assert_frame_equal(
        rec.recommend_from_history(history, users=unseen),
        rec.recommend_from_history(history, users=missing),
    )
    other = pd.DataFrame({"user_id": ["a"], "favourite": [2]})
    assert not np.allclose(
        rec.interests_from_history(history, users=unseen),
        rec.interests_from_history(history, users=other),
    )


def test_feature_columns_of_the_interactions_do_as_well_as_tables(cold):
    table = cold.warm.merge(cold.topics).merge(cold.favourites)
    table = table.sort_values("timestamp", ignore_index=True)
    known = cold.topics[cold.topics["item_id"].isin(table["item_id"])]
    users = cold.favourites[cold.favourites["user_id"].isin(table["user_id"])]
    options = {**SMALL, "item_features": ["topic"], "user_features": ["favourite"]}
    inside = MINDRecommender(**options).fit(table)
    outside = MINDRecommender(**options).fit(cold.warm, items=known, users=users)
    assert_same_answers(inside, outside)
    by_default = MINDRecommender(**SMALL).fit(cold.warm, items=known, users=users)
    assert_same_answers(by_default, outside)
    plain = MINDRecommender(**SMALL).fit(table)  # extra columns of X are no features by themselves
    assert_same_answers(plain, MINDRecommender(**SMALL).fit(cold.warm))
    positions = MINDRecommender(
        **{**options, "item_features": [3], "user_features": [4]},
    ).fit(table.to_numpy())
    assert_same_answers(positions, inside)
    mixed = MINDRecommender(**options).fit(table.drop(columns="topic"), items=known)
    assert_same_answers(mixed, inside)


def test_features_may_be_missing_in_an_array_too(X):
    price = np.where(X["item_id"] % 3, X["item_id"] / 10, np.nan)
    options = {**SMALL, "item_features": ["price"]}
    frame = MINDRecommender(**options).fit(X.assign(price=price))
    options["item_features"] = [3]
    assert_same_answers(MINDRecommender(**options).fit(X.assign(price=price).to_numpy()), frame)


@pytest.mark.parametrize(
    "convert",
    [
        pl.from_pandas,
        pa.Table.from_pandas,
        lambda table: nullable_arrow(table),
        lambda table: table.convert_dtypes(),
    ],
    ids=["polars", "arrow", "pyarrow-backed", "nullable"],
)
def test_feature_tables_of_every_kind(cold, convert):
    items, users = cold.topics, cold.favourites.assign(weight=np.linspace(0, 1, 200))
    expected = MINDRecommender(**SMALL).fit(cold.warm, items=items, users=users)
    rec = MINDRecommender(**SMALL).fit(
        convert(cold.warm.reset_index(drop=True)), items=convert(items), users=convert(users)
    )
    assert_same_answers(rec, expected)


# ------------------------------------------------------------------ tables of every kind


def as_text(X):
    return X.assign(
        user_id=X["user_id"].map("u{:02d}".format), item_id=X["item_id"].map("i{:02d}".format)
    )


def nullable_arrow(X):
    return X.convert_dtypes(dtype_backend="pyarrow")


def dates(X, unit="s"):
    return pd.to_datetime(X["timestamp"], unit="s").astype(f"datetime64[{unit}]")


KINDS = {
    "odd index": lambda X: X.set_axis(X.index[::-1] * 3),
    "reordered columns": lambda X: X[["timestamp", "item_id", "user_id"]],
    "extra columns": lambda X: X.assign(rating=1.0, note=None),
    "small integers": lambda X: X.astype({"user_id": "uint8", "item_id": "int16"}),
    "float ids": lambda X: X.astype({"user_id": float, "item_id": float}),
    "object": lambda X: X.astype(object),
    "nullable": lambda X: X.convert_dtypes(),
    "pyarrow-backed": nullable_arrow,
    "category": lambda X: X.astype({"user_id": "category", "item_id": "category"}),
    "unused categories": lambda X: X.astype({"item_id": pd.CategoricalDtype(range(50, -1, -1))}),
    "float times": lambda X: X.astype({"timestamp": float}),
    "dates": lambda X: X.assign(timestamp=dates(X)),
    "dates in ms": lambda X: X.assign(timestamp=dates(X, "ms")),
    "zone": lambda X: X.assign(
        timestamp=dates(X).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    ),
    "zone with summer time": lambda X: X.assign(
        timestamp=dates(X).dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
    ),
    "zone, pyarrow-backed": lambda X: nullable_arrow(KINDS["zone"](X)),
    "zone, polars": lambda X: pl.from_pandas(KINDS["zone"](X)),
    "zone, arrow": lambda X: pa.Table.from_pandas(KINDS["zone"](X)),
    "date objects": lambda X: X.assign(
        timestamp=pd.Series(dates(X).dt.to_pydatetime(), dtype=object)
    ),
    "polars": pl.from_pandas,
    "polars dates": lambda X: pl.from_pandas(X.assign(timestamp=dates(X, "us"))),
    "arrow": pa.Table.from_pandas,
    "arrow dates": lambda X: pa.Table.from_pandas(X.assign(timestamp=dates(X))),
    "structured": lambda X: X.to_records(index=False),
    "array": lambda X: X.to_numpy(),
    "fortran": lambda X: np.asfortranarray(X.to_numpy()),
    "float array": lambda X: X.to_numpy(dtype=float),
    "object array": lambda X: X.to_numpy(dtype=object),
    "lists": lambda X: X.to_numpy().tolist(),
    "tuples": lambda X: list(X.itertuples(index=False, name=None)),
    "text": as_text,
    "text objects": lambda X: as_text(X).astype(object),
    "text nullable": lambda X: as_text(X).astype({"user_id": "string", "item_id": "string"}),
    "text pyarrow": lambda X: nullable_arrow(as_text(X)),
    "text category": lambda X: as_text(X).astype({"user_id": "category", "item_id": "category"}),
    "text polars": lambda X: pl.from_pandas(as_text(X)),
    "text polars category": lambda X: pl.from_pandas(as_text(X)).cast({"item_id": pl.Categorical}),
    "text arrow": lambda X: pa.Table.from_pandas(as_text(X)),
    "text arrow dictionary": lambda X: pa.Table.from_pandas(
        as_text(X).astype({"item_id": "category"})
    ),
    "text structured": lambda X: as_text(X).astype(object).to_records(index=False),
    "text object array": lambda X: as_text(X).to_numpy(dtype=object),
    "text lists": lambda X: as_text(X).astype(object).to_numpy().tolist(),
    "date ids": lambda X: X.assign(user_id=pd.to_datetime(X["user_id"], unit="D")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_tables_of_every_kind_give_the_same_model(X, fitted, kind):
    table = KINDS[kind](X)
    rec = MINDRecommender(**SMALL).fit(table)
    np.testing.assert_array_equal(rec.item_embeddings_, fitted.item_embeddings_)
    assert rec.item_counts_.tolist() == fitted.item_counts_.tolist()
    mine, expected = rec.recommend(k=7), fitted.recommend(k=7)
    codes = pd.Index(rec.items_).get_indexer(mine["item_id"])
    assert codes.tolist() == pd.Index(fitted.items_).get_indexer(expected["item_id"]).tolist()
    for column in ("score", "rank", "interest"):
        np.testing.assert_array_equal(mine[column], expected[column])
    np.testing.assert_array_equal(rec.transform(table), fitted.transform(X))
    assert rec.score(table) == fitted.score(X)


def test_ids_come_back_as_they_were(X):
    for convert in (lambda X: X, as_text, lambda X: as_text(X).to_numpy(dtype=object)):
        table = convert(X)
        rec = MINDRecommender(**SMALL).fit(table)
        kind = int if table is X else str
        assert {type(user) for user in rec.users_.tolist()} == {kind}
        result = rec.recommend(k=2)
        assert {type(item) for item in result["item_id"].tolist()} == {kind}
        assert {type(user) for user in result["user_id"].tolist()} == {kind}
    mixed = X.astype(object).replace({"user_id": {3: "3", 4: "four"}})
    rec = MINDRecommender(**SMALL).fit(mixed)
    assert {"3", "four", 2} <= set(rec.users_.tolist())
    assert rec.recommend(["four", 2, "3"], k=1)["user_id"].tolist() == ["four", 2, "3"]


def test_columns_by_another_name_or_position(X, fitted):
    names = {"user_id": "who", "item_id": "what", "timestamp": "when"}
    renamed = X.rename(columns=names)[["when", "what", "who"]]
    by_name = {"user_col": "who", "item_col": "what", "time_col": "when"}
    by_position = {"user_col": 2, "item_col": 1, "time_col": 0}
    for options, table, user in (
        (by_name, renamed, "who"),
        (by_position, renamed, "user_id"),
        (by_position, renamed.to_numpy(), "user_id"),
        (by_position, renamed.to_records(index=False), "user_id"),
        (by_position, pl.from_pandas(renamed), "user_id"),
    ):
        rec = MINDRecommender(**SMALL, **options).fit(table)
        assert_same_answers(rec, fitted)
        assert rec.recommend(k=1).columns[0] == user
        np.testing.assert_array_equal(rec.transform(table), fitted.transform(X))
    assert rec.n_features_in_ == 3
    assert fitted.feature_names_in_.tolist() == ["user_id", "item_id", "timestamp"]


def test_without_times_the_order_of_the_rows_may_be_time(X, fitted):
    by_time = X.sort_values("timestamp", kind="stable")
    no_times = MINDRecommender(**SMALL, time_col=None, tie_order="rows")
    assert_same_answers(no_times.fit(by_time), fitted)
    assert_same_answers(no_times.fit(by_time.drop(columns="timestamp")), fitted)
    two_columns = by_time.drop(columns="timestamp").to_numpy()
    assert_same_answers(MINDRecommender(**SMALL, tie_order="rows").fit(two_columns), fitted)
    backwards = MINDRecommender(**SMALL, time_col=None, tie_order="rows").fit(by_time[::-1])
    assert not np.array_equal(backwards.item_embeddings_, fitted.item_embeddings_)


def test_the_callers_tables_stay_as_they_are(X, data):
    users = pd.DataFrame({"user_id": range(50), "tags": [["a", "b"]] * 50})
    tables = X.copy(), data.item_table.copy(), users.copy(deep=True)
    rec = MINDRecommender(**SMALL).fit(tables[0], items=tables[1], users=tables[2])
    rec.transform(tables[0])
    rec.predict(tables[0])
    rec.score(tables[0])
    rec.recommend_from_history(tables[0], users=tables[2])
    for table, original in zip(tables, (X, data.item_table, users), strict=True):
        pd.testing.assert_frame_equal(table, original)
    array = X.to_numpy()
    array.flags.writeable = False
    MINDRecommender(**SMALL).fit(array).transform(array)


# ------------------------------------------------------------------ fit


def test_what_fit_leaves_behind(X, fitted):
    assert fitted.users_.tolist() == sorted(X["user_id"].unique())
    assert fitted.items_.tolist() == sorted(X["item_id"].unique())
    assert fitted.item_embeddings_.shape == (len(fitted.items_), 8)
    assert fitted.item_embeddings_.dtype == np.float32
    assert fitted.item_counts_.tolist() == X["item_id"].value_counts().sort_index().tolist()
    assert fitted.n_epochs_ == len(fitted.history_) == 2
    for epoch, record in enumerate(fitted.history_, start=1):
        assert list(record) == ["epoch", "loss", "seconds", "samples_per_second"]
        assert record["epoch"] == epoch
    assert fitted.history_[1]["loss"] < fitted.history_[0]["loss"]
    assert fitted.n_features_in_ == 3


def test_rare_items_are_left_out(X):
    counts = X["item_id"].value_counts()
    minimum = int(counts.median())
    rec = MINDRecommender(**SMALL, min_item_count=minimum).fit(X)
    frequent = counts[counts >= minimum].index
    assert 0 < len(frequent) < len(counts)
    assert rec.items_.tolist() == sorted(frequent)
    kept = MINDRecommender(**SMALL).fit(X[X["item_id"].isin(frequent)])
    assert_same_answers(rec, kept)


def test_early_stopping_reports_its_epochs(X, caplog):
    options = {**SMALL, "max_epochs": 30, "learning_rate": 0.05, "n_iter_no_change": 2}
    with caplog.at_level(logging.INFO, logger="skmind"):
        rec = MINDRecommender(**options, early_stopping=True, validation_fraction=0.5).fit(X)
    scores = [record["validation_ndcg"] for record in rec.history_]
    assert rec.n_epochs_ == int(np.argmax(scores[:-2])) + 1 + 2 + 2 < 30
    assert len(caplog.messages) == rec.n_epochs_
    pairs = X.groupby("user_id").head(2)
    with pytest.warns(NothingToScoreWarning, match="early_stopping=True holds out the last"):
        rec = MINDRecommender(**SMALL, early_stopping=True).fit(pairs)
    assert "validation_ndcg" not in rec.history_[0]


def test_verbose_shows_the_epochs(X, capsys):
    MINDRecommender(**SMALL, verbose=1).fit(X)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    MINDRecommender(**SMALL).fit(X)
    assert capsys.readouterr() == ("", "")


def test_a_horizon_finds_what_comes_after_the_next():
    # what follows an item of the chain is noise; then comes the next of the chain
    rng, n, n_events = np.random.default_rng(0), 30, 8
    chain = (rng.integers(n, size=(200, 1)) + np.arange(n_events // 2)) % n
    events = np.stack([chain, rng.integers(n, 2 * n, size=chain.shape)], axis=2).ravel()
    users, times = np.divmod(np.arange(len(events)), n_events)
    log = pd.DataFrame({"user_id": users, "item_id": events, "timestamp": times})
    sizes = {"n_interests": 1, "embedding_dim": 16, "max_history": 1, "max_epochs": 5}
    found = {}
    for horizon in (1, 2):
        rec = MINDRecommender(**sizes, horizon=horizon, random_state=0).fit(log)
        best = rec.recommend_from_history({i: [i] for i in range(n)}, k=1)
        found[horizon] = np.mean(best["item_id"] == (best["user_id"] + 1) % n)
    assert found[1] < 0.3
    assert found[2] > 0.9


def test_refit_starts_afresh(X, fitted):
    rec = MINDRecommender(**SMALL, time_col=None)
    rec.fit(X.head(100)).fit(X.to_numpy()[::-1, :2])
    fresh = MINDRecommender(**SMALL, time_col=None).fit(X.to_numpy()[::-1, :2])
    assert_same_answers(rec, fresh)
    assert vars(rec).keys() == vars(fresh).keys()
    assert not hasattr(rec, "feature_names_in_")
    assert rec.n_features_in_ == 2
    again = copy.deepcopy(fitted).fit(X)
    assert_same_answers(again, fitted)
    losses = [[record["loss"] for record in one.history_] for one in (again, fitted)]
    assert losses[0] == losses[1]


def test_warm_start_continues(X):
    cold = MINDRecommender(**SMALL, warm_start=True).fit(X)
    first, last = cold.history_[0]["loss"], cold.history_[-1]["loss"]
    assert cold.fit(X).history_[0]["loss"] < last < first
    longer = MINDRecommender(**{**SMALL, "max_epochs": 10}, warm_start=True).fit(X.iloc[:-40])
    new = pd.concat([X, rows((777, 3), (777, 500), (4, 500), (4, 501))])
    grown = longer.fit(new)
    assert {500, 501} <= set(grown.items_)
    assert 777 in grown.users_
    assert len(grown.item_embeddings_) == len(grown.items_)
    fresh = MINDRecommender(**SMALL).fit(new)
    assert grown.history_[0]["loss"] < fresh.history_[0]["loss"]
    assert len(grown.recommend([777], k=3)) == 3
    shrunk = grown.fit(X.head(60))
    assert len(shrunk.items_) == X.head(60)["item_id"].nunique()


def test_warm_start_keeps_the_vectors_of_items_that_both_know(X):
    tiny = {**SMALL, "max_epochs": 1, "learning_rate": 1e-9}
    rec = MINDRecommender(**{**SMALL, "warm_start": True}).fit(X)
    before = pd.DataFrame(rec.item_embeddings_, index=rec.items_)
    new = pd.concat([X[X["item_id"] != 7], rows((777, -5), (777, 3))])  # codes shift
    rec.set_params(**tiny).fit(new)
    after = pd.DataFrame(rec.item_embeddings_, index=rec.items_)
    both = before.index.intersection(after.index)
    assert len(both) == len(before) - 1
    np.testing.assert_allclose(after.loc[both], before.loc[both], atol=1e-5)


def test_warm_start_with_features(cold):
    rec = MINDRecommender(**{**SMALL, "warm_start": True})
    rec.fit(cold.warm, items=cold.topics, users=cold.favourites)
    last = rec.history_[-1]["loss"]
    again = rec.fit(cold.warm, items=cold.topics, users=cold.favourites)
    assert again.history_[0]["loss"] < last
    plain = rec.fit(cold.warm)  # without features: the embeddings alone are continued
    assert plain.history_[0]["loss"] < MINDRecommender(**SMALL).fit(cold.warm).history_[0]["loss"]
    back = rec.fit(cold.warm, items=cold.topics)
    assert len(back.items_) == 60


def test_warm_start_needs_the_same_sizes(X):
    rec = MINDRecommender(**SMALL, warm_start=True).fit(X)
    before = dict(vars(rec.set_params(n_interests=2)))
    with pytest.raises(
        InvalidInputError, match="n_interests=3, but n_interests=2 now; set it back"
    ):
        rec.fit(X)
    assert vars(rec) == before
    rec.set_params(warm_start=False).fit(X)
    assert rec.transform(X).shape == (len(X), 16)


def test_nothing_to_learn_keeps_the_initial_vectors(X):
    once = X.drop_duplicates("user_id")
    with pytest.warns(NothingToLearnWarning, match="no user has two interactions") as record:
        rec = MINDRecommender(**SMALL).fit(once)
    assert record[0].filename == __file__
    assert rec.history_ == []
    assert rec.n_epochs_ == 0
    np.testing.assert_allclose(np.linalg.norm(rec.item_embeddings_, axis=1), 1, atol=1e-5)
    assert len(rec.recommend(k=2)) == 2 * len(once)


# ------------------------------------------------------------------ search


def test_annoy_with_an_exhaustive_search_is_exact(X, fitted):
    rec = MINDRecommender(**SMALL, index="annoy", n_trees=5, search_k=10**6).fit(X)
    for options in ({}, {"exclude_seen": False}, {"items": range(9)}, {"diversity": 0.4}):
        mine, expected = rec.recommend(k=6, **options), fitted.recommend(k=6, **options)
        pd.testing.assert_frame_equal(mine, expected, check_exact=False, rtol=0, atol=1e-6)
    similar = rec.similar_items([3, 4], k=5)
    pd.testing.assert_frame_equal(similar, fitted.similar_items([3, 4], k=5), atol=1e-6)


@pytest.mark.parametrize(("limit", "n_forests"), [(100, 0), (5, 1)])
def test_auto_builds_a_forest_for_large_catalogues_only(X, fitted, monkeypatch, limit, n_forests):
    built = []

    class Spy(skmind.retrieval.calibration.AnnoyIndex):
        def __init__(self, vectors, n_trees, search_k, *rest):
            built.append((n_trees, search_k))
            super().__init__(vectors, n_trees, search_k, *rest)

    monkeypatch.setattr(skmind.retrieval.calibration, "AnnoyIndex", Spy)
    monkeypatch.setattr(skmind._estimator, "AUTO_EXACT_ITEMS", limit)
    rec = MINDRecommender(**SMALL, n_trees=7, search_k=10**6).fit(X)
    assert built == [(7, 10**6)] * n_forests
    mine, expected = rec.recommend(k=6), fitted.recommend(k=6)
    pd.testing.assert_frame_equal(mine, expected, check_exact=False, rtol=0, atol=1e-6)


# ------------------------------------------------------------------ randomness and state


@pytest.mark.parametrize("index", ["exact", "annoy"])
@pytest.mark.parametrize("negative_sampling", ["uniform", "popularity", "in_batch", "mixed"])
def test_the_same_seed_gives_the_same_bits(X, index, negative_sampling):
    def fit(seed):
        options = {**SMALL, "negative_sampling": negative_sampling, "random_state": seed}
        return MINDRecommender(**options, index=index, search_k=50).fit(X)

    one, two, other = fit(3), fit(3), fit(4)
    assert_same_answers(one, two)
    assert not np.array_equal(one.item_embeddings_, other.item_embeddings_)


def test_random_state_may_be_a_generator_that_is_advanced(X):
    def fit(random_state):
        return MINDRecommender(**{**SMALL, "random_state": random_state}).fit(X)

    state = np.random.RandomState(5)
    one, two = fit(state), fit(state)
    assert not np.array_equal(one.item_embeddings_, two.item_embeddings_)
    assert_same_answers(one, fit(np.random.RandomState(5)))
    fresh = [fit(None).item_embeddings_ for _ in range(2)]
    assert not np.array_equal(*fresh)


@pytest.mark.parametrize("random_state", [0, None])
def test_the_global_generators_are_neither_read_nor_changed(X, random_state):
    def states():
        numpy_state = np.random.get_state()  # noqa: NPY002
        return random.getstate(), torch.get_rng_state().tolist(), numpy_state[1:3]

    options = {**SMALL, "random_state": random_state, "early_stopping": True}
    before = states()
    rec = MINDRecommender(**options, index="annoy", search_k=50).fit(X)
    rec.recommend(k=3, diversity=0.5)
    rec.transform(X)
    rec.score(X)
    after = states()
    assert before[:2] == after[:2]
    np.testing.assert_array_equal(before[2][0], after[2][0])
    assert before[2][1] == after[2][1]
    if random_state is None:
        torch.manual_seed(0)
        one = MINDRecommender(**options).fit(X)
        torch.manual_seed(0)
        two = MINDRecommender(**options).fit(X)
        torch.set_rng_state(torch.tensor(before[1], dtype=torch.uint8))
        assert not np.array_equal(one.item_embeddings_, two.item_embeddings_)


def interrupted(*args, **kwargs):
    raise KeyboardInterrupt


@pytest.mark.parametrize("state", ["fitted", "unfitted"])
@pytest.mark.parametrize("cause", ["table", "parameter", "features", "interrupt", "late"])
def test_a_fit_that_fails_changes_nothing(X, fitted, monkeypatch, state, cause):
    rec = copy.deepcopy(fitted) if state == "fitted" else MINDRecommender(**SMALL)
    table, items, error = X.astype({"user_id": str}).head(50), None, InvalidInputError
    answer = None if state == "unfitted" else rec.recommend(k=3)
    if cause == "table":
        table = table.drop(columns="item_id").assign(other=1)
    if cause == "parameter":
        rec.set_params(temperature=0)
        error = ValueError
    if cause == "features":
        items = pd.DataFrame({"item_id": [1, 1]})
    if cause == "interrupt":
        monkeypatch.setattr(skmind._estimator.Trainer, "fit", interrupted)
        error = KeyboardInterrupt
    if cause == "late":
        monkeypatch.setattr(skmind.retrieval.calibration, "ExactIndex", interrupted)
        error = KeyboardInterrupt
    before = dict(vars(rec))
    with pytest.raises(error):
        rec.fit(table, items=items)
    assert vars(rec).keys() == before.keys()
    assert all(vars(rec)[name] is value for name, value in before.items())
    if answer is not None:
        pd.testing.assert_frame_equal(rec.recommend(k=3), answer, check_exact=True)


def test_answers_change_nothing(X, fitted):
    before = dict(vars(fitted))
    fitted.recommend([4, 999], k=3, diversity=0.2)
    fitted.recommend_from_history([[3], []])
    fitted.transform(X)
    fitted.predict(X)
    fitted.score(X)
    fitted.explain(4, 3)
    fitted.similar_items([3])
    assert vars(fitted).keys() == before.keys()
    assert all(vars(fitted)[name] is value for name, value in before.items())
    ids, _ = fitted.recommend(output="arrays")
    ids[:] = -1  # what is returned is the caller's
    assert (fitted.items_ >= 0).all()


def test_device(X, fitted, monkeypatch):
    assert_same_answers(MINDRecommender(**SMALL, device="cpu").fit(X), fitted)
    for name in ("gpu", "meta"):
        with pytest.raises(InvalidInputError, match=f"device='{name}' is not supported; use 'au"):
            MINDRecommender(**SMALL, device=name).fit(X)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert_same_answers(MINDRecommender(**SMALL, device="auto").fit(X), fitted)
    with pytest.raises(InvalidInputError, match="device='cuda:1', but torch finds no CUDA device"):
        MINDRecommender(**SMALL, device="cuda:1").fit(X)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu(X, fitted):
    for precision in ("float32", "bfloat16"):
        on_gpu = MINDRecommender(**SMALL, device="cuda", precision=precision).fit(X)
        assert on_gpu.n_epochs_ == 2
        assert on_gpu.history_[-1]["loss"] == pytest.approx(fitted.history_[-1]["loss"], rel=0.05)
    moved = copy.deepcopy(fitted).set_params(device="cuda")
    np.testing.assert_allclose(moved.transform(X), fitted.transform(X), atol=1e-4)


def test_bfloat16_is_for_the_products_of_fit_only(X, fitted):
    low = MINDRecommender(**SMALL, device="cpu", precision="bfloat16").fit(X)
    losses = [[record["loss"] for record in rec.history_] for rec in (low, fitted)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert low.item_embeddings_.dtype == low.transform(X).dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(low.item_embeddings_, axis=1), 1, atol=1e-6)


# ------------------------------------------------------------------ other configurations


@pytest.mark.parametrize(
    "options",
    [
        {"n_interests": 1},
        {"label_attention": "hard"},
        {"label_attention": 2.5},
        {"n_negatives": "all"},
        {"item_dropout": 0.0},
        {"weight_decay": 0.01},
        {"n_routing_iter": 1},
        {"n_encoder_layers": 0},
        {"n_encoder_layers": 2},
        {"max_history": 1},
        {"batch_size": 1000, "max_epochs": 15},  # one step an epoch
        {"embedding_dim": 2},
    ],
    ids=str,
)
def test_every_configuration_learns_and_answers(X, options):
    rec = MINDRecommender(**{**SMALL, "max_epochs": 3, **options}).fit(X)
    losses = [record["loss"] for record in rec.history_]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    result = rec.recommend(k=4)
    assert len(result) == 4 * 50
    assert np.isfinite(result["score"]).all()


def test_a_catalogue_of_one_item(X):
    with pytest.warns(NothingToLearnWarning, match="there is only one item"):
        rec = MINDRecommender(**SMALL).fit(X.assign(item_id=7))
    assert rec.recommend(k=5).empty
    assert rec.recommend([0], k=5, exclude_seen=False)["item_id"].tolist() == [7]
    assert rec.similar_items([7]).empty
    assert pd.isna(rec.predict(X, k=2)).all()


# ------------------------------------------------------------------ real data


@pytest.mark.skipif(not (SHARED / "ml-100k").is_dir(), reason="no copy of MovieLens 100K")
def test_movielens():
    X = fetch_movielens("100k", data_home=SHARED, download_if_missing=False).interactions
    X = X[X["user_id"] % 2 == 0].reset_index(drop=True)
    train, test = next(LeaveLastOut().split(X))
    rec = MINDRecommender(embedding_dim=32, max_epochs=2, n_negatives=256, random_state=0)
    rec.fit(X.iloc[train])
    n_users, n_items = X["user_id"].nunique(), X["item_id"].iloc[train].nunique()
    assert rec.item_embeddings_.shape == (n_items, 32)
    assert 0.02 < rec.score(X.iloc[test]) < 0.3  # 0.003 by chance
    ids, scores = rec.recommend(k=20, output="arrays")
    assert ids.shape == scores.shape == (n_users, 20)
    assert not np.isneginf(scores).any()
    assert rec.transform(X.head(100)).shape == (100, 4 * 32)


# ------------------------------------------------------------------ sequence encoder


def with_samples(n_samples):
    """Events of three users; the first event of a user is no sample."""
    users = np.repeat([0, 1, 2], [n_samples - 19, 21, 1])
    return pd.DataFrame({"user_id": users, "item_id": np.arange(len(users)) % 5})


@pytest.mark.parametrize(("n_samples", "n_layers"), [(95, 0), (96, 1)])
def test_the_encoder_needs_four_samples_a_weight(n_samples, n_layers):
    """Two dimensions have 24 weights."""
    data = with_samples(n_samples)
    options = {"embedding_dim": 2, "max_epochs": 1, "time_col": None, "random_state": 0}
    rec = MINDRecommender(**options).fit(data)
    forced = MINDRecommender(**options, n_encoder_layers=n_layers).fit(data)
    other = MINDRecommender(**options, n_encoder_layers=1 - n_layers).fit(data)
    assert rec.history_[0]["loss"] == forced.history_[0]["loss"] != other.history_[0]["loss"]


@pytest.mark.parametrize(("n_samples", "dropout"), [(470, 0.2), (480, 0.0)])
def test_the_encoder_needs_dropout_below_twenty_samples_a_weight(n_samples, dropout):
    data = with_samples(n_samples)
    options = {"embedding_dim": 2, "max_epochs": 1, "time_col": None, "random_state": 0}
    rec = MINDRecommender(**options).fit(data)
    forced = MINDRecommender(**options, encoder_dropout=dropout).fit(data)
    other = MINDRecommender(**options, encoder_dropout=0.2 - dropout).fit(data)
    assert rec.history_[0]["loss"] == forced.history_[0]["loss"] != other.history_[0]["loss"]
    one = rec.partial_fit(data.tail(9)), forced.partial_fit(data.tail(9))
    assert one[0].history_[1]["loss"] == one[1].history_[1]["loss"]


def test_a_warm_start_keeps_the_number_of_layers():
    data = pd.DataFrame({"user_id": np.repeat([0, 1], 49), "item_id": np.arange(98) % 5})
    options = {"embedding_dim": 2, "max_epochs": 1, "time_col": None, "warm_start": True}
    rec = MINDRecommender(**options).fit(data[:80])
    assert len(rec.fit(data).history_) == 1  # a new fit would have one


# ------------------------------------------------------------------ parameters with a new name


def vectors(X, **parameters):
    return MINDRecommender(**SMALL, **parameters).fit(X).item_embeddings_


@pytest.mark.parametrize(
    ("parameters", "same"),
    [
        ({"loss": "mixture"}, {}),
        ({"loss": "mixture", "label_attention": 2.0}, {}),
        ({"label_attention": "hard"}, {"loss": "label_aware"}),
        ({"label_attention": 2.0}, {"loss": "label_aware", "label_attention": 2.0}),
        ({"loss": "label_aware"}, {"loss": "label_aware", "label_attention": "hard"}),
    ],
)
def test_losses_that_are_the_same(X, parameters, same):
    assert (vectors(X, **parameters) == vectors(X, **same)).all()


def test_scores_rank_by_what_the_loss_maximises(X, tmp_path):
    """The mixture is scored by the soft maximum, label-aware attention by the nearest interest."""
    users = X["user_id"].unique()
    for parameters in ({}, {"temperature": 0.3}, {"loss": "label_aware"}):
        rec = MINDRecommender(**SMALL | parameters).fit(X)
        expected = None if "loss" in parameters else parameters.get("temperature", 0.1)
        assert rec.score_temperature_ == expected
        rec.save(tmp_path / repr(expected))
        for other in (rec, MINDRecommender.load(tmp_path / repr(expected)), copy.deepcopy(rec)):
            cosines = np.stack(other.interests(users) @ other.item_embeddings_.T)  # (B, K, n)
            is_used = (cosines != 0).any(2, keepdims=True)
            scores = soft(np.where(is_used, cosines, -np.inf).transpose(0, 2, 1), expected)
            pairs = np.repeat(users, len(rec.items_)), np.tile(rec.items_, len(users))
            np.testing.assert_allclose(other.predict_scores(*pairs), scores.ravel(), atol=1e-6)
            best = other.recommend(users, k=1, exclude_seen=False)["score"]
            np.testing.assert_allclose(best, scores.max(1), atol=1e-6)
            nearest = other.audience(rec.items_, k=1, exclude_seen=False)["score"]
            np.testing.assert_allclose(nearest, scores.max(0), atol=1e-6)
    # A parameter that is set after the fit changes nothing; a later fit uses it.
    rec.set_params(loss="auto", temperature=0.2)
    assert rec.score_temperature_ is None
    assert rec.partial_fit(X.tail(3)).score_temperature_ == 0.2


def test_losses_that_differ(X):
    found = [
        vectors(X, **parameters)
        for parameters in ({}, {"loss": "label_aware"}, {"label_attention": 2.0})
    ]
    assert not (found[0] == found[1]).all()
    assert not (found[0] == found[2]).all()
    assert not (found[1] == found[2]).all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ({"dropout": 0.5}, {"item_dropout": 0.5}, "dropout is deprecated .* item_dropout=0.5"),
        ({"label_attention": "mixture"}, {}, "label_attention='mixture' is deprecated .* loss="),
    ],
)
def test_an_old_name_warns_and_means_the_same(X, old, new, message):
    rec = clone(MINDRecommender(**SMALL).set_params(**old))
    with pytest.warns(FutureWarning, match=message) as record:
        rec.fit(X)
    assert [warning.filename for warning in record] == [__file__]
    assert (rec.item_embeddings_ == vectors(X, **new)).all()
    with pytest.warns(FutureWarning, match=message):
        rec.partial_fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"dropout": 0.5, "item_dropout": 0.3},
            "dropout=0.5 is the deprecated name of item_dropout=0.3",
        ),
        (
            {"loss": "label_aware", "label_attention": "mixture"},
            "label_attention='mixture' is the deprecated form .* contradicts loss='label_aware'",
        ),
    ],
)
def test_old_names_that_contradict_the_new_ones(X, parameters, message):
    with pytest.raises(InvalidInputError, match=message):
        MINDRecommender(**SMALL, **parameters).fit(X)


# ------------------------------------------------------------------ the modes of torch


@contextlib.contextmanager
def set_and_restored(function, value, usual):
    function(value)
    try:
        yield
    finally:
        function(usual)


TORCH_MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: set_and_restored(torch.set_default_dtype, torch.float64, torch.float32),
    "default device": lambda: set_and_restored(torch.set_default_device, "meta", None),
}


@pytest.mark.parametrize("mode", TORCH_MODES)
@pytest.mark.parametrize(
    "params",
    [{}, {"n_encoder_layers": 1, "early_stopping": True}, {"precision": "bfloat16"}],
)
def test_results_do_not_depend_on_the_modes_of_torch(X, mode, params):
    def results():
        rec = MINDRecommender(**SMALL, **params).fit(X)
        rec.partial_fit(X.iloc[:30]).add_interactions(X.iloc[30:40])
        copied = copy.deepcopy(rec)
        user, item = copied.recommend(k=1).iloc[0][["user_id", "item_id"]].tolist()
        return copied.recommend(k=5), copied.explain(int(user), int(item)), rec._model.weights

    expected = results()
    with TORCH_MODES[mode]():
        received = results()
    for table, same in zip(received[:2], expected[:2], strict=True):
        pd.testing.assert_frame_equal(table, same, check_exact=True)
    for name, array in received[2].items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected[2][name])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_an_interrupted_fit_restores_the_modes_of_torch(X, monkeypatch, mode):
    def interrupted(*_, **__):
        assert torch.is_grad_enabled()
        raise KeyboardInterrupt

    monkeypatch.setattr(skmind._estimator, "prepare", interrupted)
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with pytest.raises(KeyboardInterrupt):
            MINDRecommender(**SMALL).fit(X)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before


# ------------------------------------------------------------------ weights of interactions


@pytest.fixture(scope="module")
def weights(X):
    return np.random.default_rng(0).integers(0, 4, len(X)) / 2.0


def weighted(X, sample_weight=None, **parameters):
    return MINDRecommender(**{**SMALL, **parameters}).fit(X, sample_weight=sample_weight)


def assert_same_fit(mine, theirs):
    np.testing.assert_array_equal(mine.item_embeddings_, theirs.item_embeddings_)
    assert [r["loss"] for r in mine.history_] == [r["loss"] for r in theirs.history_]


@pytest.mark.parametrize("weight", [1, 0.3, 7])
@pytest.mark.parametrize("loss", ["mixture", "label_aware"])
def test_equal_weights_are_bit_equal_to_none(X, weight, loss):
    plain = weighted(X, loss=loss)
    assert_same_fit(weighted(X, np.full(len(X), weight), loss=loss), plain)
    assert_same_fit(weighted(X.assign(w=weight), loss=loss, weight_col="w"), plain)


def test_nearly_equal_weights_train_nearly_the_same(X):
    wobbling = 1 + 1e-6 * np.arange(len(X))
    np.testing.assert_allclose(
        weighted(X, wobbling).item_embeddings_, weighted(X).item_embeddings_, atol=1e-2
    )


@pytest.mark.parametrize("early_stopping", [False, True])
def test_only_ratios_of_weights_matter(X, weights, early_stopping):
    one = weighted(X, weights, early_stopping=early_stopping)
    assert_same_fit(weighted(X, 2 * weights, early_stopping=early_stopping), one)
    assert_same_fit(weighted(X, (weights / 4).tolist(), early_stopping=early_stopping), one)
    assert not (one.item_embeddings_ == weighted(X).item_embeddings_).all()


def test_weights_belong_to_their_rows_in_any_order(X, weights):
    order = np.random.default_rng(1).permutation(len(X))
    expected = weighted(X, weights)
    assert_same_fit(weighted(X.iloc[order], weights[order]), expected)
    assert_same_fit(weighted(X.assign(w=weights).iloc[order], weight_col="w"), expected)
    array = np.column_stack([X.to_numpy(), weights])
    assert_same_fit(weighted(array, weight_col=3), weighted(X.to_numpy(), weights))
    days = X.assign(timestamp=X["timestamp"] // 3)
    assert_same_fit(weighted(days.iloc[order], weights[order]), weighted(days, weights))


def test_min_item_count_leaves_out_weights_with_their_rows(X, weights):
    is_frequent = X.groupby("item_id")["item_id"].transform("size") >= 9
    assert 0 < is_frequent.sum() < len(X)
    expected = weighted(X[is_frequent], weights[is_frequent])
    assert_same_fit(weighted(X, weights, min_item_count=9), expected)


def test_rows_of_weight_0_are_history_but_no_targets(X, monkeypatch):
    is_disliked = X["item_id"] % 5 == 0
    trained = []
    step = skmind._estimator.Trainer.step

    def spy(self, batch, sampler):
        trained.append(batch)
        return step(self, batch, sampler)

    monkeypatch.setattr(skmind._estimator.Trainer, "step", spy)
    rec = weighted(X, np.where(is_disliked, 0, 1), negative_sampling="popularity")
    targets = np.unique(np.concatenate([batch.targets.ravel() for batch in trained]))
    histories = np.unique(np.concatenate([batch.history.ravel() for batch in trained]))
    assert (rec.items_[targets[1:]] % 5 > 0).all()
    assert (rec.items_[histories[1:]] % 5 == 0).any()
    assert rec.item_counts_.sum() == len(X)
    found = rec.recommend(k=5).merge(X, on=["user_id", "item_id"])
    assert not len(found)  # dislikes are not recommended again


def test_an_epoch_may_have_batches_without_a_target(X):
    weights = np.zeros(len(X))
    weights[X["user_id"] == 1] = 1
    rec = weighted(X, weights, horizon=3, batch_size=1, max_history=1)
    assert np.isfinite(rec.item_embeddings_).all()


def test_only_first_interactions_with_a_weight_are_nothing_to_learn(X):
    is_first = X.groupby("user_id")["timestamp"].rank() == 1
    match = "no user has two interactions, a later one with a weight above 0, or there is only"
    with pytest.warns(NothingToLearnWarning, match=match):
        rec = weighted(X, is_first)
    assert rec.n_epochs_ == 0


def test_heavier_items_are_ranked_higher():
    """After item 0 come 1 and 2 equally often; the weights decide."""
    rng = np.random.default_rng(0)
    rows = [
        (user, item, time)
        for user in range(80)
        for time, item in enumerate([0, rng.integers(1, 3)])
    ]
    X = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    X = pd.concat([X, pd.DataFrame({"user_id": 99, "item_id": [3, 4, 5], "timestamp": 0})])
    for heavy, light in ((1, 2), (2, 1)):
        rec = weighted(X, np.where(X["item_id"] == light, 0.1, 1), max_epochs=20)
        assert rec.recommend_from_history([[0]], k=2)["item_id"].tolist() == [heavy, light]


def test_partial_fit_takes_weights(X, weights):
    old, new = X["user_id"] < 40, X["user_id"] >= 40
    fitted = weighted(X[old], weights[old])
    part = X[new].assign(w=weights[new])

    def updated(rec, table, **options):
        return copy.deepcopy(rec).partial_fit(table, **options)

    plain = updated(fitted, X[new])
    assert_same_fit(updated(fitted, X[new], sample_weight=[3] * new.sum()), plain)
    mine = updated(fitted, X[new], sample_weight=weights[new])
    assert_same_fit(updated(fitted, X[new], sample_weight=4 * weights[new]), mine)
    assert not (mine.item_embeddings_ == plain.item_embeddings_).all()
    by_column = weighted(X[old].assign(w=weights[old]), weight_col="w")
    assert_same_fit(updated(by_column, part), mine)
    with pytest.raises(InvalidInputError, match="no column 'w'.*weight_col= set to one of these"):
        updated(by_column, X[new])
    column_set_later = copy.deepcopy(fitted).set_params(weight_col="w")
    assert_same_fit(column_set_later.partial_fit(part), mine)
    with pytest.raises(InvalidInputError, match="weight_col='item_id': each must name a different"):
        column_set_later.set_params(weight_col="item_id").partial_fit(part)
    unfitted = MINDRecommender(**SMALL).partial_fit(X, sample_weight=weights, n_epochs=2)
    assert_same_fit(unfitted, weighted(X, weights))


def test_the_model_does_not_keep_weights(X, weights, tmp_path):
    rec = weighted(X.assign(w=weights), weight_col="w")
    assert rec._model.interactions.weights is None
    rec.save(tmp_path / "model")
    twin = MINDRecommender.load(tmp_path / "model")
    assert twin.weight_col == "w"
    assert (twin.item_embeddings_ == rec.item_embeddings_).all()
    # Only fit and partial_fit read the column.
    assert twin.score(X) == rec.score(X.assign(w=weights))
    assert len(twin.add_interactions(X.head(3)).predict(X)) == len(X)
    assert len(twin.partial_fit(X.assign(w=weights)).history_) == 3


def test_a_checkpoint_is_of_its_weights(X, weights, tmp_path, monkeypatch):
    run = skmind._estimator.Trainer._run_epoch

    def interrupted(self, epoch, *others):
        if epoch == 2:
            raise KeyboardInterrupt
        return run(self, epoch, *others)

    with monkeypatch.context() as patch:
        patch.setattr(skmind._estimator.Trainer, "_run_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            weighted(X, weights, checkpoint_dir=tmp_path)
    assert_same_fit(weighted(X, weights[::-1], checkpoint_dir=tmp_path), weighted(X, weights[::-1]))
    assert_same_fit(weighted(X, weights, checkpoint_dir=tmp_path), weighted(X, weights))


def test_another_keyword_of_fit_is_refused(X):
    for method in ("fit", "partial_fit"):
        with pytest.raises(TypeError, match=rf"{method}\(\) got an unexpected .* 'weight'"):
            getattr(MINDRecommender(), method)(X, weight=1)
