"""Ids of any scalar type ↔ int32 codes 0 … n-1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from ..exceptions import IdTypeError, InvalidInputError
from .tables import check_comparable, factorize, id_array, id_kinds, join_scalars

UNKNOWN_CODE = -1
# Merge when the unmerged ids are more than this many times the merged ids. Then the total time of
# all merges is linear.
MAX_UNMERGED_PER_MERGED_ID = 2


class IdEncoder:
    """Translate ids to codes; code ``c`` stands for ``ids[c]``.

    Parameters
    ----------
    ids : ndarray of shape (n_ids,)
        Distinct ids in code order, as `id_array` returns them.
    name : str
        What the ids are, for messages ("user", "item").
    source : str, default="fit saw"
        Where the ids are from, for messages.

    Raises
    ------
    InvalidInputError
        If an id occurs more than once.
    """

    def __init__(self, ids: np.ndarray, name: str, source: str = "fit saw") -> None:
        self.ids = ids
        self.name = name
        self.source = source
        self._index = pd.Index(ids, dtype=ids.dtype, copy=False)
        self._kinds = id_kinds(ids) if len(ids) else {}
        if not self._index.is_unique:
            repeated = self._index[self._index.duplicated()].tolist()[0]
            raise InvalidInputError(
                f"the {self.name} id {repeated!r} occurs more than once; give each id once"
            )
        # The first look-up fills the hash table. It happens here, because otherwise one thread
        # could search the table while another one fills it.
        self._index.get_indexer(self._index[:1])

    def __getstate__(self) -> dict[str, Any]:
        return {"ids": self.ids, "name": self.name}  # only what every file format can hold

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @classmethod
    def fit(cls, ids: np.ndarray, name: str) -> tuple[IdEncoder, np.ndarray]:
        """Return the encoder of all distinct ``ids``, and their codes, int32 of the same length.

        Codes follow the sorted order of the ids. Ids that can't be compared with each other (text
        beside numbers) keep the order of their first appearance.
        """
        return cls.fit_parts([factorize(ids)], len(ids), name)

    @classmethod
    def fit_parts(
        cls, parts: Iterable[tuple[np.ndarray, np.ndarray]], n_rows: int, name: str
    ) -> tuple[IdEncoder, np.ndarray]:
        """Fit on the parts of a column; see `fit`.

        Parameters
        ----------
        parts : iterable of tuple (codes, ids)
            Codes and distinct ids of each part, as `id_parts` yields them; at least one part.
        n_rows : int
            Number of rows of all parts.
        name : str
        """
        # Each part is first stored with its own codes, which need no look-up. They are replaced by
        # the final codes, in the same memory, when the ids of all parts are known.
        codes = np.empty(n_rows, dtype=np.int32)
        part_codes = []
        merger = _IdMerger()
        stop = 0
        for codes_in_part, ids in parts:
            start = stop
            stop += len(codes_in_part)
            codes[start:stop] = codes_in_part
            part_codes.append(codes[start:stop])
            merger.add(ids)

        distinct = merger.merge()
        order = _sorted_order(distinct)
        ranks = np.empty(len(order), dtype=np.int32)
        ranks[order] = np.arange(len(order), dtype=np.int32)
        for part, part_ranks in zip(
            reversed(part_codes), merger.per_array_reversed(ranks), strict=True
        ):
            part[:] = part_ranks[part]
        return cls(distinct[order], name), codes

    def extended(self, ids: np.ndarray, name: str | None = None) -> IdEncoder:
        """Return an encoder that also knows ``ids``.

        Known ids keep their codes; new ids follow them, in the order that `fit` gives them.

        Raises
        ------
        InvalidInputError, IdTypeError
            As `encode`.
        """
        new = IdEncoder.fit(ids[self.encode(ids, name) < 0], self.name)[0].ids
        if not len(new):
            return self
        return IdEncoder(join_ids(self.ids, new, f"{self.name} ids"), self.name)

    def __len__(self) -> int:
        return len(self.ids)

    def encode(self, ids: Any, name: str | None = None) -> np.ndarray:
        """Return the codes of ``ids``, int32 of the same length; `UNKNOWN_CODE` for unknown ids.

        Parameters
        ----------
        ids : sequence of scalars
        name : str or None, default=None
            What the ids are, for messages ("column 'user_id'"). None: a list of ids.

        Raises
        ------
        InvalidInputError
            If an id is missing, ``ids`` is a single id instead of a list, or an id is a float that
            stands for several integers and the fitted ids are integers.
        IdTypeError
            If the ids are of another kind than the ids of `fit`, so that no id can match.
        """
        if isinstance(ids, Iterator):
            raise InvalidInputError(
                f"{self.name} ids must be a list or array, got a {type(ids).__name__}; pass "
                "list() of it"
            )
        if isinstance(ids, str | bytes) or not hasattr(ids, "__len__"):
            raise InvalidInputError(
                f"{self.name} ids must be a list or array, not the single value {ids!r}; "
                f"write [{ids!r}]"
            )
        name = name or f"the list of {self.name} ids"
        values = id_array(ids, name)
        if not len(values) or not len(self.ids):
            return np.full(len(values), UNKNOWN_CODE, dtype=np.int32)
        self._check_kind(values)
        check_comparable(values, self.ids, name, f"the {self.name} ids of fit")
        codes = np.full(len(values), UNKNOWN_CODE, dtype=np.int32)
        is_valid = np.ones(len(values), dtype=bool)
        if values.dtype.kind == "f" and self.ids.dtype.kind in "iu":  # pandas would compare floats
            is_valid = values % 1 == 0
            values = values[is_valid].astype(np.int64)
        codes[is_valid] = self._index.get_indexer(values)
        return codes

    def _check_kind(self, values: np.ndarray) -> None:
        kinds = id_kinds(values)
        if kinds.keys().isdisjoint(self._kinds):
            own, others = (" and ".join(names.values()) for names in (kinds, self._kinds))
            raise IdTypeError(
                f"{self.name} ids are of kind {own} (such as {values[0]!r}) but {self.source} ids "
                f"of kind {others} (such as {self.ids[0]!r}); convert them to the same type"
            )


def join_ids(first: np.ndarray, second: np.ndarray, name: str) -> np.ndarray:
    """Return comparable ids, one after the other; whole floats become integers if the first are."""
    if first.dtype.kind in "iu" and second.dtype.kind == "f" and (second % 1 == 0).all():
        second = second.astype(np.int64)  # a missing value turns a column of integers into floats
    return join_scalars(first, second, name)


class _IdMerger:
    """Merge arrays of ids into one array of distinct ids, and store the new position of each id."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []  # first the merged ids, then the unmerged arrays
        self._merges: list[list[np.ndarray]] = []  # per merge: the new positions of each array

    def add(self, ids: np.ndarray) -> None:
        """Add an array of distinct ids; merge if there are many unmerged ids."""
        self._arrays.append(ids)
        n_merged, *n_unmerged = map(len, self._arrays)
        if sum(n_unmerged) > MAX_UNMERGED_PER_MERGED_ID * n_merged:
            self.merge()

    def merge(self) -> np.ndarray:
        """Return the distinct ids of all arrays."""
        if len(self._arrays) > 1:
            places, distinct = factorize(np.concatenate(self._arrays))
            ends = np.cumsum([len(ids) for ids in self._arrays])
            self._merges.append(np.split(places.astype(np.int32, copy=False), ends[:-1]))
            self._arrays = [distinct]
        return self._arrays[0]

    def per_array_reversed(self, values: np.ndarray) -> Iterator[np.ndarray]:
        """Yield, for each added array, the values of its ids; the last array comes first.

        Parameters
        ----------
        values : ndarray of shape (n_distinct,)
            One value per id that `merge` returned.
        """
        for places_of_merged, *places_of_unmerged in reversed(self._merges):
            for places in reversed(places_of_unmerged):
                yield values[places]
            values = values[places_of_merged]
        yield values


def _sorted_order(ids: np.ndarray) -> np.ndarray:
    """Return the positions that sort the ids; 0, 1, … if they can't be compared."""
    try:
        return np.argsort(ids, kind="stable")
    except TypeError:
        return np.arange(len(ids))
