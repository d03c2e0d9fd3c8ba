"""Recommend on Ray Data: two actors, each of which loads the model once.

Needs ``pip install skmind[ray]``. Run it with ``python examples/recommend_ray.py``.
"""

import os
from tempfile import TemporaryDirectory

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # nobody else reaches a local cluster

import ray
from ray.data import ActorPoolStrategy

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.distributed import BatchRecommender

N_WORKERS = 2


def start():
    """Start a cluster of two processors on this machine; elsewhere, give its address."""
    ray.init(num_cpus=N_WORKERS, include_dashboard=False, log_to_driver=False)


def in_blocks(frame):
    """Return a dataset with a block per worker."""
    return ray.data.from_pandas([frame[i::N_WORKERS] for i in range(N_WORKERS)])


def recommend(path, users, k=10):
    """Return recommendations for the column ``user_id`` of a dataset."""
    return run(users, path, k, batch_size=10_000)


def recommend_from_history(path, interactions, k=10):
    """Return recommendations for people who were not in ``fit``.

    Sorting puts all rows of a person into one block. It ends before the actors start, which would
    take the processors that it needs.
    """
    grouped = interactions.sort("user_id").materialize()
    return run(grouped, path, k, histories=True, batch_size=None)


def run(dataset, path, k, *, batch_size, **arguments):
    """Map the batches of a dataset; ``batch_size=None`` takes whole blocks."""
    return dataset.map_batches(
        BatchRecommender,
        fn_constructor_args=(path, k),
        fn_constructor_kwargs=arguments,
        batch_format="pandas",
        batch_size=batch_size,
        compute=ActorPoolStrategy(size=N_WORKERS),
    )


def main():
    """Fit on 500 users, and recommend to them and to 100 others."""
    X = make_interactions(600, 200, random_state=0).interactions
    is_new = X["user_id"] >= 500
    start()
    with TemporaryDirectory() as path:
        MINDRecommender(max_epochs=2, random_state=0).fit(X[~is_new]).save(path)
        users = X.loc[~is_new, ["user_id"]].drop_duplicates()
        print(recommend(path, in_blocks(users)).to_pandas())
        print(recommend_from_history(path, in_blocks(X[is_new])).to_pandas())
    ray.shutdown()


if __name__ == "__main__":
    main()
