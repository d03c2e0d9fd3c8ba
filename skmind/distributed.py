"""Saved model, frames of users or histories → frames of recommendations, in any process."""

from __future__ import annotations

import difflib
import inspect
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

from ._estimator import MINDRecommender
from ._recommender import FittedRecommender
from .data.parquet import arrow_schema
from .data.prepare import result_name
from .data.tables import column_names
from .exceptions import (
    IdTypeError,
    IgnoredDataWarning,
    InvalidInputError,
    ModelFileError,
    SkmindError,
)
from .nn.device import one_thread
from .persistence.store import check_path, manifest_digest

__all__ = ["BatchRecommender", "ResultSchema"]

OWN_ARGUMENTS = ("self", "user_ids", "histories", "k", "output")
# Types of columns by kind and size of their numpy dtype. Spark has no unsigned integers, so these
# take the next larger type.
SPARK_TYPES = {
    "b1": "boolean", "i1": "tinyint", "i2": "smallint", "i4": "int", "i8": "bigint",
    "u1": "smallint", "u2": "int", "u4": "bigint", "u8": "decimal(20,0)", "f4": "float",
    "f8": "double", "M8": "timestamp_ntz",
}  # fmt: skip
TEXT = pd.Series(["text"]).dtype  # what a column of text becomes: depends on the version of pandas

MAX_LOADED_MODELS = 4  # of one process; the model that was used least recently makes room

_load_lock = Lock()


@dataclass(frozen=True)
class ResultSchema:
    """Columns of recommendations, in the terms of several libraries.

    Attributes
    ----------
    pandas : DataFrame
        A frame without rows: ``meta=`` of Dask.
    """

    pandas: pd.DataFrame

    @property
    def spark(self) -> str:
        """Columns in Spark's language of types, which `mapInPandas` takes as schema."""
        columns = []
        for name, dtype in self.pandas.dtypes.items():
            quoted = str(name).replace("`", "``")
            columns.append(f"`{quoted}` {'string' if dtype == TEXT else SPARK_TYPES[_key(dtype)]}")
        return ", ".join(columns)

    @property
    def arrow(self) -> Any:
        """Columns as `pyarrow.Schema`; needs ``pip install skmind[parquet]``."""
        return arrow_schema({str(name): dtype for name, dtype in self.pandas.dtypes.items()})


