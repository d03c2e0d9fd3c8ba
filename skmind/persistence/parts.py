"""The users of several parts of a saved model → one side of users, in the order of `fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data.ids import IdEncoder
from ..data.ragged import span_places
from ..exceptions import ModelFileError
from .arrays import check_ids
from .manifest import user_specs

# Arrays with a value per user, and those with a value per entry of rows that offsets divide.
USER_VALUES = ("user_features.presence",)
ROW_VALUES = {
    "interactions.offsets": ("interactions.items", "interactions.times"),
    "user_features.indptr": ("user_features.indices", "user_features.data"),
}


def name_part(
    arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any], rank: int
) -> dict[str, np.ndarray]:
    """Return the arrays with the names that those of the users have in one of several parts."""
    names = user_specs(manifest, manifest["parts"][rank])
    return {f"part.{rank}.{name}" if name in names else name: arrays[name] for name in arrays}


def join_parts(arrays: dict[str, np.ndarray], prefixes: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the arrays with the users of several parts as one, in the sorted order of the ids.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Checked by `check_arrays`. Arrays of the users are removed when they were copied, to save
        memory.
    prefixes : sequence of str
        Of the names of the arrays of each part. The arrays of a single part are not copied.

    Raises
    ------
    ModelFileError
        If a user is in two parts.
    """
    if len(prefixes) == 1:
        return {name.removeprefix(prefixes[0]): array for name, array in arrays.items()}
    joined, codes = _join_users([arrays.pop(f"{prefix}users") for prefix in prefixes], prefixes)
    n_users = len(joined["users"])
    for name in USER_VALUES:
        if f"{prefixes[0]}{name}" in arrays:
            parts = [arrays.pop(f"{prefix}{name}") for prefix in prefixes]
            joined[name] = np.empty(n_users, dtype=parts[0].dtype)
            for part, part_codes in zip(parts, codes, strict=True):
                joined[name][part_codes] = part
    for offsets_name, names in ROW_VALUES.items():
        if f"{prefixes[0]}{offsets_name}" in arrays:
            offsets = [arrays.pop(f"{prefix}{offsets_name}") for prefix in prefixes]
            joined[offsets_name] = _join_offsets(offsets, codes, n_users)
            for name in names:
                if f"{prefixes[0]}{name}" in arrays:
                    parts = [arrays.pop(f"{prefix}{name}") for prefix in prefixes]
                    joined[name] = _join_values(parts, offsets, codes, joined[offsets_name])
    return arrays | joined


def _join_users(
    parts: Sequence[np.ndarray], prefixes: Sequence[str]
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Return the ids of all users, and the code of each user of each part."""
    ids = np.concatenate(_filled(parts))
    check_ids(ids, len(ids), "users")
    encoder, codes = IdEncoder.fit(ids, "user")
    ends = np.cumsum([len(part) for part in parts])
    if len(encoder) < len(ids):
        repeated = np.flatnonzero(np.bincount(codes) > 1)[0]
        numbers = np.searchsorted(ends, np.flatnonzero(codes == repeated), side="right")
        names = " and ".join(f"{prefixes[number]}users" for number in numbers[:2])
        raise ModelFileError(
            f"the user id {encoder.ids[repeated]!r} occurs more than once: in {names}"
        )
    return {"users": encoder.ids}, np.split(codes, ends[:-1])


def _filled(parts: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Return at least one part, without the empty ones, which may be of any type."""
    return [part for part in parts if len(part)] or parts[:1]


def _join_offsets(
    parts: Sequence[np.ndarray], codes: Sequence[np.ndarray], n_rows: int
) -> np.ndarray:
    """Return the offsets of the rows of all parts, int64 of shape (n_rows + 1,)."""
    offsets = np.zeros(n_rows + 1, dtype=np.int64)
    for part, part_codes in zip(parts, codes, strict=True):
        offsets[part_codes + 1] = np.diff(part)
    return np.cumsum(offsets, out=offsets)


def _join_values(
    parts: Sequence[np.ndarray],
    part_offsets: Sequence[np.ndarray],
    codes: Sequence[np.ndarray],
    offsets: np.ndarray,
) -> np.ndarray:
    """Return the values of the rows of all parts; a row of a part moves to the row of its code."""
    values = np.empty(offsets[-1], dtype=np.result_type(*_filled(parts)))
    for part, own_offsets, part_codes in zip(parts, part_offsets, codes, strict=True):
        places, _ = span_places(offsets[part_codes], np.diff(own_offsets))
        values[places] = part
    return values
