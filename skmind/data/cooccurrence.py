"""Interactions → item vectors from counts of the items that occur near each other."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.utils.extmath import randomized_svd

from .interactions import Interactions
from .shard import Shard

WINDOW_EVENTS = 5  # events between which items count as near each other
UNIT = 60  # of counts; all distances divide it
CONTEXT_POWER = 0.75  # of the counts of the context, so that rare items count less
RIDGE_PENALTY = 1.0  # of the vectors of feature values, so that rare values have short vectors
MAX_COUNTED_EVENTS = 5_000_000  # of users drawn at random; more add time but little accuracy


def cooccurrence_vectors(
    interactions: Interactions,
    n_items: int,
    n_dims: int,
    rng: np.random.Generator,
    shard: Shard | None = None,
) -> np.ndarray:
    """Return vectors whose products follow the pointwise mutual information of items.

    Two events of a user at a distance of up to `WINDOW_EVENTS` count as 1 / distance. The positive
    pointwise mutual information of these counts, with smoothed counts of contexts, is factorised
    (Levy and Goldberg, "Neural word embedding as implicit matrix factorization", NeurIPS 2014).

    Parameters
    ----------
    interactions : Interactions
    n_items : int
    n_dims : int
        Dimensions of the vectors.
    rng : numpy.random.Generator
        Draws the rotation of the vectors, and the users if there are many events.
    shard : Shard or None, default=None
        The users of ``interactions`` among those of all processes, whose counts are added. None:
        one process.

    Returns
    -------
    ndarray of shape (n_items, n_dims), float32
        Unit length, in a random rotation; zero for items that do not occur near another item.
    """
    shard = Shard.whole(interactions.n_users) if shard is None else shard
    first, *others = shard.processes.gather(count_pairs(_drawn(interactions, rng, shard), n_items))
    information = positive_information(sum(others, start=first))
    rank = min(n_dims, n_items)
    seed = int(rng.integers(2**31))
    left, values, _ = randomized_svd(information, rank, random_state=seed)
    rotation = np.linalg.qr(rng.standard_normal((n_dims, n_dims)))[0][:rank]
    vectors = (left * np.sqrt(values)) @ rotation
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    is_zero = norms < np.finfo(np.float32).eps * norms.max(initial=0)
    return np.where(is_zero, 0, vectors / np.where(norms > 0, norms, 1)).astype(np.float32)


def feature_vectors(
    features: sparse.csr_matrix, share: np.ndarray, vectors: np.ndarray, is_placed: np.ndarray
) -> np.ndarray:
    """Return vectors of feature values that predict the vectors of the items, by ridge regression.

    Parameters
    ----------
    features : csr_matrix of shape (n_items, n_values)
        Multiplied by their weight in the item vector, ``1 - share`` in total.
    share : ndarray of shape (n_items,)
        Weight of the item's own embedding, 1 for items without features.
    vectors : ndarray of shape (n_items, n_dims)
    is_placed : ndarray of shape (n_items,), bool
        Items to learn from.

    Returns
    -------
    ndarray of shape (n_values, n_dims), float32
    """
    rows = np.flatnonzero(is_placed & (share < 1))
    if not len(rows):
        return np.zeros((features.shape[1], vectors.shape[1]), dtype=np.float32)
    known = sparse.diags(1 / (1 - share[rows])) @ features[rows]
    model = Ridge(RIDGE_PENALTY, fit_intercept=False, solver="sparse_cg").fit(known, vectors[rows])
    return model.coef_.reshape(vectors.shape[1], -1).T.astype(np.float32)  # 1-D for one dimension


def count_pairs(interactions: Interactions, n_items: int) -> sparse.csr_matrix:
    """Return how often each pair of different items occurs near each other, symmetric.

    Returns
    -------
    csr_matrix of shape (n_items, n_items), int32
        Sum of `UNIT` / distance over the pairs of events: exact, so that it does not depend on the
        order of the users.
    """
    users, items = interactions.pairs()
    counts = sparse.csr_matrix((n_items, n_items), dtype=np.int32)
    for distance in range(1, WINDOW_EVENTS + 1):
        firsts = items[:-distance]
        seconds = items[distance:]
        is_pair = (users[:-distance] == users[distance:]) & (firsts != seconds)
        pairs = firsts[is_pair], seconds[is_pair]
        weights = np.full(len(pairs[0]), UNIT // distance, dtype=np.int32)
        counts += sparse.csr_matrix((weights, pairs), shape=counts.shape)
    return (counts + counts.T).tocsr()


def positive_information(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the positive pointwise mutual information of symmetric counts, with equal pattern."""
    sums = np.asarray(counts.sum(1), dtype=np.float64).ravel()
    contexts = sums**CONTEXT_POWER
    rows = np.repeat(np.arange(len(sums)), np.diff(counts.indptr))
    expected = sums[rows] * (contexts / max(contexts.sum(), 1e-12))[counts.indices]
    values = np.maximum(np.log(counts.data / expected), 0).astype(np.float32)
    return sparse.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)


def _drawn(interactions: Interactions, rng: np.random.Generator, shard: Shard) -> Interactions:
    """Return the own ones of random users with about `MAX_COUNTED_EVENTS` events, or of all."""
    lengths = shard.of_all(interactions.lengths)
    if lengths.sum() <= MAX_COUNTED_EVENTS:
        return interactions
    numbers = rng.permutation(shard.n_users)
    n_events = np.cumsum(lengths[numbers])
    users = shard.own(numbers[: np.searchsorted(n_events, MAX_COUNTED_EVENTS) + 1])
    return interactions.take(np.sort(users[users >= 0]))
