import numpy as np
import pytest

from skmind.data.ragged import Ragged
from skmind.exceptions import InvalidInputError
from skmind.retrieval.annoy import AnnoyIndex
from skmind.retrieval.exact import ExactIndex

EVERY_NODE = 10**7  # a search_k that visits all


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def random_vectors(rng, n, D=16):
    return unit(rng.standard_normal((n, D)))


def clustered_vectors(rng, n, D=16):
    centres = rng.standard_normal((8, D))
    return unit(centres[rng.integers(8, size=n)] + 0.2 * rng.standard_normal((n, D)))


def excluding(rows):
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    codes = np.concatenate([np.empty(0), *rows]).astype(np.int64)
    return Ragged(codes, offsets)


def random_case(draw, n=300, B=20, K=3, seed=0):
    rng = np.random.default_rng(seed)
    vectors = draw(rng, n)
    queries = unit(vectors[rng.integers(n, size=(B, K))] + 0.1 * rng.standard_normal((B, K, 16)))
    mask = rng.random((B, K)) < 0.7
    mask[:, 0] |= ~mask.any(1)
    return vectors, queries, mask, excluding([rng.permutation(n)[:30] for _ in range(B)])


@pytest.fixture
def refilled(monkeypatch):
    """The number of rows that every exact search was asked for."""
    rows = []
    search = ExactIndex.search

    def spy(self, queries, *arguments):
        rows.append(len(queries))
        return search(self, queries, *arguments)

    monkeypatch.setattr(ExactIndex, "search", spy)
    return rows


def assert_same(hits, expected):
    np.testing.assert_array_equal(hits.codes, expected.codes)
    np.testing.assert_allclose(hits.scores, expected.scores, atol=1e-6)
    np.testing.assert_array_equal(hits.interests, expected.interests)


def recall(hits, expected):
    pairs = zip(hits.codes, expected.codes, strict=True)
    return np.mean([np.isin(theirs, mine).mean() for mine, theirs in pairs])


@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize("draw", [random_vectors, clustered_vectors])
def test_visiting_every_node_is_exact(refilled, draw, k):
    vectors, queries, mask, excluded = random_case(draw, seed=k)
    index = AnnoyIndex(vectors, n_trees=3, search_k=EVERY_NODE)
    hits = index.search(queries, mask, k, excluded)
    assert refilled == [0]  # Annoy found them all
    assert_same(hits, ExactIndex(vectors).search(queries, mask, k, excluded))


def test_equal_items_come_in_code_order():
    vectors = np.tile(np.eye(4, 16, dtype=np.float32), (10, 1))  # item i points along i mod 4
    queries = unit(np.array([[np.eye(16)[2], np.eye(16)[1] + 0.5 * np.eye(16)[0]]]))
    index = AnnoyIndex(vectors, search_k=EVERY_NODE)
    hits = index.search(queries, np.ones((1, 2), dtype=bool), 12, excluding([[6, 1]]))
    assert hits.codes.tolist() == [[2, *range(10, 40, 4), 5, 9, 13]]
    assert hits.interests.tolist() == [[0] * 9 + [1] * 3]


def test_more_nodes_find_more():
    vectors, queries, mask, excluded = random_case(random_vectors, n=3000, B=50)
    expected = ExactIndex(vectors).search(queries, mask, 10, excluded)
    few, many = (
        recall(AnnoyIndex(vectors, 5, nodes).search(queries, mask, 10, excluded), expected)
        for nodes in (50, 500)
    )
    assert 0.1 < few < 0.8 < many < 1


def test_asks_for_what_will_be_filtered(refilled):
    """The 200 nearest items of every row are excluded; the next ten are found all the same."""
    vectors, queries, mask, _ = random_case(random_vectors)
    exact = ExactIndex(vectors)
    nearest = exact.search(queries, mask, 210, excluding([[]] * len(queries))).codes
    excluded = excluding(nearest[:, :200])
    refilled.clear()
    hits = AnnoyIndex(vectors, search_k=EVERY_NODE).search(queries, mask, 10, excluded)
    assert refilled == [0]
    np.testing.assert_array_equal(hits.codes, nearest[:, 200:])


