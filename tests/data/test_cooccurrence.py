import numpy as np
import pytest
from scipy import sparse

from skmind.data import cooccurrence
from skmind.data.cooccurrence import (
    RIDGE_PENALTY,
    cooccurrence_vectors,
    count_pairs,
    feature_vectors,
    positive_information,
)
from skmind.data.interactions import Interactions


def histories(*rows):
    lengths = [len(row) for row in rows]
    items = np.concatenate([np.array(row, dtype=np.int32) for row in rows])
    return Interactions(items, np.append(0, np.cumsum(lengths)).astype(np.int64))


def groups(rng, n_users=200, n_groups=4, group_size=6, length=8):
    """Return histories that stay within one group of items, and the group of each item."""
    group = np.repeat(np.arange(n_groups), group_size)
    rows = [
        rng.choice(np.flatnonzero(group == rng.integers(n_groups)), length) for _ in range(n_users)
    ]
    return histories(*rows), group


def test_pairs_agree_with_a_loop():
    rng = np.random.default_rng(0)
    n_items = 7
    rows = [rng.integers(n_items, size=n) for n in (0, 1, 2, 5, 9, 14)]
    expected = np.zeros((n_items, n_items))
    for row in rows:
        for i in range(len(row)):
            for j in range(i + 1, min(i + cooccurrence.WINDOW_EVENTS, len(row) - 1) + 1):
                if row[i] != row[j]:
                    expected[row[i], row[j]] += 60 / (j - i)
                    expected[row[j], row[i]] += 60 / (j - i)
    counts = count_pairs(histories(*rows), n_items)
    np.testing.assert_array_equal(counts.toarray(), expected)


def test_information_agrees_with_its_definition():
    rng = np.random.default_rng(1)
    counts = count_pairs(histories(*[rng.integers(9, size=6) for _ in range(30)]), 9)
    dense = counts.toarray().astype(float)
    context = dense.sum(1) ** cooccurrence.CONTEXT_POWER
    with np.errstate(divide="ignore"):
        information = np.log(dense / dense.sum(1, keepdims=True) / (context / context.sum()))
    np.testing.assert_allclose(
        positive_information(counts).toarray(), np.maximum(information, 0), rtol=1e-5, atol=1e-6
    )


def test_items_of_a_group_are_near_each_other():
    interactions, group = groups(np.random.default_rng(2))
    vectors = cooccurrence_vectors(interactions, len(group), 4, np.random.default_rng(3))
    cosines = vectors @ vectors.T
    is_same = group[:, None] == group
    assert cosines[is_same].min() > 0.8
    assert np.abs(cosines[~is_same]).max() < 0.2


def test_noise_has_no_groups():
    rng = np.random.default_rng(4)
    interactions = histories(*[rng.integers(24, size=8) for _ in range(200)])
    vectors = cooccurrence_vectors(interactions, 24, 24, rng)
    cosines = (vectors @ vectors.T)[~np.eye(24, dtype=bool)]
    assert abs(cosines.mean()) < 0.2


@pytest.mark.parametrize(
    ("rows", "n_items"), [([[], []], 3), ([[0], [1]], 2), ([[0, 0, 0]], 1), ([[0, 1]], 3)]
)
def test_items_without_a_neighbour_are_zero(rows, n_items):
    interactions = histories(*rows)
    vectors = cooccurrence_vectors(interactions, n_items, 4, np.random.default_rng(0))
    norms = np.linalg.norm(vectors, axis=1)
    has_neighbour = np.diff(count_pairs(interactions, n_items).indptr) > 0
    np.testing.assert_allclose(norms, has_neighbour, atol=1e-6)


def test_vectors_depend_on_the_generator_alone():
    interactions, group = groups(np.random.default_rng(5))
    first, second, other = (
        cooccurrence_vectors(interactions, len(group), 4, np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)


def test_many_events_are_sampled_by_user(monkeypatch):
    interactions, group = groups(np.random.default_rng(6), n_users=400)
    monkeypatch.setattr(cooccurrence, "MAX_COUNTED_EVENTS", 800)
    n_counted = []
    count = cooccurrence.count_pairs

    def counting(interactions, n_items):
        n_counted.append(len(interactions.items))
        return count(interactions, n_items)

    monkeypatch.setattr(cooccurrence, "count_pairs", counting)
    vectors = cooccurrence_vectors(interactions, len(group), 4, np.random.default_rng(7))
    assert n_counted == [800]
    cosines = vectors @ vectors.T
    assert cosines[group[:, None] == group].min() > 0.7


@pytest.mark.parametrize("n_dims", [1, 5])
def test_feature_vectors_predict_the_vectors_of_items(n_dims):
    rng = np.random.default_rng(8)
    n_items = 60
    true = rng.standard_normal((4, n_dims))
    features = sparse.random(n_items, 4, 0.6, "csr", rng=rng)
    share = np.where(np.diff(features.indptr) > 0, 0.25, 1.0)
    weighted = sparse.csr_matrix(features.multiply((1 - share)[:, None]))
    is_placed = rng.random(n_items) < 0.7
    vectors = features @ true
    vectors[~is_placed] = 1e6  # not read
    found = feature_vectors(weighted, share, vectors, is_placed)
    known = features[is_placed & (share < 1)].toarray()
    target = vectors[is_placed & (share < 1)]
    expected = np.linalg.solve(known.T @ known + RIDGE_PENALTY * np.eye(4), known.T @ target)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_feature_vectors_are_zero_if_no_item_with_features_is_placed():
    features = sparse.csr_matrix(np.eye(3) / 2)
    vectors = np.ones((3, 2), dtype=np.float32)
    for share, is_placed in ((0.5, False), (1.0, True)):
        found = feature_vectors(features, np.full(3, share), vectors, np.full(3, is_placed))
        assert found.shape == (3, 2)
        assert not found.any()
