import dataclasses
import io
import re
import sqlite3

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import dataset
from scipy import sparse
from sklearn.model_selection import GridSearchCV

from skmind import MINDRecommender, metrics
from skmind.data.formats import (
    as_frame,
    as_table,
    check_columns,
    check_item_lists,
    check_log,
    feature_table,
)
from skmind.data.tables import column_names, take_column
from skmind.exceptions import IdTypeError, InvalidInputError
from skmind.inspection import hits_by_interest
from skmind.model_selection import LeaveLastOut, TemporalSplit, UserKFold
from skmind.scoring import compare, make_ranking_scorer

SMALL = {"n_interests": 2, "embedding_dim": 4, "max_epochs": 1, "n_negatives": 10}
rng = np.random.default_rng(0)
LOG = pd.DataFrame(
    {
        "user_id": np.repeat(np.arange(12), 6),
        "item_id": rng.integers(15, size=72),
        "timestamp": np.arange(72),
    }
)
ITEMS = pd.DataFrame({"item_id": range(15), "genre": list("abc") * 5})
COLUMNS = {"user_col": "user_id", "item_col": "item_id", "time_col": "timestamp"}


def narwhals(X):
    return pytest.importorskip("narwhals").from_native(X)


def duckdb(X):
    return pytest.importorskip("duckdb").from_df(X)


class Capsule:
    """A table that only exports Arrow data."""

    def __init__(self, table=LOG):
        self.table = table

    def __len__(self):
        return len(self.table)

    def __getitem__(self, place):
        return self.table[place]

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.Table.from_pandas(self.table).__arrow_c_stream__(requested_schema)


# ------------------------------------------------------------------ tables that are taken

TAKEN = {
    "pandas": lambda X: X,
    "polars": pl.from_pandas,
    "pyarrow": pa.Table.from_pandas,
    "record batch": lambda X: pa.RecordBatch.from_pandas(X),
    "reader": lambda X: pa.Table.from_pandas(X).to_reader(max_chunksize=7),
    "dataset": lambda X: dataset.dataset(pa.Table.from_pandas(X)),
    "narwhals": narwhals,
    "narwhals of polars": lambda X: narwhals(pl.from_pandas(X)),
    "duckdb": duckdb,
    "Arrow stream": Capsule,
}


@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
def test_frames_of_every_library_are_the_same_table(make):
    table = as_table(make(LOG))
    assert list(column_names(table)) == list(LOG)
    assert len(table) == len(LOG)
    for column in LOG:
        assert take_column(table, column, "column").tolist() == LOG[column].tolist()
    features = feature_table(make(ITEMS), "item")
    assert take_column(features, "genre", "item_features").tolist() == ITEMS["genre"].tolist()


@pytest.fixture(scope="module")
def fitted():
    return MINDRecommender(**SMALL, random_state=0).fit(LOG, items=ITEMS)


@pytest.mark.parametrize(
    "kind", ["record batch", "reader", "dataset", "narwhals", "duckdb", "Arrow stream"]
)
def test_every_method_takes_them(fitted, kind):
    make = TAKEN[kind]
    rec = MINDRecommender(**SMALL, random_state=0).fit(make(LOG), items=make(ITEMS))
    np.testing.assert_array_equal(rec.item_embeddings_, fitted.item_embeddings_)
    np.testing.assert_array_equal(rec.predict(make(LOG)), fitted.predict(LOG))
    np.testing.assert_array_equal(rec.transform(make(LOG)), fitted.transform(LOG))
    assert rec.score(make(LOG)) == fitted.score(LOG)
    scorer = make_ranking_scorer("mrr", k=5)
    assert scorer(rec, make(LOG)) == scorer(fitted, LOG)
    assert compare(rec, fitted, make(LOG), n_resamples=9)["difference"].eq(0).all()
    pd.testing.assert_frame_equal(
        rec.recommend_from_history(make(LOG), k=3), fitted.recommend_from_history(LOG, k=3)
    )
    pd.testing.assert_frame_equal(
        rec.recommend([1], k=3, exclude_items=make(LOG)),
        fitted.recommend([1], k=3, exclude_items=LOG),
    )
    pd.testing.assert_frame_equal(hits_by_interest(rec, make(LOG)), hits_by_interest(fitted, LOG))
    pred = fitted.recommend(k=5)
    assert metrics.recall_at_k(make(LOG), make(pred), k=5) == metrics.recall_at_k(LOG, pred, k=5)
    rec.partial_fit(make(LOG), items=make(ITEMS)).add_interactions(make(LOG))


