import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from skmind.data.features import FeatureValues
from skmind.data.ragged import Ragged
from skmind.retrieval import search
from skmind.retrieval.annoy import AnnoyIndex
from skmind.retrieval.base import TopK
from skmind.retrieval.exact import ExactIndex
from skmind.retrieval.faiss import FaissIndex
from skmind.retrieval.search import (
    OVERSAMPLING,
    POPULAR,
    diversify,
    nearest_users,
    popular,
    popular_in_lists,
    retrieve,
    search_each,
    share_out,
)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def excluding(rows):
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    codes = np.concatenate([np.empty(0), *rows]).astype(np.int64)
    return Ragged(codes, offsets)


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
        monkeypatch.setattr(search, "BLOCK", request.param)


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


@pytest.mark.parametrize("k", [1, 5, 70])
def test_popular_in_lists_equals_a_loop(k):
    rng = np.random.default_rng(k)
    counts = rng.integers(6, size=40)
    lists = [np.flatnonzero(rng.random(40) < share) for share in np.linspace(0, 1, 9)]
    hits = popular_in_lists(counts, k, excluding(lists))
    rest = [set(range(40)) - set(codes.tolist()) for codes in lists]
    assert hits.codes.tolist() == popular_by_loop(counts, k, rest, None)
    real = hits.codes >= 0
    np.testing.assert_allclose(hits.scores[real], counts[hits.codes[real]] / counts.sum())
    assert (hits.interests == POPULAR).all()


# ------------------------------------------------------------------ diversify


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


def values_of(sets, n_values=None, others=3):
    """The same sets as `FeatureValues`, between columns of other features that every item has."""
    width = n_values or max(map(max, filter(None, sets)), default=-1) + 1
    rows = np.repeat(np.arange(len(sets)), [len(values) for values in sets])
    columns = np.array([value for values in sets for value in values], dtype=np.int64)
    weights = np.random.default_rng(0).uniform(0.1, 1, len(rows))  # only zero or not counts
    own = sparse.csr_matrix((weights, (rows, columns)), shape=(len(sets), width))
    other = sparse.csr_matrix(np.ones((len(sets), others)))
    matrix = sparse.hstack([other, own, other], format="csr")
    return FeatureValues(matrix, slice(others, others + width))