class BatchRecommender:
    """Recommend on an engine: a callable that each process runs on its part of the users.

    It holds the path of a saved model, not the model, so it is small to pickle. Each process loads
    the model once, at the first call, with its arrays mapped: processes of one machine share their
    memory. Calls use one thread of torch and of numpy, and restore the numbers of threads after.

    - Spark: ``frame.mapInPandas(batch, batch.schema.spark)``
    - Ray Data: ``dataset.map_batches(batch, batch_format="pandas")``
    - Dask: ``frame.map_partitions(batch, meta=batch.schema.pandas)``
    - `concurrent.futures`: ``pool.map(batch, frames)``

    Parameters
    ----------
    path : str or Path
        Directory that `MINDRecommender.save` wrote. All processes must see it under this path; a
        relative path is taken from the current directory of the process that calls the constructor.
    k : int, default=10
        Number of items per user, at least 1.
    histories : bool, default=False
        What the frames hold. False: users, in the user column of `fit`; results are those of
        `MINDRecommender.recommend`. True: interactions of people who need not have been in
        ``fit``, in its user, item and time columns; results are those of
        `MINDRecommender.recommend_from_history`. All rows of a person must be in one frame, or, for
        an iterator of frames, follow each other.
    user_dtype : dtype or None, default=None
        Type of the column of users in the results. None: that of the users of ``fit``. It matters
        for histories whose users have other ids than those of ``fit``: "int64", "str".
    manifest_sha256 : str or None, default=None
        The value that `MINDRecommender.save` returned. If given, an index that was saved with the
        model is mapped instead of built again by every process; see `MINDRecommender.load`.
    **recommend_arguments
        Other arguments of `MINDRecommender.recommend` (or `recommend_from_history`), such as
        ``unknown="error"`` or ``exclude_items=sold_out``; not ``output``.

    Attributes
    ----------
    schema : ResultSchema
        Columns of the results, as ``schema.spark``, ``schema.arrow`` and ``schema.pandas``. All
        results have these types, also those without rows.

    Raises
    ------
    InvalidInputError
        If an argument is unknown or invalid, an argument has rows per user, or ids of ``fit`` are
        of a type that is no type of columns, such as text beside numbers.
    UnknownIdError
        If no item of ``items``, or of ``titles``, is known.
    ModelFileError
        If ``path`` has no model, or it is damaged.

    Notes
    -----
    The constructor loads the model too, to check the arguments and to learn the types. Processes
    refuse a model that has replaced this one since.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> from skmind.distributed import BatchRecommender
    >>> X = make_interactions(50, 60, n_topics=6, n_events=10, random_state=0).interactions
    >>> path = mkdtemp()
    >>> _ = MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0).fit(X).save(path)
    >>> batch = BatchRecommender(path, k=2)
    >>> batch.schema.spark
    '`user_id` bigint, `item_id` bigint, `score` float, `rank` bigint, `interest` int'
    >>> frames = [X[["user_id"]].drop_duplicates()[:3], X[["user_id"]][:0]]
    >>> [len(result) for result in batch(iter(frames))]
    [6, 0]
    """

    def __init__(
        self,
        path: str | Path,
        k: int = 10,
        *,
        histories: bool = False,
        user_dtype: Any = None,
        manifest_sha256: str | None = None,
        **recommend_arguments: Any,
    ) -> None:
        self.path = check_path(path).absolute()
        if not isinstance(histories, bool | np.bool_):
            raise InvalidInputError(
                f"histories={histories!r} must be False for frames of users, or True for frames of "
                "interactions; pass the interactions themselves to the call"
            )
        self.k = k
        self.histories = bool(histories)
        self.manifest_sha256 = manifest_sha256
        self.recommend_arguments = recommend_arguments
        self._check_names()
        self._digest = manifest_digest(self.path)
        self.schema = self._read_schema(user_dtype)

    def __call__(
        self, frames: pd.DataFrame | Iterator[pd.DataFrame], partition_info: Any = None
    ) -> pd.DataFrame | Iterator[pd.DataFrame]:
        """Return the recommendations for a frame, or yield those for each frame of an iterator.

        Parameters
        ----------
        frames : DataFrame, or iterator of DataFrame
            Other columns than those of the model are ignored. An iterator of histories may cut the
            rows of a person between frames: they are put together again.
        partition_info : dict or None
            Dask passes it; it is named in errors.

        Returns
        -------
        DataFrame, or iterator of DataFrame
            Columns as `schema`; users in the order of the frame.

        Raises
        ------
        InvalidInputError, IdTypeError, UnknownIdError
            As `MINDRecommender.recommend`. The message names the first bad row, and the partition
            of Spark or Dask or the task of Ray. Also if the rows of a person don't follow each
            other, or ids don't fit the type of their column.
        ModelFileError
            If the model is damaged, missing in this process, or was replaced since this object was
            made.

        Warns
        -----
        ShortageWarning
            If users of a frame get fewer than ``k`` items, because no more are eligible.
        """
        place = _place(partition_info)
        if isinstance(frames, pd.DataFrame):
            return self._answer(frames, place)
        if not isinstance(frames, Iterator):
            _check_frame(frames, place)
        return self._answer_all(frames, place)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, k={self.k})"

    # construction

    def _method(self, rec: FittedRecommender) -> Any:
        return rec.recommend_from_history if self.histories else rec.recommend

    def _check_names(self) -> None:
        """Raise if an argument is not one of the method that is called."""
        names = list(inspect.signature(self._method(MINDRecommender)).parameters)  # type: ignore[arg-type]
        names = [name for name in names if name not in OWN_ARGUMENTS]
        for name in self.recommend_arguments:
            if name in names:
                continue
            similar = difflib.get_close_matches(name, names, n=1)
            cure = f"did you mean {similar[0]!r}?" if similar else f"valid are {', '.join(names)}"
            if name == "output":
                cure = "the results are frames; leave it out"
            raise InvalidInputError(f"{name}= is no argument of a BatchRecommender: {cure}")

    def _read_schema(self, user_dtype: Any) -> ResultSchema:
        """Return the types of results; checks the arguments as the method itself does."""
        rec = self._model()
        columns = rec._model.schema[:3]
        if self.histories and any(isinstance(column, Integral) for column in columns):
            raise InvalidInputError(
                f"fit read the columns {columns} by position, but frames of an engine have names; "
                "fit on a DataFrame"
            )
        nobody: Any = pd.Series(dtype=object) if self.histories else rec.users_[:0]
        with warnings.catch_warnings(), one_thread():
            warnings.simplefilter("ignore", IgnoredDataWarning)  # nobody has features
            table = self._method(rec)(nobody, self.k, **self.recommend_arguments)
        user, item, *others = table.columns
        table = table.astype({name: TEXT for name in others if table[name].dtype == object})
        table[user] = np.empty(0, dtype=object)
        users = _column_type(rec.users_, "the users of fit") if user_dtype is None else user_dtype
        items = _column_type(rec.items_, "the items of fit")
        return ResultSchema(table.astype({user: _known_type(users), item: items}))

    # the work

    def _model(self) -> FittedRecommender:
        """Return the model, which the first call in a process loads."""
        if manifest_digest(self.path) != self._digest:
            raise ModelFileError(
                f"the model in {str(self.path)!r} was replaced since this BatchRecommender was "
                "made; make a new one, or save to another directory"
            )
        with _load_lock, one_thread():
            return _load(self.path, self._digest, self.manifest_sha256)

    def _answer(self, frame: pd.DataFrame, place: str) -> pd.DataFrame:
        """Return the recommendations for one frame."""
        _check_frame(frame, place)
        rec = self._model()
        try:
            with one_thread():
                return self._typed(self._recommend(rec, frame))
        except SkmindError as error:
            row = self._bad_row(rec, frame)
            named = f" in the row {row}" if row else ""
            raise type(error)(f"{place}{named}: {error}") from error

    def _recommend(self, rec: FittedRecommender, frame: pd.DataFrame) -> pd.DataFrame:
        given: Any = frame
        if not self.histories:
            user = result_name(rec._model.schema.user, "user_id")
            if user not in column_names(frame):
                raise InvalidInputError(
                    f"there is no column {user!r} of users, only {column_names(frame)}; rename "
                    "the one that holds them"
                )
            given = frame[user]
        return self._method(rec)(given, self.k, **self.recommend_arguments)

    def _typed(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the results with the types of the schema, if no id changes by that."""
        dtypes = self.schema.pandas.dtypes
        user = table.columns[0]
        if len(table) and table[user].dtype != dtypes[user]:
            ids = table[user].drop_duplicates()
            changed = _changed_id(ids, dtypes[user])
            if changed is not None:
                raise IdTypeError(
                    f"the user {changed!r} doesn't fit the column of type {_name(dtypes[user])}; "
                    "name another type of the users in results: user_dtype='str', 'int64' or "
                    "'float64'"
                )
        return table.astype(dtypes.to_dict())

    def _answer_all(self, frames: Iterator[pd.DataFrame], place: str) -> Iterator[pd.DataFrame]:
        for number, frame in enumerate(self._whole(frames, place) if self.histories else frames):
            yield self._answer(frame, f"frame {number} of {place}")

    def _whole(self, frames: Iterator[pd.DataFrame], place: str) -> Iterator[pd.DataFrame]:
        """Yield frames in which no person's rows are cut off.

        The rows of the last person of a frame are held back until the next frame has come.
        """
        user = self.schema.pandas.columns[0]
        finished: set = set()
        held: list[pd.DataFrame] = []
        for frame in frames:
            _check_frame(frame, place)
            if user not in column_names(frame):
                yield frame  # which raises
            elif len(frame):
                is_last = (frame[user] == frame[user].iloc[-1]).to_numpy()
                if held and held[0][user].iloc[0] == frame[user].iloc[-1] and is_last.all():
                    held.append(frame)
                    continue
                complete = pd.concat([*held, frame[~is_last]])
                held = [frame[is_last]]
                people = set(complete[user])
                again = finished & (people | set(held[0][user]))
                if again:
                    raise InvalidInputError(
                        f"{place}: rows of the user {again.pop()!r} don't follow each other; sort "
                        f"each partition by {user!r}, such as "
                        f"frame.repartition({user!r}).sortWithinPartitions({user!r}) in Spark"
                    )
                finished |= people
                yield complete
        if held:
            yield pd.concat(held)

    def _bad_row(self, rec: FittedRecommender, frame: pd.DataFrame) -> dict | None:
        """Return the first row that fails alone; None if no row does.

        The half of the rows that fails is halved again, so that all of it costs less than one more
        call for the frame.
        """
        schema = rec._model.schema
        read = schema[:3] if self.histories else [result_name(schema.user, "user_id")]
        read = [name for name in read if name is not None]
        if not len(frame) or not set(read) <= set(column_names(frame)):
            return None
        while len(frame) > 1:
            first_half = frame.iloc[: len(frame) // 2]
            fails = self._fails(rec, first_half)
            frame = first_half if fails else frame.iloc[len(first_half) :]
        return frame[read].to_dict("records")[0] if self._fails(rec, frame) else None

    def _fails(self, rec: FittedRecommender, frame: pd.DataFrame) -> bool:
        with warnings.catch_warnings(), one_thread():
            warnings.simplefilter("ignore")
            try:
                self._typed(self._recommend(rec, frame))
            except SkmindError:
                return True
        return False


@lru_cache(maxsize=MAX_LOADED_MODELS)
def _load(path: Path, digest: str, manifest_sha256: str | None) -> FittedRecommender:
    """Load a model; ``digest`` tells models apart that were saved to the same path."""
    rec = MINDRecommender.load(path, manifest_sha256=manifest_sha256, mmap=True)
    return rec.set_params(n_jobs=1)


def _place(partition_info: Any) -> str:
    """Return what the engine calls the data of this call, for messages."""
    if partition_info is not None:
        return f"partition {partition_info['number']}"
    pyspark = sys.modules.get("pyspark")
    context = pyspark.TaskContext.get() if pyspark else None
    if context is not None:
        return f"partition {context.partitionId()}"
    ray = sys.modules.get("ray")
    if ray and ray.is_initialized() and ray.get_runtime_context().get_task_id():
        return f"Ray task {ray.get_runtime_context().get_task_id()}"
    return "the batch"


def _check_frame(frame: Any, place: str) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise InvalidInputError(
            f"{place} is a {type(frame).__name__}; pass a pandas DataFrame or an iterator of them, "
            "such as batch_format='pandas' in Ray Data, to_pandas() of other tables, and iter() of "
            "a list"
        )


def _name(dtype: Any) -> str:
    return "str" if dtype == TEXT else str(dtype)


def _key(dtype: Any) -> str:
    return f"{dtype.kind}{dtype.itemsize}"


def _column_type(ids: np.ndarray, name: str) -> Any:
    """Return the type of a column of ids."""
    if ids.dtype != object:
        return ids.dtype
    if all(type(value) is str for value in ids):
        return TEXT
    kinds = sorted({type(value).__name__ for value in ids})
    raise InvalidInputError(
        f"{name} have ids of the types {', '.join(kinds)}, which can't be one column of an engine; "
        "convert them to text and fit again"
    )


def _known_type(dtype: Any) -> Any:
    """Return a type of columns that all engines have."""
    try:
        known = pd.Series(dtype=dtype).dtype
    except TypeError:
        known = None
    if known != TEXT and (known is None or getattr(known, "kind", "") + "0" not in "b0i0u0f0M0"):
        raise InvalidInputError(
            f"user_dtype={dtype!r} is no type of a column of ids; use 'int64', 'float64', "
            "'datetime64[ns]' or 'str'"
        )
    return known


def _changed_id(ids: pd.Series, dtype: Any) -> Any:
    """Return the first id that a conversion would change; None if all stay the same."""
    if dtype == TEXT:
        return next((value for value in ids.tolist() if not isinstance(value, str)), None)
    try:
        converted = ids.astype(dtype)
    except (TypeError, ValueError, OverflowError):
        return ids.iloc[0]
    # Python compares integers with floats exactly.
    pairs = zip(ids.tolist(), converted.tolist(), strict=True)
    return next((before for before, after in pairs if before != after), None)
