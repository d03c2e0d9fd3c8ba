"""Recommend in two processes of this machine, with the standard library only.

Run it with ``python examples/recommend_processes.py``.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tempfile import TemporaryDirectory

import pandas as pd

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.distributed import BatchRecommender

N_WORKERS = 2


def recommend(path, users, k=10):
    """Return recommendations for the column ``user_id`` of a frame."""
    return run(BatchRecommender(path, k), [users[i::N_WORKERS] for i in range(N_WORKERS)])


def recommend_from_history(path, interactions, k=10):
    """Return recommendations for people who were not in ``fit``, each in one of the frames."""
    part = pd.factorize(interactions["user_id"])[0] % N_WORKERS
    frames = [interactions[part == i] for i in range(N_WORKERS)]
    return run(BatchRecommender(path, k, histories=True), frames)


def run(batch, frames):
    """Map the frames; a process that is spawned, not forked, may use torch."""
    with ProcessPoolExecutor(N_WORKERS, mp_context=get_context("spawn")) as pool:
        return pd.concat(pool.map(batch, frames), ignore_index=True)


def main():
    """Fit on 500 users, and recommend to them and to 100 others."""
    X = make_interactions(600, 200, random_state=0).interactions
    is_new = X["user_id"] >= 500
    with TemporaryDirectory() as path:
        MINDRecommender(max_epochs=2, random_state=0).fit(X[~is_new]).save(path)
        print(recommend(path, X.loc[~is_new, ["user_id"]].drop_duplicates()))
        print(recommend_from_history(path, X[is_new]))


if __name__ == "__main__":
    main()
