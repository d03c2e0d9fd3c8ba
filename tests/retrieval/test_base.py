import numpy as np
import pytest

from skmind.data.ragged import Ragged
from skmind.retrieval.annoy import AnnoyIndex
from skmind.retrieval.base import TopK, run_in_threads, soft_maximum
from skmind.retrieval.exact import ExactIndex
from tests.retrieval.cases import soft


def excluding(*rows):
    """`Ragged` of lists of codes, one a row."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    return Ragged(np.array([code for row in rows for code in row], dtype=np.int64), offsets)


def test_padding_holds_nothing():
    hits = TopK.padding(2, 3)
    assert hits.codes.tolist() == hits.interests.tolist() == [[-1] * 3] * 2
    assert hits.scores.tolist() == [[-np.inf] * 3] * 2
    assert [part.dtype for part in hits] == [np.int32, np.float32, np.int32]


def cosines(vectors, queries, mask, row, code):
    """Cosine of one item to every interest of a row; -inf to those out of use."""
    return np.where(mask[row], queries[row] @ vectors[code], -np.inf)


@pytest.mark.parametrize("kind", [ExactIndex, AnnoyIndex])
@pytest.mark.parametrize("seed", range(3))
def test_contract_of_every_index(kind, seed):
    """What `Index.search` promises, whatever the recall."""
    rng = np.random.default_rng(seed)
    n, B, K, D, k = 60, 25, 3, 8, 20
    vectors = rng.standard_normal((n, D), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = rng.standard_normal((B, K, D), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=2, keepdims=True)
    mask = rng.random((B, K)) < 0.6
    mask[0], mask[1] = False, True
    excluded = excluding(*[rng.permutation(n)[: rng.integers(n + 1)] for _ in range(B)])
    allowed = rng.random(n) < 0.8 if seed else None
    eligible = np.ones((B, n), dtype=bool) if allowed is None else np.tile(allowed, (B, 1))
    eligible[excluded.pairs()] = False

    hits = kind(vectors).search(queries, mask, k, excluded, allowed)

    assert [(part.shape, part.dtype) for part in hits] == [
        ((B, k), np.int32),
        ((B, k), np.float32),
        ((B, k), np.int32),
    ]
    for row, (codes, scores, interests) in enumerate(zip(*hits, strict=True)):
        width = min(k, eligible[row].sum()) if mask[row].any() else 0
        assert (codes[:width] >= 0).all()
        assert eligible[row, codes[:width]].all()
        assert len(set(codes[:width].tolist())) == width
        assert codes[width:].tolist() == interests[width:].tolist() == [-1] * (k - width)
        assert (scores[width:] == -np.inf).all()
        assert (np.diff(scores[:width]) <= 0).all()
        for code, score, interest in zip(codes[:width], scores, interests, strict=False):
            near = cosines(vectors, queries, mask, row, code)
            assert score == pytest.approx(near.max(), abs=1e-6)
            assert near[interest] == pytest.approx(near.max(), abs=1e-6)


def test_widened_hits_have_padding_on_the_right():
    hits = TopK.padding(2, 1)
    hits.codes[:], hits.scores[:], hits.interests[:] = 5, 0.5, 1
    wide = hits.widened(3)
    assert wide.codes.tolist() == [[5, -1, -1]] * 2
    assert wide.scores.tolist() == [[0.5, -np.inf, -np.inf]] * 2
    assert wide.interests.tolist() == [[1, -1, -1]] * 2
    assert [part.dtype for part in wide] == [part.dtype for part in hits]
    assert wide.widened(2).codes.shape == (2, 3)  # never narrower


@pytest.mark.parametrize("n_jobs", [None, 1, 3, -1])
def test_each_part_is_visited_once(n_jobs):
    seen = np.zeros(100)

    def visit(part):
        seen[part] += 1

    run_in_threads(visit, np.array_split(np.arange(100), 7), n_jobs)
    assert (seen == 1).all()
    run_in_threads(visit, [], n_jobs)


def test_each_passes_errors_on():
    def fail(part):
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        run_in_threads(fail, [np.arange(2)] * 3, 2)


# ------------------------------------------------------------------ soft maximum


@pytest.mark.parametrize("temperature", [None, 1e-10, 0.1, 1.0, 1e5, 1e10])
def test_the_soft_maximum_is_that_of_the_formula(temperature):
    products = np.random.default_rng(0).uniform(-1, 1, (40, 4)).astype(np.float32)
    products[:9, 2] = -np.inf
    products[0] = -np.inf
    n_used = (products > -np.inf).sum(1)
    found = soft_maximum(products.copy(), 1, temperature, n_used)
    assert found.dtype == np.float32
    assert np.isneginf(found[0])
    expected = soft(products[1:], temperature)
    np.testing.assert_allclose(found[1:], expected, atol=1e-5 if temperature == 1e10 else 1e-6)
    assert (found <= products.max(1)).all()
    columns = soft_maximum(products[9:].T.copy(), 0, temperature)
    np.testing.assert_array_equal(columns, found[9:])


def test_the_soft_maximum_of_equal_or_single_products_is_the_product():
    products = np.full((3, 4), 0.25, dtype=np.float32)
    assert soft_maximum(products.copy(), 1, 0.1).tolist() == [0.25] * 3
    assert soft_maximum(products[:, :1].copy(), 1, 0.1).tolist() == [0.25] * 3
