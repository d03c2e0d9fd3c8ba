import sys

import numpy as np
import pytest

from skmind.data.ragged import Ragged
from skmind.retrieval.exact import ExactIndex
from skmind.retrieval.faiss import FaissIndex, load_faiss

EVERY_LIST = 10**6


def test_without_faiss_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install skmind\[faiss\], or set index="):
        load_faiss()
    with pytest.raises(ImportError, match='index="faiss" needs faiss'):
        FaissIndex(np.eye(3, dtype=np.float32))


@pytest.fixture
def faiss():
    return pytest.importorskip("faiss")


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def random_case(n, B=40, K=3, D=16):
    rng = np.random.default_rng(n)
    vectors = unit(rng.standard_normal((n, D)))
    queries = unit(vectors[rng.integers(n, size=(B, K))] + 0.1 * rng.standard_normal((B, K, D)))
    mask = rng.random((B, K)) < 0.7
    rows = np.repeat(np.arange(B), 30)
    return vectors, queries, mask, Ragged.from_pairs(rows, rng.integers(n, size=30 * B), B)


@pytest.mark.usefixtures("faiss")
@pytest.mark.parametrize(("n", "size"), [(1, 1), (10, 1), (390, 10), (4000, 102), (11_000, 282)])
def test_lists_are_neither_too_short_nor_too_many(n, size):
    vectors = unit(np.random.default_rng(0).standard_normal((n, 4)))
    assert FaissIndex(vectors).size == size


@pytest.mark.usefixtures("faiss")
@pytest.mark.parametrize(("n", "k"), [(1, 1), (1, 5), (30, 10), (1000, 10), (1000, 200)])
def test_scanning_every_list_is_exact(n, k, capfd):
    vectors, queries, mask, excluded = random_case(n)
    index = FaissIndex(vectors, search_k=EVERY_LIST)
    if n == 1000:
        assert index.size == 25
    hits = index.search(queries, mask, k, excluded)
    expected = ExactIndex(vectors).search(queries, mask, k, excluded)
    np.testing.assert_array_equal(hits.codes, expected.codes)
    np.testing.assert_allclose(hits.scores, expected.scores, atol=1e-6)
    np.testing.assert_array_equal(hits.interests, expected.interests)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("faiss")
def test_more_lists_find_more():
    vectors, queries, mask, excluded = random_case(4000)
    truth = ExactIndex(vectors).search(queries, mask, 10, excluded).codes
    few, many = (
        (FaissIndex(vectors, n).search_candidates(queries, mask, 10, excluded).codes == truth)[
            mask.any(1)
        ].mean()
        for n in (1, 20)
    )
    assert few < 0.7 < many < 1


@pytest.mark.usefixtures("faiss")
def test_the_seed_decides_the_lists():
    vectors, queries, mask, excluded = random_case(4000)

    def codes(seed):
        return FaissIndex(vectors, 2, seed).search(queries, mask, 10, excluded).codes

    np.testing.assert_array_equal(codes(7), codes(7))
    assert (codes(7) != codes(8)).any()


def test_the_number_of_threads_is_restored(faiss):
    vectors, queries, mask, excluded = random_case(1000)
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(3)
        index = FaissIndex(vectors, 5)
        assert faiss.omp_get_max_threads() == 3
        index.search(queries, mask, 10, excluded)
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.usefixtures("faiss")
def test_results_do_not_depend_on_the_number_of_threads():
    vectors, queries, mask, excluded = random_case(2000, B=200)
    index = FaissIndex(vectors, 5)
    one, two = (index.search(queries, mask, 9, excluded, None, n) for n in (1, 2))
    for mine, theirs in zip(two, one, strict=True):
        np.testing.assert_array_equal(mine, theirs)
