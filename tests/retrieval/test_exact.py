import numpy as np
import pytest

from skmind.data.ragged import Ragged
from skmind.retrieval import exact
from skmind.retrieval.exact import ExactIndex, score_pairs, search_lists, top_k, winners
from tests.retrieval.cases import soft, unit


def grid(rng, *shape):
    """Vectors of few small integers: their products are exact in float32 and tie often."""
    return rng.integers(-2, 3, size=shape).astype(np.float32)


def sphere(rng, *shape):
    """Unit vectors, whose products hardly tie."""
    vectors = rng.standard_normal(shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def excluding(rows):
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    codes = np.concatenate([np.empty(0), *rows]).astype(np.int64)
    return Ragged(codes, offsets)


def by_brute_force(vectors, queries, mask, k, excluded, allowed, temperature=None):
    """All scores, one row at a time; sorted by score, then code."""
    codes, scores, interests = [], [], []
    for row in range(len(queries)):
        products = np.where(mask[row], vectors @ queries[row].T, -np.inf)  # (n, K)
        best = soft(products, temperature)
        best[np.isnan(best)] = -np.inf  # no interest is in use
        best[excluded.values[excluded.offsets[row] : excluded.offsets[row + 1]]] = -np.inf
        if allowed is not None:
            best[~allowed] = -np.inf
        order = np.argsort(-best, kind="stable")[:k]
        order = order[best[order] > -np.inf]
        fill = [-1] * (k - len(order))
        codes.append([*order, *fill])
        scores.append([*best[order], *np.full(len(fill), -np.inf)])
        interests.append([*products[order].argmax(1), *fill])
    return np.array(codes), np.array(scores), np.array(interests)


def check(vectors, queries, mask, k, excluded, allowed=None, temperature=None):
    """Exact search equals brute force; equal products are equal in both, so this is exact."""
    found = ExactIndex(vectors, temperature).search(queries, mask, k, excluded, allowed)
    expected = by_brute_force(vectors, queries, mask, k, excluded, allowed, temperature)
    np.testing.assert_array_equal(found.codes, expected[0])
    np.testing.assert_allclose(found.scores, expected[1], atol=1e-6)
    np.testing.assert_array_equal(found.interests, expected[2])


def random_case(rng, draw, n, B=9, K=3, D=5, masked=0.3, share_excluded=0.3):
    vectors, queries = draw(rng, n, D), draw(rng, B, K, D)
    mask = rng.random((B, K)) >= masked
    excluded = excluding([np.flatnonzero(rng.random(n) < share_excluded) for _ in range(B)])
    return vectors, queries, mask, excluded


@pytest.fixture(params=[None, 2**7, 1], ids=["one block", "tiles", "one score at once"])
def block(request, monkeypatch):
    """Searches with ever smaller blocks: a batch and a catalogue are cut into many."""
    if request.param:
        monkeypatch.setattr(exact, "BLOCK_SCORES", request.param)
        monkeypatch.setattr(exact, "TILE_PRODUCTS", max(1, request.param // 4))
        monkeypatch.setattr(exact, "BLOCK_MIN_ROWS", 4)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("draw", [grid, sphere])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (1, 5), (7, 3), (7, 7), (7, 20), (90, 1), (90, 12)])
def test_search_equals_brute_force(draw, n, k):
    rng = np.random.default_rng(n * k)
    vectors, queries, mask, excluded = random_case(rng, draw, n)
    check(vectors, queries, mask, k, excluded)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("draw", [grid, sphere])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_allow_list(draw, share):
    rng = np.random.default_rng(5)
    vectors, queries, mask, excluded = random_case(rng, draw, 120)
    allowed = np.zeros(120, dtype=bool)
    allowed[rng.permutation(120)[: int(share * 120)]] = True
    check(vectors, queries, mask, 8, excluded, allowed)


@pytest.mark.parametrize("k", [1, 10, 300])
@pytest.mark.parametrize("draw", [grid, sphere])
def test_larger_catalogues(draw, k):
    rng = np.random.default_rng(k)
    vectors, queries, mask, excluded = random_case(rng, draw, 3000, B=20, share_excluded=0.02)
    check(vectors, queries, mask, k, excluded)


def test_random_shapes():
    rng = np.random.default_rng(0)
    for draw in (grid, sphere) * 20:
        n, B, K, D = (int(rng.integers(1, high)) for high in (60, 12, 6, 9))
        vectors, queries, mask, excluded = random_case(
            rng, draw, n, B, K, D, masked=rng.random(), share_excluded=rng.random()
        )
        allowed = rng.random(n) < 0.5 if rng.random() < 0.3 else None
        check(vectors, queries, mask, int(rng.integers(1, 80)), excluded, allowed)


def test_no_rows():
    hits = ExactIndex(np.eye(3, dtype=np.float32)).search(
        np.empty((0, 2, 3), dtype=np.float32), np.empty((0, 2), dtype=bool), 2, excluding([])
    )
    assert [part.shape for part in hits] == [(0, 2)] * 3


def test_a_row_without_interest_gets_padding():
    queries = np.ones((2, 1, 3), dtype=np.float32)
    mask = np.array([[False], [True]])
    hits = ExactIndex(np.eye(3, dtype=np.float32)).search(queries, mask, 2, excluding([[], []]))
    assert hits.codes.tolist() == [[-1, -1], [0, 1]]
    assert hits.interests.tolist() == [[-1, -1], [0, 0]]


def test_masked_interests_never_win():
    """The masked interest is the nearest to every item, but it is out of use."""
    vectors = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)
    queries = np.array([[[1, 0], [0, 1], [0.6, 0.8]]], dtype=np.float32)
    hits = ExactIndex(vectors).search(queries, np.array([[False, True, False]]), 2, excluding([[]]))
    assert hits.codes.tolist() == [[1, 0]]
    assert hits.interests.tolist() == [[1, 1]]
    np.testing.assert_allclose(hits.scores, [[0.8, 0]])