def test_short_rows_are_refilled_exactly(refilled):
    """One node of one tree has too few items; a row that asks for one item has enough."""
    vectors, queries, mask, excluded = random_case(random_vectors, n=2000)
    expected = ExactIndex(vectors).search(queries, mask, 100, excluded)
    refilled.clear()
    hits = AnnoyIndex(vectors, n_trees=1, search_k=1).search(queries, mask, 100, excluded)
    assert refilled[0] == len(queries)
    assert_same(hits, expected)


def test_only_short_rows_are_refilled(refilled):
    """Row 0 may have every item, row 1 has two left, row 2 has no interest."""
    vectors = random_vectors(np.random.default_rng(0), 40)
    queries = np.repeat(vectors[None, :1], 3, axis=0)
    mask = np.array([[True], [True], [False]])
    excluded = excluding([[], np.arange(2, 40), []])
    hits = AnnoyIndex(vectors, search_k=EVERY_NODE).search(queries, mask, 4, excluded)
    assert refilled == [1]
    assert hits.codes[1].tolist() == [0, 1, -1, -1]
    assert (hits.codes[0] >= 0).all()
    assert hits.codes[2].tolist() == hits.interests[2].tolist() == [-1] * 4


def test_more_than_all_items_can_be_asked_for():
    vectors, queries, mask, excluded = random_case(random_vectors, n=50)
    hits = AnnoyIndex(vectors).search(queries, mask, 70, excluded)
    assert_same(hits, ExactIndex(vectors).search(queries, mask, 70, excluded))
    assert ((hits.codes >= 0).sum(1) == 20).all()


@pytest.mark.parametrize("share", [0.05, 0.6])
def test_an_allow_list_is_searched_exactly(share):
    vectors, queries, mask, excluded = random_case(clustered_vectors)
    allowed = np.random.default_rng(0).random(len(vectors)) < share
    hits = AnnoyIndex(vectors, 1, 1).search(queries, mask, 10, excluded, allowed)
    assert_same(hits, ExactIndex(vectors).search(queries, mask, 10, excluded, allowed))


def test_the_seed_decides_the_forest():
    vectors, queries, mask, excluded = random_case(random_vectors, n=3000)

    def codes(seed):
        index = AnnoyIndex(vectors, n_trees=2, search_k=100, seed=seed)
        return index.search(queries, mask, 10, excluded).codes

    np.testing.assert_array_equal(codes(7), codes(7))
    np.testing.assert_array_equal(codes(7), codes(7 + 2**31))  # Annoy takes 31 bits
    assert (codes(7) != codes(8)).any()


def test_no_rows():
    vectors = random_vectors(np.random.default_rng(0), 20)
    empty = np.empty((0, 2, 16), dtype=np.float32)
    hits = AnnoyIndex(vectors).search(empty, np.empty((0, 2), dtype=bool), 3, excluding([]))
    assert [part.shape for part in hits] == [(0, 3)] * 3


def test_a_saved_forest_finds_the_same(tmp_path):
    vectors, *case = random_case(clustered_vectors)
    index = AnnoyIndex(vectors, n_trees=5, seed=3)
    expected = index.search(case[0], case[1], 7, case[2])
    AnnoyIndex(vectors, n_trees=5, seed=3).save(tmp_path / "forest.ann")
    mapped = AnnoyIndex(vectors, n_trees=5, file=tmp_path / "forest.ann")
    for mine, theirs in zip(mapped.search(case[0], case[1], 7, case[2]), expected, strict=True):
        assert (mine == theirs).all()
    with pytest.raises(InvalidInputError, match="forest.ann has 300 items, not 299; build the in"):
        AnnoyIndex(vectors[:-1], n_trees=5, file=tmp_path / "forest.ann")
