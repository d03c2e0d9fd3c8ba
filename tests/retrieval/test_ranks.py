"""Counted ranks, compared with the places in lists that a search sorts."""

import numpy as np
import pytest

from skmind.retrieval import ranks as ranks_module
from skmind.retrieval.exact import ExactIndex
from skmind.retrieval.query import RecommendQuery
from skmind.retrieval.ranks import count_ranks
from skmind.retrieval.search import retrieve
from tests.retrieval.cases import ragged, random_case


def ranks_of_search(vectors, queries, mask, excluded, counts, rows, items, temperature=None):
    query = RecommendQuery(len(vectors), excluded)
    top = retrieve(ExactIndex(vectors, temperature), queries, mask, query, counts)
    lists = [codes[codes >= 0].tolist() for codes in top.codes]
    return [
        lists[row].index(item) + 1 if item in lists[row] else np.nan
        for row, item in zip(rows, items, strict=True)
    ]


@pytest.fixture(params=["one block", "a row per block"])
def block(request, monkeypatch):
    if request.param == "a row per block":
        monkeypatch.setattr(ranks_module, "BLOCK_SCORES", 1)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("temperature", [None, 0.1])
def test_counted_ranks_are_places_of_the_search(K, ties, n_jobs, temperature):
    rng = np.random.default_rng(K)
    vectors, queries, mask, excluded = random_case(n=60, B=40, K=K, D=8)
    if ties:  # few distinct directions whose products are exact
        vectors = np.eye(8, dtype=np.float32)[rng.integers(8, size=60)]
        queries = np.eye(8, dtype=np.float32)[rng.integers(8, size=(40, K))]
    assert (~mask.any(1)).any()  # some rows rank by popularity
    twice = ragged([np.repeat(excluded.take(np.array([row])).values, 2) for row in range(40)])
    counts = rng.integers(6, size=60)  # most of them tie
    rows = rng.integers(40, size=500)
    items = rng.integers(-1, 60, size=500)  # some targets are unknown, excluded or there twice
    arguments = (vectors, queries, mask, excluded, counts, rows, items)
    expected = ranks_of_search(*arguments, temperature)
    assert 0 < np.isnan(expected).sum() < 500
    np.testing.assert_array_equal(count_ranks(*arguments, n_jobs, temperature), expected)
    arguments = (vectors, queries, mask, twice, counts, rows, items)
    np.testing.assert_array_equal(count_ranks(*arguments, n_jobs, temperature), expected)


def test_no_targets():
    vectors, queries, mask, excluded = random_case()
    none = np.empty(0, dtype=np.int64)
    counts = np.ones(60, dtype=np.int64)
    assert count_ranks(vectors, queries, mask, excluded, counts, none, none).shape == (0,)
    unknown = np.array([-1, -1])
    ranks = count_ranks(vectors, queries, mask, excluded, counts, np.array([0, 1]), unknown)
    assert np.isnan(ranks).all()
