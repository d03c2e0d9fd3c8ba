"""One table for all processes of a fit, or one for each → the rows of this process's users.

Users are divided between the processes, items are not: each process keeps the histories of its own
users, and learns the ids of all items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
from scipy import sparse

from ..exceptions import InvalidInputError
from .ids import IdEncoder, join_ids
from .parquet import ParquetTable
from .tables import id_parts, take_rows
from .ties import hash_codes

T = TypeVar("T")


class Collectives(Protocol):
    """What this module needs of `skmind.nn.processes.Processes`."""

    rank: int
    size: int

    def gather(self, value: T) -> list[T]:
        """Return the value of each process."""
        ...

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over the processes."""
        ...


class Alone:
    """One process."""

    rank = 0
    size = 1

    def gather(self, value: T) -> list[T]:
        """Return the value in a list."""
        return [value]

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the argument."""
        return values


ALONE = Alone()


@dataclass(frozen=True)
class Shard:
    """The users of this process among the users of all processes, who are numbered alike in each.

    Attributes
    ----------
    processes : Collectives
    numbers : ndarray of shape (n_own_users,), int
        Number of each own user.
    n_users : int
        Users of all processes.
    """

    processes: Collectives
    numbers: np.ndarray
    n_users: int

    @classmethod
    def whole(cls, n_users: int) -> Shard:
        """Return the shard of one process that has all users."""
        return cls(ALONE, np.arange(n_users), n_users)

    @classmethod
    def of(cls, processes: Collectives, users: IdEncoder) -> Shard:
        """Number the users of all processes in the order that `IdEncoder.fit` gives their ids.

        Raises
        ------
        InvalidInputError
            If a user is in two processes.
        """
        if processes.size == 1:
            return cls.whole(len(users))
        joint = join_encoders(processes, users)
        shard = cls(processes, joint.encode(users.ids), len(joint))
        is_shared = shard.of_all(np.ones(len(users), dtype=np.int64)) > 1
        if is_shared.any():
            raise InvalidInputError(
                f"the user {joint.ids[is_shared].tolist()[0]!r} is in the tables of two processes, "
                "which differ; give all processes the same table, and each keeps its own users, or "
                "give each the whole histories of other users"
            )
        return shard

    @cached_property
    def _own(self) -> np.ndarray:
        own = np.full(self.n_users, -1, dtype=np.int32)
        own[self.numbers] = np.arange(len(self.numbers))
        return own

    def own(self, numbers: np.ndarray) -> np.ndarray:
        """Return the own code of users with these numbers; -1 for users of other processes."""
        return self._own[numbers].astype(np.int64)

    def of_all(self, values: np.ndarray) -> np.ndarray:
        """Return the values of the users of all processes, given those of the own users."""
        if self.processes.size == 1:
            return values
        all_values = np.zeros(self.n_users, dtype=values.dtype)
        all_values[self.numbers] = values
        return self.processes.sum(all_values)


def own_rows(X: Any, user: Any, item: Any, processes: Collectives) -> tuple[Any, np.ndarray | None]:
    """Return the rows of the users of this process, and which rows these are; None for all.

    If all processes have the same table, a hash of the id decides which of them keeps a user. If
    the tables differ, each process keeps its own.

    Parameters
    ----------
    X : frame, 2-D array or ParquetTable
    user, item : str or int
        The columns of the ids.
    processes : Collectives

    Returns
    -------
    X : as the parameter
        A `ParquetTable` reads only these rows from now on; other tables are copied.
    is_own : ndarray of shape (n_rows,), bool, or None

    Raises
    ------
    InvalidInputError
        If a process has no row.
    """
    if processes.size == 1:
        return X, None
    is_own = np.empty(len(X), dtype=bool)
    stop = 0
    total = np.zeros(1, dtype=np.uint64)
    for codes, ids in id_parts(X, user, "user_col"):
        start, stop = stop, stop + len(codes)
        hashes = pd.util.hash_array(np.asarray(ids))
        is_own[start:stop] = (hashes % np.uint64(processes.size) == processes.rank)[codes]
        total += _weighted_sum(hashes, codes)
    for codes, ids in id_parts(X, item, "item_col"):
        total += _weighted_sum(hash_codes(pd.util.hash_array(np.asarray(ids))), codes)
    if len(set(processes.gather((len(X), int(total[0]))))) > 1:
        return X, None
    n_rows = processes.gather(int(np.count_nonzero(is_own)))
    if 0 in n_rows:
        raise InvalidInputError(
            f"no user of the table falls to process {n_rows.index(0)} of {processes.size}; fit "
            "with fewer processes"
        )
    if isinstance(X, ParquetTable):
        return X.where(is_own), is_own
    return take_rows(X, np.flatnonzero(is_own)), is_own


def _weighted_sum(hashes: np.ndarray, codes: np.ndarray) -> np.uint64:
    """Return the sum of the hashes of the ids of all rows."""
    return (hashes * np.bincount(codes, minlength=len(hashes)).astype(np.uint64)).sum()


def own_table(ids: np.ndarray, users: IdEncoder, processes: Collectives) -> np.ndarray | None:
    """Return which rows of a feature table of the users are those of this process; None: all.

    If all processes have the same table, users whom no process has events of are divided by hash.
    """
    if processes.size == 1:
        return None
    hashes = pd.util.hash_array(ids)
    if len(set(processes.gather((len(ids), int(hashes.sum()))))) > 1:
        return None
    is_known = users.encode(ids, "the ids of the users table") >= 0
    is_known_anywhere = processes.sum(is_known.astype(np.int32)) > 0
    is_next = hashes % np.uint64(processes.size) == processes.rank
    return np.where(is_known_anywhere, is_known, is_next)


def join_encoders(processes: Collectives, encoder: IdEncoder) -> IdEncoder:
    """Return the encoder of the ids of all processes.

    Raises
    ------
    InvalidInputError
        If the ids have no order, which would be another one in each process.
    """
    if processes.size == 1:
        return encoder
    first, *others = processes.gather(encoder.ids)
    for ids in others:
        first = join_ids(first, ids, f"{encoder.name} ids")
    if first.dtype == object and len({isinstance(value, str) for value in first}) > 1:
        raise InvalidInputError(
            f"the {encoder.name} ids are a mix of text and other values, which several processes "
            "can't bring into one order; convert all of them to text"
        )
    return IdEncoder.fit(first, encoder.name)[0]


def join_columns(processes: Collectives, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return feature columns with the cells of all processes, for learning their values."""
    if processes.size == 1:
        return dict(columns)
    tables = processes.gather({name: column.values for name, column in columns.items()})
    check_same("the columns of users=", [sorted(map(str, table)) for table in tables])
    return {
        name: column._replace(
            values=pd.concat([table[name] for table in tables], ignore_index=True)
        )
        for name, column in columns.items()
    }


def check_same_items(processes: Collectives, encoder: IdEncoder, matrix: sparse.csr_matrix) -> None:
    """Raise `InvalidInputError` unless all processes have the same table of the items."""
    if processes.size == 1:
        return
    sha = hashlib.sha256(pd.util.hash_array(encoder.ids).tobytes())
    for array in (matrix.data, matrix.indices, matrix.indptr):
        sha.update(np.ascontiguousarray(array).data)
    if len(set(processes.gather(sha.hexdigest()))) > 1:
        raise InvalidInputError(
            "items= differs between the processes; give all of them the same table"
        )


def check_same(name: str, values: list[Any]) -> None:
    """Raise `InvalidInputError` unless the processes have the same value, given those of all."""
    for rank, value in enumerate(values):
        if value != values[0]:
            raise InvalidInputError(
                f"{name} differs between the processes: {values[0]} in process 0 and {value} in "
                f"process {rank}; give all of them the same"
            )


def join_titles(processes: Collectives, titles: np.ndarray | None) -> np.ndarray | None:
    """Return the title of each item in the first process that has one."""
    if processes.size == 1 or titles is None:
        return titles
    first, *others = processes.gather(titles)
    for other in others:
        first = np.where(first == "", other, first)
    return first
