"""Interactions → shuffled training batches of (history window, length, user, target)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .interactions import Interactions

CHUNK = 8  # batches that are sorted by length together: less padding, order still random


class Batch(NamedTuple):
    """One training batch.

    Attributes
    ----------
    history : ndarray of shape (B, L), int32
        Item codes, newest first, padded with -1.
    lengths, users, targets : ndarray of shape (B,), int64
    """

    history: np.ndarray
    lengths: np.ndarray
    users: np.ndarray
    targets: np.ndarray


class BatchSampler:
    """Every event after a user's first is one sample: its history is what came before.

    Windows are gathered when a batch is made, so memory does not grow with samples × length.

    Parameters
    ----------
    interactions : Interactions
    batch_size : int
        At most this many samples a batch.
    max_history : int
        Events before the target that the window holds at most.
    rng : numpy.random.Generator
    """

    def __init__(
        self,
        interactions: Interactions,
        batch_size: int,
        max_history: int,
        rng: np.random.Generator,
    ) -> None:
        self.interactions = interactions
        self.batch_size = batch_size
        self.max_history = max_history
        self.rng = rng
        lengths = interactions.lengths
        self._users = np.repeat(np.arange(interactions.n_users, dtype=np.int32), lengths)
        is_first = np.zeros(len(interactions.items), dtype=bool)
        is_first[interactions.offsets[:-1][lengths > 0]] = True
        self._targets = np.flatnonzero(~is_first)

    @property
    def n_samples(self) -> int:
        """Samples an epoch."""
        return len(self._targets)

    @property
    def n_batches(self) -> int:
        """Batches an epoch."""
        return -(-self.n_samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        shuffled = self.rng.permutation(self._targets)
        starts = self.interactions.offsets
        batches = []
        for i in range(0, len(shuffled), CHUNK * self.batch_size):
            chunk = shuffled[i : i + CHUNK * self.batch_size]
            lengths = np.minimum(chunk - starts[self._users[chunk]], self.max_history)
            chunk = chunk[np.argsort(lengths, kind="stable")]
            parts = [chunk[j : j + self.batch_size] for j in range(0, len(chunk), self.batch_size)]
            batches += [parts[j] for j in self.rng.permutation(len(parts))]
        for positions in batches:
            users = self._users[positions].astype(np.int64)
            history, lengths = self.interactions.windows(positions, users, self.max_history)
            yield Batch(
                history, lengths, users, self.interactions.items[positions].astype(np.int64)
            )
