"""Interests → the final k items of every user: search, fall back on popularity, diversify."""

from __future__ import annotations

import numpy as np

from .index.exact import blocked_top_k
from .index.protocol import Excluded, Hits, Index

OVERSAMPLING = 5  # candidates per returned item that diversity chooses from
POPULAR = -1  # "interest" of an item that popularity found


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
        See `Index.search`.
    counts : ndarray of shape (n_items,)
        Interactions of each item, for the rows that have no interest in use.
    diversity : float in [0, 1]
        See `diversify`.
    """
    k = min(k, len(index.vectors))
    if diversity:
        wide = index.search(queries, mask, OVERSAMPLING * k, excluded, allowed)
        hits = diversify(wide, index.vectors, k, diversity)
    else:
        hits = index.search(queries, mask, k, excluded, allowed)
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

    The score is the item's share of all interactions, the interest `POPULAR`.
    """
    share = (counts / max(counts.sum(), 1)).astype(np.float32)

    def score(rows: slice) -> np.ndarray:
        return np.tile(share, (rows.stop - rows.start, 1))

    shape = len(excluded.offsets) - 1, len(counts)
    codes, values = blocked_top_k(score, shape, k, excluded, allowed)
    return Hits(codes, values, np.full_like(codes, POPULAR))


def diversify(hits: Hits, vectors: np.ndarray, k: int, diversity: float) -> Hits:
    """Choose ``k`` of each row's candidates by maximal marginal relevance.

    Greedily takes the item with the highest ``(1 - diversity) · score - diversity · s``, where
    ``s`` is its highest cosine to an item already taken (Carbonell & Goldstein, SIGIR 1998).

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
    k = min(k, M)
    rows = np.arange(B)
    items = vectors[hits.codes]  # (B, M, D)
    value = (1 - diversity) * hits.scores  # padding stays at -inf
    if diversity == 1:
        value = np.where(hits.codes >= 0, 0.0, -np.inf)
    nearest = np.full((B, M), -1.0, dtype=np.float32)
    taken = np.zeros((B, M), dtype=bool)
    chosen = np.zeros((B, k), dtype=np.int64)
    for step in range(k):
        gain = np.where(taken, -np.inf, value - diversity * nearest)
        best = np.where(step == 0, 0, gain.argmax(1))
        exhausted = taken[rows, best] | (hits.codes[rows, best] < 0)
        chosen[:, step] = np.where(exhausted, -1, best)
        taken[rows, best] = True
        similarity = (items @ items[rows, best][:, :, None]).squeeze(2)  # (B, M)
        nearest = np.maximum(nearest, similarity)
    short = chosen < 0
    return Hits(
        np.where(short, -1, np.take_along_axis(hits.codes, chosen, 1)),
        np.where(short, -np.inf, np.take_along_axis(hits.scores, chosen, 1)).astype(np.float32),
        np.where(short, -1, np.take_along_axis(hits.interests, chosen, 1)),
    )
