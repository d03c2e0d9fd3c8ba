import numpy as np
import pytest

from skmind.data.ragged import Ragged
from skmind.retrieval.annoy import AnnoyIndex
from skmind.retrieval.exact import ExactIndex
from skmind.retrieval.faiss import FaissIndex
from skmind.retrieval.popular import popular
from skmind.retrieval.query import RecommendQuery
from skmind.retrieval.rerank import diversify
from skmind.retrieval.search import DIVERSITY_CANDIDATES, retrieve
from tests.retrieval.cases import ragged, random_case, random_sets, unit, values_of


def retrieved(index, interests, mask, k, excluded, counts, **query):
    return retrieve(index, interests, mask, RecommendQuery(k, excluded, **query), counts)


# ------------------------------------------------------------------ retrieve


def test_without_strangers_and_diversity_it_is_the_search():
    vectors, queries, mask, excluded = random_case()
    mask[0] = True
    index = ExactIndex(vectors)
    allowed = np.arange(60) % 3 > 0
    mask[~mask.any(1), 0] = True
    hits = retrieved(
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
    hits = retrieved(
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
    hits = retrieved(
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
        retrieved(
            ExactIndex(vectors), queries, mask, k, excluded, counts=np.ones(30, dtype=np.int64),
            diversity=0.4,
        )  # fmt: skip
        assert asked == [expected]


def test_diversity_chooses_from_more_candidates():
    vectors, queries, mask, excluded = random_case()
    mask[~mask.any(1), 0] = True
    index = ExactIndex(vectors)
    hits = retrieved(
        index, queries, mask, 4, excluded, counts=np.ones(60, dtype=np.int64), diversity=0.4
    )
    wide = index.search(queries, mask, DIVERSITY_CANDIDATES * 4, excluded)
    for mine, theirs in zip(hits, diversify(wide, vectors, 4, 0.4), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert (hits.codes != wide.codes[:, :4]).any()


def test_lists_take_the_place_of_exclusions():
    vectors, queries, mask, excluded = random_case()
    lists = [np.flatnonzero(np.arange(60) % (row + 2) == 1) for row in range(len(queries))]
    rest = ragged([np.setdiff1d(np.arange(60), codes) for codes in lists])
    counts = np.arange(60)
    for options in ({}, {"diversity": 0.4}, {"quotas": np.full(mask.shape, 2)}):
        found, expected = (
            retrieved(ExactIndex(vectors), queries, mask, 6, row, counts=counts, **more, **options)
            for row, more in ((excluded, {"lists": ragged(lists)}), (rest, {}))
        )
        np.testing.assert_array_equal(found.codes, expected.codes)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
        np.testing.assert_array_equal(
            found.interests[found.codes >= 0], expected.interests[found.codes >= 0]
        )


def test_a_copy_gives_way_to_another_kind():
    """Items 0 and 1 are the same; 2 is a little less relevant, but something else."""
    vectors = unit(np.array([[1, 0.3], [1, 0.3], [0.3, 1], [-1, -1]]))
    queries = unit(np.array([[[1.1, 1]]]))
    index, mask = ExactIndex(vectors), np.ones((1, 1), dtype=bool)
    arguments = (index, queries, mask, 2, ragged([[]]))
    counts = np.ones(4, dtype=np.int64)
    assert retrieved(*arguments, counts=counts).codes.tolist() == [[0, 1]]
    assert retrieved(*arguments, counts=counts, diversity=0.3).codes.tolist() == [[0, 2]]


def test_an_item_goes_to_the_next_interest_when_the_nearest_is_full():
    """Interest 0 is nearest to both items but may bring one; the other counts for interest 1."""
    vectors = unit(np.array([[1, 0.1], [1, 0.3], [-1, 0]]))
    queries = unit(np.array([[[1, 0], [0, 1]]]))
    hits = retrieved(
        ExactIndex(vectors), queries, np.ones((1, 2), dtype=bool), 2, ragged([[]]),
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
    excluded = ragged([rng.permutation(n)[m:] for m in n_eligible])
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
    hits = retrieved(build(kind, vectors), queries, mask, k, excluded, counts=counts, **options)
    banned = [set(row.tolist()) for row in np.split(excluded.values, excluded.offsets[1:-1])]
    for row, codes in enumerate(hits.codes.tolist()):
        real = [code for code in codes if code >= 0]
        assert len(set(real)) == len(real) == min(k, n_eligible[row])
        assert not banned[row] & set(real)


@pytest.mark.parametrize("kind", [ExactIndex, AnnoyIndex, FaissIndex])
def test_a_catalogue_of_one_item(kind):
    vectors = np.ones((1, 6), dtype=np.float32) / np.float32(6**0.5)
    queries, mask = np.repeat(vectors[None], 3, 0), np.array([[True], [True], [False]])
    hits = retrieved(
        build(kind, vectors), queries, mask, 4, ragged([[], [0], []]), counts=np.ones(1)
    )
    assert hits.codes.tolist() == [[0], [-1], [0]]
