import tracemalloc

import numpy as np
import pytest

from skmind.retrieval import rerank
from skmind.retrieval.base import TopK
from skmind.retrieval.exact import ExactIndex
from skmind.retrieval.rerank import diversify, share_out
from skmind.retrieval.search import search_each_interest
from tests.retrieval.cases import ragged, random_case, random_sets, values_of


@pytest.fixture(params=[None, 1, 100])
def block(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(rerank, "BLOCK_NUMBERS", request.param)


# ------------------------------------------------------------------ diversity


def cosine_distance(vectors):
    return lambda i, j: 1 - float(vectors[i].astype(float) @ vectors[j].astype(float))


def set_distance(sets):
    """1 - cosine of the indicator vectors of two sets; 1 if one is empty."""

    def distance(i, j):
        size = len(sets[i]) * len(sets[j])
        return 1 - len(sets[i] & sets[j]) / size**0.5 if size else 1.0

    return distance


def assert_greedy(found, hits, k, diversity, distance):
    """Every item, in its turn, is worth the most of those left; nothing else changes."""
    for row, (codes, scores) in enumerate(zip(hits.codes, hits.scores, strict=True)):
        places = {int(code): place for place, code in enumerate(codes) if code >= 0}
        chosen = [int(code) for code in found.codes[row] if code >= 0]
        assert len(set(chosen)) == len(chosen) == min(k, len(places))

        def worth(code, before, scores=scores, places=places):
            distances = [distance(code, other) for other in before]
            spread = np.mean(distances) if distances else 0
            return (1 - diversity) * scores[places[code]] + diversity * spread

        if chosen:
            assert chosen[0] == codes[0]
        for rank, code in enumerate(chosen):
            left = [worth(other, chosen[:rank]) for other in places if other not in chosen[:rank]]
            assert worth(code, chosen[:rank]) >= max(left) - 1e-5
        taken = [places[code] for code in chosen]
        for mine, theirs, fill in zip(found, hits, (-1, -np.inf, -1), strict=True):
            rest = [fill] * (min(k, hits.codes.shape[1]) - len(taken))
            assert mine[row].tolist() == [*theirs[row, taken].tolist(), *rest]
    assert [part.dtype for part in found] == [np.int32, np.float32, np.int32]


def padded(hits, lengths):
    """The same with padding after the first items of each row."""
    beyond = np.arange(hits.codes.shape[1]) >= np.asarray(lengths)[:, None]
    return TopK(
        np.where(beyond, -1, hits.codes).astype(np.int32),
        np.where(beyond, -np.inf, hits.scores).astype(np.float32),
        np.where(beyond, -1, hits.interests).astype(np.int32),
    )


def candidates(seed=0, M=25):
    rng = np.random.default_rng(seed)
    vectors, queries, _, _ = random_case(seed=seed)
    mask = np.ones(queries.shape[:2], dtype=bool)
    hits = ExactIndex(vectors).search(queries, mask, M, ragged([[]] * len(queries)))
    lengths = rng.integers(M + 1, size=len(queries))
    lengths[:2] = [0, M]
    return padded(hits, lengths), vectors


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("diversity", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("k", [1, 7, 25])
def test_diversity_of_vectors_is_greedy(diversity, k):
    hits, vectors = candidates(seed=k)
    found = diversify(hits, vectors, k, diversity)
    assert_greedy(found, hits, k, diversity, cosine_distance(vectors))


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("kind", ["one each", "none", "several"])
@pytest.mark.parametrize("diversity", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("k", [1, 7, 25])
def test_diversity_of_values_is_greedy(diversity, k, kind):
    hits, vectors = candidates(seed=k)
    sets = random_sets(kind, seed=k)
    found = diversify(hits, vectors, k, diversity, values_of(sets))
    assert_greedy(found, hits, k, diversity, set_distance(sets))


def one_row(*scores):
    codes = np.arange(len(scores), dtype=np.int32)[None]
    return TopK(codes, np.array([scores], dtype=np.float32), np.zeros_like(codes))


def chosen(sets, k, diversity):
    """Places of the items taken, where scores fall and vectors say nothing."""
    hits = one_row(*np.linspace(0.9, 0.5, len(sets)))
    vectors = np.zeros((len(sets), 2), dtype=np.float32)
    return diversify(hits, vectors, k, diversity, values_of(sets)).codes[0].tolist()


def test_categories_take_turns():
    """Each category once by score, then each a second time: no other list has more pairs."""
    sets = [{0}, {0}, {0}, {1}, {1}, {2}, {2}]
    assert chosen(sets, 7, 1.0) == [0, 3, 5, 1, 4, 6, 2]
    assert chosen(sets, 3, 0.5) == [0, 3, 5]
    assert chosen(sets, 7, 0.0) == list(range(7))


def test_an_item_without_values_is_unlike_all():
    assert chosen([{0}, {0}, set(), set(), {0}], 5, 1.0) == [0, 2, 3, 1, 4]


def test_equal_sets_are_no_more_alike_than_equal_values():
    """Rounding would prefer one of them; the score decides."""
    for size in range(2, 8):
        several = set(range(1, size + 1))
        assert chosen([{0}, several, {0}, several], 4, 1.0) == [0, 1, 2, 3]
        assert chosen([several, {0}, several, {0}], 4, 1.0) == [0, 1, 2, 3]


def test_half_of_the_values_in_common():
    """From {0, 1}: {0, 2} has distance 1/2, {0} has 1 - 1/√2, {3} has 1."""
    sets = [{0, 1}, {0}, {0, 2}, {3}]
    assert chosen(sets, 2, 1.0) == [0, 3]
    assert chosen(sets[:3], 2, 1.0) == [0, 2]


def test_memory_does_not_grow_with_the_vocabulary():
    n, M, width = 2000, 50, 10**6
    rng = np.random.default_rng(0)
    sets = [{int(value)} for value in rng.integers(width, size=n)]
    codes = np.argsort(rng.random((40, n)), axis=1)[:, :M].astype(np.int32)
    scores = -np.sort(-rng.random((40, M)), axis=1).astype(np.float32)
    hits, vectors = TopK(codes, scores, np.zeros_like(codes)), np.zeros((n, 4), np.float32)
    values = values_of(sets, width)
    tracemalloc.start()
    found = diversify(hits, vectors, 10, 0.5, values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * width  # a float32 for each value, once
    assert_greedy(found, hits, 10, 0.5, set_distance(sets))


def test_no_diversity_is_the_plain_order():
    hits, vectors = candidates()
    for mine, theirs in zip(diversify(hits, vectors, 10, 0.0), hits, strict=True):
        np.testing.assert_array_equal(mine, theirs[:, :10])


def test_no_more_than_the_candidates():
    hits, vectors = candidates(M=5)
    found = diversify(hits, vectors, 9, 0.5)
    assert found.codes.shape == hits.codes.shape
    np.testing.assert_array_equal(np.sort(found.codes), np.sort(hits.codes))


# ------------------------------------------------------------------ quotas


def shared_by_loop(scores, k, quotas):
    """``scores`` (n, K) of the items a row may get, -inf for interests out of use."""
    pairs = [(-score, j, code) for code, row in enumerate(scores) for j, score in enumerate(row)]
    pairs = sorted(pair for pair in pairs if pair[0] < np.inf)
    taken, left = {}, list(quotas)
    for with_quota in (True, False):
        for score, j, code in pairs:
            if len(taken) < k and code not in taken and (left[j] > 0 or not with_quota):
                taken[code] = score, j
                left[j] -= 1
    return sorted((score, j, code) for code, (score, j) in taken.items())


@pytest.mark.parametrize("n", [4, 12, 60])
@pytest.mark.parametrize("k", [1, 5, 11])
def test_sharing_out_equals_a_loop(n, k):
    vectors, queries, mask, _ = random_case(n=n, seed=n + k)
    rng = np.random.default_rng(k)
    excluded = ragged([rng.permutation(n)[: rng.integers(n)] for _ in range(len(queries))])
    quotas = rng.multinomial(k, [1 / 3] * 3, size=len(queries))
    index = ExactIndex(vectors)
    hits = search_each_interest(
        lambda queries, mask, k: index.search(queries, mask, k, excluded), queries, mask, k
    )
    assert hits.codes.shape == (len(queries), 3 * k)
    found = share_out(hits, k, quotas)
    assert {part.shape for part in found} == {(len(queries), k)}
    for row in range(len(queries)):
        scores = np.where(mask[row], vectors @ queries[row].T, -np.inf)
        scores[excluded.values[excluded.offsets[row] : excluded.offsets[row + 1]]] = -np.inf
        expected = shared_by_loop(scores, k, quotas[row])
        m = len(expected)
        assert found.codes[row].tolist() == [code for _, _, code in expected] + [-1] * (k - m)
        assert found.interests[row].tolist() == [j for _, j, _ in expected] + [-1] * (k - m)
        np.testing.assert_allclose(
            found.scores[row], [-s for s, _, _ in expected] + [-np.inf] * (k - m), atol=1e-6
        )
        if m == k and mask[row].all():
            assert np.bincount(found.interests[row], minlength=3).tolist() == quotas[row].tolist()
