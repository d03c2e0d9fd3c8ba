"""Interests → the final k items of every user: search, fall back on popularity, diversify."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..data.features import FeatureValues
from ..data.ragged import Ragged, pair_keys
from .base import Index, TopK
from .exact import ExactIndex, search_lists

OVERSAMPLING = 5  # candidates per returned item that diversity chooses from
POPULAR = -1  # "interest" of an item that popularity found
BLOCK = 2**18  # numbers held at once: 1 MiB stays in the cache
LAST = -10.0  # padding is worth less than any score and distance

Cosines = Callable[[np.ndarray], np.ndarray]  # a place a row, (b,) → those of all places, (b, M)
Search = Callable[[np.ndarray, np.ndarray, int], TopK]  # queries, mask, k


def retrieve(
    index: Index,
    queries: np.ndarray,
    mask: np.ndarray,
    k: int,
    excluded: Ragged,
    *,
    counts: np.ndarray,
    allowed: np.ndarray | None = None,
    lists: Ragged | None = None,
    quotas: np.ndarray | None = None,
    diversity: float = 0.0,
    values: FeatureValues | None = None,
    n_jobs: int | None = None,
) -> TopK:
    """Exactly ``k`` items a row unless fewer are eligible.

    Parameters
    ----------
    index, queries, mask, k, excluded, allowed, n_jobs
        See `Index.search`; ``k`` above the number of items counts as that number.
    counts : ndarray of shape (n_items,)
        Interactions of each item, for the rows that have no interest in use.
    lists : Ragged or None
        Items that each row may get, in place of ``excluded`` and ``allowed``.
    quotas : ndarray of shape (B, K), int, or None
        See `share_out`; then there is no diversity.
    diversity, values
        See `diversify`.
    """
    n = len(index.vectors)
    k = min(k, n)

    def search(queries: np.ndarray, mask: np.ndarray, k: int) -> TopK:
        if lists is not None:
            return search_lists(index.vectors, queries, mask, k, lists, n_jobs)
        return index.search(queries, mask, k, excluded, allowed, n_jobs)

    if quotas is not None:
        hits = share_out(search_each(search, queries, mask, k), k, quotas)
    elif diversity:
        wide = search(queries, mask, min(OVERSAMPLING * k, n))
        hits = diversify(wide, index.vectors, k, diversity, values)
    else:
        hits = search(queries, mask, k)
    strangers = np.flatnonzero(~mask.any(1))
    if len(strangers):
        if lists is not None:
            found = popular_in_lists(counts, k, lists.take(strangers))
        else:
            found = popular(counts, k, excluded.take(strangers), allowed)
        for mine, theirs in zip(hits, found, strict=True):
            mine[strangers] = theirs
    return hits


def search_each(search: Search, queries: np.ndarray, mask: np.ndarray, k: int) -> TopK:
    """The ``k`` best items of every single interest, (B, K·k), by score; items come repeatedly."""
    found = [search(queries[:, [j]], mask[:, [j]], k) for j in range(mask.shape[1])]
    for j, hits in enumerate(found):
        hits.interests[hits.codes >= 0] = j
    joined = TopK(*(np.concatenate(parts, axis=1) for parts in zip(*found, strict=True)))
    order = np.argsort(-joined.scores, axis=1, kind="stable")
    return TopK(*(np.take_along_axis(part, order, axis=1) for part in joined))


def share_out(hits: TopK, k: int, quotas: np.ndarray) -> TopK:
    """Give each interest its number of the ``k`` places of a row.

    The candidates take a place by score, as long as their interest has one left; what interests
    leave empty that have too few candidates, or none, goes to the best of the rest.

    Parameters
    ----------
    hits : TopK
        Candidates (B, M), best first; an item may come again with another interest.
    k : int
    quotas : ndarray of shape (B, K), int
        Adding up to at least ``k``.
    """
    (B, M), rows = hits.codes.shape, np.arange(len(hits.codes))
    n_codes = int(hits.codes.max(initial=0)) + 1
    keys = pair_keys(rows[:, None], hits.codes, n_codes)
    distinct, numbers = np.unique(keys, return_inverse=True)
    numbers = numbers.reshape(B, M)
    used = np.zeros(len(distinct), dtype=bool)
    taken = np.zeros((B, M), dtype=bool)
    left, n_left = quotas.copy(), np.full(B, k)
    for with_quota in (True, False):
        for place in range(M):
            interest = hits.interests[:, place]
            free = ~used[numbers[:, place]] & (hits.codes[:, place] >= 0) & (n_left > 0)
            if with_quota:
                free &= left[rows, interest] > 0
                left[rows, interest] -= free
            used[numbers[free, place]] = True
            taken[:, place] |= free
            n_left -= free
    places = np.argsort(~taken, axis=1, kind="stable")[:, :k]
    missing = ~np.take_along_axis(taken, places, axis=1)
    best = TopK(*(np.take_along_axis(part, places, axis=1) for part in hits))
    for part, padding in zip(best, TopK.padding(1, 1), strict=True):
        part[missing] = padding[0, 0]
    return best


def nearest_users(
    items: np.ndarray,
    interests: np.ndarray,
    mask: np.ndarray,
    k: int,
    excluded: Ragged,
    n_jobs: int | None = None,
) -> TopK:
    """The ``k`` users with an interest nearest each item.

    Parameters
    ----------
    items : ndarray of shape (B, D), float32, unit length
    interests : ndarray of shape (n_users, K, D), float32, unit length
    mask : ndarray of shape (n_users, K), bool
    k : int
    excluded : Ragged
        Users, in place of items, that each row must not get.

    Returns
    -------
    TopK
        With the codes of users.
    """
    owners, numbers = np.nonzero(mask)
    starts = np.append(0, np.cumsum(mask.sum(1)))
    theirs = Ragged(np.arange(len(owners)), starts).take(excluded.values)  # interests of each
    banned = Ragged(theirs.values, theirs.offsets[excluded.offsets])
    wide = k * mask.shape[1]  # leaves k users, if all interests of each come before the next one
    hits = ExactIndex(interests[mask]).search(
        items[:, None], np.ones((len(items), 1), dtype=bool), wide, banned, None, n_jobs
    )
    found = hits._replace(
        codes=np.append(owners, -1)[hits.codes], interests=np.append(numbers, -1)[hits.codes]
    )
    return share_out(found, k, np.full((len(items), mask.shape[1]), k))


def popular(
    counts: np.ndarray, k: int, excluded: Ragged, allowed: np.ndarray | None = None
) -> TopK:
    """The most frequent eligible items for each row of ``excluded``.

    The score is the item's share of all interactions, the interest `POPULAR`; of equally frequent
    items the lower code comes first.
    """
    order = np.argsort(-counts, kind="stable")
    if allowed is not None:
        order = order[allowed[order]]
    rank = np.full(len(counts), len(order))
    rank[order] = np.arange(len(order))
    share = np.append(counts / max(counts.sum(), 1), -np.inf).astype(np.float32)
    lengths = excluded.lengths
    hits = TopK.padding(len(lengths), k)
    width = min(len(order), k + int(lengths.max(initial=0)))  # leaves k, if there are as many
    size = max(1, BLOCK // max(width, 1))
    for start in range(0, len(lengths), size):
        stop = min(start + size, len(lengths))
        rows, codes = excluded.slice_rows(start, stop).pairs()
        near = rank[codes] < width
        banned = np.zeros((stop - start, width), dtype=bool)
        banned[rows[near], rank[codes[near]]] = True
        places = np.argsort(banned, axis=1, kind="stable")[:, :k]  # those left, by rank
        found = np.where(np.take_along_axis(banned, places, axis=1), -1, order[places])
        hits.codes[start:stop, : places.shape[1]] = found
    hits.scores[:] = share[hits.codes]  # the last is that of the padding
    hits.interests[:] = POPULAR
    return hits


def popular_in_lists(counts: np.ndarray, k: int, lists: Ragged) -> TopK:
    """`popular`, where each row has a list of its own that it may get items of."""
    share = (counts / max(counts.sum(), 1)).astype(np.float32)
    n = lists.n_rows
    one = np.ones((n, 1), dtype=np.float32)
    hits = search_lists(share[:, None], one[:, None], one > 0, k, lists)  # the product is the share
    hits.interests[:] = POPULAR
    return hits


def diversify(
    hits: TopK, vectors: np.ndarray, k: int, diversity: float, values: FeatureValues | None = None
) -> TopK:
    """Choose ``k`` of each row's candidates by their score and their distance from each other.

    Greedily takes the item with the highest ``(1 - diversity) · score + diversity · d``, where
    ``d`` is its mean distance, 1 - cosine, from the items already taken. The item with the highest
    score is taken first; of equal items, the first.

    This is the aggregation of ComiRec (Cen et al., KDD 2020, section 3.5, algorithm 1), but for two
    things: the distances are averaged rather than summed, so that what ``diversity`` does depends
    neither on ``k`` nor on the rank, and score and distance are weighted so that 1 means distance
    alone. The distance from the nearest item only (maximal marginal relevance, Carbonell &
    Goldstein, SIGIR 1998) would not tell a second item of a category from a ninth.

    Parameters
    ----------
    hits : TopK
        Candidates, best first.
    vectors : ndarray of shape (n_items, D), unit length
    k : int
    diversity : float in [0, 1]
        0 keeps the order by score; higher values spread the list over unlike items.
    values : FeatureValues or None
        None: the cosine is that of ``vectors``. Else that of the sets of values: the number of
        common ones over the geometric mean of both numbers. Where an item has one value, its
        distance is 0 or 1 as in the paper; an item without values is at distance 1 from all.
    """
    B, M = hits.codes.shape
    places = np.zeros((B, min(k, M)), dtype=np.int64)
    width = vectors.shape[1] if values is None else values.max_count(hits.codes)
    size = max(1, BLOCK // max(M * width, 1))
    for start in range(0, B, size):
        rows = slice(start, start + size)
        codes = hits.codes[rows]
        cosines = _of_vectors(vectors, codes) if values is None else _of_values(values, codes)
        _take_in_turn(hits.scores[rows], cosines, diversity, places[rows])
    return TopK(*(np.take_along_axis(part, places, axis=1) for part in hits))


def _take_in_turn(scores: np.ndarray, cosines: Cosines, diversity: float, out: np.ndarray) -> None:
    """Write to ``out`` (b, k) the places of the candidates (b, M) in the order of `diversify`."""
    padding = np.isneginf(scores)
    value = (1 - diversity) * np.where(padding, 0, scores)
    value[padding] = LAST
    rows = np.arange(len(scores))
    total = np.zeros(scores.shape, dtype=np.float32)
    for step in range(out.shape[1]):
        best = (value - diversity / max(step, 1) * total).argmax(1)  # the mean of 1 is the same
        out[:, step] = best
        value[rows, best] = -np.inf
        total += cosines(best)


def _of_vectors(vectors: np.ndarray, codes: np.ndarray) -> Cosines:
    """Cosines of the vectors of the candidates ``codes`` (b, M)."""
    rows, items = np.arange(len(codes)), vectors[codes]  # (b, M, D)
    return lambda best: (items @ items[rows, best][:, :, None]).squeeze(2)  # (b, M)


def _of_values(values: FeatureValues, codes: np.ndarray) -> Cosines:
    """Cosines of the sets of values of the candidates ``codes`` (b, M)."""
    b, M = codes.shape
    rows, items = np.arange(b), values.matrix[codes.ravel()][:, values.columns]  # (b * M, n_values)
    lengths = np.diff(items.indptr)
    row_of = np.repeat(np.arange(b * M, dtype=np.int64) // M, lengths)
    # a number for each value of a row, so that memory does not grow with the vocabulary
    keys = pair_keys(row_of, items.indices, items.shape[1])
    distinct, numbers = np.unique(keys, return_inverse=True)
    padded = np.full((b * M, lengths.max(initial=0)), len(distinct))  # the last stands for none
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = numbers
    padded = np.ascontiguousarray(padded.T).reshape(-1, b, M)
    lengths = lengths.reshape(b, M)

    def cosines(best: np.ndarray) -> np.ndarray:
        taken = np.zeros(len(distinct) + 1, dtype=np.float32)
        taken[padded[:, rows, best]] = 1
        taken[-1] = 0
        common = taken[padded].sum(0)  # (b, M)
        product = lengths * lengths[rows, best][:, None]
        return common / np.sqrt(np.maximum(product, 1))  # exactly 1 for equal sets

    return cosines
