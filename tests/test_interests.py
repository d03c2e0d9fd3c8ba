"""Interests as rows: those of `interests`, with the weights of `explain`; clusters are planted."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skmind import MINDRecommender
from skmind._interests import InterestRows
from skmind.datasets import make_interactions
from skmind.exceptions import InvalidInputError, UnknownIdError

SMALL = {"embedding_dim": 8, "n_interests": 3, "max_epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    return make_interactions(60, 50, n_topics=5, n_interests=2, random_state=0)


@pytest.fixture(scope="module")
def fitted(data):
    return MINDRecommender(**SMALL, item_title="title", item_features=[]).fit(
        data.interactions, items=data.item_table
    )


def test_rows_are_the_interests_in_use_with_the_weights_of_explain(fitted):
    codes = np.array([5, 0, 5])
    found = InterestRows.of_users(fitted._model, fitted._snapshot.network("cpu"), codes)
    vectors = fitted.interests(fitted.users_[codes])
    np.testing.assert_allclose(found.vectors, vectors[found.users, found.interests], atol=1e-6)
    assert len(found.users) == (vectors != 0).any(axis=2).sum()
    explained = fitted.explain(fitted.users_[0], fitted.items_[3])
    (row,) = np.flatnonzero((found.users == 1) & (found.interests == explained["interest"][0]))
    expected = explained.groupby("history_item_id")["weight"].sum()
    weights = found.weights[row].toarray()[0]
    np.testing.assert_allclose(
        weights[fitted._model.items.encode(expected.index)], expected, atol=1e-6
    )
    assert weights.sum() == pytest.approx(1, abs=1e-5)


def rows_of(vectors, weights):
    return InterestRows(
        np.arange(len(vectors)),
        np.zeros(len(vectors), dtype=int),
        np.asarray(vectors, dtype=np.float32),
        sparse.csr_matrix(np.asarray(weights, dtype=np.float32)),
    )


def test_clusters_are_planted_directions_with_mean_weights():
    found = rows_of(
        [[1, 0], [0, 1], [0.8, 0.6], [1, 0]], [[1, 0, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 1, 0]]
    )
    clusters, labels = found.clustered(2, seed=0)
    assert labels.tolist() == [0, 1, 0, 0]
    mean = np.array([2.8, 0.6]) / np.hypot(2.8, 0.6)
    np.testing.assert_allclose(clusters.vectors, [mean, [0, 1]], atol=1e-6)
    np.testing.assert_allclose(clusters.weights.toarray(), [[0.5, 0.5, 0], [0, 0, 1]], atol=1e-6)
    assert len(found.clustered(9, seed=0)[0].users) == 3  # different vectors


def test_history_is_ordered_by_weight():
    found = rows_of([[1, 0]], [[0.2, 0, 0.5, 0.3]])
    ((codes, weights),) = found.top_history(2)
    assert codes.tolist() == [2, 3]
    np.testing.assert_allclose(weights, [0.5, 0.3])


# ------------------------------------------------------------------ describe_interests


def test_interests_of_users_in_words(data, fitted):
    users = fitted.users_[[4, 2]]
    described = fitted.describe_interests(users, k=4)
    vectors = fitted.interests(users)
    rows, numbers = np.nonzero((vectors != 0).any(axis=2))
    assert described["user_id"].tolist() == users[rows].tolist()
    assert described["interest"].tolist() == numbers.tolist()
    title_of = data.item_table.set_index("item_id")["title"]
    for row, number, line in zip(rows, numbers, described.itertuples(), strict=True):
        scores = fitted.item_embeddings_ @ vectors[row, number]
        best = fitted.items_[np.argsort(-scores)[:4]]
        assert line.item_ids == best.tolist()
        assert line.titles == title_of[best].tolist()
        assert line.history_titles == title_of[line.history_item_ids].tolist()
        assert line.history_weights == sorted(line.history_weights, reverse=True)
        history = data.interactions.loc[data.interactions["user_id"] == users[row], "item_id"]
        assert set(line.history_item_ids) <= set(history)
    won = fitted.recommend(users, k=10).groupby(["user_id", "interest"]).size() / 10
    keys = pd.MultiIndex.from_frame(described[["user_id", "interest"]])
    np.testing.assert_allclose(
        described["share_of_recommended"], won.reindex(keys, fill_value=0), atol=1e-12
    )


def test_clusters_of_all_users(fitted):
    described = fitted.describe_interests(n_clusters=4)
    assert described["interest"].tolist() == [0, 1, 2, 3]
    assert "user_id" not in described
    assert described["share_of_recommended"].sum() == pytest.approx(1)
    assert described["share_of_users"].between(0, 1).all()
    assert described["share_of_users"].sum() >= 1
    assert described["titles"].map(len).eq(5).all()
    pd.testing.assert_frame_equal(described, fitted.describe_interests(n_clusters=4))


def test_many_users_are_sampled(fitted, monkeypatch):
    monkeypatch.setattr("skmind._recommender.MAX_DESCRIBED_USERS", 1)
    described = fitted.describe_interests()
    assert described["share_of_users"].eq(1).all()
    assert len(described) <= 3


def test_without_titles_there_are_ids_only(data):
    rec = MINDRecommender(**SMALL).fit(data.interactions)
    columns = ["interest", "share_of_recommended", "item_ids", "history_item_ids"]
    described = rec.describe_interests([0])
    assert described.columns.tolist() == ["user_id", *columns, "history_weights"]
    assert "titles" in rec.describe_interests([0], titles=data.item_table)
    assert len(rec.describe_interests([])) == 0


def test_bad_arguments(data, fitted):
    with pytest.raises(UnknownIdError, match="the user 'nobody'|the user -5"):
        fitted.describe_interests([-5])
    with pytest.raises(InvalidInputError, match="k=0 must be"):
        fitted.describe_interests(k=0)
    with pytest.raises(InvalidInputError, match="n_clusters=0 must be"):
        fitted.describe_interests(n_clusters=0)
    table = data.interactions.rename(columns={"user_id": "titles"})
    rec = MINDRecommender(**SMALL, user_col="titles").fit(table)
    with pytest.raises(InvalidInputError, match="user_col='titles' is the name of a column of des"):
        rec.describe_interests()
