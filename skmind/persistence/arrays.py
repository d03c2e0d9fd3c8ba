"""The arrays of a saved model → nothing, or an error before anything is computed from them.

Every number that is a position is compared with the length of what it points into, so that no
library sees one that points elsewhere: scipy, torch and Annoy would read other memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..data.features import MAX_NUMBER
from ..data.ids import IdEncoder
from ..data.ragged import are_offsets, count
from ..exceptions import ModelFileError
from .manifest import SIDES, part_sizes

MAX_WEIGHT = 1e10  # as `learning_rate`; a network that learned has weights below 1,000
MAX_LENGTH = 1.001  # of item vectors, which are scaled to 1 in float32; zeros stay zero
MAX_COUNT = 2**31 - 1  # of interactions of one item; so sums over the items fit into 64 bits
MAX_EQUAL_HASHES = 256  # random ids have up to four


def check_arrays(manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Check that the arrays are what `MINDRecommender.fit` could have made.

    Parameters
    ----------
    manifest : mapping
        Checked by `check_manifest`.
    arrays : mapping of str to ndarray
        The arrays that `array_specs` names, of its types, for all parts of the users or for some.
        Only those of ids and vocabularies, which
        may be stored as lists, are checked for their shape here.

    Raises
    ------
    ModelFileError
        If a value is missing, infinite or out of range.
    """
    n_items = manifest["config"]["n_items"]
    check_ids(arrays["items"], n_items, "items")
    if "item_titles" in arrays:
        _check_titles(arrays["item_titles"], n_items)
    if "item_counts" in arrays:
        _check_range(arrays["item_counts"], "item_counts", 0, MAX_COUNT)
    for side in SIDES:
        _check_vocabularies(arrays, f"{side}_features", manifest[f"{side}_features"])
    _check_matrix(arrays, "item_features", manifest["item_features"])
    for prefix, sizes in part_sizes(manifest).items():
        if f"{prefix}users" in arrays:
            check_ids(arrays[f"{prefix}users"], sizes["n_users"], f"{prefix}users")
            _check_interactions(arrays, n_items, prefix)
            _check_matrix(arrays, f"{prefix}user_features", manifest["user_features"])
    for name, array in arrays.items():
        if name.startswith("weights."):
            _check_range(array, name, -MAX_WEIGHT, MAX_WEIGHT)
    vectors = arrays["item_embeddings"]
    if not np.einsum("ij,ij->i", vectors, vectors).max() <= MAX_LENGTH**2:  # or nan
        raise ModelFileError(
            "item_embeddings holds nan, infinity or vectors that are longer than 1"
        )


def _check_range(array: np.ndarray, name: str, minimum: float, maximum: float) -> None:
    """Check that all numbers are in a range; nan is in none."""
    # If a value is nan, the minimum is, too. So two values are checked, without a mask of the size
    # of the array.
    if array.size and not minimum <= array.min() <= array.max() <= maximum:
        raise ModelFileError(
            f"{name} holds nan, infinity or numbers outside of [{minimum:g}, {maximum:g}]"
        )


def check_ids(ids: np.ndarray, n_ids: int, name: str) -> None:
    """Check the number of ids or categories, that none is missing, and that look-ups are quick."""
    if ids.shape != (n_ids,):
        raise ModelFileError(f"{name} has {len(ids)} values, but the manifest says {n_ids}")
    if ids.dtype.kind == "f":
        _check_range(ids, name, *_limits(ids.dtype))
    elif ids.dtype.kind == "b" and ids.view(np.uint8).max(initial=0) > 1:
        raise ModelFileError(f"{name} holds booleans that are neither true nor false")
    elif ids.dtype.kind in "mMO" and pd.isna(ids).any():
        raise ModelFileError(f"{name} holds missing values")
    hashes = np.sort(pandas_hashes(ids))
    if (hashes[MAX_EQUAL_HASHES:] == hashes[:-MAX_EQUAL_HASHES]).any():
        raise ModelFileError(
            f"{name} holds more than {MAX_EQUAL_HASHES} values of the same hash, which would make "
            "look-ups slow; no real ids are like this"
        )


def check_counts(arrays: Mapping[str, np.ndarray], has_all_users: bool) -> None:
    """Check that the counts of the items, if stored, are possible for the interactions.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Checked by `check_arrays`, with the users as one part.
    has_all_users : bool
        Whether the counts must be those of the interactions, and not more.
    """
    counts = arrays.get("item_counts")
    if counts is None:
        return
    own = count(arrays["interactions.items"], len(counts))
    if (own > counts).any() or (has_all_users and (own < counts).any()):
        raise ModelFileError("item_counts differs from the number of interactions of an item")


