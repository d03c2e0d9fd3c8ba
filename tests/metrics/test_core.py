"""The values of the metrics per user, from relevance matrices; test_metrics.py has the oracles."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances

from skmind.metrics import _core

ALL_METRICS = pytest.mark.parametrize("name", _core.METRIC_FUNCTIONS)


def random_codes(n_users, n_items, n_ranks, seed=0):
    """Distinct codes per row, padded at the end."""
    rng = np.random.default_rng(seed)
    codes = np.array([rng.permutation(n_items)[:n_ranks] for _ in range(n_users)])
    codes[np.arange(n_ranks) >= rng.integers(n_ranks + 1, size=(n_users, 1))] = -1
    return codes


def test_relevance_equals_a_loop():
    rng = np.random.default_rng(1)
    codes = random_codes(30, 12, 6)
    users = rng.integers(30, size=150)
    targets = rng.integers(-1, 20, size=150)
    pairs = set(zip(users.tolist(), targets.tolist(), strict=True))
    expected = [
        [code >= 0 and (user, code) in pairs for code in row]
        for user, row in enumerate(codes.tolist())
    ]
    relevance = _core.relevance_matrix(codes, users, targets)
    assert relevance.tolist() == expected
    assert 0 < relevance.sum() < (codes >= 0).sum()


def test_relevance_never_confuses_users():
    codes = np.array([[0, 3, -1], [2, -1, -1], [-1, -1, -1]])
    users = np.array([0, 1, 1, 2, 1])
    targets = np.array([3, -1, 9, 0, 2])
    relevance = _core.relevance_matrix(codes, users, targets)
    assert relevance.tolist() == [[False, True, False], [True, False, False], [False] * 3]
    # an unknown item of user 1 is not the last item of user 0, nor is padding
    for codes, users, targets in (
        ([[3], [0]], [1], [-1]),
        ([[0], [-1]], [0], [3]),
        ([[-1], [-1]], [0], [-1]),
    ):
        assert not _core.relevance_matrix(*map(np.array, (codes, users, targets))).any()


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_relevance_does_not_overflow(dtype):
    largest = np.iinfo(np.int32).max - 2
    codes = np.tile(np.array([largest, 0], dtype=dtype), (300, 1))
    target = np.array([largest], dtype=dtype)
    relevance = _core.relevance_matrix(codes, np.array([299], dtype=dtype), target)
    assert np.argwhere(relevance).tolist() == [[299, 0]]


def test_relevance_of_nothing():
    none = np.array([], dtype=np.int64)
    assert _core.relevance_matrix(np.zeros((0, 0), np.int64), none, none).shape == (0, 0)
    assert not _core.relevance_matrix(np.zeros((2, 3), np.int64), none, none).any()


@ALL_METRICS
def test_k_is_the_number_of_ranks_by_default(name):
    relevance = np.array([[False, True, True], [True, False, False], [False] * 3])
    n_relevant = np.array([5.0, 1.0, 0.0])  # may be float
    metric = _core.METRIC_FUNCTIONS[name]
    values = metric(relevance, n_relevant)
    np.testing.assert_array_equal(values, metric(relevance, n_relevant.astype(int), 3))
    assert values.dtype == np.float64
    assert np.isnan(values).tolist() == [False, False, True]
    assert (values[:2] > 0).all()
    wide = np.pad(relevance, [(0, 0), (0, 4)], constant_values=True)
    np.testing.assert_array_equal(metric(wide, n_relevant, 3), values)


@ALL_METRICS
def test_the_mean_is_over_the_users_with_relevant_items(name):
    relevance = np.array([[True, False], [False, False], [False, False]])
    means = _core.mean_over_users(relevance, np.array([1, 0, 1]), {"first": (name, 1)})
    assert means == {"first": 0.5}


def test_diversity_equals_the_mean_over_pairs():
    vectors = np.random.default_rng(2).normal(size=(12, 3))
    vectors[4] = 0.0
    codes = random_codes(40, 12, 6)
    codes = codes[(codes >= 0).sum(axis=1) >= 2]
    expected = []
    for row in codes:
        items = row[row >= 0]
        pairs = np.triu_indices(len(items), 1)
        expected.append(cosine_distances(vectors[items])[pairs].mean())
    np.testing.assert_allclose(_core.intra_list_diversity(codes, vectors), expected)