def test_arguments_are_not_changed():
    rng = np.random.default_rng(0)
    vectors, queries, mask, excluded = random_case(rng, sphere, 30)
    arguments = (vectors, queries, mask, excluded.values, excluded.offsets)
    before = [part.copy() for part in arguments]
    ExactIndex(vectors).search(queries, mask, 4, excluded, np.ones(30, dtype=bool))
    for part, copy in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(part, copy)


@pytest.fixture
def sizes(monkeypatch):
    """The numbers that each call of `top_k` and `winners` holds, in blocks of 4,096."""
    found = {"top_k": [], "winners": []}

    def spied_top_k(scores, k):
        found["top_k"].append(scores.size)
        return top_k(scores, k)

    def spied_winners(vectors, queries, codes):
        found["winners"].append(codes.size * vectors.shape[1])
        return winners(vectors, queries, codes)

    monkeypatch.setattr(exact, "BLOCK_SCORES", 2**12)
    monkeypatch.setattr(exact, "top_k", spied_top_k)
    monkeypatch.setattr(exact, "winners", spied_winners)
    return found


@pytest.mark.parametrize("k", [3, 45])
@pytest.mark.parametrize("n", [50, 1000])
@pytest.mark.parametrize("n_rows", [1, 3, 500])
def test_memory_is_bounded_by_the_block(sizes, n, n_rows, k):
    rng = np.random.default_rng(0)
    check(*random_case(rng, sphere, n, n_rows)[:3], k, excluding([[]] * n_rows))
    assert max(sizes["top_k"]) <= 2**12
    assert max(sizes["winners"]) <= 2**12


def test_a_short_allow_list_costs_what_it_holds(sizes):
    rng = np.random.default_rng(0)
    vectors, queries, mask, excluded = random_case(rng, sphere, 1000)
    mask[:] = True
    check(vectors, queries, mask, 2, excluded, np.arange(1000) < 50)
    assert sizes["top_k"][0] == len(queries) * 50


def by_sorting(scores, k):
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


