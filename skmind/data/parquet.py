"""Parquet files and other Arrow data → tables that `tables` reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from pathlib import PurePath
from typing import Any, Self

import numpy as np

from ..exceptions import InvalidInputError
from .tables import PART_ROWS, check_names

_DATASET_FORMAT = {"format": "parquet", "partitioning": "hive"}
# Calls that read files of other formats, by the ending of their names.
_READERS = {
    ".arrow": "pandas.read_feather({})",
    ".csv": "pandas.read_csv({})",
    ".feather": "pandas.read_feather({})",
    ".json": "pandas.read_json({})",
    ".jsonl": "pandas.read_json({}, lines=True)",
    ".tsv": "pandas.read_csv({}, sep='\\t')",
    ".txt": "pandas.read_csv({})",
    ".xlsx": "pandas.read_excel({})",
}
_COMPRESSED = {".bz2", ".gz", ".xz", ".zip", ".zst"}


def is_path(X: Any) -> bool:
    """Return whether ``X`` is a path or a list of paths."""
    paths = X if isinstance(X, list | tuple) else [X]
    return len(paths) > 0 and all(isinstance(path, str | os.PathLike) for path in paths)


def reader_call(path: Any) -> str:
    """Return the call that reads a file, or the first of several, as its name suggests."""
    path = path[0] if isinstance(path, list | tuple) else path
    return _READERS.get(_format(path), "pandas.read_parquet({})").format(repr(os.fspath(path)))


def _format(path: Any) -> str:
    """Return the ending of the name of a file without that of its compression."""
    endings = [ending.lower() for ending in PurePath(os.fsdecode(path)).suffixes]
    return next((ending for ending in reversed(endings) if ending not in _COMPRESSED), "")


def arrow_table(X: Any, name: str) -> Any:
    """Return an object that exports Arrow data as a pyarrow table, which is read whole.

    Parameters
    ----------
    X : object with the method ``__arrow_c_stream__``
    name : str
        The parameter that ``X`` was given as, for messages.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    InvalidInputError
        If reading fails.
    """
    pa = _import_pyarrow(f"reading a {type(X).__name__}")
    try:
        return pa.table(X)
    except (OSError, pa.ArrowException) as error:
        raise InvalidInputError(
            f"{name} is a {type(X).__name__} that can't be read ({type(error).__name__}: {error}); "
            "read it into a table first"
        ) from error


def arrow_schema(dtypes: Mapping[str, Any]) -> Any:
    """Return a `pyarrow.Schema` of columns with these types of pandas: numbers, times and text.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    """
    pa = _import_pyarrow("an Arrow schema")
    return pa.schema(
        [
            (name, pa.from_numpy_dtype(dtype) if _is_plain(dtype) else pa.string())
            for name, dtype in dtypes.items()
        ]
    )


def _is_plain(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind != "O"


def _import_pyarrow(what: str) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.dataset
    except ImportError as error:
        raise ImportError(
            f"{what} needs pyarrow, which can't be imported: pip install skmind[parquet]"
        ) from error
    return pa


def _open(pa: Any, source: Any) -> tuple[Any, dict[str, list[str]]]:
    """Return a dataset of Parquet files, and the names of the columns of each."""
    paths = [os.fspath(path) for path in source] if isinstance(source, list | tuple) else source
    # Without a schema, a dataset takes that of its first file, and fails if a name repeats.
    files = pa.dataset.dataset(paths, schema=pa.schema([]), **_DATASET_FORMAT).get_fragments()
    schemas = {file.path: file.physical_schema for file in files}
    file_schemas = list(schemas.values())
    for file_schema in file_schemas:
        check_names(file_schema.names)
    data = pa.dataset.dataset(paths, **_DATASET_FORMAT)
    # By default, a dataset takes the types of the first file and parses text as numbers.
    schema = _common_schema([data.schema, *file_schemas])
    data = pa.dataset.dataset(paths, schema=schema, **_DATASET_FORMAT)
    if not data.files:
        raise InvalidInputError(f"X={source!r} has no files; give a folder of Parquet files")
    return data, {path: file_schema.names for path, file_schema in schemas.items()}


class ParquetTable:
    """The rows of Parquet files, in the order of the files; files of a folder are sorted by name.

    Parameters
    ----------
    source : path, list of paths or pyarrow Dataset
        A file, a list of files, or a folder of files. Subfolders with names like ``year=2020`` are
        read as columns. A Dataset may be of any format.

    Attributes
    ----------
    column_names : list of str

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    InvalidInputError
        If a file is missing or not a Parquet file, if a file has a column name twice, if there is
        no common type for a column of all files, or if a folder has no files.
    """

    def __init__(self, source: Any) -> None:
        if is_path(source) and not reader_call(source).startswith("pandas.read_parquet"):
            raise InvalidInputError(
                f"X={source!r} can't be read as Parquet files; give the path of Parquet files, or "
                f"read it first: {reader_call(source)}"
            )
        pa = _import_pyarrow("reading Parquet files")
        try:
            self._data, self._names = _open(pa, source) if is_path(source) else (source, {})
            self._n_rows = self._data.count_rows()
        except (OSError, pa.ArrowException) as error:
            raise InvalidInputError(
                f"X={source!r} can't be read as Parquet ({type(error).__name__}: {error}); give "
                "the path of a file, a list of paths, or a folder of files whose columns have the "
                "same types, or read other files first, such as with pandas.read_csv"
            ) from error
        self.column_names = list(self._data.schema.names)
        self._taken: np.ndarray | None = None  # bits of the rows in the files; None: all

    def where(self, is_taken: np.ndarray) -> Self:
        """Return the table of these of its rows, bool of shape (n_rows,); nothing is read."""
        table = copy(self)
        if self._taken is not None:
            in_files = np.zeros(self._data.count_rows(), dtype=bool)
            in_files[self._in_files(np.flatnonzero(is_taken))] = True
            is_taken = in_files
        table._taken = np.packbits(is_taken)
        table._n_rows = int(np.count_nonzero(is_taken))
        return table

    def check_in_all_files(self, columns: Iterable) -> None:
        """Raise if some of the files have a column, and others don't.

        Raises
        ------
        InvalidInputError
        """
        for column in columns:
            lacking = [path for path, names in self._names.items() if column not in names]
            if lacking and len(lacking) < len(self._names):
                raise InvalidInputError(
                    f"the file {lacking[0]!r} has no column {column!r}, which other files of X "
                    f"have; it has {self._names[lacking[0]]}. Rename the column in "
                    f"{len(lacking)} of {len(self._names)} files, or leave these files out"
                )

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, position: int) -> Any:
        """Return a whole column as a ChunkedArray."""
        if self._taken is not None:
            return self.take(position, np.arange(len(self)))
        with self._lossless(position):
            return self._data.to_table(columns=self._only(position)).column(0)

    def parts(self, position: int) -> Iterator[Any]:
        """Yield the column as Arrays of 1 to `PART_ROWS` rows."""
        import pyarrow as pa

        # Without reading ahead: this saves memory, and most of the time is not spent on reading.
        batches = self._data.to_batches(
            columns=self._only(position),
            batch_size=PART_ROWS,
            batch_readahead=0,
            fragment_readahead=0,
            use_threads=False,
        )
        stop = 0
        with self._lossless(position):
            for batch in batches:
                start, stop = stop, stop + batch.num_rows
                part = batch.column(0)
                if self._taken is not None:
                    is_taken = np.unpackbits(self._taken[start // 8 : stop // 8 + 1])
                    part = part.filter(pa.array(is_taken[start % 8 :][: len(part)].astype(bool)))
                if len(part):
                    yield part
        pa.default_memory_pool().release_unused()  # else it keeps the memory for later reads

    def take(self, position: int, rows: np.ndarray) -> Any:
        """Return these cells of a column as a ChunkedArray without holding the whole column."""
        with self._lossless(position):
            return self._data.take(self._in_files(rows), columns=self._only(position)).column(0)

    def take_rows(self, rows: np.ndarray) -> Any:
        """Return these rows as a pyarrow table."""
        return self._data.take(self._in_files(rows))

    def _in_files(self, rows: np.ndarray) -> np.ndarray:
        """Return the positions in the files of rows of the table."""
        return rows if self._taken is None else np.flatnonzero(np.unpackbits(self._taken))[rows]

    def head(self) -> Any:
        """Return a pyarrow table with all columns and no rows."""
        return self._data.schema.empty_table()

    @contextmanager
    def _lossless(self, position: int) -> Iterator[None]:
        """Say which column has values that the common type of the files doesn't hold."""
        import pyarrow as pa

        try:
            yield
        except pa.ArrowInvalid as error:
            name = self.column_names[position]
            dtype = self._data.schema.field(position).type
            raise InvalidInputError(
                f"column {name!r} differs in its type between files, and {dtype}, as which it is "
                f"read, does not hold all values ({error}); write it with one type to all files, "
                "such as int64"
            ) from error

    def _only(self, position: int) -> dict[str, Any]:
        """Return the argument ``columns`` of pyarrow that selects one column."""
        from pyarrow import dataset

        name = self.column_names[position]
        return {name: dataset.field(name)}


def _common_schema(schemas: list[Any]) -> Any:
    """Return one pyarrow schema for files that may differ in the types of their columns.

    Raises
    ------
    pyarrow.ArrowException
        If there is no type for all values of a column.
    """
    import pyarrow as pa

    types: dict[str, set[Any]] = {}
    for schema in schemas:
        for field in schema:
            types.setdefault(field.name, set()).add(field.type)
    plain = [
        pa.schema(
            field.with_type(_plain_type(field.type)) if len(types[field.name]) > 1 else field
            for field in schema
        )
        for schema in schemas
    ]
    return pa.unify_schemas(plain, promote_options="permissive")


def _plain_type(dtype: Any) -> Any:
    """Return the type of the values of a dictionary, and UTC for any other time zone."""
    import pyarrow as pa

    if pa.types.is_dictionary(dtype):
        return dtype.value_type
    if pa.types.is_timestamp(dtype) and dtype.tz is not None:
        return pa.timestamp(dtype.unit, "UTC")
    return dtype
