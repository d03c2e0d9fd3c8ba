import numpy as np
import pytest
from scipy.stats import chi2

from skmind.data.negatives import STRATEGIES, NegativeSampler

COUNTS = np.array([50, 0, 30, 1, 19, 0, 100, 7])
SHARE = COUNTS / COUNTS.sum()
N_ITEMS = len(COUNTS)
EACH_STRATEGY = pytest.mark.parametrize("strategy", STRATEGIES)


def sampler(strategy, n_negatives=6, seed=0, groups=1, counts=COUNTS):
    return NegativeSampler(counts, n_negatives, strategy, np.random.default_rng(seed), groups)


def assert_drawn_from(codes, shares):
    """Check with a two-sided chi-squared test that the codes are drawn with these shares."""
    counts = np.bincount(codes, minlength=len(shares))
    assert counts[shares == 0].sum() == 0
    expected = (len(codes) * shares)[shares > 0]
    statistic = ((counts[shares > 0] - expected) ** 2 / expected).sum()
    low, high = chi2.ppf([1e-4, 1 - 1e-4], len(expected) - 1)
    assert low < statistic < high


def test_the_check_of_distributions_can_fail():
    rng = np.random.default_rng(0)
    fair = np.full(8, 1 / 8)
    assert_drawn_from(rng.integers(8, size=20_000), fair)
    with pytest.raises(AssertionError, match="assert"):
        assert_drawn_from(rng.integers(7, size=20_000), fair)
    with pytest.raises(AssertionError, match="assert"):
        assert_drawn_from(np.arange(20_000) % 8, fair)  # too even to be random


@pytest.mark.parametrize(
    ("strategy", "shares"), [("uniform", np.full(N_ITEMS, 1 / N_ITEMS)), ("popularity", SHARE)]
)
def test_distribution_of_the_negatives(strategy, shares):
    draw = sampler(strategy).draw
    targets = np.array([1, 1])
    codes = np.concatenate([draw(targets)[0] for _ in range(4000)])
    assert len(codes) == 4000 * 6
    assert codes.dtype == np.int64
    assert_drawn_from(codes, shares)


def test_items_without_events_are_not_drawn_at_the_limits_of_the_cumulative_shares():
    class Limits:
        def random(self, n):
            return np.array([0.0, 0.75, 0.9999])[:n]

    negatives = NegativeSampler(np.array([0, 3, 0, 1]), 3, "popularity", Limits())
    assert negatives.draw(np.array([1]))[0].tolist() == [1, 3, 3]


def test_in_batch_takes_the_targets_and_draws_nothing():
    rng = np.random.default_rng(0)
    negatives = NegativeSampler(COUNTS, 6, "in_batch", rng)
    targets = np.array([6, 0, 6, 3], dtype=np.int32)
    codes, log_expected = negatives.draw(targets)
    assert codes.tolist() == [6, 0, 6, 3]
    assert codes.dtype == np.int64
    np.testing.assert_allclose(np.exp(log_expected), 4 * SHARE[[6, 0, 6, 3]], rtol=1e-6)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_mixed_takes_the_targets_and_draws_uniform_negatives():
    targets = np.array([6, 6, 0])
    mixed = sampler("mixed", 5)
    draws = [mixed.draw(targets) for _ in range(4000)]
    assert all(codes[:3].tolist() == [6, 6, 0] for codes, _ in draws)
    drawn = np.concatenate([codes[3:] for codes, _ in draws])
    assert len(drawn) == 4000 * 5
    assert_drawn_from(drawn, np.full(N_ITEMS, 1 / N_ITEMS))
    codes, log_expected = draws[0]
    np.testing.assert_allclose(np.exp(log_expected), 3 * SHARE[codes] + 5 / N_ITEMS, rtol=1e-6)


@EACH_STRATEGY
@pytest.mark.parametrize("groups", [1, 4])
def test_log_expected_is_the_logarithm_of_the_mean_count(strategy, groups):
    """Two-sided: too rare and too frequent items both fail. Targets are drawn by their share."""
    rng = np.random.default_rng(1)
    n_draws = 6000
    n_targets = 5
    negatives = sampler(strategy, groups=groups)
    counts = np.zeros(N_ITEMS)
    expected = np.full(N_ITEMS, np.nan)
    for _ in range(n_draws):
        codes, log_expected = negatives.draw(rng.choice(N_ITEMS, n_targets, p=SHARE))
        assert len(codes) % groups == 0
        assert log_expected.dtype == np.float32
        np.add.at(counts, codes, 1)
        expected[codes] = np.exp(log_expected)
    for code in range(N_ITEMS):
        if COUNTS[code] == 0 and strategy in ("popularity", "in_batch"):
            assert counts[code] == 0
            continue
        # with groups, an item and its repetition are drawn together
        deviation = np.sqrt(expected[code] * (1 + (groups > 1)) / n_draws)
        assert abs(counts[code] / n_draws - expected[code]) < 5 * deviation


