"""Candidates of each row → the k that are returned: quotas per interest, diversity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..data.features import FeatureValues
from ..data.ragged import pair_keys
from .base import TopK, multiply

BLOCK_NUMBERS = 2**18  # numbers held at once: 1 MiB stays in the cache
PADDING_VALUE = -1e37  # less than any weighted sum of a score and a distance

Cosines = Callable[[np.ndarray], np.ndarray]  # column of one candidate, (b,) → its cosines, (b, M)


def share_out(candidates: TopK, k: int, quotas: np.ndarray) -> TopK:
    """Select ``k`` candidates per row, so that each interest gets its quota.

    Candidates are selected in the order of their scores, as long as the quota of their interest is
    not full. If an interest has too few candidates, the best remaining candidates fill its quota.

    Parameters
    ----------
    candidates : TopK
        Candidates (B, M), best first; an item may occur once for each interest.
    k : int
    quotas : ndarray of shape (B, K), int
        Each row adds up to at least ``k``.
    """
    B, M = candidates.codes.shape
    rows = np.arange(B)
    n_codes = int(candidates.codes.max(initial=0)) + 1
    keys = pair_keys(rows[:, None], candidates.codes, n_codes)
    distinct, numbers = np.unique(keys, return_inverse=True)
    numbers = numbers.reshape(B, M)
    used = np.zeros(len(distinct), dtype=bool)
    taken = np.zeros((B, M), dtype=bool)
    quotas_left = quotas.copy()
    n_left = np.full(B, k)
    for with_quota in (True, False):
        for place in range(M):
            interest = candidates.interests[:, place]
            free = ~used[numbers[:, place]] & (candidates.codes[:, place] >= 0) & (n_left > 0)
            if with_quota:
                free &= quotas_left[rows, interest] > 0
                quotas_left[rows, interest] -= free
            used[numbers[free, place]] = True
            taken[:, place] |= free
            n_left -= free
    places = np.argsort(~taken, axis=1, kind="stable")[:, :k]
    missing = ~np.take_along_axis(taken, places, axis=1)
    top = TopK(*(np.take_along_axis(part, places, axis=1) for part in candidates))
    for part, padding in zip(top, TopK.padding(1, 1), strict=True):
        part[missing] = padding[0, 0]
    return top


def diversify(
    candidates: TopK,
    vectors: np.ndarray,
    k: int,
    diversity: float,
    values: FeatureValues | None = None,
) -> TopK:
    """Choose ``k`` of each row's candidates by their score and their distance from each other.

    Greedily takes the item with the highest ``(1 - diversity) · score + diversity · d``, where
    ``d`` is its mean distance, 1 - cosine, from the items already taken. The item with the highest
    score is taken first; of equal items, the first.

    This is the aggregation of ComiRec (Cen et al., KDD 2020, section 3.5, algorithm 1) with two
    departures. Distances are averaged rather than summed, so that the effect of ``diversity``
    depends neither on ``k`` nor on the rank. Score and distance are weighted so that 1 means
    distance alone. The distance from the nearest item only (maximal marginal relevance, Carbonell &
    Goldstein, SIGIR 1998) would not tell a second item of a category from a ninth.

    Parameters
    ----------
    candidates : TopK
        Best first.
    vectors : ndarray of shape (n_items, D), unit length
    k : int
    diversity : float in [0, 1]
        0 keeps the order by score; higher values spread the list over unlike items.
    values : FeatureValues or None
        None: the cosine of two items is that of their ``vectors``. Otherwise it is that of their
        sets of values: the number of common values over the geometric mean of both numbers. Where
        an item has one value, its distance is 0 or 1 as in the paper; an item without values is at
        distance 1 from all others.
    """
    B, M = candidates.codes.shape
    places = np.zeros((B, min(k, M)), dtype=np.int64)
    width = vectors.shape[1] if values is None else values.max_count(candidates.codes)
    block_rows = max(1, BLOCK_NUMBERS // max(M * width, 1))
    for start in range(0, B, block_rows):
        block = slice(start, start + block_rows)
        codes = candidates.codes[block]
        if values is None:
            cosines = _vector_cosines(vectors, codes)
        else:
            cosines = _value_cosines(values, codes)
        _take_in_turn(candidates.scores[block], cosines, diversity, places[block])
    return TopK(*(np.take_along_axis(part, places, axis=1) for part in candidates))


def _take_in_turn(scores: np.ndarray, cosines: Cosines, diversity: float, out: np.ndarray) -> None:
    """Write the columns of the selected candidates to ``out`` (b, k); see `diversify`."""
    padding = np.isneginf(scores)
    value = (1 - diversity) * np.where(padding, 0, scores)
    value[padding] = PADDING_VALUE
    rows = np.arange(len(scores))
    total = np.zeros(scores.shape, dtype=np.float32)
    for step in range(out.shape[1]):
        best = (value - diversity / max(step, 1) * total).argmax(1)  # without the constant 1
        out[:, step] = best
        value[rows, best] = -np.inf
        total += cosines(best)


def _vector_cosines(vectors: np.ndarray, codes: np.ndarray) -> Cosines:
    """Return the cosines of the vectors of the candidates ``codes`` (b, M)."""
    rows = np.arange(len(codes))
    items = vectors[codes]  # (b, M, D)
    return lambda best: multiply(items, items[rows, best][:, :, None]).squeeze(2)  # (b, M)


def _value_cosines(values: FeatureValues, codes: np.ndarray) -> Cosines:
    """Return the cosines of the sets of values of the candidates ``codes`` (b, M).

    Each pair of row and value has a number, so that memory does not grow with the vocabulary. The
    values of a candidate are a column of such numbers, padded with a number that stands for no
    value.
    """
    b, M = codes.shape
    rows = np.arange(b)
    items = values.matrix[codes.ravel()][:, values.columns]  # (b * M, n_values)
    lengths = np.diff(items.indptr)
    row_of_value = np.repeat(np.arange(b * M, dtype=np.int64) // M, lengths)
    keys = pair_keys(row_of_value, items.indices, items.shape[1])
    distinct, numbers = np.unique(keys, return_inverse=True)
    padded = np.full((b * M, lengths.max(initial=0)), len(distinct))
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = numbers
    padded = np.ascontiguousarray(padded.T).reshape(-1, b, M)
    lengths = lengths.reshape(b, M)

    def cosines(best: np.ndarray) -> np.ndarray:
        taken = np.zeros(len(distinct) + 1, dtype=np.float32)
        taken[padded[:, rows, best]] = 1
        taken[-1] = 0
        n_common = taken[padded].sum(0)  # (b, M)
        product = lengths * lengths[rows, best][:, None]
        return n_common / np.sqrt(np.maximum(product, 1))  # exactly 1 for equal sets

    return cosines