class Relation(Capsule):
    """A table that is not in memory, as of duckdb."""

    columns = list(LOG)

    def df(self):
        return self.table


def search(X, cv=None):
    rec = MINDRecommender(**SMALL, random_state=0)
    cv = cv or LeaveLastOut()
    return GridSearchCV(rec, {"horizon": [1]}, cv=cv, error_score="raise").fit(X)


def test_iterators_as_tables():
    frames = [LOG.head(9), LOG.tail(-9)]
    for iterator, cure in (
        (iter(frames), pd.concat),
        (LOG.itertuples(index=False), lambda X: pd.DataFrame(X, columns=list(LOG))),
        (iter(LOG.to_dict("records")), pd.DataFrame),
    ):
        for read in (as_table, lambda X: feature_table(X, "item")):
            with pytest.raises(InvalidInputError, match=r"concat.*DataFrame.*columns=.*DataFrame"):
                read(iterator)
        assert cure(iterator).equals(LOG)  # nothing was taken from it


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "record batch"])
def test_searches_take_tables_in_memory(kind):
    for cv in (LeaveLastOut(), 2):
        assert search(TAKEN[kind](LOG), cv).best_score_ == search(LOG, cv).best_score_


@pytest.mark.parametrize("cv", [LeaveLastOut(), TemporalSplit(2), UserKFold(2)], ids=str)
@pytest.mark.parametrize(
    ("X", "cure"),
    [
        ("log.parquet", r"pandas.read_parquet\('log.parquet'\)"),
        (["log.csv", "b.csv"], r"pandas.read_csv\('log.csv'\)"),
        (Relation(), r"X.df\(\)"),
        (narwhals, r"X.to_native\(\)"),
        (Capsule, r"pyarrow.table\(X\)"),
    ],
    ids=["path", "paths", "relation", "narwhals", "Arrow stream"],
)
def test_searches_refuse_tables_without_rows(X, cure, cv):
    X = X(LOG) if callable(X) else X
    with pytest.raises(InvalidInputError, match=f"^X is a .* can't take the rows .*; pass {cure}"):
        search(X, cv)
    with pytest.raises(InvalidInputError, match=f"^X is a .* can't take the rows .*; pass {cure}"):
        cv.get_n_splits(X)


def test_a_split_path_in_a_search():
    with pytest.raises(InvalidInputError, match="X is a list of characters such as .*read_parquet"):
        search("log.parquet", 2)


ROWS = {
    "lists": lambda X: X.to_numpy().tolist(),
    "tuples": lambda X: [*X.itertuples(index=False, name=None)],
    "arrays": lambda X: list(X.to_numpy()),
    "matrix": lambda X: np.asmatrix(X.to_numpy()),
}


@pytest.mark.parametrize("kind", ["lists", "tuples", "arrays", "matrix"])
def test_rows_become_an_array(kind):
    table = as_table(ROWS[kind](LOG), may_be_sessions=True)
    assert isinstance(table, np.ndarray)
    assert table.tolist() == LOG.to_numpy().tolist()


@pytest.mark.parametrize("splitter", [LeaveLastOut(), TemporalSplit(2), UserKFold(2)])
@pytest.mark.parametrize("kind", ["lists", "tuples", "arrays", "matrix"])
def test_splitters_take_rows(splitter, kind):
    for found, expected in zip(splitter.split(ROWS[kind](LOG)), splitter.split(LOG), strict=True):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def test_splitters_and_curves_take_files(tmp_path):
    path = tmp_path / "log.parquet"
    LOG.to_parquet(path)
    for splitter in (LeaveLastOut(), LeaveLastOut(time_col=None), UserKFold(2)):
        for found, expected in zip(splitter.split(path), splitter.split(LOG), strict=True):
            np.testing.assert_array_equal(found[1], expected[1])
    assert as_table(path).take_rows([3, 1])["item_id"].to_pylist() == LOG.item_id[[3, 1]].tolist()


