"""Ids of any scalar kind ↔ int32 codes 0 … n-1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ..exceptions import IdTypeError, InvalidInputError
from .tables import factorize, id_array, id_kind, join_scalars

UNKNOWN = -1


class IdEncoder:
    """The one place where ids become codes; code ``c`` stands for ``ids[c]``.

    Parameters
    ----------
    ids : ndarray of shape (n_ids,)
        Distinct ids in code order, as `id_array` returns them.
    name : str
        What the ids are, for messages ("user", "item").

    Raises
    ------
    InvalidInputError
        If an id is there twice.
    """

    def __init__(self, ids: np.ndarray, name: str) -> None:
        self.ids = ids
        self.name = name
        self._index = pd.Index(ids, dtype=ids.dtype, copy=False)
        self._kind = id_kind(ids) if len(ids) else "mixed"
        if not self._index.is_unique:
            twice = self._index[self._index.duplicated()].tolist()[0]
            raise InvalidInputError(f"the {name} id {twice!r} is there twice; name each once")
        # Fills the hash table. Left to the first look-ups, one thread would fill it while another
        # already searches it.
        self._index.get_indexer(self._index[:1])

    def __getstate__(self) -> dict[str, Any]:
        return {"ids": self.ids, "name": self.name}  # arrays alone, which every format can hold

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @classmethod
    def fit(cls, ids: np.ndarray, name: str) -> tuple[IdEncoder, np.ndarray]:
        """The encoder of all distinct ``ids``, and their codes, int32 of the same length.

        Codes follow the sorted order of the ids; ids that can't be compared with each other
        (text beside numbers) keep the order of their first appearance.
        """
        return cls.fit_parts([factorize(ids)], len(ids), name)

    @classmethod
    def fit_parts(
        cls, parts: Iterable[tuple[np.ndarray, np.ndarray]], n_rows: int, name: str
    ) -> tuple[IdEncoder, np.ndarray]:
        """`fit` on the codes and distinct ids of successive parts, of `id_parts`."""
        codes = np.empty(n_rows, dtype=np.int32)
        filled: list[np.ndarray] = []  # the codes of each part
        found: list[np.ndarray] = []  # the ids of those before, then of each part since
        moves: list[list[np.ndarray]] = []  # where the ids of each ``found`` are in the next one
        stop = 0
        for part, ids in parts:
            start, stop = stop, stop + len(part)
            codes[start:stop] = part
            filled.append(codes[start:stop])
            found.append(ids)
            if sum(map(len, found)) > 3 * len(found[0]):  # seldom: linear, and little to hold
                found = [_merge(found, moves)]
        distinct = _merge(found, moves)
        try:
            order = np.argsort(distinct, kind="stable")
        except TypeError:
            order = np.arange(len(distinct))
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        for before, *since in reversed(moves):
            for places in reversed(since):
                part = filled.pop()
                part[:] = rank[places][part]
            rank = rank[before]
        filled[0][:] = rank[filled[0]]
        return cls(distinct[order], name), codes

    def extended(self, ids: np.ndarray) -> IdEncoder:
        """The encoder that knows ``ids`` too: after its own, whose codes stay, the new in order.

        Raises
        ------
        IdTypeError
            If the ids are of another kind than the known ones.
        """
        new = IdEncoder.fit(ids[self.encode(ids) < 0], self.name)[0].ids
        if not len(new):
            return self
        if self.ids.dtype.kind in "iu" and new.dtype.kind == "f" and (new % 1 == 0).all():
            new = new.astype(self.ids.dtype)  # of a column that had a missing value once
        return IdEncoder(join_scalars(self.ids, new, f"{self.name} ids"), self.name)

    def __len__(self) -> int:
        return len(self.ids)

    def encode(self, ids: Any) -> np.ndarray:
        """Codes of ``ids``, int32 of the same length; `UNKNOWN` (-1) where ``fit`` saw no such id.

        Raises
        ------
        InvalidInputError
            If an id is missing, or ``ids`` is a single id in place of a list.
        IdTypeError
            If the ids are of another kind than the fitted ones, so that none could ever be found.
        """
        if isinstance(ids, str | bytes) or not hasattr(ids, "__len__"):
            raise InvalidInputError(
                f"{self.name} ids must be a list or array, not the single value {ids!r}; "
                f"write [{ids!r}]"
            )
        values = id_array(ids, f"the list of {self.name} ids")
        if len(values):
            self._check_kind(values)
        return self._index.get_indexer(values).astype(np.int32)

    def _check_kind(self, values: np.ndarray) -> None:
        kind = id_kind(values)
        if "mixed" not in (kind, self._kind) and kind != self._kind:
            raise IdTypeError(
                f"{self.name} ids are of kind {kind} (such as {values[0]!r}) but fit saw ids of "
                f"kind {self._kind} (such as {self.ids[0]!r}); convert them to the same type"
            )


def _merge(found: list[np.ndarray], moves: list[list[np.ndarray]]) -> np.ndarray:
    """All ids of ``found``, each once; to ``moves`` is added where those of each array are now."""
    if len(found) == 1:
        return found[0]
    places, distinct = factorize(np.concatenate(found))
    ends = np.cumsum([len(ids) for ids in found[:-1]])
    moves.append(np.split(places.astype(np.int32, copy=False), ends))
    return distinct
