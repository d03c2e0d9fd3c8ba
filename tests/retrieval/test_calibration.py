import numpy as np
import pytest

from skmind.data.ragged import Ragged
from skmind.exceptions import ExactSearchWarning
from skmind.retrieval import calibration
from skmind.retrieval.annoy import AnnoyIndex
from skmind.retrieval.base import TopK
from skmind.retrieval.calibration import (
    CALIBRATION_KS,
    TARGET_RECALL,
    Plan,
    Sample,
    calibrate,
    recalls,
)
from skmind.retrieval.exact import ExactIndex
from skmind.retrieval.faiss import FaissIndex


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def clustered(n, seed=0, D=8):
    """Vectors in tight clusters, which every index finds."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((n // 100, D))
    return unit(centres[rng.integers(len(centres), size=n)] + 0.2 * rng.standard_normal((n, D)))


def sample_of(vectors, n_users, seed):
    rng = np.random.default_rng(seed)
    D = vectors.shape[1]
    queries = unit(
        vectors[rng.integers(len(vectors), size=(n_users, 2))]
        + 0.1 * rng.standard_normal((n_users, 2, D))
    )
    mask = np.ones((n_users, 2), dtype=bool)
    rows = np.repeat(np.arange(n_users), 5)
    codes = rng.integers(len(vectors), size=5 * n_users)
    return Sample(queries, mask, Ragged.from_pairs(rows, codes, n_users))


def hits(codes):
    codes = np.array(codes, dtype=np.int32)
    return TopK(codes, np.where(codes < 0, -np.inf, 0.5), codes)


def test_recalls_equal_a_loop():
    rng = np.random.default_rng(0)
    found, truth = (np.argsort(rng.random((30, 12)), axis=1)[:, :6] for _ in range(2))
    truth[np.arange(6) >= rng.integers(1, 7, size=30)[:, None]] = -1
    found[rng.random(found.shape) < 0.2] = -1
    expected = [
        len(set(mine) & set(theirs) - {-1}) / len(set(theirs) - {-1})
        for mine, theirs in zip(found.tolist(), truth.tolist(), strict=True)
    ]
    np.testing.assert_allclose(recalls(hits(found), hits(truth)), expected)
    assert 0.2 < np.mean(expected) < 0.8


def test_a_row_with_nothing_to_find_has_found_all():
    found, truth = hits([[-1, -1], [3, -1], [4, 5]]), hits([[-1, -1], [-1, -1], [-1, 6]])
    assert recalls(found, truth).tolist() == [1, 1, 0]


@pytest.fixture(scope="module")
def vectors():
    return clustered(8_000)


@pytest.mark.parametrize("kind", ["annoy", "faiss"])
def test_calibration_reaches_its_target_on_other_users(vectors, kind):
    if kind == "faiss":
        pytest.importorskip("faiss")
    index = Plan(kind, n_trees=10).build(vectors)
    first = index.effort
    others = sample_of(vectors, 100, seed=3)
    truth = ExactIndex(vectors).search(*others[:2], max(CALIBRATION_KS), others.seen)

    def recall(k):
        best = TopK(*(part[:, :k] for part in truth))
        return recalls(index.search_candidates(*others[:2], k, others.seen), best).mean()

    before = min(map(recall, CALIBRATION_KS))
    assert before < TARGET_RECALL - 0.05  # there is something to do
    assert calibrate(index, sample_of(vectors, 60, seed=2))
    assert index.effort > first
    assert min(map(recall, CALIBRATION_KS)) > TARGET_RECALL - 0.02
    assert index.budget(max(CALIBRATION_KS)) <= index.MAX_VISITED_SHARE * index.size


def test_no_more_effort_than_it_takes(vectors):
    """Had the last step not been made, one of the numbers of items would miss the target."""
    index, sample = AnnoyIndex(vectors, 10), sample_of(vectors, 60, seed=2)
    calibrate(index, sample)
    index.effort /= 1.5
    truth = ExactIndex(vectors).search(*sample[:2], max(CALIBRATION_KS), sample.seen)
    lows = []
    for k in CALIBRATION_KS:
        best = TopK(*(part[:, :k] for part in truth))
        found = recalls(index.search_candidates(*sample[:2], k, sample.seen), best)
        lows.append(found.mean() - found.std() / 60**0.5)
    assert min(lows) < TARGET_RECALL


def test_short_rows_do_not_count_as_found(vectors):
    """They would be refilled exactly, at the cost of an exact search."""
    index = AnnoyIndex(vectors[:5000], 1)
    index.effort = 0.01
    calibrate(index, sample_of(vectors[:5000], 20, seed=2))
    assert index.budget(10) >= 10


def test_the_same_plan_builds_the_same_index(vectors):
    plan = Plan("annoy", n_trees=5, seed=3, effort=0.4)
    others = sample_of(vectors, 30, seed=3)
    one, two = (plan.build(vectors) for _ in range(2))
    assert one.effort == two.effort == 0.4
    for mine, theirs in zip(
        one.search(*others[:2], 9, others.seen),
        two.search(*others[:2], 9, others.seen),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_kinds(vectors):
    assert type(Plan().build(vectors)) is ExactIndex
    index = Plan("annoy", 3, search_k=50).build(vectors[:100])
    assert (type(index), index.n_trees, index.budget(8)) == (AnnoyIndex, 3, 50)
    pytest.importorskip("faiss")
    assert type(Plan("faiss").build(vectors[:100])) is FaissIndex


def test_exact_search_takes_over_where_an_index_is_no_faster():
    """Without clusters in many dimensions nearly all must be visited."""
    vectors = unit(np.random.default_rng(0).standard_normal((1000, 32)))
    plan = Plan("annoy", 5)
    index = plan.build(vectors)
    sample = sample_of(vectors, 20, seed=0)
    with pytest.warns(
        ExactSearchWarning, match="index='annoy' is no faster .* 95% .* Set search_k"
    ):
        plan, index = plan.calibrated(index, sample, None)
    assert plan.kind == "exact"
    assert type(index) is ExactIndex
    assert index.vectors is vectors


@pytest.mark.parametrize(("n_items", "is_estimated"), [(8_000, True), (7_999, False)])
def test_a_part_of_the_items_shows_whether_an_index_is_hopeless(
    monkeypatch, vectors, n_items, is_estimated
):
    """Items in clusters, and items without clusters in many dimensions; users have seen items."""
    monkeypatch.setattr(calibration, "ESTIMATE_ITEMS", 4000)
    plan = Plan("annoy", 10)
    random = unit(np.random.default_rng(0).standard_normal((n_items, 32)))
    for items, is_hopeless in ((vectors[:n_items], False), (random, True)):
        sample = sample_of(items, 60, seed=2)
        assert plan.is_hopeless(items, sample, None) == (is_hopeless and is_estimated)
        assert calibrate(plan.build(items), sample) != is_hopeless


def test_a_calibrated_plan_keeps_its_index(vectors):
    index = AnnoyIndex(vectors, 10)
    plan, same = Plan("annoy", 10).calibrated(index, sample_of(vectors, 50, 2), None)
    assert same is index
    assert plan == Plan("annoy", 10, effort=index.effort)