# ------------------------------------------------------------------ tables that are refused


def to_buffer(X):
    buffer = io.BytesIO()
    X.to_parquet(buffer)
    return buffer


class Fake:
    """A frame of a library that isn't installed here."""

    columns = list(LOG)

    def __init__(self, *methods):
        for method in methods:
            setattr(self, method, lambda: None)


REFUSED = {
    "lazy polars": (pl.from_pandas(LOG).lazy(), r"X is a LazyFrame, .* pass X\.collect\(\)"),
    "scanner": (TAKEN["dataset"](LOG).scanner(), r"X is a Scanner, .* pass X\.to_table\(\)"),
    "dask": (Fake("compute", "to_parquet"), r"pass X\.compute\(\)"),
    "spark": (Fake("collect", "toPandas"), r"pass X\.toPandas\(\)"),
    "modin, cudf": (Fake("to_pandas"), r"pass X\.to_pandas\(\)"),
    "cursor": (Fake("fetchall"), r"pass X\.fetchall\(\)"),
    "unknown": (Fake(), "X is a Fake, which has columns but is of no known library; give a table"),
    "csr": (sparse.eye(3, format="csr"), r"X is a sparse matrix .*X\.tocoo\(\).*DataFrame"),
    "dok": (sparse.eye(3, format="dok"), r"X is a sparse matrix \(dok_.* of shape \(3, 3\)\)"),
    "csr_array": (sparse.csr_array(np.eye(3)), r"X is a sparse matrix \(csr_array of shape"),
    "dicts": (LOG.to_dict("records"), r"list of dicts; pass pandas\.DataFrame\(X\)"),
    "dict": (LOG.to_dict("list"), r"X is a dict; pass a DataFrame \(pandas\.DataFrame\(X\)\)"),
    "dict of lists": ({1: [2, 3], 4: [5]}, r"pandas\.Series\(X\)\.explode\(\)\.rename_axis"),
    "chunks": (iter([LOG, LOG]), r"X is a list_iterator, .* once; pass pandas\.concat\(X\)"),
    "generator": ((row for row in [[1, 2]]), r"a generator, .*pandas.DataFrame\(X, columns=.*rows"),
    "list of chunks": ([LOG, LOG], r"X is a list of DataFrame objects; .*pandas\.concat\(X\)"),
    "columns": ((LOG.user_id, LOG.item_id), r"tuple of Series objects; .*concat.* axis=1"),
    "series of lists": (
        LOG.groupby("user_id")["item_id"].agg(list),
        r"X is a Series; give a table: X\.explode\(\)\.reset_index\(\)",
    ),
    "row": (LOG.iloc[3], r"X is a Series; give a table: X\.to_frame\(\)\.T"),
    "series": (LOG["user_id"], r"X is a Series; give a table: X\.reset_index\(\)"),
    "row Series": ([row for _, row in LOG.iterrows()], r"Series objects; .*pandas\.DataFrame\(X\)"),
    "record batches": (
        pa.Table.from_pandas(LOG).to_batches(),
        r"list of RecordBatch objects; .*pyarrow\.Table\.from_batches\(X\)",
    ),
    "arrow tables": ([pa.Table.from_pandas(LOG)], r"Table objects; .*pyarrow\.concat_tables\(X\)"),
    "polars frames": ([pl.from_pandas(LOG)], r"DataFrame objects; .*polars\.concat\(X\)"),
    "polars columns": ([pl.Series([1]), pl.Series([2])], r"Series .*pandas\.DataFrame\(dict\(zip"),
    "index": (pd.MultiIndex.from_frame(LOG), r"X is a MultiIndex; .*X\.to_frame\(\)"),
    "polars series": (pl.Series([1, 2]), r"X is a Series; give a table: X\.to_frame\(\)"),
    "arrow array": (pa.chunked_array([[1, 2]]), r"X is a ChunkedArray; .*pyarrow\.table\("),
    "groups": (LOG.groupby("user_id"), "X is a DataFrameGroupBy; pass the frame that was grouped"),
    "open file": (io.StringIO("a,b"), r"X is a StringIO, an open file; .*pandas\.read_csv\(X\)"),
    "frame of the interchange protocol": (
        Fake("__dataframe__"),
        r"X is a Fake, .*; pass pyarrow\.interchange\.from_dataframe\(X\)",
    ),
    "Arrow array": (Fake("__arrow_c_array__"), r"X is a Fake, .*; pass pyarrow\.table\(X\)"),
    "groups of polars": (
        pl.from_pandas(LOG).group_by("user_id"),
        "pass the frame that was grouped",
    ),
    "groups of a column": (
        LOG.groupby("user_id")["item_id"],
        r"X\.agg\(list\) .*, or the frame that was grouped",
    ),
    "text of CSV": (
        LOG.to_csv(index=False),
        r"X is a text of \d+ char.* begins with 'user_id,item_id,timestamp\\n.{1,20}'; give a "
        r"table: pandas\.read_csv\(io\.StringIO\(X\)\)",
    ),
    "bytes of CSV": (LOG.to_csv().encode(), r"text .*pandas\.read_csv\(io\.BytesIO\(X\)\)"),
    "text of JSON": (LOG.to_json(), r"text of .*pandas\.read_json\(io\.StringIO\(X\)\)"),
    "Parquet file": (pq.ParquetFile(to_buffer(LOG)), r"X is a ParquetFile, .*X\.read\(\)"),
    "set": ({(1, 2), (3, 4)}, r"X is a set; give a table \(pandas, polars, pyarrow\)"),
    "baskets": ([{1, 2}, {3}], "X is a list of rows of unequal length"),
    "csv": ("log.csv", r"X='log.csv' can't be read as Parquet .*pandas\.read_csv\('log\.csv'\)"),
    "tsv": (["a.TSV.gz", "b"], r"read it first: pandas\.read_csv\('a\.TSV\.gz', sep='\\t'\)"),
    "excel": ("log.xlsx", r"read it first: pandas\.read_excel"),
    "no ending": ("u.data", r"X='u\.data' can't be read as Parquet .*pandas\.read_csv"),
}


