import numpy as np
import pytest

from skmind.retrieval import popular as popular_module
from skmind.retrieval.popular import POPULARITY_INTEREST, popular, popular_in_lists
from tests.retrieval.cases import ragged


@pytest.fixture(params=[None, 1, 100])
def block(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(popular_module, "BLOCK_PLACES", request.param)


def popular_by_loop(counts, k, rows, allowed):
    """Codes by count, then code."""
    order = sorted(range(len(counts)), key=lambda code: (-counts[code], code))
    found = [
        [code for code in order if code not in row and (allowed is None or allowed[code])][:k]
        for row in rows
    ]
    return [codes + [-1] * (k - len(codes)) for codes in found]


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("k", [1, 5, 40, 70])
@pytest.mark.parametrize("share", [None, 0.0, 0.1, 0.7])
def test_popular_equals_a_loop(k, share):
    rng = np.random.default_rng(k)
    n = 40
    counts = rng.integers(6, size=n)  # most of them tie
    rows = [set(rng.permutation(n)[: rng.integers(n + 1)].tolist()) for _ in range(12)] + [set()]
    allowed = None if share is None else rng.random(n) < share
    hits = popular(counts, k, ragged([sorted(row) for row in rows]), allowed)
    assert hits.codes.tolist() == popular_by_loop(counts, k, rows, allowed)
    real = hits.codes >= 0
    np.testing.assert_allclose(hits.scores[real], counts[hits.codes[real]] / counts.sum())
    assert (hits.scores[~real] == -np.inf).all()
    assert (hits.interests == POPULARITY_INTEREST).all()
    assert [part.dtype for part in hits] == [np.int32, np.float32, np.int32]


def test_popular_without_interactions():
    hits = popular(np.zeros(3, dtype=np.int64), 2, ragged([[0]]))
    assert hits.codes.tolist() == [[1, 2]]
    assert hits.scores.tolist() == [[0, 0]]


def test_popular_for_nobody():
    hits = popular(np.array([1, 2]), 2, ragged([]))
    assert [part.shape for part in hits] == [(0, 2)] * 3


def test_an_item_excluded_twice_counts_once():
    assert popular(np.array([3, 2, 1]), 2, ragged([[0, 0, 0]])).codes.tolist() == [[1, 2]]


@pytest.mark.parametrize("k", [1, 5, 70])
def test_popular_in_lists_equals_a_loop(k):
    rng = np.random.default_rng(k)
    counts = rng.integers(6, size=40)
    lists = [np.flatnonzero(rng.random(40) < share) for share in np.linspace(0, 1, 9)]
    hits = popular_in_lists(counts, k, ragged(lists))
    rest = [set(range(40)) - set(codes.tolist()) for codes in lists]
    assert hits.codes.tolist() == popular_by_loop(counts, k, rest, None)
    real = hits.codes >= 0
    np.testing.assert_allclose(hits.scores[real], counts[hits.codes[real]] / counts.sum())
    assert (hits.interests == POPULARITY_INTEREST).all()
