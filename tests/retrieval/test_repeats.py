import math

import numpy as np
import pytest

from skmind.data.ragged import Ragged
from skmind.retrieval.annoy import AnnoyIndex
from skmind.retrieval.exact import ExactIndex
from skmind.retrieval.query import RecommendQuery
from skmind.retrieval.ranks import count_ranks
from skmind.retrieval.repeats import Repeats
from skmind.retrieval.search import retrieve
from skmind.retrieval.users import nearest_users
from tests.retrieval.cases import ragged, random_case, soft

T = 0.1


def random_repeats(n_rows, n_items, seed=0, longest=30):
    """Histories, in which items occur several times, and weights of the newest 20 events."""
    rng = np.random.default_rng(seed)
    histories = [rng.integers(n_items, size=rng.integers(longest)) for _ in range(n_rows)]
    histories[0] = histories[0][:0]
    weights = rng.normal(0.5, 0.3, size=20).astype(np.float32)
    return histories, weights, Repeats.of_histories(ragged(histories), weights, T)


def masses(histories, weights, n_items):
    """Return the sum of exp(weight / T) of the events of each item, (B, n_items), by loops."""
    total = np.zeros((len(histories), n_items))
    for row, history in enumerate(histories):
        for age, item in enumerate(reversed(history.tolist())):
            if age < len(weights):
                total[row, item] += math.exp(float(weights[age]) / T)
    return total


def all_scores(vectors, queries, mask, mass):
    """Return the scores of all items with repeats, (B, n), -inf for rows without interests."""
    products = np.einsum("bkd,nd->bnk", queries.astype(float), vectors.astype(float))
    products[np.broadcast_to(~mask[:, None], products.shape)] = -np.inf
    base = soft(products, T)
    n_used = np.maximum(mask.sum(1), 1)[:, None]
    with np.errstate(divide="ignore"):
        return np.where(mask.any(1)[:, None], T * np.log(np.exp(base / T) + mass / n_used), -np.inf)


def case(seed=0, n=60, B=15):
    vectors, queries, mask, excluded = random_case(n, B, seed=seed)
    histories, weights, repeats = random_repeats(B, n, seed)
    mass = masses(histories, weights, n)
    return vectors, queries, mask, excluded, repeats, all_scores(vectors, queries, mask, mass), mass


def test_the_events_of_an_item_add_up():
    histories, weights, repeats = random_repeats(40, 12)
    mass = masses(histories, weights, 12)
    rows, items = repeats.pairs()
    assert {*zip(rows.tolist(), items.tolist(), strict=True)} == {
        *zip(*(part.tolist() for part in np.nonzero(mass)), strict=True)
    }
    np.testing.assert_allclose(np.exp(repeats.gains / T), mass[rows, items], rtol=1e-6)
    assert all((np.diff(row) > 0).all() for row in np.split(items, repeats.offsets[1:-1]))


def test_events_older_than_the_weights_count_for_nothing():
    repeats = Repeats.of_histories(ragged([[4, 4, 3], [1]]), np.zeros(2), T)
    assert repeats.values.tolist() == [3, 4, 1]
    assert repeats.gains.tolist() == [0, 0, 0]


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e9])
def test_weights_may_be_far_apart(scale):
    weights = np.array([1.0, -1.0]) * scale
    repeats = Repeats.of_histories(ragged([[0, 1]]), weights, T)
    scores = repeats.raised(np.array([0.5, 0.5], np.float32), repeats.gains[::-1], np.array([1, 1]))
    assert np.isfinite(scores).all()
    assert scores[0] == pytest.approx(max(scale, 0.5) if scale > 1 else scores[0])
    assert (scores >= 0.5).all()


def test_rows_keep_what_their_items_gain():
    _, _, repeats = random_repeats(9, 12)
    rows, items = repeats.pairs()
    taken = repeats.take(np.array([5, -1, 2]))
    np.testing.assert_array_equal(taken.gains[: taken.offsets[1]], repeats.gains[rows == 5])
    np.testing.assert_array_equal(taken.gains[taken.offsets[2] :], repeats.gains[rows == 2])
    assert (
        repeats.slice_rows(3, 6).gains.tolist() == repeats.gains[(rows >= 3) & (rows < 6)].tolist()
    )
    some = np.array([7, 3, 7])
    transposed = repeats.transposed(some)
    for row, item in enumerate(some):
        span = slice(*transposed.offsets[row : row + 2])
        np.testing.assert_array_equal(transposed.values[span], rows[items == item])
        np.testing.assert_array_equal(transposed.gains[span], repeats.gains[items == item])


def test_pairs_that_do_not_repeat_gain_nothing():
    histories, weights, repeats = random_repeats(9, 12)
    rows, items = np.divmod(np.arange(9 * 12), 12)
    expected = masses(histories, weights, 12).ravel()
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(repeats.gains_of(rows, items) / T, np.log(expected), rtol=1e-6)