@EACH_STRATEGY
@pytest.mark.parametrize("groups", [1, 4])
def test_corrected_sums_estimate_the_sum_over_all_items(strategy, groups):
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0])
    reachable = COUNTS > 0 if strategy in ("popularity", "in_batch") else COUNTS >= 0
    rng = np.random.default_rng(2)
    negatives = sampler(strategy, groups=groups)
    sums = []
    for _ in range(6000):
        codes, log_expected = negatives.draw(rng.choice(N_ITEMS, 5, p=SHARE))
        sums.append((values[codes] / np.exp(log_expected)).sum())
    error = np.std(sums) / np.sqrt(len(sums))
    assert error > 0
    assert abs(np.mean(sums) - values[reachable].sum()) < 4.5 * error


@EACH_STRATEGY
def test_all_is_every_item_once(strategy):
    negatives = sampler(strategy, "all")
    assert negatives.is_full
    codes, log_expected = negatives.draw(np.array([1]))
    assert codes.tolist() == list(range(N_ITEMS))
    assert log_expected.tolist() == [0.0] * N_ITEMS
    assert log_expected.dtype == np.float32


@pytest.mark.parametrize("strategy", ["uniform", "popularity", "mixed"])
@pytest.mark.parametrize(("n_negatives", "is_full"), [(7, False), (8, True), (9, True)])
def test_enough_negatives_are_every_item_once(strategy, n_negatives, is_full):
    negatives = sampler(strategy, n_negatives)
    codes, _ = negatives.draw(np.array([1]))
    assert negatives.is_full is is_full
    assert len(codes) == (N_ITEMS if is_full else n_negatives + (strategy == "mixed"))
    assert (sorted(codes.tolist()) == list(range(N_ITEMS))) is is_full


def test_in_batch_has_as_many_negatives_as_targets():
    negatives = sampler("in_batch", 20)
    assert not negatives.is_full
    assert len(negatives.draw(np.array([1, 2]))[0]) == 2


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("strategy", [*STRATEGIES, "all"])
def test_groups_have_the_same_size(groups, strategy):
    n_negatives = "all" if strategy == "all" else 6
    strategy = "uniform" if strategy == "all" else strategy
    targets = np.array([6, 0, 4, 2, 6])
    codes, log_expected = sampler(strategy, n_negatives, 0, groups).draw(targets)
    plain, plain_expected = sampler(strategy, n_negatives, 0, 1).draw(targets)
    assert len(codes) == len(log_expected)
    assert len(codes) % groups == 0
    assert 0 <= len(codes) - len(plain) < groups
    extra = np.bincount(codes, minlength=N_ITEMS) - np.bincount(plain, minlength=N_ITEMS)
    assert (extra >= 0).all()  # all negatives are kept
    scale = np.log(len(codes) / len(plain))
    expected = dict(zip(plain.tolist(), plain_expected.tolist(), strict=True))
    np.testing.assert_allclose(
        log_expected, [expected[code] + scale for code in codes.tolist()], atol=1e-6
    )


def test_groups_come_in_random_order():
    negatives = sampler("uniform", "all", groups=4)
    firsts = np.array([negatives.draw(np.array([0]))[0][:2] for _ in range(5000)])
    assert_drawn_from(firsts.ravel(), np.full(N_ITEMS, 1 / N_ITEMS))


def test_the_correction_is_finite_for_items_that_were_never_a_target():
    codes, log_expected = sampler("in_batch").draw(np.array([1, 5]))
    assert codes.tolist() == [1, 5]
    assert np.isfinite(log_expected).all()
    codes, log_expected = sampler("popularity", counts=np.zeros(4, dtype=np.int64)).draw(codes)
    assert ((codes >= 0) & (codes < 4)).all()
    assert np.isfinite(log_expected).all()


@EACH_STRATEGY
def test_negatives_depend_only_on_the_generator(strategy):
    targets = np.array([0, 2])
    one = sampler(strategy, 7, seed=0)
    same = sampler(strategy, 7, seed=0)
    other = sampler(strategy, 7, seed=1)
    first = one.draw(targets)[0].tolist()
    assert first == same.draw(targets)[0].tolist()
    if strategy != "in_batch":
        assert first != other.draw(targets)[0].tolist()
        assert first != one.draw(targets)[0].tolist()
