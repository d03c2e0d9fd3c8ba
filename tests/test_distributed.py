"""`BatchRecommender` against `recommend`, in this process; tests/engines runs it on engines."""

import pickle
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from skmind import MINDRecommender, distributed
from skmind.datasets import make_interactions
from skmind.distributed import BatchRecommender
from skmind.exceptions import (
    IdTypeError,
    InvalidInputError,
    ModelFileError,
    ShortageWarning,
    UnknownIdError,
)

K = 4


@pytest.fixture(scope="module")
def X():
    return make_interactions(60, 50, n_topics=5, n_events=10, random_state=0).interactions


@pytest.fixture(scope="module")
def rec(X):
    return MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0).fit(X)


@pytest.fixture(scope="module")
def path(rec, tmp_path_factory):
    path = tmp_path_factory.mktemp("distributed") / "model"
    rec.save(path)
    return path


@pytest.fixture(scope="module")
def histories(X):
    return X[X["user_id"] < 20].assign(user_id=lambda X: X["user_id"] + 1000)


def users(*ids):
    return pd.DataFrame({"user_id": np.array(ids, dtype=np.int64)})


def by_rank(table):
    return table.sort_values(["user_id", "rank"], ignore_index=True)


def test_a_frame_gives_the_rows_of_recommend(rec, path):
    frame = users(5, 3, 3, 59)
    expected = rec.recommend(frame["user_id"], K)
    pd.testing.assert_frame_equal(BatchRecommender(path, K)(frame), expected)


def test_an_iterator_gives_the_rows_of_recommend(rec, path):
    batch = BatchRecommender(path, K)
    frames = [users(*range(20)), users(), users(*range(20, 60))]
    results = list(batch(iter(frames)))
    assert [len(result) for result in results] == [20 * K, 0, 40 * K]
    pd.testing.assert_frame_equal(
        pd.concat(results, ignore_index=True), rec.recommend(k=K), rtol=0, atol=1e-6
    )


def test_arguments_are_those_of_recommend(rec, path):
    arguments = {"items": [*range(30)], "unknown": "drop", "interest_weights": [1, 2, 1, 1]}
    found = BatchRecommender(path, K, **arguments)(users(3, 99))
    pd.testing.assert_frame_equal(found, rec.recommend([3, 99], K, **arguments))
    assert found["user_id"].unique().tolist() == [3]


def test_unknown_users_get_popular_items_or_raise(path):
    assert BatchRecommender(path, K)(users(99))["interest"].tolist() == [-1] * K
    batch = BatchRecommender(path, K, unknown="error")
    with pytest.raises(UnknownIdError, match=r"the batch in the row \{'user_id': 99\}: 1 of user"):
        batch(users(1, 2, 99, 3))


def test_shortage_warns(path):
    with pytest.warns(ShortageWarning, match="1 of 1 users get fewer than k=100"):
        BatchRecommender(path, 100)(users(1))


@pytest.mark.parametrize("size", [1, 7, 10, 33, 1000])
def test_histories_are_whole_wherever_frames_cut_them(rec, path, histories, size):
    batch = BatchRecommender(path, K, histories=True)
    grouped = histories.sort_values("user_id", kind="stable")
    frames = [grouped[i : i + size] for i in range(0, len(grouped), size)]
    found = pd.concat(batch(iter([grouped[:0], *frames])))
    expected = rec.recommend_from_history(histories, K)
    pd.testing.assert_frame_equal(by_rank(found), by_rank(expected), rtol=0, atol=1e-6)


def test_a_frame_of_histories_may_have_any_order(rec, path, histories):
    mixed = histories.sample(frac=1, random_state=0)
    found = BatchRecommender(path, K, histories=True)(mixed)
    pd.testing.assert_frame_equal(found, rec.recommend_from_history(mixed, K))


@pytest.mark.parametrize("second", [[1000], [1002, 1000], [1000, 1002]])
def test_rows_of_a_person_must_follow_each_other(path, histories, second):
    first = histories[histories["user_id"].isin([1000, 1001])].sort_values("user_id")
    frames = [first, pd.concat([histories[histories["user_id"] == user] for user in second])]
    with pytest.raises(InvalidInputError, match="rows of the user 1000 don't follow .*; sort each"):
        list(BatchRecommender(path, K, histories=True)(iter(frames)))


def test_features_of_visitors_count(X, histories, tmp_path):
    profile = pd.DataFrame({"user_id": X["user_id"].unique()})
    profile["group"] = np.where(profile["user_id"] % 2, "odd", "even")
    rec = MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0).fit(X, users=profile)
    rec.save(tmp_path)
    profile["user_id"] += 1000
    found = BatchRecommender(tmp_path, K, histories=True, users=profile)(histories)
    pd.testing.assert_frame_equal(found, rec.recommend_from_history(histories, K, users=profile))


