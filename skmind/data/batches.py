"""Interactions → shuffled training batches of (history chunk, length, user, targets)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .interactions import Interactions

SORTED = 8  # batches whose chunks are sorted by length together: less padding, order still random


class Batch(NamedTuple):
    """One training batch of B chunks of history, newest item first.

    Column ``q`` is one sample: its target is an event that followed item ``q``, its history are the
    items from column ``q`` on.

    Attributes
    ----------
    history, targets : ndarray of shape (B, L), int32
        Item codes, padded with -1.
    lengths, users : ndarray of shape (B,), int64
    n_before : ndarray of shape (B,), int64
        Events of the user before the chunk.
    """

    history: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray
    users: np.ndarray
    n_before: np.ndarray


class BatchSampler:
    """Every event after a user's first is one sample an epoch; its history is what came before.

    All samples of a chunk of history are trained together, so that it is looked up and encoded
    once rather than once for each. Histories longer than ``max_history`` are cut anew every epoch,
    so every event gets histories of all lengths. Chunks are gathered when a batch is made: memory
    does not grow with samples × length.

    Parameters
    ----------
    interactions : Interactions
    batch_size : int
        About this many samples a batch: chunks are not divided.
    max_history : int
        Items of a chunk at most.
    rng : numpy.random.Generator
    samples_per_epoch : int or None, default=None
        An epoch has the samples of so many users, drawn at random, as have about this many; at
        least one user. None: of all.
    horizon : int, default=1
        A target is drawn from so many events that follow; the last one stands for those missing.
    """

    def __init__(
        self,
        interactions: Interactions,
        batch_size: int,
        max_history: int,
        rng: np.random.Generator,
        samples_per_epoch: int | None = None,
        horizon: int = 1,
    ) -> None:
        self.interactions = interactions
        self.batch_size = batch_size
        self.max_history = max_history
        self.rng = rng
        self.samples_per_epoch = samples_per_epoch
        self.horizon = horizon
        self._n_samples = interactions.n_samples  # of each user

    @property
    def n_samples(self) -> int:
        """Samples an epoch, about if they are drawn."""
        n_samples = int(self._n_samples.sum())
        return min(n_samples, self.samples_per_epoch or n_samples)

    def __iter__(self) -> Iterator[Batch]:
        users, ends, lengths = self._chunks()
        batches = []
        for rows in _groups(lengths, SORTED * self.batch_size):
            rows = rows[np.argsort(lengths[rows], kind="stable")]
            parts = [rows[part] for part in _groups(lengths[rows], self.batch_size)]
            batches += [parts[i] for i in self.rng.permutation(len(parts))]
        for rows in batches:
            history = self.interactions.windows(ends[rows], lengths[rows])
            targets = self._targets(history, ends[rows], users[rows])
            n_before = ends[rows] - lengths[rows] - self.interactions.offsets[users[rows]]
            yield Batch(history, targets, lengths[rows], users[rows], n_before)

    def _targets(self, history: np.ndarray, ends: np.ndarray, users: np.ndarray) -> np.ndarray:
        """One of the events that followed each item of the chunks; -1 in the padding."""
        items = self.interactions.items
        if self.horizon == 1:
            following = np.column_stack([items[ends], history[:, :-1]])
        else:
            last = self.interactions.offsets[users + 1] - 1
            ahead = self.rng.integers(self.horizon, size=history.shape)
            places = np.minimum(ends[:, None] - np.arange(history.shape[1]) + ahead, last[:, None])
            following = items[np.maximum(places, 0)]
        return np.where(history < 0, history, following)

    def _chunks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """User, end (the position of the last target) and length of all chunks, shuffled."""
        drawn = self._draw_users()
        n, L = self._n_samples[drawn], self.max_history
        oldest = np.where(n > L, self.rng.integers(1, L + 1, size=len(n)), n)  # cut here first
        n_chunks = np.where(n > 0, 1 - (oldest - n) // L, 0)
        rows = np.repeat(np.arange(len(n)), n_chunks)
        turn = np.arange(len(rows)) - np.repeat(np.cumsum(n_chunks) - n_chunks, n_chunks)
        stops = np.minimum(oldest[rows] + turn * L, n[rows])
        lengths = stops - np.where(turn > 0, oldest[rows] + (turn - 1) * L, 0)
        order = self.rng.permutation(len(rows))
        users = drawn[rows]
        ends = self.interactions.offsets[users] + stops
        return users[order], ends[order], lengths[order]

    def _draw_users(self) -> np.ndarray:
        """Users of an epoch."""
        if self.samples_per_epoch is None:
            return np.arange(len(self._n_samples))
        users = self.rng.permutation(len(self._n_samples))
        n_samples = np.cumsum(self._n_samples[users])
        return users[: np.searchsorted(n_samples, self.samples_per_epoch) + 1]


def _groups(lengths: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive rows, as many as have about ``size`` samples together, at least one."""
    if not len(lengths):
        return
    group = (np.cumsum(lengths) - lengths) // size
    yield from np.split(np.arange(len(lengths)), np.flatnonzero(np.diff(group)) + 1)