@pytest.mark.parametrize("n_values", [1, 2, 5, 50, 10**6])
@pytest.mark.parametrize(
    ("n", "k"), [(1, 1), (1, 4), (5, 5), (40, 9), (41, 1), (400, 3), (403, 7), (5000, 10)]
)
def test_top_k_sorts_by_score_then_column(n, k, n_values):
    rng = np.random.default_rng(n_values)
    scores = rng.integers(n_values, size=(30, n)).astype(np.float32)
    scores[rng.random((30, n)) < 0.1] = -np.inf
    scores[0] = -np.inf
    scores[1, 1:] = -np.inf
    columns, values = top_k(scores, k)
    expected_columns, expected_values = by_sorting(scores, k)
    np.testing.assert_array_equal(values, expected_values)
    real = values > -np.inf  # the order among -inf is nobody's business
    np.testing.assert_array_equal(columns[real], expected_columns[real])


def test_top_k_takes_the_first_of_equal_scores_in_a_group_left_out():
    """Columns 0 and 500 tie, but the groups are found by their maxima, not by their columns."""
    n, k = 1000, 2
    for first in range(0, 999, 7):
        scores = np.zeros((1, n), dtype=np.float32)
        scores[0, [first, first + 1, 999]] = 1
        columns, _ = top_k(scores, k)
        assert columns.tolist() == [[first, first + 1]]


def test_winners_is_the_nearest_interest():
    rng = np.random.default_rng(0)
    vectors, queries = sphere(rng, 50, 4), sphere(rng, 6, 3, 4)
    codes = rng.integers(50, size=(6, 5))
    expected = [[int((queries[b] @ vectors[c]).argmax()) for c in codes[b]] for b in range(6)]
    assert winners(vectors, queries, codes).tolist() == expected


# ------------------------------------------------------------------ soft maximum


@pytest.mark.parametrize("path", ["kept", "candidates", "all"])
@pytest.mark.parametrize("temperature", [1e-10, 0.05, 1.0, 1e5])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_soft_search_equals_brute_force(monkeypatch, k, temperature, path):
    monkeypatch.setattr(exact, "MAX_KEPT_ITEMS", 250 if path == "kept" else 0)
    monkeypatch.setattr(exact, "MAX_CANDIDATE_SHARE", 1.0 if path == "candidates" else -1.0)
    rng = np.random.default_rng(k)
    vectors, queries, mask, excluded = random_case(rng, sphere, 250)
    allowed = rng.random(250) < 0.5
    check(vectors, queries, mask, k, excluded, None, temperature)
    check(vectors, queries, mask, k, excluded, allowed, temperature)
    monkeypatch.setattr(exact, "BLOCK_SCORES", 2**7)
    monkeypatch.setattr(exact, "TILE_PRODUCTS", 2**10)
    check(vectors, queries, mask, k, excluded, allowed, temperature)


def test_equal_items_stay_in_code_order_in_a_soft_search(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = np.tile(sphere(rng, 50, 5), (20, 1))
    _, queries, mask, excluded = random_case(rng, sphere, 50)
    for n_kept, share in ((1000, 1.0), (0, 1.0), (0, -1.0)):
        monkeypatch.setattr(exact, "MAX_KEPT_ITEMS", n_kept)
        monkeypatch.setattr(exact, "MAX_CANDIDATE_SHARE", share)
        top = ExactIndex(vectors, 0.1).search(queries, mask, 30, excluded)
        codes = top.codes[mask.any(1)]
        is_equal = codes[:, 1:] % 50 == codes[:, :-1] % 50
        assert is_equal.mean() > 0.8
        assert (codes[:, 1:] > codes[:, :-1])[is_equal].all()


def test_items_near_two_interests_come_before_items_near_one():
    vectors = unit(np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]]))
    queries = unit(np.array([[[1, 0.5, 0], [0.5, 1, 0]]]))
    mask = np.ones((1, 2), dtype=bool)
    vectors[0] = queries[0, 0]
    highest = ExactIndex(vectors).search(queries, mask, 3, excluding([[]]))
    soft_top = ExactIndex(vectors, 0.1).search(queries, mask, 3, excluding([[]]))
    assert highest.codes.tolist() == [[0, 1, 2]]
    assert soft_top.codes.tolist() == [[1, 0, 2]]
    assert soft_top.scores[0, 0] == pytest.approx(highest.scores[0, 1])
    assert soft_top.scores[0, 1] < highest.scores[0, 0] - 0.05


