"""Parquet files → a table of interactions that is read column by column, in parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..exceptions import InvalidInputError
from .tables import PART_ROWS

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
        If a file is missing or not a Parquet file, if the files differ in the type of a column, or
        if a folder has no files.
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
            data = dataset.dataset(paths, **_DATASET_FORMAT)
            file_schemas = [fragment.physical_schema for fragment in data.get_fragments()]
            # By default, a dataset takes the types of the first file and parses text as numbers.
            schema = pa.unify_schemas([data.schema, *file_schemas], promote_options="permissive")
            self._data = dataset.dataset(paths, schema=schema, **_DATASET_FORMAT)
            self._n_rows = self._data.count_rows()
        except (OSError, pa.ArrowException) as error:
            raise InvalidInputError(
                f"X={source!r} can't be read as Parquet ({type(error).__name__}: {error}); give "
                "the path of a file, a list of paths, or a folder of files with the same columns"
            ) from error
        if not self._data.files:
            raise InvalidInputError(f"X={source!r} has no files; give a folder of Parquet files")
        self.column_names = list(schema.names)

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, position: int) -> Any:
        """Return a whole column as a ChunkedArray."""
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
        yield from (batch.column(0) for batch in batches if batch.num_rows)
        pa.default_memory_pool().release_unused()  # otherwise the pool keeps it

    def take(self, position: int, rows: np.ndarray) -> Any:
        """Return the given rows of a column as a ChunkedArray, without reading the whole column."""
        return self._data.take(rows, columns=self._only(position)).column(0)

    def head(self) -> Any:
        """Return a pyarrow table with all columns and no rows."""
        return self._data.schema.empty_table()

    def _only(self, position: int) -> dict[str, Any]:
        """Return the argument ``columns`` of pyarrow that selects one column."""
        from pyarrow import dataset

        name = self.column_names[position]
        return {name: dataset.field(name)}
