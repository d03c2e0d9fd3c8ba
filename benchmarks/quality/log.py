"""Task with ids → task with codes, for recommenders that take codes instead of ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from harness import TOP_K, Task
from scipy.sparse import csr_matrix

USERS_PER_BLOCK = 512


class Events:
    """Events as codes, by user and in time order, without unknown items.

    Attributes
    ----------
    user_codes, item_codes : ndarray of shape (n_events,)
    bounds : ndarray of shape (n_users + 1,)
        The events of user ``u`` are those from ``bounds[u]`` to before ``bounds[u + 1]``.
    matrix : csr_matrix of shape (n_users, n_items), float32
        1 where the user has an event with the item.
    """

    def __init__(self, frame: pd.DataFrame, users: np.ndarray, items: np.ndarray) -> None:
        frame = frame.sort_values("timestamp", kind="stable").sort_values("user_id", kind="stable")
        codes = pd.Index(items).get_indexer(frame["item_id"])
        self.item_codes = codes[codes >= 0]
        self.user_codes = pd.Index(users).get_indexer(frame["user_id"])[codes >= 0]
        self.bounds = np.searchsorted(self.user_codes, np.arange(len(users) + 1))
        ones = np.ones(len(self.item_codes), dtype=np.float32)
        shape = len(users), len(items)
        self.matrix = csr_matrix((ones, (self.user_codes, self.item_codes)), shape)
        self.matrix.data[:] = 1  # repeated events count once


class Log:
    """Events to train on, ``known``, and events to recommend from, ``history``.

    Parameters
    ----------
    task : Task
    excludes_seen : bool, default=True
        Whether items of the history are not recommended again.
    has_new_users : bool, default=False
        Whether the users to recommend to are others than those to train on.
    """

    def __init__(self, task: Task, excludes_seen: bool = True, has_new_users: bool = False) -> None:
        self.excludes_seen = excludes_seen
        self.users = np.unique(task.history["user_id"])
        self.items = np.unique(task.known["item_id"])
        self.shape = len(self.users), len(self.items)
        known_users = np.unique(task.known["user_id"]) if has_new_users else self.users
        self.known = Events(task.known, known_users, self.items)
        self.history = Events(task.history, self.users, self.items)

    def blocks(self) -> Iterator[slice]:
        """Yield slices of users that are scored together."""
        for start in range(0, self.shape[0], USERS_PER_BLOCK):
            yield slice(start, start + USERS_PER_BLOCK)

    def frame(self, codes: np.ndarray) -> pd.DataFrame:
        """Return recommendations (n_users, k) as a frame; -1 stands for no item."""
        table = pd.DataFrame(
            {
                "user_id": np.repeat(self.users, codes.shape[1]),
                "item_id": self.items[codes.ravel()],
                "rank": np.tile(np.arange(1, codes.shape[1] + 1), len(codes)),
            }
        )
        return table[codes.ravel() >= 0]

    def rank(self, score: Callable[[slice], np.ndarray]) -> pd.DataFrame:
        """Return the best items of each user, without those of the history if they are excluded.

        Parameters
        ----------
        score : callable
            Takes a slice of users and returns the scores of all items, of shape (n_users, n_items).
        """
        best = []
        for block in self.blocks():
            scores = np.array(score(block))
            if self.excludes_seen:
                scores[self.history.matrix[block].nonzero()] = -np.inf
            top = np.sort(np.argpartition(-scores, TOP_K, axis=1)[:, :TOP_K], axis=1)
            order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
            best.append(np.take_along_axis(top, order, axis=1))
        return self.frame(np.concatenate(best))