# ------------------------------------------------------------------ a list a row


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(("draw", "temperature"), [(grid, None), (sphere, None), (sphere, 0.1)])
@pytest.mark.parametrize("k", [1, 4, 60])
def test_lists_equal_brute_force_with_all_else_excluded(draw, temperature, k):
    rng = np.random.default_rng(k)
    vectors, queries, mask, _ = random_case(rng, draw, 50)
    lists = [np.flatnonzero(rng.random(50) < share) for share in np.linspace(0, 1, len(queries))]
    rest = [np.setdiff1d(np.arange(50), codes) for codes in lists]
    for n_jobs in (None, 2):
        found = search_lists(vectors, queries, mask, k, excluding(lists), n_jobs, temperature)
        expected = by_brute_force(vectors, queries, mask, k, excluding(rest), None, temperature)
        np.testing.assert_array_equal(found.codes, expected[0])
        np.testing.assert_allclose(found.scores, expected[1], atol=1e-6)
        np.testing.assert_array_equal(found.interests, expected[2])
        assert [part.dtype for part in found] == [np.int32, np.float32, np.int32]


def test_empty_lists_and_no_rows():
    queries, mask = np.ones((2, 1, 3), dtype=np.float32), np.ones((2, 1), dtype=bool)
    vectors = np.eye(3, dtype=np.float32)
    hits = search_lists(vectors, queries, mask, 2, excluding([[], []]))
    assert hits.codes.tolist() == [[-1, -1]] * 2
    hits = search_lists(vectors, queries[:0], mask[:0], 2, excluding([]))
    assert [part.shape for part in hits] == [(0, 2)] * 3


def test_one_long_list_does_not_widen_the_others(monkeypatch):
    held = []

    def spied_top_k(scores, k):
        held.append(scores.shape)
        return top_k(scores, k)

    monkeypatch.setattr(exact, "top_k", spied_top_k)
    rng = np.random.default_rng(0)
    vectors, queries, mask, _ = random_case(rng, sphere, 1000, B=30, masked=0)
    search_lists(vectors, queries, mask, 2, excluding([[1, 2]] * 29 + [range(1000)]))
    assert sorted(held) == [(1, 1000), (29, 2)]


# ------------------------------------------------------------------ scores of all items, of pairs


@pytest.mark.parametrize("temperature", [None, 0.1])
@pytest.mark.parametrize("tile", [None, 1])
def test_scores_of_all_items_and_of_pairs(tile, temperature, monkeypatch):
    if tile:
        monkeypatch.setattr(exact, "TILE_PRODUCTS", tile)
        monkeypatch.setattr(exact, "SOFT_TILE_PRODUCTS", tile)
    rng = np.random.default_rng(0)
    vectors, queries, mask, excluded = random_case(rng, sphere, 30, masked=0)
    expected = soft(np.einsum("bkd,nd->bnk", queries, vectors), temperature)
    rows, items = rng.integers(len(queries), size=200), rng.integers(30, size=200)
    mask[3] = False
    expected[3] = -np.inf
    mask[4, 1] = False
    expected[4] = soft(vectors @ queries[4, [0, 2]].T, temperature)
    found = score_pairs(vectors, queries, mask, rows, items, temperature)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected[rows, items], atol=1e-6)
    used = mask.all(1)
    index = ExactIndex(vectors, temperature)
    scores = index.score_all(queries[used], excluded.take(np.flatnonzero(used)))
    expected[excluded.pairs()] = -np.inf
    np.testing.assert_allclose(scores, expected[used], atol=1e-6)


def test_an_empty_allow_list_gives_padding_in_a_soft_search():
    rng = np.random.default_rng(0)
    vectors, queries, mask, excluded = random_case(rng, sphere, 30)
    top = ExactIndex(vectors, 0.1).search(queries, mask, 3, excluded, np.zeros(30, dtype=bool))
    assert (top.codes == -1).all()
