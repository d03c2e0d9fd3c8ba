"""The examples, each with two workers, return the rows of `recommend`."""

import shutil

import pytest

from skmind.exceptions import InvalidInputError


def test_processes(case, example, check_rows):
    names = example("processes")
    rows = names["recommend"](case.path, case.users)
    check_rows(rows, case.recommended)
    assert rows["user_id"].unique().tolist() == [
        *case.users["user_id"][::2],
        *case.users["user_id"][1::2],
    ]
    rows = names["recommend_from_history"](case.path, case.interactions)
    check_rows(rows, case.recommended_from_history)


@pytest.fixture(scope="module")
def spark(example):
    pytest.importorskip("pyspark", reason="needs pip install skmind[spark]")
    if not shutil.which("java"):
        pytest.skip("Spark needs Java 17 or newer")
    session = example("spark")["start"]()
    yield session
    session.stop()


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
def test_spark(case, spark, example, check_rows):
    names = example("spark")
    # Small batches cut the histories of people.
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 700)
    users = spark.createDataFrame(case.users).repartition(2)
    found = names["recommend"](case.path, users)
    assert found.rdd.getNumPartitions() == 2
    check_rows(found.toPandas(), case.recommended)
    interactions = spark.createDataFrame(case.interactions).repartition(2)
    found = names["recommend_from_history"](case.path, interactions)
    check_rows(found.toPandas(), case.recommended_from_history)


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
def test_spark_names_the_bad_row_and_its_partition(case, spark, example):
    from pyspark.errors import PythonException

    users = spark.createDataFrame([(1,), (None,), (2,)], "user_id bigint").coalesce(1)
    with pytest.raises(
        PythonException, match=r"partition 0 in the row \{'user_id': nan\}: .*missing"
    ):
        example("spark")["recommend"](case.path, users).collect()


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
def test_spark_gets_a_partition_without_rows(case, spark, example):
    users = spark.createDataFrame([(1,)], "user_id bigint").repartition(3)
    assert example("spark")["recommend"](case.path, users).count() == 10


@pytest.fixture(scope="module")
def dask(example):
    pytest.importorskip("dask.dataframe", reason="needs pip install skmind[dask]")
    pytest.importorskip("distributed", reason="needs pip install skmind[dask]")
    with example("dask")["start"]() as client:
        yield client


def test_dask(case, dask, example, check_rows):
    import dask.dataframe as dd

    names = example("dask")
    users = dd.from_pandas(case.users, npartitions=4)
    check_rows(names["recommend"](case.path, users).compute(), case.recommended)
    interactions = dd.from_pandas(case.interactions, npartitions=4)
    found = names["recommend_from_history"](case.path, interactions)
    check_rows(found.compute(), case.recommended_from_history)
    loads = dask.run(lambda: __import__("skmind.distributed").distributed._load.cache_info().misses)
    assert list(loads.values()) == [1, 1]  # each process loaded the model once


def test_dask_names_the_bad_row_and_its_partition(case, dask, example):
    import dask.dataframe as dd

    users = dd.from_pandas(case.users.astype(float).replace(1.0, float("nan")), npartitions=4)
    place = case.users.index[case.users["user_id"] == 1][0] // (-(-len(users) // 4))
    message = rf"partition {place} in the row \{{'user_id': nan\}}: .*missing"
    with pytest.raises(InvalidInputError, match=message):
        example("dask")["recommend"](case.path, users).compute()


@pytest.fixture(scope="module")
def ray(example):
    ray = pytest.importorskip("ray", reason="needs pip install skmind[ray]")
    pytest.importorskip("ray.data", reason="needs pip install skmind[ray]")
    example("ray")["start"]()
    yield ray
    ray.shutdown()


def test_ray(case, ray, example, check_rows):
    names = example("ray")
    found = names["recommend"](case.path, names["in_blocks"](case.users))
    check_rows(found.to_pandas(), case.recommended)
    found = names["recommend_from_history"](case.path, names["in_blocks"](case.interactions))
    check_rows(found.to_pandas(), case.recommended_from_history)


def test_ray_names_the_bad_row_and_its_task(case, ray, example):
    names = example("ray")
    users = case.users.astype(float).replace(1.0, float("nan"))
    found = names["recommend"](case.path, names["in_blocks"](users))
    with pytest.raises(Exception, match=r"Ray task \w+ in the row \{'user_id': nan\}: .*missing"):
        found.to_pandas()