def random_sets(kind, n=60, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "one each":
        return [{int(value)} for value in rng.integers(6, size=n)]
    if kind == "none":
        return [set() for _ in range(n)]
    return [set(rng.integers(9, size=rng.integers(5)).tolist()) for _ in range(n)]


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
    hits = ExactIndex(vectors).search(queries, mask, M, excluding([[]] * len(queries)))
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


@pytest.mark.parametrize("sets", [None, "one each", "several"])
@pytest.mark.parametrize("diversity", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", [ExactIndex, AnnoyIndex])
@pytest.mark.parametrize("k", [1, 5, 60, 1000])
def test_every_row_has_k_items_unless_fewer_are_eligible(kind, k, diversity, sets):
    vectors, queries, mask, excluded = random_case(seed=k)
    allowed = np.random.default_rng(k).random(60) < 0.9
    counts = np.arange(60)[::-1] ** 2
    hits = retrieve(
        kind(vectors), queries, mask, k, excluded, counts=counts, allowed=allowed,
        diversity=diversity, values=sets and values_of(random_sets(sets)),
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


def test_lists_take_the_place_of_exclusions():
    vectors, queries, mask, excluded = random_case()
    lists = [np.flatnonzero(np.arange(60) % (row + 2) == 1) for row in range(len(queries))]
    rest = excluding([np.setdiff1d(np.arange(60), codes) for codes in lists])
    counts = np.arange(60)
    for options in ({}, {"diversity": 0.4}, {"quotas": np.full(mask.shape, 2)}):
        found, expected = (
            retrieve(ExactIndex(vectors), queries, mask, 6, row, counts=counts, **more, **options)
            for row, more in ((excluded, {"lists": excluding(lists)}), (rest, {}))
        )
        np.testing.assert_array_equal(found.codes, expected.codes)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
        np.testing.assert_array_equal(
            found.interests[found.codes >= 0], expected.interests[found.codes >= 0]
        )


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
    excluded = excluding([rng.permutation(n)[: rng.integers(n)] for _ in range(len(queries))])
    quotas = rng.multinomial(k, [1 / 3] * 3, size=len(queries))
    index = ExactIndex(vectors)
    hits = search_each(
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


def test_an_item_goes_to_the_next_interest_when_the_nearest_is_full():
    """Interest 0 is nearest to both items but may bring one; the other counts for interest 1."""
    vectors = unit(np.array([[1, 0.1], [1, 0.3], [-1, 0]]))
    queries = unit(np.array([[[1, 0], [0, 1]]]))
    hits = retrieve(
        ExactIndex(vectors), queries, np.ones((1, 2), dtype=bool), 2, excluding([[]]),
        counts=np.ones(3), quotas=np.array([[1, 1]]),
    )  # fmt: skip
    assert hits.codes.tolist() == [[0, 1]]
    assert hits.interests.tolist() == [[0, 1]]
    np.testing.assert_allclose(hits.scores, [[1 / 1.01**0.5, 0.3 / 1.09**0.5]], rtol=1e-6)


# ------------------------------------------------------------------ exactly k


def stress_case(n=300, k=7):
    """Users who may get every item, all but a few, exactly k, fewer, one or none."""
    rng = np.random.default_rng(0)
    vectors, _, _, _ = random_case(n=n)
    n_eligible = [n, n - 1, k + 1, k, k - 1, 1, 0] * 3
    queries = unit(rng.standard_normal((len(n_eligible), 3, vectors.shape[1])))
    mask = np.tile([[True] * 3, [True, False, False], [False] * 3], (7, 1))
    excluded = excluding([rng.permutation(n)[m:] for m in n_eligible])
    return vectors, queries, mask, excluded, n_eligible


def build(kind, vectors):
    if kind is FaissIndex:
        pytest.importorskip("faiss")
    return kind(vectors, search_k=1) if kind is not ExactIndex else kind(vectors)


@pytest.mark.parametrize("wish", ["plain", "diversity", "quotas", "weights", "lists"])
@pytest.mark.parametrize("kind", [ExactIndex, AnnoyIndex, FaissIndex])
def test_exactly_k_whatever_was_seen(kind, wish):
    """Though the approximate indexes look at next to nothing."""
    k = 7
    vectors, queries, mask, excluded, n_eligible = stress_case(k=k)
    options = {}
    if wish == "diversity":
        options = {"diversity": 0.5}
    elif wish == "quotas":
        options = {"quotas": np.tile([5, 2, 0], (len(queries), 1))}
    elif wish == "weights":
        queries = queries * np.float32([0.01, 3, 1])[:, None]
    elif wish == "lists":
        everything = Ragged.from_pairs(
            np.repeat(np.arange(len(queries)), 300), np.tile(np.arange(300), len(queries)), 21
        )
        options = {"lists": everything.without(excluded)}
    counts = np.arange(300)
    hits = retrieve(build(kind, vectors), queries, mask, k, excluded, counts=counts, **options)
    banned = [set(row.tolist()) for row in np.split(excluded.values, excluded.offsets[1:-1])]
    for row, codes in enumerate(hits.codes.tolist()):
        real = [code for code in codes if code >= 0]
        assert len(set(real)) == len(real) == min(k, n_eligible[row])
        assert not banned[row] & set(real)


@pytest.mark.parametrize("kind", [ExactIndex, AnnoyIndex, FaissIndex])
def test_a_catalogue_of_one_item(kind):
    vectors = np.ones((1, 6), dtype=np.float32) / np.float32(6**0.5)
    queries, mask = np.repeat(vectors[None], 3, 0), np.array([[True], [True], [False]])
    hits = retrieve(
        build(kind, vectors), queries, mask, 4, excluding([[], [0], []]), counts=np.ones(1)
    )
    assert hits.codes.tolist() == [[0], [-1], [0]]


# ------------------------------------------------------------------ nearest users


@pytest.mark.parametrize("k", [1, 4, 40])
def test_nearest_users_equal_a_loop(k):
    items, interests, mask, _ = random_case(n=8, B=40, seed=k)
    rng = np.random.default_rng(k)
    banned = [rng.permutation(40)[: rng.integers(30)] for _ in range(8)]
    hits = nearest_users(items, interests, mask, k, excluding(banned))
    for row in range(8):
        products = np.where(mask, interests @ items[row], -np.inf)
        best = products.max(1)
        best[banned[row]] = -np.inf
        order = np.argsort(-best, kind="stable")[:k]
        order = order[best[order] > -np.inf]
        m = len(order)
        assert hits.codes[row].tolist()[:m] == order.tolist()
        assert (hits.codes[row, m:] == -1).all()
        np.testing.assert_allclose(hits.scores[row, :m], best[order], atol=1e-6)
        assert hits.interests[row, :m].tolist() == products[order].argmax(1).tolist()
