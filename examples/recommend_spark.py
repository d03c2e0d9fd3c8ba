"""Recommend on Spark: ``mapInPandas`` takes a `BatchRecommender` as it is.

Needs ``pip install skmind[spark]`` and Java 17 or newer. Run it with
``python examples/recommend_spark.py``.
"""

import os
import sys
from tempfile import TemporaryDirectory

from pyspark.sql import SparkSession

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.distributed import BatchRecommender

N_WORKERS = 2


def start():
    """Return a session with two workers on this machine; on a cluster, take the one there is."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    return (
        SparkSession.builder.master(f"local[{N_WORKERS}]")
        .config("spark.sql.shuffle.partitions", N_WORKERS)
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", 10_000)  # users per call
        .getOrCreate()
    )


def recommend(path, users, k=10):
    """Return recommendations for the column ``user_id`` of a Spark frame."""
    batch = BatchRecommender(path, k)
    return users.mapInPandas(batch, batch.schema.spark)


def recommend_from_history(path, interactions, k=10):
    """Return recommendations for people who were not in ``fit``.

    Spark brings the rows of each person together; a batch may cut them, an iterator heals that.
    """
    batch = BatchRecommender(path, k, histories=True)
    grouped = interactions.repartition("user_id").sortWithinPartitions("user_id")
    return grouped.mapInPandas(batch, batch.schema.spark)


def main():
    """Fit on 500 users, and recommend to them and to 100 others."""
    X = make_interactions(600, 200, random_state=0).interactions
    is_new = X["user_id"] >= 500
    spark = start()
    with TemporaryDirectory() as path:
        MINDRecommender(max_epochs=2, random_state=0).fit(X[~is_new]).save(path)
        users = spark.createDataFrame(X.loc[~is_new, ["user_id"]].drop_duplicates())
        recommend(path, users).show(5)
        recommend_from_history(path, spark.createDataFrame(X[is_new])).show(5)
    spark.stop()


if __name__ == "__main__":
    main()
