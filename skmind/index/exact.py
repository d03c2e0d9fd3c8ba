"""Exact search: the maximum over a row's interests first, then one top-k, block by block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .protocol import Excluded, Hits

BLOCK = 2**23  # scores held at once: 32 MiB


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
        excluded: Excluded,
        allowed: np.ndarray | None = None,
    ) -> Hits:
        """See `Index.search`."""

        def score(rows: slice) -> np.ndarray:
            return self._scores(queries[rows], mask[rows])

        shape = len(queries), len(self.vectors)
        codes, scores = blocked_top_k(score, shape, k, excluded, allowed)
        return Hits(codes, scores, winners(self.vectors, queries, mask, codes))

    def _scores(self, queries: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Maximum over the interests in use, shape (B, n_items)."""
        best = np.full((len(queries), len(self.vectors)), -np.inf, dtype=np.float32)
        for j in range(queries.shape[1]):
            rows = np.flatnonzero(mask[:, j])
            if len(rows) == len(best):
                np.maximum(best, queries[:, j] @ self.vectors.T, out=best)
            elif len(rows):
                best[rows] = np.maximum(best[rows], queries[rows, j] @ self.vectors.T)
        return best


def blocked_top_k(
    score: Callable[[slice], np.ndarray],
    shape: tuple[int, int],
    k: int,
    excluded: Excluded,
    allowed: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Top ``k`` of scores that are made a block of rows at a time.

    Parameters
    ----------
    score : callable
        The scores of a slice of rows, float32 of shape (b, n_items); changed in place.
    shape : tuple of int
        All rows and items, (B, n_items).
    k, excluded, allowed
        See `Index.search`.

    Returns
    -------
    codes, values : ndarray of shape (B, k)
        See `top_k`.
    """
    B, n = shape
    codes = np.empty((B, k), dtype=np.int32)
    values = np.empty((B, k), dtype=np.float32)
    size = max(1, BLOCK // max(n, 1))
    for start in range(0, B, size):
        rows = slice(start, min(start + size, B))
        scores = score(rows)
        scores[excluded.rows(rows.start, rows.stop).pairs()] = -np.inf
        if allowed is not None:
            scores[:, ~allowed] = -np.inf
        codes[rows], values[rows] = top_k(scores, k)
    return codes, values


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of the ``k`` highest scores of each row, best first.

    In two stages: the ``k`` blocks with the highest maxima hold the ``k`` highest scores, so only
    these are searched. Equal scores come in column order; -inf becomes padding (code -1).

    Parameters
    ----------
    scores : ndarray of shape (B, n), float32
    k : int

    Returns
    -------
    codes : ndarray of shape (B, k), int32
    values : ndarray of shape (B, k), float32
    """
    B, n = scores.shape
    size = int(np.sqrt(n / k))
    if size >= 8:
        n_blocks = n // size
        blocks = scores[:, : n_blocks * size].reshape(B, n_blocks, size)
        best = np.argpartition(-blocks.max(2), k - 1, axis=1)[:, :k]  # (B, k)
        columns = (best[:, :, None] * size + np.arange(size)).reshape(B, k * size)
        rest = np.broadcast_to(np.arange(n_blocks * size, n), (B, n - n_blocks * size))
        columns = np.concatenate([columns, rest], axis=1)
        codes, values = _select(np.take_along_axis(scores, columns, axis=1), columns, k)
    else:
        codes, values = _select(scores, None, k)
    width = codes.shape[1]
    padded_codes = np.full((B, k), -1, dtype=np.int32)
    padded_values = np.full((B, k), -np.inf, dtype=np.float32)
    padded_codes[:, :width] = np.where(np.isneginf(values), -1, codes)
    padded_values[:, :width] = values
    return padded_codes, padded_values


def _select(
    scores: np.ndarray, columns: np.ndarray | None, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """At most ``k`` best columns (named by ``columns``) and their scores, sorted."""
    if k < scores.shape[1]:
        chosen = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(scores, chosen, axis=1)
    else:
        chosen = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
        values = scores
    codes = chosen if columns is None else np.take_along_axis(columns, chosen, axis=1)
    order = np.lexsort((codes, -values), axis=1)
    return np.take_along_axis(codes, order, axis=1), np.take_along_axis(values, order, axis=1)


def winners(
    vectors: np.ndarray, queries: np.ndarray, mask: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """The interest in use that is nearest each item, int32 of shape (B, k); -1 for padding."""
    similarity = np.einsum("bkd,bjd->bjk", queries, vectors[codes], optimize=True)
    similarity = np.where(mask[:, None, :], similarity, -np.inf)
    return np.where(codes >= 0, similarity.argmax(2), -1).astype(np.int32)
