"""Interests → the final k items of every user: search, fall back on popularity, diversify."""

from __future__ import annotations

import numpy as np

from .index.protocol import Excluded, Hits, Index

OVERSAMPLING = 5  # candidates per returned item that diversity chooses from
POPULAR = -1  # "interest" of an item that popularity found
BLOCK = 2**18  # numbers held at once: 1 MiB stays in the cache
LAST = -10.0  # padding is worth less than any sum of cosines


def retrieve(
    index: Index,
    queries: np.ndarray,
    mask: np.ndarray,
    k: int,
    excluded: Excluded,
    *,
    counts: np.ndarray,
    allowed: np.ndarray | None = None,
    diversity: float = 0.0,
) -> Hits:
    """Exactly ``k`` items a row unless fewer are eligible.

    Parameters
    ----------
    index, queries, mask, k, excluded, allowed
        See `Index.search`; ``k`` above the number of items counts as that number.
    counts : ndarray of shape (n_items,)
        Interactions of each item, for the rows that have no interest in use.
    diversity : float in [0, 1]
        See `diversify`.
    """
    n = len(index.vectors)
    k = min(k, n)
    wide = min(OVERSAMPLING * k, n) if diversity else k
    hits = index.search(queries, mask, wide, excluded, allowed)
    if diversity:
        hits = diversify(hits, index.vectors, k, diversity)
    strangers = np.flatnonzero(~mask.any(1))
    if len(strangers):
        found = popular(counts, k, excluded.take(strangers), allowed)
        for mine, theirs in zip(hits, found, strict=True):
            mine[strangers] = theirs
    return hits


def popular(
    counts: np.ndarray, k: int, excluded: Excluded, allowed: np.ndarray | None = None
) -> Hits:
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
    lengths = np.diff(excluded.offsets)
    hits = Hits.padding(len(lengths), k)
    width = min(len(order), k + int(lengths.max(initial=0)))  # leaves k, if there are as many
    size = max(1, BLOCK // max(width, 1))
    for start in range(0, len(lengths), size):
        stop = min(start + size, len(lengths))
        rows, codes = excluded.rows(start, stop).pairs()
        near = rank[codes] < width
        banned = np.zeros((stop - start, width), dtype=bool)
        banned[rows[near], rank[codes[near]]] = True
        places = np.argsort(banned, axis=1, kind="stable")[:, :k]  # those left, by rank
        found = np.where(np.take_along_axis(banned, places, axis=1), -1, order[places])
        hits.codes[start:stop, : places.shape[1]] = found
    hits.scores[:] = share[hits.codes]  # the last is that of the padding
    hits.interests[:] = POPULAR
    return hits


def diversify(hits: Hits, vectors: np.ndarray, k: int, diversity: float) -> Hits:
    """Choose ``k`` of each row's candidates by maximal marginal relevance.

    Greedily takes the item with the highest ``(1 - diversity) · score - diversity · s``, where
    ``s`` is its highest cosine to an item already taken (Carbonell & Goldstein, SIGIR 1998). The
    item with the highest score is taken first; of equal items, the first.

    Parameters
    ----------
    hits : Hits
        Candidates, best first.
    vectors : ndarray of shape (n_items, D), unit length
    k : int
    diversity : float in [0, 1]
        0 keeps the order by score; higher values spread the list over unlike items.
    """
    B, M = hits.codes.shape
    places = np.zeros((B, min(k, M)), dtype=np.int64)
    size = max(1, BLOCK // max(M * vectors.shape[1], 1))
    for start in range(0, B, size):
        rows = slice(start, start + size)
        _take_in_turn(hits.codes[rows], hits.scores[rows], vectors, diversity, places[rows])
    return Hits(*(np.take_along_axis(part, places, axis=1) for part in hits))


def _take_in_turn(
    codes: np.ndarray, scores: np.ndarray, vectors: np.ndarray, diversity: float, out: np.ndarray
) -> None:
    """Write to ``out`` (b, k) the places of the candidates (b, M) in the order of `diversify`."""
    items = vectors[codes]  # (b, M, D)
    padding = codes < 0
    value = (1 - diversity) * np.where(padding, 0, scores)
    value[padding] = LAST
    rows = np.arange(len(codes))
    nearest = np.full(codes.shape, -1, dtype=np.float32)
    for step in range(out.shape[1]):
        best = (value - diversity * nearest).argmax(1)
        out[:, step] = best
        value[rows, best] = -np.inf
        similarity = (items @ items[rows, best][:, :, None]).squeeze(2)  # (b, M)
        np.maximum(nearest, similarity, out=nearest)
