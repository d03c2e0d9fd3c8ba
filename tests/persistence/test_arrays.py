"""Ids of equal hash, which make the look-up tables of pandas slow; see also test_model.py."""

import json

import numpy as np
import pandas as pd
import pytest

from skmind import MINDRecommender
from skmind.exceptions import InvalidInputError
from skmind.persistence.arrays import MAX_EQUAL_HASHES, pandas_hashes

FACTOR = 0x5BD1E995


def equal_integers(n):
    """Distinct integers whose halves cancel in the hash ``x >> 33 ^ x ^ x << 11``."""
    high = np.arange(1, n + 1, dtype=np.uint64)
    low = (high ^ high << np.uint64(11) ^ high << np.uint64(22)) % np.uint64(2**32)
    return (high << np.uint64(33) | low).astype(np.int64)


def equal_floats(n):
    """Distinct floats of equal MurmurHash2: each lower half undoes what the upper half adds."""

    def mixed(half):
        half = half * FACTOR % 2**32
        return (half ^ half >> 24) * FACTOR % 2**32

    inverse = pow(FACTOR, -1, 2**32)

    def unmixed(half):
        half = half * inverse % 2**32
        return (half ^ half >> 24) * inverse % 2**32

    start = (0xC70F6907 ^ 4) * FACTOR % 2**32
    bits = []
    for high in range(0x40100000, 0x40100000 + n):
        low = unmixed(mixed(high) * inverse % 2**32 ^ start)
        bits.append(high << 32 | low)
    return np.array(bits, dtype=np.uint64).view(np.float64)


EQUAL = {
    "int64": equal_integers,
    "uint64": lambda n: equal_integers(n).astype(np.uint64),
    "dates": lambda n: equal_integers(n).view("M8[ns]"),
    "floats": equal_floats,
    "objects": lambda n: np.array([i * (2**61 - 1) for i in range(n)], dtype=object),
}


@pytest.mark.parametrize("kind", EQUAL)
def test_ids_made_for_the_hash_of_pandas_share_it(kind):
    ids = EQUAL[kind](8000)
    assert len(set(ids.tolist())) == 8000
    assert len(np.unique(pandas_hashes(ids))) == 1


def test_small_and_random_ids_have_different_hashes():
    for ids in (np.arange(10**5), np.arange(9, dtype=np.int32), np.empty(0)):
        assert not len(pandas_hashes(ids))
    rng = np.random.default_rng(0)
    large = rng.integers(2**62, size=10**5)
    for ids in (large, rng.random(10**5), large.astype(object), large << 22, large - 2**61):
        assert np.unique(pandas_hashes(ids), return_counts=True)[1].max() < 10


@pytest.mark.parametrize("kind", EQUAL)
@pytest.mark.parametrize("n", [MAX_EQUAL_HASHES, MAX_EQUAL_HASHES + 1])
def test_ids_of_equal_hash_are_refused(tmp_path, kind, n):
    ids = EQUAL[kind](n)
    log = pd.DataFrame({"user_id": ids, "item_id": np.arange(n) % 3})
    rec = MINDRecommender(embedding_dim=2, max_epochs=1, time_col=None, tie_order="rows").fit(log)
    if n > MAX_EQUAL_HASHES:
        with pytest.raises(InvalidInputError, match="users holds more than 256 values of the same"):
            rec.save(tmp_path / "model")
        return
    rec.save(tmp_path / "model")
    loaded = MINDRecommender.load(tmp_path / "model")
    assert loaded.users_.tolist() == rec.users_.tolist()
    assert json.loads((tmp_path / "model" / "manifest.json").read_bytes())["sizes"]["n_users"] == n
