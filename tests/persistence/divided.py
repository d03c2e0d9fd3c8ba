"""A fitted recommender → its parts, as the processes of a fit have them, and threads as these."""

import copy
import pickle
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from skmind._model import Snapshot
from skmind.data.features import Features
from skmind.data.ids import IdEncoder
from skmind.exceptions import ProcessLostError
from skmind.nn.processes import Processes


def divided(rec, n, part_of=None):
    """Return the recommenders that ``n`` processes have after a fit that gave ``rec``."""
    model = rec._model
    part_of = np.arange(len(model.users)) % n if part_of is None else np.asarray(part_of)
    parts = []
    for rank in range(n):
        rows = np.flatnonzero(part_of == rank)
        features = model.prepared.user_features
        prepared = replace(
            model.prepared,
            users=IdEncoder(model.users.ids[rows], "user"),
            interactions=model.interactions.take(rows),
            user_features=Features(
                features.encoder, features.matrix[rows], features.presence[rows]
            ),
        )
        part = copy.copy(rec)
        own = replace(model, prepared=prepared, part=(rank, n))
        part._snapshot = Snapshot(own, rec.item_embeddings_)
        parts.append(part)
    return parts


class ThreadGroup:
    """What the threads of one group share: the values of each collective, by rank."""

    def __init__(self, size):
        self.size = size
        self.changed = threading.Condition()
        self.collectives = []
        self.is_left = False


class ThreadProcess:
    """The collectives of `Processes`, for threads of one process."""

    def __init__(self, rank, group):
        self.rank = rank
        self.size = group.size
        self.is_first = rank == 0
        self.group = group
        self.n_calls = 0

    def gather(self, value):
        group = self.group
        with group.changed:
            if self.n_calls == len(group.collectives):
                group.collectives.append({})
            values = group.collectives[self.n_calls]
            self.n_calls += 1
            values[self.rank] = pickle.dumps(value)
            group.changed.notify_all()
            group.changed.wait_for(lambda: len(values) == self.size or group.is_left, 60)
            if len(values) < self.size:
                raise ProcessLostError("a process was lost")
        return [pickle.loads(values[rank]) for rank in range(self.size)]

    @contextmanager
    def reporting(self):
        try:
            yield
        except BaseException:
            with self.group.changed:
                self.group.is_left = True
                self.group.changed.notify_all()
            raise

    def close(self):
        pass


here = threading.local()  # the process that a thread stands for


@contextmanager
def threads_as_processes():
    """Let each thread of `in_threads` be a process of its own to skmind."""
    alone = Processes.running
    Processes.running = lambda method: getattr(here, "process", None) or alone(method)
    try:
        yield
    finally:
        Processes.running = alone


def in_threads(parts, action):
    """Return what ``action`` returns or raises for each part, in a thread per part."""
    outcomes = [None] * len(parts)
    group = ThreadGroup(len(parts))

    def run(rank):
        here.process = ThreadProcess(rank, group)
        try:
            outcomes[rank] = action(parts[rank])
        except BaseException as error:
            outcomes[rank] = error

    threads = [threading.Thread(target=run, args=[rank]) for rank in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def save_parts(rec, path, n=2, part_of=None):
    """Save a model in parts; return the sha256 of its manifest."""
    outcomes = in_threads(divided(rec, n, part_of), lambda part: part.save(path))
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    (digest,) = set(outcomes)
    return digest
