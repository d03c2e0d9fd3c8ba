import datetime as dt
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone

from skmind import MINDRecommender
from skmind.data.parquet import ParquetTable, arrow_schema, is_path
from skmind.data.prepare import Schema, prepare
from skmind.data.tables import id_parts, take_cells, take_column
from skmind.exceptions import IdTypeError, InvalidInputError

SCHEMA = Schema("user", "item", "time")


def log(seed=0, n=200):
    """Return a table with text users, integer items and days, of which many are equal."""
    rng = np.random.default_rng(seed)
    times = pa.array(rng.integers(30, size=n) * 86400).cast(pa.timestamp("s"))
    return pa.table(
        {
            "user": [f"u{code:02d}" for code in rng.integers(12, size=n)],
            "item": rng.integers(-5, 20, n),
            "time": times,
            "color": [["red"], None, ["red", "blue"]] * (n // 3) + [["blue"]] * (n % 3),
            "shop": [f"s{code}" for code in rng.integers(4, size=n)],
            "price": [None, 1.5, 2.0, 4.0] * (n // 4),
        }
    )


def write(table, folder, cuts=(70, 70, 130), row_group_size=40):
    """Write the table to several files, one of them empty; their names sort like the rows."""
    names = [folder / f"{name}.parquet" for name in "abcd"]
    for name, start, stop in zip(names, (0, *cuts), (*cuts, len(table)), strict=True):
        pq.write_table(table.slice(start, stop - start), name, row_group_size=row_group_size)
    return names


def cast(**types):
    def change(table):
        for name, kind in types.items():
            place = table.column_names.index(name)
            column = table.column(name)
            column = column.dictionary_encode() if kind == "dictionary" else column.cast(kind)
            table = table.set_column(place, name, column)
        return table

    return change


def ids(values):
    """Return what must be equal: dtype and ids."""
    return values.dtype, values.tolist()


def check_equal(one, other):
    """Check that two results of `prepare` are bit-equal."""
    for mine, theirs in ((one.users, other.users), (one.items, other.items)):
        assert ids(mine.ids) == ids(theirs.ids)
    for name in ("items", "offsets", "times"):
        mine = getattr(one.interactions, name)
        theirs = getattr(other.interactions, name)
        assert (mine is None) == (theirs is None)
        assert mine is None or ids(mine) == ids(theirs)
    assert ids(one.counts) == ids(other.counts)
    for side in ("user_features", "item_features"):
        mine = getattr(one, side)
        theirs = getattr(other, side)
        for a, b in zip(mine.encoder.features, theirs.encoder.features, strict=True):
            assert (a.name, a.kind, ids(a.values)) == (b.name, b.kind, ids(b.values))
        assert (mine.matrix != theirs.matrix).nnz == 0


KINDS = {
    "text": cast(),
    "dictionaries": cast(user="dictionary", item="dictionary"),
    "large text": cast(user=pa.large_string()),
    "small integers": cast(item=pa.int8(), time=pa.int64()),
    "float items and times": lambda table: cast(item=pa.float32())(
        cast(time=pa.int64())(table).drop_columns("price")
    ),
    "decimals": cast(item=pa.decimal128(21, 2)),
    "milliseconds in Tokyo": cast(time=pa.timestamp("ms", "Asia/Tokyo")),
    "nanoseconds": cast(time=pa.timestamp("ns")),
    "dates": cast(time=pa.date32()),
    "times as ids": lambda table: table.append_column("was", table["item"]).set_column(
        1, "item", table["time"].cast(pa.timestamp("us"))
    ),
}


@pytest.mark.parametrize("change", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("minimum", [1, 9])
def test_files_equal_the_frame(tmp_path, change, minimum):
    table = change(log())
    write(table, tmp_path)
    expected = prepare(table.to_pandas(), SCHEMA, min_item_count=minimum)
    assert (len(expected.interactions.items) < len(table)) is (minimum > 1)
    check_equal(prepare(ParquetTable(tmp_path), SCHEMA, min_item_count=minimum), expected)


def test_every_kind_of_path(tmp_path):
    files = write(log(), tmp_path)
    expected = prepare(log().to_pandas(), SCHEMA)
    for source in (tmp_path, str(tmp_path), files, tuple(map(str, files))):
        check_equal(prepare(ParquetTable(source), SCHEMA), expected)


@pytest.mark.parametrize("column", ["user", "item", "time"])
def test_a_file_without_a_column_is_named(tmp_path, column):
    files = write(log(), tmp_path)
    table = pq.read_table(files[2])
    pq.write_table(table.rename_columns({column: "other"}), files[2])
    message = (
        rf"the file '.*c\.parquet' has no column '{column}', which other files of X have; it has "
        r"\[.*'other'.*\]. Rename the column in 1 of 4 files, or leave"
    )
    for source in (tmp_path, files):
        with pytest.raises(InvalidInputError, match=message):
            prepare(ParquetTable(source), SCHEMA)


def test_rows_of_equal_time_keep_the_order_of_the_files(tmp_path):
    files = write(log(), tmp_path)[::-1]
    whole = pa.concat_tables(pq.read_table(file) for file in files)
    expected = prepare(whole.to_pandas(), SCHEMA)
    check_equal(prepare(ParquetTable(files), SCHEMA), expected)
    other = prepare(ParquetTable(tmp_path), SCHEMA)
    assert other.interactions.items.tolist() != expected.interactions.items.tolist()


def test_files_of_a_folder_are_sorted_by_name(tmp_path):
    table = log()
    for start in (150, 0, 50, 100):
        pq.write_table(table.slice(start, 50), tmp_path / f"{start:03d}.parquet")
    check_equal(prepare(ParquetTable(tmp_path), SCHEMA), prepare(table.to_pandas(), SCHEMA))


def test_columns_by_position_and_row_order_in_time(tmp_path):
    table = log()
    file = tmp_path / "log.parquet"
    pq.write_table(table, file)
    schema = Schema(0, 1, None)
    expected = prepare(table.to_pandas(), SCHEMA._replace(time=None))
    check_equal(prepare(ParquetTable(file), schema), expected)


def test_features_in_the_files(tmp_path):
    table = log()
    write(table, tmp_path)
    schema = SCHEMA._replace(user_features=("shop",), item_features=("color", "price"))
    expected = prepare(table.to_pandas(), schema, min_item_count=8)
    assert expected.user_features.encoder.width == 4
    assert expected.item_features.encoder.width == 4
    check_equal(prepare(ParquetTable(tmp_path), schema, min_item_count=8), expected)


def test_names_with_dots_and_columns_that_are_folders(tmp_path):
    table = log().rename_columns(["user.id", "item", "time", "color", "shop", "price"])
    for year in (2001, 2002):
        (tmp_path / f"year={year}").mkdir()
        pq.write_table(table, tmp_path / f"year={year}" / "log.parquet")
    X = ParquetTable(tmp_path)
    assert X.column_names == [*table.column_names, "year"]
    twice = (
        pa.concat_tables([table, table])
        .to_pandas()
        .assign(year=np.repeat(np.array([2001, 2002], np.int32), 200))
    )
    schema = SCHEMA._replace(user="user.id", item_features=("year",))
    check_equal(prepare(X, schema), prepare(twice, schema))


# ------------------------------------------------------------------ errors

MISSING = {"user": "ids", "item": "ids", "time": "times"}


@pytest.mark.parametrize("name", MISSING)
def test_missing_cells_are_counted_over_all_files(tmp_path, name):
    table = log()
    rows = pa.array([row in (40, 41, 75, 199) for row in range(200)])
    column = pa.compute.if_else(rows, None, table.column(name))
    table = table.set_column(table.column_names.index(name), name, column)
    write(table, tmp_path)
    message = f"column '{name}' has 4 missing or infinite {MISSING[name]}, the first in row 40; "
    for X in (table.to_pandas(), table, ParquetTable(tmp_path)):
        with pytest.raises(InvalidInputError, match=message):
            prepare(X, SCHEMA)


@pytest.mark.parametrize("name", ["item", "time"])
def test_infinite_cells_count_as_missing(tmp_path, name):
    values = np.arange(20.0)
    values[[7, 12]] = np.inf, np.nan
    table = pa.table({"user": [1] * 20, "item": range(20), "time": range(20)})
    table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=3)
    for X in (table, ParquetTable(tmp_path)):
        with pytest.raises(InvalidInputError, match=f"'{name}' has 2 missing .* first in row 7"):
            prepare(X, SCHEMA)


@pytest.mark.parametrize(
    ("name", "values", "error", "message"),
    [
        ("time", ["2020-01-01"], InvalidInputError, "'time' has values of type string, such as"),
        ("time", [dt.datetime(1500, 1, 1)], InvalidInputError, "outside the years 1678 to 2261"),
        ("user", [[1, 2]], IdTypeError, "column 'user' has the id .* argument must be a string"),
        ("item", [{"a": 1}], IdTypeError, "column 'item' has the id .* argument must be a string"),
    ],
)
def test_invalid_types_raise_as_in_frames(tmp_path, name, values, error, message):
    columns = {"user": ["a"], "item": [1], "time": [1]} | {name: values}
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    for X in (pa.table(columns), ParquetTable(tmp_path)):
        with pytest.raises(error, match=message):
            prepare(X, SCHEMA)


@pytest.mark.parametrize("name", ["user", "item", "time"])
def test_a_missing_column_raises(tmp_path, name):
    write(log().drop_columns(name), tmp_path)
    with pytest.raises(InvalidInputError, match=f"no column '{name}'; it has .* set {name}_col="):
        prepare(ParquetTable(tmp_path), SCHEMA)
    with pytest.raises(InvalidInputError, match="user_col=9 is not a column"):
        prepare(ParquetTable(tmp_path), Schema(9, 1, None))


def test_files_with_different_types_raise(tmp_path):
    pq.write_table(pa.table({"user": [1], "item": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"user": [2], "item": ["1"]}), tmp_path / "b.parquet")
    with pytest.raises(InvalidInputError, match=r"read as Parquet \(ArrowTypeError: .*Field item"):
        ParquetTable(tmp_path)


def test_integers_of_different_sizes_have_one_type(tmp_path):
    for size in (8, 64, 32):
        column = pa.array([size], f"int{size}")
        pq.write_table(pa.table({"x": column}), tmp_path / f"{size}.parquet")
    files = [tmp_path / f"{size}.parquet" for size in (8, 64, 32)]
    assert ParquetTable(files)[0].to_pylist() == [8, 64, 32]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.parquet", "FileNotFoundError: .*none.parquet"),
        (lambda folder: [folder / "no.parquet"], "FileNotFoundError"),
        (lambda folder: [folder], "IsADirectoryError"),
        (lambda folder: folder, "has no files; give a folder of Parquet files"),
        (lambda folder: text(folder), "ArrowInvalid: .*text.parquet.*; give the path of a file"),
        (lambda folder: text(folder).parent, "ArrowInvalid: .*text.parquet"),
    ],
)
def test_invalid_paths_and_files_raise(tmp_path, make, message):
    with pytest.raises(InvalidInputError, match=message):
        ParquetTable(make(tmp_path))


