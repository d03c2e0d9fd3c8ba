"""Exact search: the maximum over a row's interests first, then one top-k, tile by tile."""

from __future__ import annotations

import numpy as np

from ..data.ragged import Ragged
from .base import TopK, each

BLOCK = 2**23  # scores held at once: 32 MiB
TILE = 2**20  # products held at once, before the maximum over the interests: 4 MiB
ROWS = 64  # rows that share a pass over a large catalogue; fewer waste the matrix product
FEW = 0.1  # an allow-list of a smaller share of the catalogue is searched on its own


class ExactIndex:
    """Scores every item; the oracle for every other index.

    Parameters
    ----------
    vectors : ndarray of shape (n_items, D), float32, unit length
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    def search(
        self,
        queries: np.ndarray,
        mask: np.ndarray,
        k: int,
        excluded: Ragged,
        allowed: np.ndarray | None = None,
        n_jobs: int | None = None,
    ) -> TopK:
        """See `Index.search`."""
        if allowed is not None and allowed.mean() < FEW:
            few = np.flatnonzero(allowed)
            among = ExactIndex(self.vectors[few])
            rest = excluded.where(allowed[excluded.values])
            rest = Ragged((np.cumsum(allowed) - 1)[rest.values], rest.offsets)
            hits = among.search(queries, mask, k, rest, None, n_jobs)
            return hits._replace(codes=np.append(few, -1).astype(np.int32)[hits.codes])
        (B, _, D), n = queries.shape, len(self.vectors)
        hits = TopK.padding(B, k)
        n_used = mask.sum(1)
        size = max(1, BLOCK // max(1, min(n, BLOCK // ROWS), min(n, k) * D))
        parts = [
            alike[start : start + size]  # together: interests out of use cost nothing
            for alike in (np.flatnonzero(n_used == K) for K in np.unique(n_used[n_used > 0]))
            for start in range(0, len(alike), size)
        ]

        def fill(rows: np.ndarray) -> None:
            used = np.nonzero(mask[rows])[1].reshape(len(rows), -1)  # (b, K)
            found = self._search(queries[rows[:, None], used], k, excluded.take(rows), allowed)
            won = np.take_along_axis(used, found.interests, axis=1)
            for mine, theirs in zip(hits, found._replace(interests=won), strict=True):
                mine[rows, : theirs.shape[1]] = theirs

        each(fill, parts, n_jobs)
        return hits.padded()

    def _search(
        self, queries: np.ndarray, k: int, excluded: Ragged, allowed: np.ndarray | None
    ) -> TopK:
        """Search with all interests of ``queries`` (b, K, D), which fit into one block."""
        b, n = len(queries), len(self.vectors)
        rows, banned = excluded.pairs()
        codes = np.empty((b, 0), dtype=np.int64)
        values = np.empty((b, 0), dtype=np.float32)
        width = max(1, min(n, BLOCK // b))
        block = np.empty((b, width), dtype=np.float32)
        for start in range(0, n, width):
            stop = min(start + width, n)
            scores = block[:, : stop - start]
            self._score(queries, start, scores)
            here = (banned >= start) & (banned < stop)
            scores[rows[here], banned[here] - start] = -np.inf
            if allowed is not None:
                scores[:, ~allowed[start:stop]] = -np.inf
            found, found_values = top_k(scores, k)
            codes = np.concatenate([codes, found + start], axis=1)
            best, values = top_k(np.concatenate([values, found_values], axis=1), k)
            codes = np.take_along_axis(codes, best, axis=1)
        return TopK(codes, values, winners(self.vectors, queries, codes))

    def _score(self, queries: np.ndarray, start: int, out: np.ndarray) -> None:
        """Write to ``out`` the maximum over the interests for the items from ``start`` on."""
        b, K, D = queries.shape
        flat = queries.reshape(b * K, D)
        width = max(1, TILE // len(flat))
        tile = np.empty(len(flat) * width, dtype=np.float32)
        for first in range(0, out.shape[1], width):
            here = out[:, first : first + width]
            products = tile[: K * here.size].reshape(len(flat), -1)
            items = self.vectors[start + first : start + first + here.shape[1]]
            np.matmul(flat, items.T, out=products)
            products.reshape(b, K, -1).max(axis=1, out=here)


def search_lists(
    vectors: np.ndarray,
    queries: np.ndarray,
    mask: np.ndarray,
    k: int,
    lists: Ragged,
    n_jobs: int | None = None,
) -> TopK:
    """`Index.search` where each row has a list of its own that it may get items of.

    Parameters
    ----------
    vectors, queries, mask, k, n_jobs
        See `Index.search`.
    lists : Ragged
        Distinct items, ascending.
    """
    hits = TopK.padding(len(queries), k)
    lengths = lists.lengths
    power = np.frexp(lengths)[1]  # rows of like length share a block, which is then seldom padding
    parts = []
    for alike in (np.flatnonzero((power == p) & mask.any(1)) for p in np.unique(power[power > 0])):
        size = max(1, BLOCK // (int(lengths[alike].max(initial=1)) * vectors.shape[1]))
        parts += [alike[start : start + size] for start in range(0, len(alike), size)]

    def fill(rows: np.ndarray) -> None:
        columns = np.arange(lengths[rows].max())
        missing = columns >= lengths[rows, None]  # (b, M)
        places = np.where(missing, 0, lists.offsets[rows, None] + columns)
        codes = lists.values[places]
        products = vectors[codes] @ queries[rows].transpose(0, 2, 1)  # (b, M, K)
        products[np.broadcast_to(~mask[rows, None], products.shape)] = -np.inf
        scores = np.where(missing, -np.inf, products.max(2))
        best, values = top_k(scores, k)
        found = TopK(codes, scores, products.argmax(2))
        for mine, theirs in zip(hits, found, strict=True):
            mine[rows, : best.shape[1]] = np.take_along_axis(theirs, best, axis=1)

    each(fill, parts, n_jobs)
    return hits.padded()


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of the ``k`` highest scores of each row, best first.

    In two stages: the ``k`` groups of columns with the highest maxima hold the ``k`` highest
    scores, so only these are searched. Equal scores are taken and listed in column order.

    Parameters
    ----------
    scores : ndarray of shape (B, n), float32
    k : int

    Returns
    -------
    columns : ndarray of shape (B, min(k, n)), int64
    values : ndarray of shape (B, min(k, n)), float32
    """
    B, n = scores.shape
    size = int(np.sqrt(n / k / 2))  # columns of a group; measured
    if size < 2:
        columns = _largest(scores, k)
    else:
        m = n // size  # group j: columns j, j + m, j + 2m …, whose maxima vectorise
        maxima = scores[:, : size * m].reshape(B, size, m).max(1)
        groups = _largest(maxima, k)  # (B, k)
        near = (groups[:, None, :] + np.arange(0, size * m, m)[:, None]).reshape(B, size * k)
        rest = np.broadcast_to(np.arange(size * m, n), (B, n - size * m))
        near = np.concatenate([near, rest], axis=1)  # ascending
        columns = np.take_along_axis(near, _largest(np.take_along_axis(scores, near, 1), k), 1)
        # groups tie at the threshold: a column of the group left out may come first
        limit = np.take_along_axis(maxima, groups, axis=1).min(1, keepdims=True)
        tied = np.count_nonzero(maxima >= limit, axis=1) > k
        tied &= ~np.isneginf(limit[:, 0])
        columns[tied] = _largest(scores[tied], k)
    values = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def _largest(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of the ``k`` highest scores, ascending; of equal ones the first are taken."""
    B, n = scores.shape
    if k >= n:
        return np.tile(np.arange(n), (B, 1))
    limit = np.partition(scores, n - k, axis=1)[:, n - k, None]
    keep = scores >= limit
    n_over = np.count_nonzero(keep, axis=1) - k
    for row in np.flatnonzero(n_over).tolist():
        equal = np.flatnonzero(scores[row] == limit[row])
        keep[row, equal[-n_over[row] :]] = False
    return np.flatnonzero(keep).reshape(B, k) - np.arange(B)[:, None] * n


def winners(vectors: np.ndarray, queries: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The interest that is nearest each item, int64 of shape (B, k)."""
    return (vectors[codes] @ queries.transpose(0, 2, 1)).argmax(2)