def test_a_model_without_names_maps_users_but_no_histories(X, tmp_path):
    rec = MINDRecommender(
        user_col=0, item_col=1, time_col=2, embedding_dim=8, max_epochs=1, random_state=0
    ).fit(X.to_numpy())
    rec.save(tmp_path)
    pd.testing.assert_frame_equal(
        BatchRecommender(tmp_path, K)(users(1, 2)), rec.recommend([1, 2], K)
    )
    with pytest.raises(InvalidInputError, match="by position, but frames .* fit on a DataFrame"):
        BatchRecommender(tmp_path, K, histories=True)


# ------------------------------------------------------------------ types


def test_schema_names_the_types(path):
    schema = BatchRecommender(path, K).schema
    assert schema.spark == (
        "`user_id` bigint, `item_id` bigint, `score` float, `rank` bigint, `interest` int"
    )
    assert schema.pandas.dtypes.map(str).tolist() == ["int64", "int64", "float32", "int64", "int32"]
    pa = pytest.importorskip("pyarrow")
    types = [pa.int64(), pa.int64(), pa.float32(), pa.int64(), pa.int32()]
    assert schema.arrow == pa.schema([*zip(schema.pandas.columns, types, strict=True)])


def test_text_times_and_titles_have_types(X, tmp_path):
    start = np.datetime64("2020-01-01", "ns")
    Y = X.assign(user_id="u" + X["user_id"].astype(str))
    Y["item_id"] = start + X["item_id"].to_numpy().astype("timedelta64[D]")
    rec = MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0).fit(Y)
    rec.save(tmp_path)
    batch = BatchRecommender(tmp_path, K, titles={rec.items_[0]: "a film"})
    assert batch.schema.spark.startswith(
        "`user_id` string, `item_id` timestamp_ntz, `title` string, `score` float"
    )
    for frame in (Y[["user_id"]][:3], Y[["user_id"]][:0]):
        assert batch(frame).dtypes.equals(batch.schema.pandas.dtypes)
    if pytest.importorskip("pyarrow"):
        assert [str(t) for t in batch.schema.arrow.types[:3]] == [
            "string", "timestamp[ns]", "string",
        ]  # fmt: skip


@pytest.mark.parametrize("empty", [users(), pd.DataFrame({"user_id": []})])
def test_results_without_rows_have_the_types(path, empty):
    batch = BatchRecommender(path, K)
    pd.testing.assert_frame_equal(batch(empty), batch.schema.pandas)


def test_large_ids_stay_exact(X, tmp_path):
    large = 2**53 + 1
    Y = X.assign(user_id=X["user_id"] + large, item_id=X["item_id"] + large)
    rec = MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0).fit(Y)
    rec.save(tmp_path)
    found = BatchRecommender(tmp_path, K)(Y[["user_id"]][:2])
    pd.testing.assert_frame_equal(found, rec.recommend(Y["user_id"][:2], K))
    assert (found["user_id"] >= large).all()


def test_user_dtype_is_that_of_visitors(rec, path, histories):
    visitors = histories.assign(user_id="v" + histories["user_id"].astype(str))
    batch = BatchRecommender(path, K, histories=True, user_dtype="str")
    pd.testing.assert_frame_equal(batch(visitors), rec.recommend_from_history(visitors, K))
    assert batch.schema.spark.startswith("`user_id` string, `item_id` bigint")
    with pytest.raises(IdTypeError, match=r"the row \{'user_id': 10.* doesn't fit .* str"):
        batch(histories)
    with pytest.raises(IdTypeError, match=r"the user 'v10.*' doesn't fit .* int64; .*user_dtype="):
        BatchRecommender(path, K, histories=True)(visitors)


@pytest.mark.parametrize("dtype", ["category", "complex", "no type", "timedelta64[ns]"])
def test_user_dtype_is_a_type_of_columns(path, dtype):
    with pytest.raises(InvalidInputError, match=f"user_dtype='{dtype[:4]}.*use 'int64', 'float64'"):
        BatchRecommender(path, K, user_dtype=dtype)


def test_mixed_ids_are_no_column(X, tmp_path):
    Y = X.astype({"user_id": object})
    Y.loc[Y["user_id"] == 3, "user_id"] = "three"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0).fit(Y).save(tmp_path)
    with pytest.raises(InvalidInputError, match=r"the users of fit have ids of the types int, str"):
        BatchRecommender(tmp_path)


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, InvalidInputError, "k=0 must be an integer of at least 1"),
        ({"diversty": 0.2}, InvalidInputError, "diversty= is no argument .*mean 'diversity'"),
        ({"xyz": 1}, InvalidInputError, "xyz= is no argument .*valid are exclude_seen, items"),
        ({"output": "arrays"}, InvalidInputError, "output= .*the results are frames; leave it out"),
        ({"users": 1}, InvalidInputError, "users= is no argument"),
        ({"diversity": 2}, InvalidInputError, "diversity=2 must be a number from 0 to 1"),
        ({"unknown": "skip"}, InvalidInputError, "unknown='skip' is not one of"),
        ({"items": [999]}, UnknownIdError, "none of which was in fit"),
        ({"interest_weights": np.ones((3, 4))}, InvalidInputError, r"of shape \(n_interests,\)"),
        ({"histories": [[1, 2]]}, InvalidInputError, "histories=.* must be False .* or True"),
        ({"histories": True, "unknown": "drop"}, InvalidInputError, "unknown= is no argument"),
    ],
)
def test_arguments_are_checked_at_once(path, arguments, error, message):
    with pytest.raises(error, match=message):
        BatchRecommender(path, **arguments)


