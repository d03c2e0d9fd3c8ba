import numpy as np
import pytest

from skmind.retrieval import users
from skmind.retrieval.users import nearest_users
from tests.retrieval.cases import ragged, random_case, soft


@pytest.fixture(params=[None, 1], ids=["one block", "one score at once"])
def block(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(users, "BLOCK_SCORES", request.param)
        monkeypatch.setattr(users, "TILE_PRODUCTS", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("temperature", [None, 0.1])
@pytest.mark.parametrize("k", [1, 4, 40])
def test_nearest_users_equal_a_loop(k, temperature):
    items, interests, mask, _ = random_case(n=8, B=40, seed=k)
    rng = np.random.default_rng(k)
    banned = [rng.permutation(40)[: rng.integers(30)] for _ in range(8)]
    for n_jobs in (None, 2):
        hits = nearest_users(items, interests, mask, k, ragged(banned), n_jobs, temperature)
        for row in range(8):
            products = np.where(mask, interests @ items[row], -np.inf)
            best = soft(products, temperature)
            best[~mask.any(1)] = -np.inf
            best[banned[row]] = -np.inf
            order = np.argsort(-best, kind="stable")[:k]
            order = order[best[order] > -np.inf]
            m = len(order)
            assert hits.codes[row].tolist()[:m] == order.tolist()
            assert (hits.codes[row, m:] == -1).all()
            np.testing.assert_allclose(hits.scores[row, :m], best[order], atol=1e-6)
            assert hits.interests[row, :m].tolist() == products[order].argmax(1).tolist()


def test_no_items():
    _, interests, mask, _ = random_case()
    hits = nearest_users(np.empty((0, 6), dtype=np.float32), interests, mask, 3, ragged([]))
    assert [part.shape for part in hits] == [(0, 3)] * 3
