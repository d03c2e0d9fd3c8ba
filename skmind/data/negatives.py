"""Item counts → negatives that a batch shares, and the expected number of each."""

from __future__ import annotations

import numpy as np

STRATEGIES = ("uniform", "popularity", "in_batch", "mixed")


class NegativeSampler:
    """Draws the negatives that all samples of a batch share.

    Parameters
    ----------
    counts : ndarray of shape (n_items,)
        Number of times that each item is a target.
    n_negatives : int or "all"
        Number of negatives drawn per batch. "all", or a number of at least the number of items:
        every item once (full softmax).
    strategy : {"uniform", "popularity", "in_batch", "mixed"}
        "uniform" draws all items with the same probability, "popularity" in proportion to
        ``counts``. "in_batch" takes the targets of the batch and draws nothing. "mixed" takes the
        targets and draws ``n_negatives`` uniform negatives.
    rng : numpy.random.Generator
    groups : int, default=1
        Number of groups of equal size that the negatives are split into. Above 1, negatives are
        returned in random order, and some are repeated to make their number a multiple of
        ``groups``.
    items : ndarray of int or None, default=None
        Items that uniform draws and the full softmax use. None: all items.
    """

    def __init__(
        self,
        counts: np.ndarray,
        n_negatives: int | str,
        strategy: str,
        rng: np.random.Generator,
        groups: int = 1,
        items: np.ndarray | None = None,
    ) -> None:
        self.items = np.arange(len(counts)) if items is None else items
        self.n_items = len(self.items)
        self.strategy = strategy
        self.rng = rng
        self.groups = groups
        self.is_full = n_negatives == "all" or (
            strategy != "in_batch" and int(n_negatives) >= self.n_items
        )
        self.n_negatives = self.n_items if self.is_full else int(n_negatives)
        self._share = counts / max(counts.sum(), 1)
        self._cumulative = np.cumsum(self._share)

    def draw(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw the negatives of a batch; items may be repeated.

        Parameters
        ----------
        targets : ndarray of shape (B,), int

        Returns
        -------
        codes : ndarray of shape (N,), int64
        log_expected : ndarray of shape (N,), float32
            Logarithm of the expected number of times that each item is among the N. The loss
            subtracts it (log-Q correction).
        """
        n = self.n_negatives
        if self.is_full:
            codes = self.items
            expected = np.ones(self.n_items)
        elif self.strategy == "uniform":
            codes = self.items[self.rng.integers(self.n_items, size=n)]
            expected = np.full(n, n / self.n_items)
        elif self.strategy == "popularity":
            drawn = np.searchsorted(self._cumulative, self.rng.random(n), side="right")
            codes = np.minimum(drawn, len(self._share) - 1)
            expected = n * self._share[codes]
        elif self.strategy == "in_batch":
            codes = np.asarray(targets, dtype=np.int64)
            expected = len(targets) * self._share[codes]
        else:
            drawn = self.items[self.rng.integers(self.n_items, size=n)]
            codes = np.concatenate([targets, drawn])
            expected = len(targets) * self._share[codes] + n / self.n_items
        if self.groups > 1:
            codes, expected = self._in_groups(codes, expected)
        return codes, np.log(np.maximum(expected, 1e-12)).astype(np.float32)

    def _in_groups(self, codes: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shuffle the negatives, and repeat some until all groups have the same size."""
        n = len(codes)
        extra = self.rng.integers(n, size=-n % self.groups)
        order = self.rng.permutation(np.concatenate([np.arange(n), extra]))
        return codes[order], expected[order] * (len(order) / n)