def test_a_model_is_needed_at_once(tmp_path):
    with pytest.raises(ModelFileError, match="has no readable file"):
        BatchRecommender(tmp_path)
    with pytest.raises(InvalidInputError, match="is of type int; pass the name of a directory"):
        BatchRecommender(3)


@pytest.mark.parametrize("frames", [[users(1)], {"user_id": [1]}, 1, None, iter([[1]])])
def test_other_tables_are_refused(path, frames):
    with pytest.raises(InvalidInputError, match="pass a pandas DataFrame or an iterator of them"):
        list(BatchRecommender(path)(frames))


@pytest.mark.parametrize("histories", [True, False])
def test_a_column_that_is_missing_is_named(path, histories):
    batch = BatchRecommender(path, histories=histories)
    for frames in (pd.DataFrame({"usr": [1]}), iter([pd.DataFrame({"usr": [1]})])):
        with pytest.raises(InvalidInputError, match=r"the batch: .*'user_id'"):
            list(batch(frames))


@pytest.mark.parametrize(
    ("column", "value"), [("user_id", None), ("item_id", None), ("timestamp", float("inf"))]
)
@pytest.mark.parametrize("position", [0, 50, 199])
def test_the_bad_row_is_named(path, histories, column, value, position):
    bad = histories.astype({column: object})
    bad.iloc[position, bad.columns.get_loc(column)] = value
    row = bad.iloc[position]["item_id" if column == "user_id" else "user_id"]
    with pytest.raises(InvalidInputError, match=rf"frame . of the batch in the row \{{.*{row}.*: "):
        list(BatchRecommender(path, histories=True)(iter([bad])))


def test_partitions_of_dask_are_named(path):
    with pytest.raises(IdTypeError, match=r"partition 7 in the row \{'user_id': 'x'\}: user ids"):
        BatchRecommender(path)(pd.DataFrame({"user_id": ["x"]}), partition_info={"number": 7})


# ------------------------------------------------------------------ processes


def test_pickles_are_small_and_equal(path):
    batch = BatchRecommender(path, K)
    data = pickle.dumps(batch)
    assert len(data) < 5000
    frame = users(1, 2)
    pd.testing.assert_frame_equal(pickle.loads(data)(frame), batch(frame))
    assert repr(batch) == f"BatchRecommender({str(path)!r}, k=4)"


def test_the_model_is_loaded_once_and_mapped(path, monkeypatch):
    calls = []
    load = MINDRecommender.load

    def count(*args, **kwargs):
        calls.append(kwargs)
        return load(*args, **kwargs)

    monkeypatch.setattr(MINDRecommender, "load", count)
    distributed._load.cache_clear()
    batch = BatchRecommender(path, K)
    threads = [threading.Thread(target=batch, args=(users(1),)) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    pickle.loads(pickle.dumps(batch))(users(2))
    assert calls == [{"manifest_sha256": None, "mmap": True}]


def test_calls_use_one_thread_and_restore_the_number(path, monkeypatch):
    batch = BatchRecommender(path, K)
    seen = []
    recommend = MINDRecommender.recommend

    def record(self, *args, **kwargs):
        seen.append((torch.get_num_threads(), self.n_jobs))
        return recommend(self, *args, **kwargs)

    monkeypatch.setattr(MINDRecommender, "recommend", record)
    torch.set_num_threads(2)
    try:
        batch(users(1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert seen == [(1, 1)]


def test_a_model_that_was_replaced_is_refused(X, tmp_path):
    rec = MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0).fit(X)
    rec.save(tmp_path)
    batch = BatchRecommender(tmp_path)
    rec.set_params(random_state=1).fit(X).save(tmp_path)
    with pytest.raises(ModelFileError, match="was replaced since this BatchRecommender was made"):
        batch(users(1))
    assert len(BatchRecommender(tmp_path)(users(1))) == 10


def test_the_hash_of_the_manifest_is_checked(path):
    with pytest.raises(ModelFileError, match="this is not the expected model"):
        BatchRecommender(path, manifest_sha256="0" * 64)