@pytest.mark.parametrize(("X", "message"), REFUSED.values(), ids=REFUSED)
def test_other_tables_are_refused_with_the_cure(X, message):
    with pytest.raises(InvalidInputError, match=message):
        as_table(X)


@pytest.mark.parametrize(
    "call",
    [
        lambda rec, X: rec.fit(X),
        lambda rec, X: rec.partial_fit(X),
        lambda rec, X: rec.add_interactions(X),
        lambda rec, X: rec.predict(X),
        lambda rec, X: rec.transform(X),
        lambda rec, X: rec.score(X),
        lambda rec, X: rec.target_ranks(X),
        lambda rec, X: compare(rec, rec, X),
        lambda rec, X: hits_by_interest(rec, X),
        lambda rec, X: make_ranking_scorer("mrr", k=3)(rec, X),
        lambda rec, X: LeaveLastOut().split(X),
        lambda rec, X: TemporalSplit().split(X),
        lambda rec, X: UserKFold().split(X),
    ],
)
@pytest.mark.parametrize(
    "kind", ["lazy polars", "csr", "dicts", "groups", "series of lists", "csv"]
)
def test_every_method_refuses_them(fitted, call, kind):
    X, message = REFUSED[kind]
    with pytest.raises(InvalidInputError, match=message):
        call(fitted, X)


@dataclasses.dataclass
class Event:
    item_id: int
    user_id: int
    timestamp: int


class SparkRow(tuple):
    __fields__ = ("item_id", "user_id", "timestamp")


class OdbcRow(tuple):
    cursor_description = (("item_id", int), ("user_id", int), ("timestamp", int))


