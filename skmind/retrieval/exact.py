"""Interests (B, K, D) → exact top k items of each row, computed in tiles."""

from __future__ import annotations

import numpy as np

from ..data.ragged import Ragged
from .base import TopK, multiply, run_in_threads, soft_maximum

BLOCK_SCORES = 2**23  # scores held at once: 32 MiB
TILE_PRODUCTS = 2**20  # products held at once, before the maximum over the interests: 4 MiB
SOFT_TILE_PRODUCTS = 2**17  # of which the soft maximum, which makes several passes, is computed
BLOCK_MIN_ROWS = 64  # rows per pass over a large catalogue; matrix products of fewer are slow
SMALL_ALLOWLIST_SHARE = 0.1  # a shorter allow-list is searched as a catalogue of its own
MAX_CANDIDATE_SHARE = 0.02  # of the scores of a block; more are computed faster as matrices
MAX_KEPT_ITEMS = 2**16  # in a larger catalogue, the products of a few rows don't fit into a tile


class ExactIndex:
    """Scores every item; the reference for the recall of the other indexes.

    Parameters
    ----------
    vectors : ndarray of shape (n_items, D), float32, unit length
    temperature : float or None, default=None
        See `soft_maximum`.
    """

    def __init__(self, vectors: np.ndarray, temperature: float | None = None) -> None:
        self.vectors = vectors
        self.temperature = temperature

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
        if allowed is not None and allowed.mean() < SMALL_ALLOWLIST_SHARE:
            return self._search_allowed(queries, mask, k, excluded, allowed, n_jobs)
        B, _, D = queries.shape
        n = len(self.vectors)
        top = TopK.padding(B, k)
        n_used = mask.sum(1)
        numbers_per_row = max(1, min(n, BLOCK_SCORES // BLOCK_MIN_ROWS), min(n, k) * D)
        size = max(1, BLOCK_SCORES // numbers_per_row)
        parts = []
        for K in np.unique(n_used[n_used > 0]):
            # Rows with the same number of interests share a block; unused interests cost nothing.
            rows = np.flatnonzero(n_used == K)
            parts += [rows[start : start + size] for start in range(0, len(rows), size)]

        def fill(rows: np.ndarray) -> None:
            used = np.nonzero(mask[rows])[1].reshape(len(rows), -1)  # (b, K)
            found = self._search_block(
                queries[rows[:, None], used], k, excluded.take(rows), allowed
            )
            won = np.take_along_axis(used, found.interests, axis=1)
            for part, theirs in zip(top, found._replace(interests=won), strict=True):
                part[rows, : theirs.shape[1]] = theirs

        run_in_threads(fill, parts, n_jobs)
        return top.padded()

    def _search_allowed(
        self,
        queries: np.ndarray,
        mask: np.ndarray,
        k: int,
        excluded: Ragged,
        allowed: np.ndarray,
        n_jobs: int | None,
    ) -> TopK:
        """Search a small allow-list as a catalogue of its own."""
        items = np.flatnonzero(allowed)
        new_code = np.cumsum(allowed) - 1
        excluded = excluded.where(allowed[excluded.values])
        excluded = Ragged(new_code[excluded.values], excluded.offsets)
        index = ExactIndex(self.vectors[items], self.temperature)
        top = index.search(queries, mask, k, excluded, None, n_jobs)
        return top._replace(codes=np.append(items, -1).astype(np.int32)[top.codes])

    def _search_block(
        self, queries: np.ndarray, k: int, excluded: Ragged, allowed: np.ndarray | None
    ) -> TopK:
        """Search with all interests of ``queries`` (b, K, D), which fit into one block."""
        b, K, _ = queries.shape
        n = len(self.vectors)
        is_soft = self.temperature is not None and K > 1
        if is_soft and 0 < n <= MAX_KEPT_ITEMS:
            return self._search_softly(queries, k, excluded, allowed)
        rows, banned = excluded.pairs()
        codes = np.empty((b, 0), dtype=np.int64)
        values = np.empty((b, 0), dtype=np.float32)
        width = max(1, min(n, BLOCK_SCORES // b))
        block = np.empty((b, width), dtype=np.float32)
        for start in range(0, n, width):
            stop = min(start + width, n)
            scores = block[:, : stop - start]
            self._score(queries, start, scores, None)
            in_block = (banned >= start) & (banned < stop)
            scores[rows[in_block], banned[in_block] - start] = -np.inf
            if allowed is not None:
                scores[:, ~allowed[start:stop]] = -np.inf
            if is_soft:
                self._soften(queries, k, start, scores)
            found, found_values = top_k(scores, k)
            codes = np.concatenate([codes, found + start], axis=1)
            best, values = top_k(np.concatenate([values, found_values], axis=1), k)
            codes = np.take_along_axis(codes, best, axis=1)
        return TopK(codes, values, winners(self.vectors, queries, codes))

    def _search_softly(
        self, queries: np.ndarray, k: int, excluded: Ragged, allowed: np.ndarray | None
    ) -> TopK:
        """Search with the soft maximum, a few rows at a time, whose products are kept.

        A soft maximum is at most the highest product. So an item whose highest product is below the
        ``k``-th soft maximum of any ``k`` items is not among the top ``k``. Few items remain, and
        only their soft maxima are computed.
        """
        b, K, D = queries.shape
        n = len(self.vectors)
        size = max(1, TILE_PRODUCTS // (K * n))
        parts = []
        for start in range(0, b, size):
            part = queries[start : start + size]
            products = multiply(part.reshape(-1, D), self.vectors.T).reshape(len(part), K, n)
            scores = products.max(1)
            scores[excluded.slice_rows(start, start + len(part)).pairs()] = -np.inf
            if allowed is not None:
                scores[:, ~allowed] = -np.inf
            columns, values = top_k(scores, k)
            found = np.take_along_axis(products, columns[:, None], axis=2)  # (r, K, min(k, n))
            limit = self._lowest_score(found, values, 1)
            rows, columns = np.nonzero((scores >= limit) & (scores > -np.inf))
            scores.fill(-np.inf)
            scores[rows, columns] = soft_maximum(products[rows, :, columns], 1, self.temperature)
            columns, values = top_k(scores, k)
            won = np.take_along_axis(products, columns[:, None], axis=2).argmax(1)
            parts.append(TopK(columns, values, won))
        return TopK(*map(np.concatenate, zip(*parts, strict=True)))

    def score_all(self, queries: np.ndarray, excluded: Ragged) -> np.ndarray:
        """Return the score of every item for each row, (b, n_items), -inf for the excluded ones.

        Parameters
        ----------
        queries : ndarray of shape (b, K, D), float32
            All interests are in use.
        excluded : Ragged
        """
        scores = np.empty((len(queries), len(self.vectors)), dtype=np.float32)
        self._score(queries, 0, scores, self.temperature)
        scores[excluded.pairs()] = -np.inf
        return scores

    def _soften(self, queries: np.ndarray, k: int, start: int, scores: np.ndarray) -> None:
        """Replace the highest products (b, n) by the soft maxima, where these may be among the top.

        Which these are, `_search_softly` explains; the others get -inf. The products of all rows
        and items would take too much memory, so those of the candidates are computed again.
        """
        b, K, _ = queries.shape
        columns, values = top_k(scores, k)  # (b, min(k, n))
        found = multiply(self.vectors[start + columns], queries.transpose(0, 2, 1))
        temperature = self.temperature
        limit = self._lowest_score(found, values, 2)
        limit -= np.abs(limit) * 1e-5  # the products below may differ in the last bits
        rows, columns = np.nonzero((scores >= limit) & (scores > -np.inf))
        if len(rows) <= MAX_CANDIDATE_SHARE * scores.size:
            found = np.empty((len(rows), K), dtype=np.float32)
            ends = np.searchsorted(rows, np.arange(b + 1))
            for row, (first, last) in enumerate(zip(ends, ends[1:], strict=False)):
                items = self.vectors[start + columns[first:last]]
                # Unlike BLAS, einsum computes equal products of equal items at any place.
                np.einsum("id,kd->ik", items, queries[row], out=found[first:last])
            scores.fill(-np.inf)
            scores[rows, columns] = soft_maximum(found, 1, temperature)
        else:
            is_left_out = np.isneginf(scores)
            self._score(queries, start, scores, temperature)
            scores[is_left_out] = -np.inf

    def _lowest_score(self, products: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
        """Return the lowest soft maximum of each row, (b, 1); -inf if one of ``values`` is."""
        scores = soft_maximum(products, axis, self.temperature)
        scores[np.isneginf(values)] = -np.inf
        return scores.min(1, keepdims=True)

    def _score(
        self, queries: np.ndarray, start: int, out: np.ndarray, temperature: float | None
    ) -> None:
        """Write to ``out`` the soft maximum of the interests for the items from ``start`` on."""
        b, K, D = queries.shape
        flat = queries.reshape(b * K, D)
        size = TILE_PRODUCTS if temperature is None else SOFT_TILE_PRODUCTS
        width = max(1, size // len(flat))
        tile = np.zeros(len(flat) * width, dtype=np.float32)
        for first in range(0, out.shape[1], width):
            scores = out[:, first : first + width]
            products = tile[: K * scores.size].reshape(len(flat), -1)
            items = self.vectors[start + first : start + first + scores.shape[1]]
            multiply(flat, items.T, out=products)
            soft_maximum(products.reshape(b, K, -1), 1, temperature, out=scores)


def score_pairs(
    vectors: np.ndarray,
    interests: np.ndarray,
    mask: np.ndarray,
    rows: np.ndarray,
    items: np.ndarray,
    temperature: float | None = None,
) -> np.ndarray:
    """Return the `soft_maximum` of the products of each item with the interests of its row.

    Parameters
    ----------
    vectors : ndarray of shape (n_items, D), float32
    interests : ndarray of shape (n_rows, K, D), float32
    mask : ndarray of shape (n_rows, K), bool
        Interests in use.
    rows, items : ndarray of shape (n_pairs,), int
        Row of ``interests`` and row of ``vectors`` of each pair.
    temperature : float or None, default=None
        See `soft_maximum`.

    Returns
    -------
    ndarray of shape (n_pairs,), float32
        -inf where no interest of the row is in use.
    """
    _, K, D = interests.shape
    scores = np.empty(len(rows), dtype=np.float32)
    size = max(1, TILE_PRODUCTS // (K * D))
    for start in range(0, len(rows), size):
        block = slice(start, start + size)
        products = np.einsum("bkd,bd->bk", interests[rows[block]], vectors[items[block]])
        used = mask[rows[block]]
        products[~used] = -np.inf
        scores[block] = soft_maximum(products, 1, temperature, used.sum(1))
    return scores


def search_lists(
    vectors: np.ndarray,
    queries: np.ndarray,
    mask: np.ndarray,
    k: int,
    lists: Ragged,
    n_jobs: int | None = None,
    temperature: float | None = None,
) -> TopK:
    """Search as `Index.search` does, but each row only among the items of its own list.

    Parameters
    ----------
    vectors, queries, mask, k, n_jobs
        See `Index.search`.
    lists : Ragged
        Distinct items, ascending.
    temperature : float or None, default=None
        See `soft_maximum`.
    """
    top = TopK.padding(len(queries), k)
    lengths = lists.lengths
    has_interest = mask.any(1)
    power = np.frexp(lengths)[1]  # rows of similar length share a block with little padding
    parts = []
    for p in np.unique(power[power > 0]):
        rows = np.flatnonzero((power == p) & has_interest)
        size = max(1, BLOCK_SCORES // (int(lengths[rows].max(initial=1)) * vectors.shape[1]))
        parts += [rows[start : start + size] for start in range(0, len(rows), size)]

    def fill(rows: np.ndarray) -> None:
        columns = np.arange(lengths[rows].max())
        missing = columns >= lengths[rows, None]  # (b, M)
        places = np.where(missing, 0, lists.offsets[rows, None] + columns)
        codes = lists.values[places]
        products = multiply(vectors[codes], queries[rows].transpose(0, 2, 1))  # (b, M, K)
        products[np.broadcast_to(~mask[rows, None], products.shape)] = -np.inf
        won = products.argmax(2)
        n_used = mask[rows].sum(1)[:, None]  # at least 1
        soft = soft_maximum(products, 2, temperature, n_used)
        scores = np.where(missing, -np.inf, soft)
        best = top_k(scores, k)[0]
        candidates = TopK(codes, scores, won)
        for part, theirs in zip(top, candidates, strict=True):
            part[rows, : best.shape[1]] = np.take_along_axis(theirs, best, axis=1)

    run_in_threads(fill, parts, n_jobs)
    return top.padded()


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and values of the ``k`` highest scores of each row, best first.

    Works in two stages: the ``k`` groups of columns with the highest maxima hold the ``k`` highest
    scores, so only these groups are searched. Ties are in column order.

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
    size = int(np.sqrt(n / k / 2))  # columns per group; the fastest size in measurements
    if size < 2:
        columns = _largest(scores, k)
    else:
        # Group j has the columns j, j + m, j + 2m …, so that the maxima are vectorised.
        m = n // size
        maxima = scores[:, : size * m].reshape(B, size, m).max(1)
        groups = _largest(maxima, k)  # (B, k)
        members = (groups[:, None, :] + np.arange(0, size * m, m)[:, None]).reshape(B, size * k)
        ungrouped = np.broadcast_to(np.arange(size * m, n), (B, n - size * m))
        candidates = np.concatenate([members, ungrouped], axis=1)  # ascending
        best = _largest(np.take_along_axis(scores, candidates, axis=1), k)
        columns = np.take_along_axis(candidates, best, axis=1)
        # If groups tie at the threshold, an earlier column may be in a group that was left out.
        limit = np.take_along_axis(maxima, groups, axis=1).min(1, keepdims=True)
        tied = np.count_nonzero(maxima >= limit, axis=1) > k
        tied &= ~np.isneginf(limit[:, 0])
        columns[tied] = _largest(scores[tied], k)
    values = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def _largest(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the columns of the ``k`` highest scores, ascending; ties: the first columns."""
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
    """Return the interest that is nearest to each item, int64 of shape (B, k)."""
    return multiply(vectors[codes], queries.transpose(0, 2, 1)).argmax(2)
