"""Cases that the tests of retrieval share."""

import numpy as np
from scipy import sparse
from scipy.special import logsumexp

from skmind.data.features import FeatureValues
from skmind.data.ragged import Ragged


def unit(vectors):
    """Vectors of unit length, float32."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def soft(products, temperature):
    """The soft maximum over the last axis, in float64; -inf stands for interests not in use."""
    if temperature is None:
        return products.max(-1)
    n_used = (products > -np.inf).sum(-1)
    with np.errstate(divide="ignore"):
        total = logsumexp(products.astype(float) / temperature, axis=-1)
        return temperature * (total - np.log(n_used))


def ragged(rows):
    """Lists of codes, one per row, as a `Ragged`."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    codes = np.concatenate([np.empty(0), *rows]).astype(np.int64)
    return Ragged(codes, offsets)


def random_case(n=60, B=15, K=3, D=6, seed=0):
    """Vectors (n, D), interests (B, K, D), a mask (B, K) and excluded items."""
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((n, D)))
    queries = unit(rng.standard_normal((B, K, D)))
    mask = rng.random((B, K)) < 0.5
    mask[:2] = [[False], [True]]
    excluded = ragged([rng.permutation(n)[: rng.integers(n // 2)] for _ in range(B)])
    return vectors, queries, mask, excluded


def values_of(sets, n_values=None, others=3):
    """The same sets as `FeatureValues`, between columns of other features that every item has."""
    width = n_values or max(map(max, filter(None, sets)), default=-1) + 1
    rows = np.repeat(np.arange(len(sets)), [len(values) for values in sets])
    columns = np.array([value for values in sets for value in values], dtype=np.int64)
    weights = np.random.default_rng(0).uniform(0.1, 1, len(rows))  # only zero or not counts
    own = sparse.csr_matrix((weights, (rows, columns)), shape=(len(sets), width))
    other = sparse.csr_matrix(np.ones((len(sets), others)))
    matrix = sparse.hstack([other, own, other], format="csr")
    return FeatureValues(matrix, slice(others, others + width))


def random_sets(kind, n=60, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "one each":
        return [{int(value)} for value in rng.integers(6, size=n)]
    if kind == "none":
        return [set() for _ in range(n)]
    return [set(rng.integers(9, size=rng.integers(5)).tolist()) for _ in range(n)]