SWAPPED = LOG[["item_id", "user_id", "timestamp"]]


def database_rows(X):
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    X.to_sql("log", connection, index=False)
    rows = connection.execute("select * from log").fetchall()
    connection.close()
    return rows


NAMED_ROWS = {
    "namedtuples": [*SWAPPED.itertuples(index=False)],
    "namedtuples with the index": [*SWAPPED.itertuples()],
    "in an array": pd.Series([*SWAPPED.itertuples(index=False)]).to_numpy(),
    "rows of sqlite3": database_rows(SWAPPED),
    "dataclasses": [Event(*row) for row in SWAPPED.to_numpy()],
    "records": list(SWAPPED.to_records(index=False)),
    "rows of Spark": [SparkRow(row) for row in SWAPPED.to_numpy()],
    "rows of pyodbc": [OdbcRow(row) for row in SWAPPED.to_numpy()],
}


@pytest.mark.parametrize("kind", NAMED_ROWS)
def test_rows_with_names_are_not_read_by_position(fitted, kind):
    rows = NAMED_ROWS[kind]
    message = r"X is an? .* objects, whose values have names .*; pass a table .*: (.*)"
    for call in (
        fitted.fit,
        fitted.partial_fit,
        fitted.add_interactions,
        fitted.score,
        LeaveLastOut().split,
    ):
        with pytest.raises(InvalidInputError, match=message) as error:
            call(rows)
    cure = re.fullmatch(message, str(error.value))[1]
    table = eval(cure, {"pandas": pd, "numpy": np, "X": rows})
    pd.testing.assert_frame_equal(table[list(LOG)], LOG, check_dtype=False)
    with pytest.raises(InvalidInputError, match="list 0 of histories is one of .* have names"):
        fitted.recommend_from_history(list(rows))


def test_a_reader_that_fails_is_named():
    batch = pa.RecordBatch.from_pandas(LOG)

    def batches():
        yield batch
        raise OSError("connection lost")

    reader = pa.RecordBatchReader.from_batches(batch.schema, batches())
    with pytest.raises(InvalidInputError, match="X is a RecordBatchReader .*connection lost"):
        as_table(reader)


MASKED_ROWS = np.ma.masked_equal(LOG.to_numpy(), 3)
RECORDS = LOG.to_records(index=False)


@pytest.mark.parametrize(
    ("X", "n_rows"),
    [
        (np.ma.array(LOG.to_numpy()), len(LOG)),
        (MASKED_ROWS, (LOG != 3).all(axis=1).sum()),
        (np.ma.array(RECORDS), len(LOG)),
        (np.ma.array(RECORDS, mask=[(True, False, False)] + [(False,) * 3] * 71), len(LOG) - 1),
        (MASKED_ROWS[:, 0], (LOG.user_id != 3).sum()),
    ],
)
def test_masks_are_not_dropped(fitted, X, n_rows):
    message = "is a MaskedArray whose mask would be lost; pass ([^,]*(?:\\(axis=1\\)\\])?),.*mask"
    for call, name in (
        (fitted.fit, "X"),
        (as_table, "X"),
        (lambda X: feature_table(X, "item"), "items"),
        (fitted.recommend_from_history, "histories"),
    ):
        with pytest.raises(InvalidInputError, match=f"{name} {message}") as error:
            call(X)
    cure = re.search(message, str(error.value))[1]
    assert len(eval(cure, {"histories": X, "numpy": np})) == n_rows


def test_groups_of_a_column_are_not_histories(fitted):
    groups = LOG.groupby("user_id")["item_id"]
    with pytest.raises(InvalidInputError, match=r"SeriesGroupBy; pass histories\.agg\(list\) for"):
        fitted.recommend_from_history(groups)
    assert len(fitted.recommend_from_history(groups.agg(list), k=1)) == 12


