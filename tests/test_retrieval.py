import numpy as np
import pytest

from skmind import _retrieval
from skmind._retrieval import OVERSAMPLING, POPULAR, diversify, popular, retrieve
from skmind.index.annoy import AnnoyIndex
from skmind.index.exact import ExactIndex
from skmind.index.protocol import Excluded, Hits


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def excluding(rows):
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    codes = np.concatenate([np.empty(0), *rows]).astype(np.int64)
    return Excluded(codes, offsets)


def random_case(n=60, B=15, K=3, D=6, seed=0):
    rng = np.random.default_rng(seed)
    vectors, queries = (unit(rng.standard_normal(shape)) for shape in [(n, D), (B, K, D)])
    mask = rng.random((B, K)) < 0.5
    mask[:2] = [[False], [True]]
    excluded = excluding([rng.permutation(n)[: rng.integers(n // 2)] for _ in range(B)])
    return vectors, queries, mask, excluded


@pytest.fixture(params=[None, 1, 100])
def block(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(_retrieval, "BLOCK", request.param)


# ------------------------------------------------------------------ popular


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
    hits = popular(counts, k, excluding([sorted(row) for row in rows]), allowed)
    assert hits.codes.tolist() == popular_by_loop(counts, k, rows, allowed)
    real = hits.codes >= 0
    np.testing.assert_allclose(hits.scores[real], counts[hits.codes[real]] / counts.sum())
    assert (hits.scores[~real] == -np.inf).all()
    assert (hits.interests == POPULAR).all()
    assert [part.dtype for part in hits] == [np.int32, np.float32, np.int32]


def test_popular_without_interactions():
    hits = popular(np.zeros(3, dtype=np.int64), 2, excluding([[0]]))
    assert hits.codes.tolist() == [[1, 2]]
    assert hits.scores.tolist() == [[0, 0]]


def test_popular_for_nobody():
    hits = popular(np.array([1, 2]), 2, excluding([]))
    assert [part.shape for part in hits] == [(0, 2)] * 3


def test_an_item_excluded_twice_counts_once():
    assert popular(np.array([3, 2, 1]), 2, excluding([[0, 0, 0]])).codes.tolist() == [[1, 2]]


# ------------------------------------------------------------------ diversify


def diversify_by_loop(hits, vectors, k, diversity):
    """Maximal marginal relevance as the paper writes it, an item at a time."""
    chosen = []
    for codes, scores in zip(hits.codes, hits.scores, strict=True):
        left = [place for place in range(len(codes)) if codes[place] >= 0]
        taken = []
        while left and len(taken) < k:

            def marginal(place):
                near = [vectors[codes[place]] @ vectors[codes[other]] for other in taken]  # noqa: B023
                return (1 - diversity) * scores[place] - diversity * max(near, default=0)  # noqa: B023

            best = left[0] if not taken else max(left, key=marginal)
            left.remove(best)
            taken.append(best)
        chosen.append(taken)
    return chosen


def padded(hits, lengths):
    """The same with padding after the first items of each row."""
    beyond = np.arange(hits.codes.shape[1]) >= np.asarray(lengths)[:, None]
    return Hits(
        np.where(beyond, -1, hits.codes).astype(np.int32),
        np.where(beyond, -np.inf, hits.scores).astype(np.float32),
        np.where(beyond, -1, hits.interests).astype(np.int32),
    )


def candidates(seed=0, M=25):
    rng = np.random.default_rng(seed)
    vectors, queries, _, _ = random_case(seed=seed)
    mask = np.ones(queries.shape[:2], dtype=bool)
    hits = ExactIndex(vectors).search(queries, mask, M, excluding([[]] * len(queries)))
    lengths = rng.integers(M + 1, size=len(queries))
    lengths[:2] = [0, M]
    return padded(hits, lengths), vectors


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("diversity", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("k", [1, 7, 25])
def test_diversify_equals_a_loop(diversity, k):
    hits, vectors = candidates(seed=k)
    found = diversify(hits, vectors, k, diversity)
    expected = diversify_by_loop(hits, vectors, k, diversity)
    for row, places in enumerate(expected):
        for mine, theirs, fill in zip(found, hits, (-1, -np.inf, -1), strict=True):
            rest = [fill] * (k - len(places))
            assert mine[row].tolist() == [*theirs[row, places].tolist(), *rest]
    assert [part.dtype for part in found] == [np.int32, np.float32, np.int32]


def test_no_diversity_is_the_plain_order():
    hits, vectors = candidates()
    for mine, theirs in zip(diversify(hits, vectors, 10, 0.0), hits, strict=True):
        np.testing.assert_array_equal(mine, theirs[:, :10])


def test_no_more_than_the_candidates():
    hits, vectors = candidates(M=5)
    found = diversify(hits, vectors, 9, 0.5)
    assert found.codes.shape == hits.codes.shape
    np.testing.assert_array_equal(np.sort(found.codes), np.sort(hits.codes))


def test_a_copy_gives_way_to_another_kind():
    """Items 0 and 1 are the same; 2 is a little less relevant, but something else."""
    vectors = unit(np.array([[1, 0.3], [1, 0.3], [0.3, 1], [-1, -1]]))
    queries = unit(np.array([[[1.1, 1]]]))
    index, mask = ExactIndex(vectors), np.ones((1, 1), dtype=bool)
    arguments = (index, queries, mask, 2, excluding([[]]))
    counts = np.ones(4, dtype=np.int64)
    assert retrieve(*arguments, counts=counts).codes.tolist() == [[0, 1]]
    assert retrieve(*arguments, counts=counts, diversity=0.3).codes.tolist() == [[0, 2]]


# ------------------------------------------------------------------ retrieve


def test_without_strangers_and_diversity_it_is_the_search():
    vectors, queries, mask, excluded = random_case()
    mask[0] = True
    index = ExactIndex(vectors)
    allowed = np.arange(60) % 3 > 0
    mask[~mask.any(1), 0] = True
    hits = retrieve(
        index, queries, mask, 8, excluded, counts=np.ones(60, dtype=np.int64), allowed=allowed
    )
    for mine, theirs in zip(hits, index.search(queries, mask, 8, excluded, allowed), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("diversity", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", [ExactIndex, AnnoyIndex])
@pytest.mark.parametrize("k", [1, 5, 60, 1000])
def test_every_row_has_k_items_unless_fewer_are_eligible(kind, k, diversity):
    vectors, queries, mask, excluded = random_case(seed=k)
    allowed = np.random.default_rng(k).random(60) < 0.9
    counts = np.arange(60)[::-1] ** 2
    hits = retrieve(
        kind(vectors), queries, mask, k, excluded, counts=counts, allowed=allowed,
        diversity=diversity,
    )  # fmt: skip
    assert {part.shape for part in hits} == {(len(queries), min(k, 60))}
    eligible = np.tile(allowed, (len(queries), 1))
    eligible[excluded.pairs()] = False
    for row, codes in enumerate(hits.codes):
        real = codes[codes >= 0].tolist()
        assert len(set(real)) == len(real) == min(k, eligible[row].sum())
        assert eligible[row, real].all()
        assert (codes[len(real) :] == -1).all()


@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_strangers_get_what_is_popular(diversity):
    vectors, queries, mask, excluded = random_case()
    counts = np.random.default_rng(1).integers(100, size=60)
    allowed = np.arange(60) != counts.argmax()
    hits = retrieve(
        ExactIndex(vectors), queries, mask, 5, excluded, counts=counts, allowed=allowed,
        diversity=diversity,
    )  # fmt: skip
    strangers = np.flatnonzero(~mask.any(1))
    assert 1 <= len(strangers) < len(queries)
    expected = popular(counts, 5, excluded.take(strangers), allowed)
    for mine, theirs in zip(hits, expected, strict=True):
        np.testing.assert_array_equal(mine[strangers], theirs)
    assert (hits.interests[mask.any(1)] >= 0).all()


def test_diversity_asks_for_no_more_than_all_items(monkeypatch):
    asked = []
    search = ExactIndex.search
    monkeypatch.setattr(
        ExactIndex,
        "search",
        lambda self, queries, mask, k, *rest: (
            asked.append(k),
            search(self, queries, mask, k, *rest),
        )[1],
    )
    vectors, queries, mask, excluded = random_case(n=30)
    for k, expected in ((2, 10), (20, 30)):
        asked.clear()
        retrieve(
            ExactIndex(vectors), queries, mask, k, excluded, counts=np.ones(30, dtype=np.int64),
            diversity=0.4,
        )  # fmt: skip
        assert asked == [expected]


def test_diversity_chooses_from_more_candidates():
    vectors, queries, mask, excluded = random_case()
    mask[~mask.any(1), 0] = True
    index = ExactIndex(vectors)
    hits = retrieve(
        index, queries, mask, 4, excluded, counts=np.ones(60, dtype=np.int64), diversity=0.4
    )
    wide = index.search(queries, mask, OVERSAMPLING * 4, excluded)
    for mine, theirs in zip(hits, diversify(wide, vectors, 4, 0.4), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert (hits.codes != wide.codes[:, :4]).any()
