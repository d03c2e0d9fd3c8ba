"""Interactions → shuffled training batches of (history chunk, length, user, targets)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .interactions import PADDING, Interactions
from .shard import Shard
from .ties import Ties, draw_tie_order

# The chunks of this many batches are sorted by length together. Batches then need little padding,
# and their order stays random.
BATCHES_PER_SORT = 8


class Batch(NamedTuple):
    """One training batch of B chunks of history, newest item first.

    Column ``q`` is one sample: its target is an event that follows item ``q``, and its history is
    the items from column ``q`` on.

    Attributes
    ----------
    history, targets : ndarray of shape (B, L), int32
        Item codes, padded with -1.
    lengths, users : ndarray of shape (B,), int64
        Number of samples and user code of each chunk.
    rows : ndarray of shape (B,), int64
        Number of each chunk in the batch of all processes.
    n_chunks, n_samples : int
        Of the batch of all processes.
    n_before : ndarray of shape (B,), int64
        Number of events of the user before the chunk.
    weights : ndarray of shape (B, L), float32, or None
        Weight of each target, relative to the mean of an epoch; 0 in the padding. An event of
        weight 0 is no target: -1 stands in its place. None: all weights are 1.
    """

    history: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray
    users: np.ndarray
    n_before: np.ndarray
    rows: np.ndarray
    n_chunks: int
    n_samples: int
    weights: np.ndarray | None = None


class BatchSampler:
    """Iterate over the batches of one epoch; each iteration is a new epoch.

    Every event except the first per user is one sample per epoch. Its history is the events before
    it. All samples of a chunk of history are trained together, so that the chunk is looked up and
    encoded once instead of once per sample. Histories with more than ``max_history`` samples are
    cut at new places in every epoch, so that every event gets histories of all lengths. Chunks are
    gathered when their batch is made, so that memory does not grow with samples × length.

    Users without a target, and events of weight 0, are no targets but stay in the histories.

    With several processes, all draw the same batches, and each yields its own users' share of them.

    Parameters
    ----------
    interactions : Interactions
    batch_size : int
        Approximate number of samples per batch; chunks are not divided between batches.
    max_history : int
        Maximum number of items per chunk.
    rng : numpy.random.Generator
    samples_per_epoch : int or None, default=None
        Approximate number of samples per epoch. Users are drawn at random until they have this
        many samples; at least one user is drawn. None: all users.
    horizon : int, default=1
        Each target is drawn from this many events that follow the item. If fewer events follow,
        the last one is drawn instead of the missing ones.
    ties : Ties or None, default=None
        Events whose order is drawn anew in every epoch; None: no events.
    shard : Shard or None, default=None
        Numbers of the users of ``interactions`` among those of all processes; None: one process.
    """

    def __init__(
        self,
        interactions: Interactions,
        batch_size: int,
        max_history: int,
        rng: np.random.Generator,
        samples_per_epoch: int | None = None,
        horizon: int = 1,
        ties: Ties | None = None,
        shard: Shard | None = None,
    ) -> None:
        self.shard = Shard.whole(interactions.n_users) if shard is None else shard
        self.interactions = interactions
        self.ties = ties
        self.batch_size = batch_size
        self.max_history = max_history
        self.rng = rng
        self.samples_per_epoch = samples_per_epoch
        self.horizon = horizon
        self._samples_per_user = self.shard.of_all(interactions.n_samples)  # of all processes
        self._weight_scale = _weight_scale(interactions, self.shard)

    @property
    def n_samples(self) -> int:
        """Number of samples per epoch; approximate if ``samples_per_epoch`` is set."""
        n_samples = int(self._samples_per_user.sum())
        return min(n_samples, self.samples_per_epoch or n_samples)

    def __iter__(self) -> Iterator[Batch]:
        all_users, all_stops, all_lengths = self._draw_chunks()
        interactions = self.interactions
        if self.ties is not None:
            interactions = draw_tie_order(interactions, self.ties, self.rng, self.shard.numbers)
        for chunks in self._draw_batches(all_lengths):
            n_chunks = len(chunks)
            L = int(all_lengths[chunks].max())
            n_samples = int(all_lengths[chunks].sum())
            n_skipped = None
            if self.horizon > 1:
                n_skipped = self.rng.integers(self.horizon, size=(n_chunks, L))
            users = self.shard.own(all_users[chunks])
            rows = np.flatnonzero(users >= 0)
            users = users[rows]
            lengths = all_lengths[chunks[rows]]
            stops = all_stops[chunks[rows]]
            ends = interactions.offsets[users] + stops
            history = interactions.windows(ends, lengths, L)
            targets, weights = self._targets(
                interactions, history, ends, users, None if n_skipped is None else n_skipped[rows]
            )
            n_before = stops - lengths
            yield Batch(
                history, targets, lengths, users, n_before, rows, n_chunks, n_samples, weights
            )

    def _draw_chunks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut the histories of the users of an epoch into chunks, and shuffle the chunks.

        Returns
        -------
        users, stops, lengths : ndarray of shape (n_chunks,), int64
            Number of the user among all processes', position of the last target in the user's
            history, and number of samples.
        """
        L = self.max_history
        drawn = self._draw_users()
        n_samples = self._samples_per_user[drawn]

        # The first chunk of a long history has a random length up to L. All others have the length
        # L, except the last, so this one draw moves all cuts of the history.
        random_lengths = self.rng.integers(1, L + 1, size=len(drawn))
        first_lengths = np.where(n_samples > L, random_lengths, n_samples)
        n_more = (n_samples - first_lengths + L - 1) // L
        n_chunks = np.where(n_samples > 0, 1 + n_more, 0)

        # One entry per chunk: the position of its user in ``drawn``, and its number within the
        # user.
        rows = np.repeat(np.arange(len(drawn)), n_chunks)
        first_chunks = np.cumsum(n_chunks) - n_chunks
        numbers = np.arange(len(rows)) - first_chunks[rows]

        first_stops = first_lengths[rows]
        starts = np.where(numbers > 0, first_stops + (numbers - 1) * L, 0)
        stops = np.minimum(first_stops + numbers * L, n_samples[rows])
        users = drawn[rows]
        lengths = stops - starts
        order = self.rng.permutation(len(rows))
        return users[order], stops[order], lengths[order]

    def _draw_users(self) -> np.ndarray:
        """Return the numbers of the users of an epoch."""
        if self.samples_per_epoch is None:
            return np.arange(len(self._samples_per_user))
        users = self.rng.permutation(len(self._samples_per_user))
        n_samples = np.cumsum(self._samples_per_user[users])
        return users[: np.searchsorted(n_samples, self.samples_per_epoch) + 1]

    def _draw_batches(self, lengths: np.ndarray) -> list[np.ndarray]:
        """Return the chunks of each batch; chunks of one batch have similar lengths."""
        batches = []
        for chunks in _split_by_samples(lengths, BATCHES_PER_SORT * self.batch_size):
            chunks = chunks[np.argsort(lengths[chunks], kind="stable")]
            parts = _split_by_samples(lengths[chunks], self.batch_size)
            batches += [chunks[parts[i]] for i in self.rng.permutation(len(parts))]
        return batches

    def _targets(
        self,
        interactions: Interactions,
        history: np.ndarray,
        ends: np.ndarray,
        users: np.ndarray,
        n_skipped: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return one of the events that follow each item of the chunks, and its weight.

        ``n_skipped``, of the shape of ``history``, says which one; None: the next. Items are -1 and
        weights 0 where there is no target.
        """
        items = interactions.items
        if n_skipped is None and interactions.weights is None:
            # The newest item comes first, so the next event is in the column to the left.
            following = np.column_stack([items[ends], history[:, :-1]])
            return np.where(history < 0, history, following), None
        places = ends[:, None] - np.arange(history.shape[1])
        if n_skipped is not None:
            last_places = interactions.offsets[users + 1] - 1
            places = np.minimum(places + n_skipped, last_places[:, None])
        places = np.maximum(places, 0)  # only the padding has negative places
        targets = np.where(history < 0, history, items[places])
        if interactions.weights is None:
            return targets, None
        weights = np.where(history < 0, 0, interactions.weights[places] * self._weight_scale)
        targets[weights == 0] = PADDING
        return targets, weights.astype(np.float32)


def _weight_scale(interactions: Interactions, shard: Shard) -> float:
    """Return the factor that makes the mean weight of all samples of all processes 1."""
    if interactions.weights is None:
        return 1.0
    own_total = interactions.weights[interactions.is_target].sum(dtype=np.float64)
    n_samples, total = shard.processes.sum(np.array([interactions.n_samples.sum(), own_total]))
    return float(n_samples / total) if total else 1.0


def _split_by_samples(lengths: np.ndarray, n_samples: int) -> list[np.ndarray]:
    """Split the chunks, in order, into groups of about ``n_samples`` samples each."""
    if not len(lengths):
        return []
    groups = (np.cumsum(lengths) - lengths) // n_samples
    starts = np.flatnonzero(np.diff(groups)) + 1
    return np.split(np.arange(len(lengths)), starts)
