"""A task in codes: what the benchmarks hand to recommenders that know no ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from harness import K, Task
from scipy.sparse import csr_matrix

BLOCK = 512  # users that are scored together


class Events:
    """Events of the users in time order, ties in row order, by codes; unknown items left out."""

    def __init__(self, frame: pd.DataFrame, users: np.ndarray, items: np.ndarray) -> None:
        frame = frame.sort_values("timestamp", kind="stable").sort_values("user_id", kind="stable")
        codes = pd.Index(items).get_indexer(frame["item_id"])
        self.item_codes = codes[codes >= 0]
        self.user_codes = pd.Index(users).get_indexer(frame["user_id"])[codes >= 0]
        self.bounds = np.searchsorted(self.user_codes, np.arange(len(users) + 1))
        ones = np.ones(len(self.item_codes), dtype=np.float32)
        shape = len(users), len(items)
        self.matrix = csr_matrix((ones, (self.user_codes, self.item_codes)), shape)
        self.matrix.data[:] = 1  # an item is met or it is not


class Log:
    """What a peer is trained on, ``known``, and what it recommends from, ``history``."""

    def __init__(self, task: Task) -> None:
        self.users = np.unique(task.history["user_id"])
        self.items = np.unique(task.known["item_id"])
        self.shape = len(self.users), len(self.items)
        self.known = Events(task.known, self.users, self.items)
        self.history = Events(task.history, self.users, self.items)

    def blocks(self) -> Iterator[slice]:
        """Slices of users."""
        yield from (slice(start, start + BLOCK) for start in range(0, self.shape[0], BLOCK))

    def frame(self, codes: np.ndarray) -> pd.DataFrame:
        """Recommendations (n_users, K) as a frame; -1 is no item."""
        table = pd.DataFrame(
            {
                "user_id": np.repeat(self.users, codes.shape[1]),
                "item_id": self.items[codes.ravel()],
                "rank": np.tile(np.arange(1, codes.shape[1] + 1), len(codes)),
            }
        )
        return table[codes.ravel() >= 0]

    def rank(self, score: Callable[[slice], np.ndarray]) -> pd.DataFrame:
        """The K best of each user by a function that scores all items for a slice of users."""
        best = []
        for block in self.blocks():
            scores = np.array(score(block))
            scores[self.history.matrix[block].nonzero()] = -np.inf
            top = np.sort(np.argpartition(-scores, K, axis=1)[:, :K], axis=1)
            order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
            best.append(np.take_along_axis(top, order, axis=1))
        return self.frame(np.concatenate(best))
