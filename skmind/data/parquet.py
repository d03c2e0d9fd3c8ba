"""Parquet files → a table of interactions whose columns are read one at a time and in parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..exceptions import InvalidInputError
from .tables import PART

_LAYOUT = {"format": "parquet", "partitioning": "hive"}


def is_path(X: Any) -> bool:
    """Whether ``X`` is a path or a list of paths."""
    parts = X if isinstance(X, list | tuple) else [X]
    return len(parts) > 0 and all(isinstance(part, str | os.PathLike) for part in parts)


class ParquetTable:
    """The rows of Parquet files, in the order of the files; those of a folder sorted by name.

    Parameters
    ----------
    source : path or list of paths
        A file, a list of files, or a folder of files. Folders in it that are named like
        ``year=2020`` are columns too.

    Attributes
    ----------
    column_names : list of str

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    InvalidInputError
        If a file is missing or not Parquet, or the files differ in the type of a column.
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
            data = dataset.dataset(paths, **_LAYOUT)
            files = [fragment.physical_schema for fragment in data.get_fragments()]
            # Left to itself, a dataset has the types of the first file and parses text as numbers.
            schema = pa.unify_schemas([data.schema, *files], promote_options="permissive")
            self._data = dataset.dataset(paths, schema=schema, **_LAYOUT)
            self._n_rows = self._data.count_rows()
        except (OSError, pa.ArrowException) as error:
            raise InvalidInputError(
                f"X={source!r} can't be read as Parquet ({type(error).__name__}: {error}); give "
                "the path of a file, a list of these, or a folder of files, all of the same columns"
            ) from error
        if not self._data.files:
            raise InvalidInputError(f"X={source!r} has no files; give a folder of Parquet files")
        self.column_names = list(schema.names)

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, position: int) -> Any:
        """A whole column, as a ChunkedArray."""
        return self._data.to_table(columns=self._only(position)).column(0)

    def parts(self, position: int) -> Iterator[Any]:
        """The column in Arrays of 1 to `PART` rows."""
        import pyarrow as pa

        batches = self._data.to_batches(  # none is read ahead: less to hold, and the work is after
            columns=self._only(position),
            batch_size=PART,
            batch_readahead=0,
            fragment_readahead=0,
            use_threads=False,
        )
        yield from (batch.column(0) for batch in batches if batch.num_rows)
        pa.default_memory_pool().release_unused()  # which it would keep for what it reads next

    def take(self, position: int, rows: np.ndarray) -> Any:
        """Cells of a column, of which little more is held, as a ChunkedArray."""
        return self._data.take(rows, columns=self._only(position)).column(0)

    def head(self) -> Any:
        """A pyarrow table with the columns and without rows."""
        return self._data.schema.empty_table()

    def _only(self, position: int) -> dict[str, Any]:
        from pyarrow import dataset

        name = self.column_names[position]
        return {name: dataset.field(name)}