def test_crossed_tables_are_refused(fitted):
    for make in (
        lambda items: pd.crosstab(LOG.user_id, items),
        lambda items: LOG.assign(item_id=items).pivot_table(
            index="user_id", columns="item_id", values="timestamp"
        ),
    ):
        for call in (fitted.fit, fitted.score, LeaveLastOut().split):
            with pytest.raises(InvalidInputError, match=r"named 'item_id' as a whole .*X\.stack"):
                call(make(LOG.item_id % 3))
            with pytest.raises(
                InvalidInputError, match=r"no column .*matrix of users × .*X\.stack"
            ):
                call(make(LOG.item_id + 1))
    counts = pd.crosstab(LOG.user_id, LOG.item_id % 3)
    table = counts.stack().rename("n").reset_index().query("n > 0")
    assert table["n"].sum() == len(LOG)


def test_what_is_no_table_at_all_is_left_to_scikit_learn():
    for X in (None, 3, 2.5):
        assert as_table(X) is X
    assert as_frame([[1, 2]], "histories") == [[1, 2]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rec, M: rec.recommend_from_history(M), r"histories\.tolil\(\)\.rows"),
        (lambda rec, M: rec.recommend(exclude_items=M), r"dict\(zip\(users, exclude_items\.tolil"),
        (lambda rec, M: rec.recommend(items=M), r"dict\(zip\(users, items\.tolil"),
        (lambda rec, M: metrics.recall_at_k(M, [[1]], k=1), r"y_true\.tolil\(\)\.rows"),
        (lambda rec, M: metrics.recall_at_k([[1]], M, k=1), r"y_pred\.tolil\(\)\.rows"),
        (lambda rec, M: rec.recommend_from_history(M.toarray()), r"histories is an array .*matrix"),
        (lambda rec, M: metrics.recall_at_k(M.toarray(), [[1]], k=1), r"for row in y_true\]"),
    ],
)
def test_matrices_are_no_lists_of_items(fitted, call, message):
    matrix = sparse.random(12, 15, 0.2, format="csr", random_state=0)
    with pytest.raises(InvalidInputError, match=message):
        call(fitted, matrix)


# ------------------------------------------------------------------ feature tables


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pl.from_pandas(ITEMS).lazy(), r"items is a LazyFrame, .*items\.collect\(\)"),
        (ITEMS.to_dict("records"), r"got list; pass pandas\.DataFrame\(items\), with a name"),
        (ITEMS.to_numpy(), "got ndarray; pass pandas.DataFrame"),
        (ITEMS.set_index("item_id")["genre"], r"got Series; pass items\.reset_index\(\)"),
        (sparse.eye(15, format="csr"), r"got csr_\w+; convert it .*from_spmatrix"),
        ("items.csv", r"got str; read it first: pandas\.read_csv\('items\.csv'\)"),
        ("items.parquet", r"read it first: pandas\.read_parquet\('items\.parquet'\)"),
        (ITEMS.set_index("item_id"), r"no column 'item_id'; .*\['item_id'\]: reset_index\(\)"),
        (ITEMS.rename(columns={"item_id": "ItemID"}), r"Did you mean item_col='ItemID'\?"),
    ],
)
def test_feature_tables_are_refused_with_the_cure(fitted, table, message):
    for call in (fitted.fit, fitted.partial_fit):
        with pytest.raises(InvalidInputError, match=message):
            call(LOG, items=table)


# ------------------------------------------------------------------ matrices and sessions


def ratings(n_columns, low=1, high=5):
    return np.random.default_rng(0).integers(low, high + 1, size=(20, n_columns))


MATRICES = {
    "of a sparse matrix": sparse.random(20, 30, 0.2, random_state=0).toarray(),
    "flags": ratings(3, 0, 1).astype(bool),
    "0 and 1": ratings(5, 0, 1),
    "0 and 1 as lists": ratings(5, 0, 1).tolist(),
    "ratings as lists": ratings(5).tolist(),
    "1 and nan": np.where(ratings(5, 0, 1), 1, np.nan),
    "counts": np.random.default_rng(0).poisson(0.5, size=(20, 6)) * 7,
    "ratings": ratings(4),
    "ratings with nan": np.where(ratings(8, 0, 1), ratings(8), np.nan),
    "vectors": np.random.default_rng(0).normal(size=(20, 64)),
}