@pytest.mark.parametrize("k", [1, 5, 60])
@pytest.mark.parametrize("kind", [ExactIndex, AnnoyIndex])
@pytest.mark.parametrize("limit", ["none", "excluded", "allowed", "lists"])
def test_a_search_ranks_by_the_scores_with_repeats(kind, limit, k):
    for seed in range(3):
        vectors, queries, mask, excluded, repeats, scores, _ = case(seed)
        n, B = len(vectors), len(queries)
        nothing = ragged([[]] * B)
        query = RecommendQuery(k, nothing, repeats=repeats)
        is_left = np.ones((B, n), dtype=bool)
        if limit == "excluded":
            query = RecommendQuery(k, excluded, repeats=repeats)
            is_left[excluded.pairs()] = False
        elif limit == "allowed":
            allowed = np.arange(n) % 3 == 0
            query = RecommendQuery(k, nothing, allowed=allowed, repeats=repeats)
            is_left[:, ~allowed] = False
        elif limit == "lists":
            lists = Ragged.from_pairs(*excluded.pairs(), B)
            query = RecommendQuery(k, nothing, lists=lists, repeats=repeats)
            is_left[:] = False
            is_left[lists.pairs()] = True
        index = kind(vectors, temperature=T)
        if kind is AnnoyIndex:
            index.effort = 1000
        top = retrieve(index, queries, mask, query, np.ones(n, dtype=np.int64))
        expected = np.where(is_left, scores, -np.inf)
        for row in np.flatnonzero(mask.any(1)):
            found = top.codes[row][top.codes[row] >= 0]
            best = np.sort(expected[row][is_left[row]])[::-1][:k]
            assert len(found) == min(k, is_left[row].sum()) == len(set(found.tolist()))
            np.testing.assert_allclose(expected[row, found], best, atol=1e-6)
            np.testing.assert_allclose(top.scores[row][: len(found)], best, atol=1e-6)
            assert mask[row, top.interests[row][: len(found)]].all()


def test_an_item_that_gains_next_to_nothing_occurs_once():
    """At a low temperature the exponential of a weight may be 0 beside that of another."""
    vectors, queries, mask, _ = random_case()
    histories, weights, _ = random_repeats(15, 60)
    repeats = Repeats.of_histories(ragged(histories), weights, 1e-6)
    assert np.isneginf(repeats.gains).any()
    query = RecommendQuery(60, ragged([[]] * 15), repeats=repeats)
    top = retrieve(ExactIndex(vectors, 1e-6), queries, mask, query, np.ones(60, dtype=np.int64))
    for row in top.codes:
        assert sorted(row.tolist()) == list(range(60))


def test_many_rows_are_merged_in_blocks(monkeypatch):
    vectors, queries, mask, _, repeats, _, _ = case(B=30)
    top = ExactIndex(vectors, T).search(queries, mask, 7, ragged([[]] * 30))
    expected = repeats.merge(top, vectors, queries, mask)
    monkeypatch.setattr("skmind.retrieval.repeats.BLOCK_PLACES", 1)
    for part, theirs in zip(repeats.merge(top, vectors, queries, mask), expected, strict=True):
        np.testing.assert_array_equal(part, theirs)


def test_ranks_count_the_scores_with_repeats():
    vectors, queries, mask, excluded, repeats, scores, _ = case()
    rows, items = map(np.ravel, np.indices(scores.shape))
    scores[excluded.pairs()] = -np.inf
    ranks = count_ranks(
        vectors, queries, mask, excluded, np.ones(60), rows, items, None, T, repeats
    ).reshape(scores.shape)
    for row in np.flatnonzero(mask.any(1)):
        left = scores[row] > -np.inf
        assert np.isnan(ranks[row, ~left]).all()
        np.testing.assert_array_equal(np.argsort(ranks[row, left]), np.argsort(-scores[row, left]))


def test_the_audience_is_ranked_by_the_scores_with_repeats():
    vectors, queries, mask, _, repeats, scores, _ = case()
    items = np.array([3, 59, 3, 17])
    nobody = ragged([[]] * 4)
    top = nearest_users(
        vectors[items], queries, mask, 5, nobody, None, T, repeats.transposed(items)
    )
    for row, item in enumerate(items):
        best = np.argsort(-scores[:, item])[:5]
        np.testing.assert_array_equal(top.codes[row], best)
        np.testing.assert_allclose(top.scores[row], scores[best, item], atol=1e-6)


def test_one_interest_is_searched_with_its_repeats():
    """Of interests with a quota, each is searched alone."""
    vectors, queries, mask, _, repeats, _, mass = case()
    mask[:] = True
    query = RecommendQuery(6, ragged([[]] * 15), quotas="equal", repeats=repeats)
    top = retrieve(ExactIndex(vectors, T), queries, mask, query, np.ones(60, dtype=np.int64))
    alone = np.stack([all_scores(vectors, queries[:, [j]], mask[:, [j]], mass) for j in range(3)])
    for row in range(15):
        assert np.bincount(top.interests[row], minlength=3).tolist() == [2, 2, 2]
        for j in range(3):
            own = top.interests[row] == j
            np.testing.assert_allclose(
                top.scores[row, own], alone[j, row, top.codes[row, own]], atol=1e-6
            )