def text(folder):
    path = folder / "text.parquet"
    path.write_text("user,item\n1,2\n", encoding="utf-8")
    return path


def test_without_pyarrow_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"needs pyarrow.*pip install skmind\[parquet\]"):
        ParquetTable(tmp_path)
    with pytest.raises(ImportError, match=r"an Arrow schema needs pyarrow"):
        arrow_schema({})


def test_is_path():
    for X in ("a", Path("a"), ["a", Path("b")], ("a",)):
        assert is_path(X)
    for X in ([], (), [["a"]], ["a", 1], 1, None, np.array(["a"]), pd.Series(["a"])):
        assert not is_path(X)


# ------------------------------------------------------------------ estimator

COLUMNS = {"user_col": "user", "item_col": "item", "time_col": "time"}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Return a table, its folder of files, and a recommender fitted on each."""
    folder = tmp_path_factory.mktemp("log")
    table = log()
    write(table, folder)
    rec = MINDRecommender(**COLUMNS, embedding_dim=4, max_epochs=1, random_state=0)
    frame = table.to_pandas()
    return frame, folder, clone(rec).fit(frame), rec.fit(folder)


def test_fitting_files_equals_fitting_the_frame(fitted):
    frame, _, of_frame, rec = fitted
    np.testing.assert_array_equal(rec.item_embeddings_, of_frame.item_embeddings_)
    assert rec.n_features_in_ == frame.shape[1]
    assert rec.feature_names_in_.tolist() == list(frame.columns)
    assert rec.recommend(k=3).equals(of_frame.recommend(k=3))


def test_the_other_methods_read_files_too(fitted):
    frame, folder, of_frame, rec = fitted
    np.testing.assert_array_equal(rec.transform(folder), of_frame.transform(frame))
    np.testing.assert_array_equal(rec.predict(folder, k=3), of_frame.predict(frame, k=3))
    assert rec.score(folder) == of_frame.score(frame)
    past = clone(rec).set_params(transform_history="past").fit(frame)
    np.testing.assert_array_equal(past.transform(folder), past.transform(frame))


def test_files_need_only_the_columns_that_are_used(fitted, tmp_path):
    rec = fitted[-1]
    write(log().select(["time", "user"]), tmp_path)
    np.testing.assert_array_equal(rec.transform(tmp_path), rec.transform(log()))
    with pytest.raises(InvalidInputError, match="no column 'item'"):
        rec.score(tmp_path)


# Files of one column each, and the ids or times that both together have; or the message.
TIMES = [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2)]
MIXED = {
    "int64, double": (pa.array([1, 3]), pa.array([2.0]), [1, 3, 2]),
    "long int64, double": (pa.array([2**53 + 1]), pa.array([2.0]), "'x' differs in .* one type"),
    "double, long int64": (pa.array([2.0]), pa.array([2**53 + 1]), "'x' differs in .* one type"),
    "int64, uint64": (pa.array([-1]), pa.array([7], pa.uint64()), [-1, 7]),
    "int64, long uint64": (pa.array([1]), pa.array([2**63], pa.uint64()), "'x' differs in .* one"),
    "text, dictionary": (pa.array(["a"]), pa.array(["b"]).dictionary_encode(), ["a", "b"]),
    "dictionary, text": (pa.array(["a"]).dictionary_encode(), pa.array(["b"]), ["a", "b"]),
    "two zones": (
        pa.array(TIMES[:1], pa.timestamp("us", "UTC")),
        pa.array(TIMES[1:], pa.timestamp("us", "Europe/Berlin")),
        TIMES,
    ),
    "zone, no zone": (
        pa.array(TIMES, pa.timestamp("us", "UTC")),
        pa.array(TIMES, pa.timestamp("us")),
        "Field x has incompatible types.* folder of files whose columns have the same types",
    ),
    "int64, text": (pa.array([1]), pa.array(["b"]), "Field x has incompatible types: int64 vs str"),
}


@pytest.mark.parametrize("mixture", MIXED)
def test_files_whose_types_differ(tmp_path, mixture):
    *columns, expected = MIXED[mixture]
    for i, column in enumerate(columns):
        pq.write_table(pa.table({"x": column}), tmp_path / f"{i}.parquet")
    readers = [
        lambda X: [id for _, ids in id_parts(X, "x", "user_col") for id in pd.Index(ids).tolist()],
        lambda X: take_column(X, "x", "item_features").tolist(),
        lambda X: take_cells(X, "x", np.arange(len(X)), "item_features").tolist(),
    ]
    for read in readers:
        if mixture == "two zones" and read is readers[0]:  # ids have no zone
            continue
        if isinstance(expected, str):
            with pytest.raises(InvalidInputError, match=expected):
                read(ParquetTable(tmp_path))
        else:
            found = pd.Series(read(ParquetTable(tmp_path)))
            found = found.dt.tz_localize(None) if found.dtype.kind == "M" else found
            assert found.tolist() == expected


@pytest.mark.parametrize("place", [0, 1])
def test_a_repeated_column_name_in_a_file_raises(tmp_path, place):
    repeated = pa.Table.from_arrays([pa.array([1])] * 2, names=["x", "x"])
    for i in range(2):
        table = repeated if i == place else pa.table({"x": [1]})
        pq.write_table(table, tmp_path / f"{i}.parquet")
    with pytest.raises(InvalidInputError, match="more than one column 'x'.* Rename"):
        ParquetTable(tmp_path)


def test_files_without_rows_raise(tmp_path):
    pq.write_table(log().slice(0, 0), tmp_path / "log.parquet")
    with pytest.raises(InvalidInputError, match="the table of interactions has no rows"):
        MINDRecommender(**COLUMNS).fit(tmp_path)


def test_a_part_of_the_rows_reads_as_a_table(tmp_path):
    table = pa.table({"x": np.arange(1003), "y": [f"y{i}" for i in range(1003)]})
    for i, start in enumerate((0, 500)):
        part = table.slice(start, 500 + 3 * i)
        pq.write_table(part, tmp_path / f"{i}.parquet", row_group_size=37)
    rng = np.random.default_rng(0)
    files, rows = ParquetTable(tmp_path), np.arange(1003)
    for _ in range(2):  # a part, and a part of this part
        is_taken = rng.random(len(rows)) < 0.4
        files, rows = files.where(is_taken), rows[is_taken]
        names = [f"y{row}" for row in rows]
        assert len(files) == len(rows)
        assert files[0].to_pylist() == rows.tolist()
        assert [name for part in files.parts(1) for name in part.to_pylist()] == names
        assert files.take(1, np.array([3, 1])).to_pylist() == [names[3], names[1]]
        assert files.take_rows(np.array([2])).to_pylist() == [{"x": rows[2], "y": names[2]}]
    assert len(ParquetTable(tmp_path)) == 1003
