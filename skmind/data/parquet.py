"""Parquet files → a table of interactions that is read column by column, in parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..exceptions import InvalidInputError
from .tables import PART_ROWS, check_unique_names

_DATASET_FORMAT = {"format": "parquet", "partitioning": "hive"}


def is_path(X: Any) -> bool:
    """Return whether ``X`` is a path or a list of paths."""
    paths = X if isinstance(X, list | tuple) else [X]
    return len(paths) > 0 and all(isinstance(path, str | os.PathLike) for path in paths)


class ParquetTable:
    """The rows of Parquet files, in the order of the files; files of a folder are sorted by name.

    Parameters
    ----------
    source : path or list of paths
        A file, a list of files, or a folder of files. Subfolders with names like ``year=2020`` are
        read as columns.

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
        try:
            import pyarrow as pa
            from pyarrow import dataset
        except ImportError as error:
            raise ImportError(
                "reading Parquet files needs pyarrow, which can't be imported: "
                "pip install skmind[parquet]"
            ) from error
        paths = [os.fspath(path) for path in source] if isinstance(source, list | tuple) else source
        try:
            # Without a schema, a dataset takes that of its first file, and fails if a name repeats.
            files = dataset.dataset(paths, schema=pa.schema([]), **_DATASET_FORMAT).get_fragments()
            file_schemas = [file.physical_schema for file in files]
            for file_schema in file_schemas:
                check_unique_names(file_schema.names)
            data = dataset.dataset(paths, **_DATASET_FORMAT)
            # By default, a dataset takes the types of the first file and parses text as numbers.
            schema = _common_schema([data.schema, *file_schemas])
            self._data = dataset.dataset(paths, schema=schema, **_DATASET_FORMAT)
            self._n_rows = self._data.count_rows()
        except (OSError, pa.ArrowException) as error:
            raise InvalidInputError(
                f"X={source!r} can't be read as Parquet ({type(error).__name__}: {error}); give "
                "the path of a file, a list of paths, or a folder of files whose columns have the "
                "same types"
            ) from error
        if not self._data.files:
            raise InvalidInputError(f"X={source!r} has no files; give a folder of Parquet files")
        self.column_names = list(schema.names)

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, position: int) -> Any:
        """Return a whole column as a ChunkedArray."""
        with self._lossless(position):
            return self._data.to_table(columns=self._only(position)).column(0)

    def parts(self, position: int) -> Iterator[Any]:
        """Yield the column as Arrays of 1 to `PART_ROWS` rows."""
        import pyarrow as pa

        # Nothing is read ahead: this saves memory, and most time is spent after reading.
        batches = self._data.to_batches(
            columns=self._only(position),
            batch_size=PART_ROWS,
            batch_readahead=0,
            fragment_readahead=0,
            use_threads=False,
        )
        with self._lossless(position):
            yield from (batch.column(0) for batch in batches if batch.num_rows)
        pa.default_memory_pool().release_unused()  # else it keeps the memory for later reads

    def take(self, position: int, rows: np.ndarray) -> Any:
        """Return these cells of a column as a ChunkedArray without holding the whole column."""
        with self._lossless(position):
            return self._data.take(rows, columns=self._only(position)).column(0)

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