def _check_titles(titles: np.ndarray, n_items: int) -> None:
    if titles.shape != (n_items,):
        raise ModelFileError(f"item_titles has {len(titles)} values for {n_items} items")
    if not all(type(title) is str for title in titles):
        raise ModelFileError("item_titles holds values that are not text")


def _limits(dtype: np.dtype) -> tuple[float, float]:
    limits = np.finfo(dtype)
    return float(limits.min), float(limits.max)


def pandas_hashes(ids: np.ndarray) -> np.ndarray:
    """Return the hash of each id in the look-up tables of pandas, uint32 of the same length.

    Tables take quadratic time for ids of equal hash, and a forger can find as many as they like.
    Ids of less than 8 bytes, and integers below 2**32, have different hashes; then the result is
    empty.
    """
    if ids.dtype == object:
        hashes = np.fromiter(map(hash, ids), dtype=np.int64, count=len(ids)).view(np.uint64)
        return (hashes >> np.uint64(32) ^ hashes).astype(np.uint32)
    if ids.dtype.itemsize < 8 or not len(ids):
        return np.empty(0, dtype=np.uint32)
    bits = ids.view(np.uint64)
    if ids.dtype.kind == "f":
        return _murmur2(bits)
    if int(bits.max()) < 2**32:
        return np.empty(0, dtype=np.uint32)
    return (bits >> np.uint64(33) ^ bits ^ bits << np.uint64(11)).astype(np.uint32)


def _murmur2(bits: np.ndarray) -> np.ndarray:
    """Return 32-bit hashes by MurmurHash2, up to its last step, which maps them one to one."""
    factor = np.uint32(0x5BD1E995)
    hashes = np.full(len(bits), 0xC70F6907 ^ 4, dtype=np.uint32)
    for half in (bits.astype(np.uint32), (bits >> np.uint64(32)).astype(np.uint32)):
        half *= factor
        half ^= half >> np.uint32(24)
        hashes = hashes * factor ^ half * factor
    return hashes


def _check_interactions(arrays: Mapping[str, np.ndarray], n_items: int, prefix: str) -> None:
    """Check that the offsets divide the interactions among the users, and item codes exist."""
    prefix = f"{prefix}interactions"
    items = arrays[f"{prefix}.items"]
    if not are_offsets(arrays[f"{prefix}.offsets"], len(items)):
        raise ModelFileError(f"{prefix}.offsets must ascend from 0 to {len(items)}")
    _check_codes(items, n_items, f"{prefix}.items")
    times = arrays.get(f"{prefix}.times")
    if times is not None and times.dtype.kind == "f":
        _check_range(times, f"{prefix}.times", *_limits(times.dtype))
    elif times is not None and times.dtype.kind == "M" and np.isnat(times).any():
        raise ModelFileError(f"{prefix}.times holds missing values")


def _check_codes(codes: np.ndarray, n_codes: int, name: str) -> None:
    if codes.min(initial=0) < 0 or codes.max(initial=-1) >= n_codes:
        raise ModelFileError(f"{name} has codes outside [0, {n_codes})")


def _check_vocabularies(
    arrays: Mapping[str, np.ndarray], prefix: str, features: list[dict[str, Any]]
) -> None:
    """Check the vocabularies, means and standard deviations of the features of one side."""
    for i, feature in enumerate(features):
        name = f"{prefix}.vocabulary.{i}"
        values = arrays[name]
        if feature["kind"] in ("number", "vector"):
            _check_range(values, name, -MAX_NUMBER, MAX_NUMBER)
            if values[1::2].min(initial=1) <= 0:
                raise ModelFileError(f"{name} needs means and positive standard deviations")
        else:
            check_ids(values, feature["width"], name)
            IdEncoder(values, f"value of {feature['name']!r},")  # raises for repeated values


def _check_matrix(
    arrays: Mapping[str, np.ndarray], prefix: str, features: list[dict[str, Any]]
) -> None:
    """Check the sparse matrix and the presence of the features of one side or part."""
    if not features:
        return
    indices = arrays[f"{prefix}.indices"]
    if not are_offsets(arrays[f"{prefix}.indptr"], len(indices)):
        raise ModelFileError(f"{prefix}.indptr must ascend from 0 to {len(indices)}")
    width = sum(feature["width"] for feature in features)
    max_presence = sum(
        feature["width"] // 2 if feature["kind"] in ("number", "vector") else 1
        for feature in features
    )
    _check_codes(indices, width, f"{prefix}.indices")
    _check_range(arrays[f"{prefix}.data"], f"{prefix}.data", -MAX_NUMBER, MAX_NUMBER)
    _check_range(arrays[f"{prefix}.presence"], f"{prefix}.presence", 0, max_presence)
