import numpy as np
import pytest

from skmind.data.ragged import Ragged
from skmind.retrieval.annoy import AnnoyIndex
from skmind.retrieval.approximate import ApproximateIndex
from skmind.retrieval.exact import ExactIndex


class Halves(ApproximateIndex):
    """Knows the items of even code only, and finds what is nearest among them by sorting."""

    FIRST_EFFORT = 0.5
    MAX_VISITED_SHARE = 1.0

    def nearest(self, queries, n, budget):
        self.asked = n, budget
        even = np.arange(0, len(self.vectors), 2)
        order = np.argsort(-queries @ self.vectors[even].T, axis=1)[:, :n]
        return np.append(even[order], -1)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    vectors, queries = unit(rng.standard_normal((60, 4))), unit(rng.standard_normal((150, 2, 4)))
    mask = np.ones((150, 2), dtype=bool)
    mask[::3, 1] = False
    rows = np.repeat(np.arange(150), 5)
    return vectors, queries, mask, Ragged.from_pairs(rows, rng.integers(60, size=750), 150)


def test_the_budget_grows_with_the_root_of_what_is_asked_for(case):
    vectors, queries, mask, excluded = case
    index = Halves(vectors)
    index.search(queries[:1], mask[:1], 10, excluded.slice_rows(0, 1))
    n = 10 + int(excluded.offsets[1])
    assert index.asked == (n, int(np.ceil(0.5 * (60 * n) ** 0.5)))
    index.effort = 2.0
    assert index.budget(n) == int(np.ceil(2 * (60 * n) ** 0.5))
    assert Halves(vectors, search_k=7).budget(n) == 7


def test_rows_are_refilled_unless_candidates_only_are_asked_for(case):
    vectors, queries, mask, excluded = case
    index, exact = Halves(vectors), ExactIndex(vectors)
    among = exact.search(queries, mask, 31, excluded, np.arange(60) % 2 == 0)
    rough = index.search_candidates(queries, mask, 31, excluded)
    np.testing.assert_array_equal(rough.codes, among.codes)
    assert (rough.codes[:, -1] == -1).all()  # there are 30 even ones
    full = index.search(queries, mask, 31, excluded)
    for mine, theirs in zip(full, exact.search(queries, mask, 31, excluded), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_rows_with_enough_are_not_refilled(case):
    vectors, queries, mask, excluded = case
    found, rough = (
        search(queries, mask, 8, excluded)
        for search in (Halves(vectors).search, Halves(vectors).search_candidates)
    )
    assert (found.codes >= 0).all()
    for mine, theirs in zip(found, rough, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("kind", [ExactIndex, AnnoyIndex, Halves])
@pytest.mark.parametrize("n_jobs", [2, 5, -1])
def test_results_do_not_depend_on_the_number_of_threads(case, kind, n_jobs, monkeypatch):
    monkeypatch.setattr("skmind.retrieval.exact.BLOCK_SCORES", 2**9)  # many parts
    vectors, queries, mask, excluded = case
    index = kind(vectors)
    one, several = (index.search(queries, mask, 9, excluded, None, n) for n in (None, n_jobs))
    for mine, theirs in zip(several, one, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_base_has_no_candidates(case):
    vectors, queries, mask, excluded = case
    Bare = type("Bare", (ApproximateIndex,), {"FIRST_EFFORT": 1.0})
    with pytest.raises(NotImplementedError):
        Bare(vectors).search(queries, mask, 2, excluded)