@pytest.mark.parametrize("X", MATRICES.values(), ids=MATRICES)
def test_dense_matrices_are_refused(fitted, X):
    for call in (fitted.fit, LeaveLastOut().split, TemporalSplit().split, UserKFold(2).split):
        with pytest.raises(InvalidInputError, match="look like a matrix of users × items. Give"):
            call(X)


LOGS = {
    "a rating": LOG.assign(rating=5),
    "flags": LOG.assign(a=0, b=1, c=0, d=0),
    "text": LOG.astype(str).assign(note="x"),
    "negative ids": -LOG.assign(rating=0),
    "one user": pd.DataFrame({"u": 0, "i": range(10), "t": range(10), "rating": 3}),
}


@pytest.mark.parametrize("X", LOGS.values(), ids=LOGS)
def test_logs_with_further_columns_are_no_matrices(X):
    check_log(X.to_numpy())


def test_columns_of_features_are_no_matrix():
    X = np.column_stack([LOG.to_numpy(), np.zeros((72, 40))])
    check_log(X, range(3, 43))
    with pytest.raises(InvalidInputError, match="X has 43 columns without names"):
        check_log(X)


def test_positions_say_that_an_array_is_no_matrix(fitted):
    X = MATRICES["0 and 1"]
    rec = MINDRecommender(**SMALL, user_col=0, item_col=1, time_col=2).fit(X)
    assert len(rec.users_) == 2


def test_lists_of_items_are_no_matrix():
    check_item_lists(np.random.default_rng(0).integers(15, size=(8, 10)), "histories")
    check_item_lists([[0, 1, 0, 1]], "histories")


SESSIONS = {
    "unequal": [[1, 2, 3, 4], [2, 5]],
    "three each": [[1, 2, 3], [2, 3, 4], [4, 5, 6]],
    "four each": [[1, 2, 3, 4], [2, 3, 4, 5]],
    "two each": [[1, 2], [3, 4]],
    "many": np.random.default_rng(0).integers(20, size=(50, 3)).tolist(),
    "arrays": list(np.random.default_rng(0).integers(20, size=(50, 3))),
    "text": [["tea", "rum", "gin"], ["tea", "gin", "ale"]],
    "two texts": [["tea", "rum"], ["rum", "gin"], ["rum", "ale"]],
}


@pytest.mark.parametrize("X", SESSIONS.values(), ids=SESSIONS)
def test_sessions_are_refused(fitted, X):
    for call in (fitted.fit, LeaveLastOut().split, UserKFold(2).split):
        with pytest.raises(InvalidInputError, match=r"sessions.*explode\('item_id'\)"):
            call(X)


def test_the_cure_of_sessions_works():
    X = SESSIONS["unequal"]
    table = pd.DataFrame({"user_id": range(len(X)), "item_id": X}).explode("item_id")
    table["timestamp"] = range(len(table))
    rec = MINDRecommender(**SMALL).fit(table)
    assert rec.items_.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "X",
    [
        [[1, 2, 3]],
        [(1, 2, 3), (2, 3, 4)],
        [[1, 10, 1], [1, 11, 2], [2, 10, 3]],
        [["a", "x", 1], ["b", "y", 2]],
        [[1.5, 2.5, 3.5], [2.5, 3.5, 4.5]],
        [["1", "2"], ["1", "3"], ["2", "1"]],
        [[1, 2], [1, 3], [2, 1]],
        [[u, i, t] for u in range(9) for i, t in [(0, 1700000000), (1, 1700000000)]],
    ],
)
def test_rows_are_no_sessions(X):
    assert as_table(X, may_be_sessions=True).tolist() == [list(row) for row in X]


# ------------------------------------------------------------------ columns

