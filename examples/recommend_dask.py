"""Recommend on Dask: ``map_partitions`` takes a `BatchRecommender` as it is.

Needs ``pip install skmind[dask]``. Run it with ``python examples/recommend_dask.py``.
"""

from tempfile import TemporaryDirectory

import dask.dataframe as dd
from distributed import Client

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.distributed import BatchRecommender

N_WORKERS = 2


def start():
    """Return a client of two processes on this machine; on a cluster, give its address."""
    return Client(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=None)


def recommend(path, users, k=10):
    """Return recommendations for the column ``user_id`` of a Dask frame."""
    batch = BatchRecommender(path, k)
    return users.map_partitions(batch, meta=batch.schema.pandas)


def recommend_from_history(path, interactions, k=10):
    """Return recommendations for people who were not in ``fit``, each in one partition."""
    batch = BatchRecommender(path, k, histories=True)
    return interactions.shuffle("user_id").map_partitions(batch, meta=batch.schema.pandas)


def main():
    """Fit on 500 users, and recommend to them and to 100 others."""
    X = make_interactions(600, 200, random_state=0).interactions
    is_new = X["user_id"] >= 500
    with start(), TemporaryDirectory() as path:
        MINDRecommender(max_epochs=2, random_state=0).fit(X[~is_new]).save(path)
        users = dd.from_pandas(X.loc[~is_new, ["user_id"]].drop_duplicates(), npartitions=4)
        print(recommend(path, users).compute())
        interactions = dd.from_pandas(X[is_new], npartitions=4)
        print(recommend_from_history(path, interactions).compute())


if __name__ == "__main__":
    main()