MISSING = {
    "all at once": (
        pd.DataFrame({"a": [1]}),
        r"the table has no column 'user_id', no column 'item_id', no column 'timestamp'; it has "
        r"\['a'\]. Rename the columns or set user_col= and item_col= and time_col= to some",
    ),
    "similar names": (
        LOG.set_axis(["userID", " Item Id", "time"], axis=1),
        "Did you mean user_col='userID', item_col=' Item Id', time_col='time'",
    ),
    "no time": (LOG[["user_id", "item_id"]], "or set time_col=None if there is no time"),
    "no header": (LOG.set_axis(["22", "44", "1.5"], axis=1), "no header, read it with header=None"),
    "semicolons": (pd.DataFrame({"Kunde;Artikel;Datum": ["1;2;3"]}), "read it with sep=';'"),
    "tabs": (pl.DataFrame({"user\titem": ["1\t2"]}), r"read it with sep='\\t'"),
    "bars without names": (pd.DataFrame([["1|2|3"]]), r"read it with sep='\|'"),
    "index": (LOG.set_index("user_id"), r"The index has \['user_id'\]: reset_index\(\)"),
    "levels": (LOG.set_index(["user_id", "item_id"]), r"has \['user_id', 'item_id'\]: reset"),
    "lists": (
        LOG.groupby("user_id")["item_id"].agg(list).reset_index(),
        r"no column 'timestamp'.*DataFrame.explode\(\['item_id'\]\)",
    ),
    "pivot": (
        LOG.pivot_table(index="user_id", columns="item_id", values="timestamp"),
        r"matrix of users × items, .*X.stack\(\).reset_index\(\)",
    ),
    "many columns": (pd.DataFrame(np.eye(30)).add_prefix("i"), r"'i19', … 30 in all\].*X.stack"),
}


@pytest.mark.parametrize(("X", "message"), MISSING.values(), ids=MISSING)
def test_missing_columns_are_named_with_the_cause(X, message):
    with pytest.raises(InvalidInputError, match=message):
        check_columns(X, COLUMNS)


def test_missing_columns_are_named_at_once_everywhere(fitted):
    X = LOG[["timestamp"]]
    message = "no column 'user_id', no column 'item_id'; it has"
    for call in (
        fitted.fit,
        fitted.recommend_from_history,
        lambda X: fitted.recommend(exclude_items=X),
        lambda X: hits_by_interest(fitted, X),
        lambda X: metrics.recall_at_k(X, LOG, k=1),
    ):
        with pytest.raises(InvalidInputError, match=message):
            call(X)
    with pytest.raises(InvalidInputError, match="no column 'user_id', no column 'timestamp'"):
        LeaveLastOut().split(LOG[["item_id"]])
    with pytest.raises(InvalidInputError, match="y_pred has no column 'item_id', no column 'rank'"):
        metrics.recall_at_k(LOG, LOG[["user_id"]], k=1)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_columns_of_lists_are_to_be_exploded(make):
    X = make({"user_id": [1, 2], "item_id": [[1, 2], [3]], "timestamp": [[5, 6], [7]]})
    message = r"'item_id' has the id .*1, 2.*DataFrame.explode\(\['item_id', 'timestamp'\]\)"
    with pytest.raises(IdTypeError, match=message):
        check_columns(X, COLUMNS)
    with pytest.raises(IdTypeError, match="column 'timestamp' has the time"):
        check_columns(X, {"time_col": "timestamp"})


@pytest.mark.parametrize(
    ("times", "cure"),
    [
        ("1609459200", r"pandas.to_numeric\)"),
        ("1.6e9", r"pandas.to_numeric\)"),
        ("20210131", r'pandas.to_datetime, with format="%Y%m%d"'),
        ("31.01.2021 12:00", "pandas.to_datetime, with dayfirst=True"),
        ("1/2/21", "pandas.to_datetime, with dayfirst=True or dayfirst=False"),
        ("2021-01-31", r"pandas.to_datetime\)"),
    ],
)
def test_times_as_text_are_to_be_converted(fitted, times, cure):
    message = f"'timestamp' has values of type string, .* convert it first .{cure}"
    for call in (fitted.fit, LeaveLastOut().split, fitted.recommend_from_history):
        with pytest.raises(InvalidInputError, match=message):
            call(LOG.assign(timestamp=times))
