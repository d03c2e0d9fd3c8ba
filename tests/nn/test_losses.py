import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from skmind.data.negatives import NegativeSampler
from skmind.nn.losses import MASKED_LOGIT, assign_groups, repeat_masses, sampled_softmax

TAU = 0.5
CPU = torch.device("cpu")


def unit(rng, *shape):
    vectors = rng.normal(size=shape)
    return torch.tensor(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def problem(B=9, K=3, D=5, n_items=20, N=12, seed=0):
    """Return arguments of the loss; float64, with rows of 1 and of K interests in use."""
    rng = np.random.default_rng(seed)
    n_used = np.append(rng.integers(1, K + 1, size=B - 2), [1, K])
    return {
        "interests": unit(rng, B, K, D),
        "mask": torch.tensor(np.arange(K) < n_used[:, None]),
        "query_rows": np.arange(B),
        "items": unit(rng, n_items, D),
        "targets": rng.integers(n_items, size=B),
        "negatives": rng.integers(n_items, size=N),
        "log_expected": rng.normal(size=N),
        "groups": assign_groups(K, CPU),
        "temperature": TAU,
    }


def looped(
    interests, mask, query_rows, items, targets, negatives, log_expected, groups, temperature
):
    """Return the loss of each row, by loops over its interests and negatives."""
    K = interests.shape[1]
    N = len(negatives)
    losses = []
    for row, target in zip(query_rows.tolist(), targets.tolist(), strict=True):
        u = interests[row]
        n_used = int(mask[row].sum())
        positive = sum(math.exp(u[k] @ items[target] / temperature) for k in range(n_used))
        owner = [group % n_used for group in range(K)]
        negative = 0.0
        for position, item in enumerate(negatives.tolist()):
            k = owner[position // (N // K)]
            if item == target:
                continue
            term = math.exp(u[k] @ items[item] / temperature - log_expected[position])
            negative += term * K / owner.count(k)
        losses.append(-math.log(positive / (positive + negative)))
    return losses


def full_softmax(interests, mask, items, targets):
    """Return -log of the mixture's probability of the target among all items, for each row."""
    scores = torch.exp(interests @ items.T / TAU) * mask[:, :, None]  # (B, K, n)
    mass = scores.sum(1)
    return -(mass[torch.arange(len(targets)), targets] / mass.sum(1)).log()


# ------------------------------------------------------------------ against oracles


@pytest.mark.parametrize(("K", "N"), [(1, 12), (2, 12), (3, 12), (4, 12), (4, 4), (5, 20)])
def test_equals_plain_loops(K, N):
    for seed in range(3):
        given = problem(K=K, N=N, seed=seed)
        expected = np.mean(looped(**given))
        assert sampled_softmax(**given).item() == pytest.approx(expected, rel=1e-6)


def test_one_interest_and_every_item_is_the_full_softmax():
    given = problem(K=1, B=30)
    n = len(given["items"])
    given |= {"negatives": np.arange(n), "log_expected": np.zeros(n)}
    logits = given["interests"][:, 0] @ given["items"].T / TAU
    expected = F.cross_entropy(logits, torch.tensor(given["targets"]))
    assert sampled_softmax(**given).item() == pytest.approx(expected.item(), rel=1e-13)
    given |= {name: given[name].float() for name in ("interests", "items")}
    given["log_expected"] = given["log_expected"].astype(np.float32)
    assert sampled_softmax(**given).item() == pytest.approx(expected.item(), rel=1e-6)


def test_every_interest_and_every_item_is_the_full_mixture():
    # every item is in each of the K groups, so the assignment of the groups does not matter
    given = problem(K=3, B=30)
    n = len(given["items"])
    given["mask"][:] = True
    given |= {
        "negatives": np.tile(np.arange(n), 3),
        "log_expected": np.full(3 * n, math.log(3)),
    }
    expected = full_softmax(given["interests"], given["mask"], given["items"], given["targets"])
    assert sampled_softmax(**given).item() == pytest.approx(expected.mean().item(), rel=1e-6)


@pytest.mark.parametrize(
    ("strategy", "n_used"),
    [("uniform", 1), ("uniform", 2), ("uniform", 3), ("popularity", 2), ("in_batch", 2),
     ("mixed", 2)],
)  # fmt: skip
def test_the_sum_over_the_negatives_is_unbiased(strategy, n_used):
    """exp(loss) - 1 is the estimated sum over the negatives divided by the term of the target."""
    rng = np.random.default_rng(7)
    n_items, K, target = 30, 3, 4
    counts = np.round(100 * np.arange(1, n_items + 1) ** -0.7)
    sampler = NegativeSampler(counts, 25, strategy, rng, groups=K)
    common = unit(rng, 4)
    interests = F.normalize(unit(rng, 1, K, 4) + common, dim=2)
    items = unit(rng, n_items, 4)
    items[:8] = F.normalize(items[:8] + 2 * common, dim=1)  # popular items have high scores
    mask = torch.arange(K)[None] < n_used
    targets = np.array([target])
    estimates, uncorrected = [], []
    for _ in range(500):
        others = rng.choice(n_items, size=60, p=counts / counts.sum())
        codes, log_expected = sampler.draw(others)
        for kept, correction in [
            (estimates, log_expected.astype(np.float64)),
            (uncorrected, np.full(len(codes), math.log(len(codes) / n_items))),
        ]:
            loss = sampled_softmax(
                interests,
                mask,
                np.zeros(1, dtype=int),
                items,
                targets,
                codes,
                correction,
                assign_groups(K, CPU),
                TAU,
            )
            kept.append(math.expm1(loss.item()))
    full = math.expm1(full_softmax(interests, mask, items, targets).item())
    error = np.std(estimates) / math.sqrt(len(estimates)) / full
    assert 0 < error < 0.02
    assert np.mean(estimates) / full == pytest.approx(1, abs=4 * error)
    if strategy != "uniform":  # the check fails without the correction
        assert np.mean(uncorrected) / full != pytest.approx(1, abs=4 * error)


def test_negatives_of_interests_with_few_groups_count_more():
    # All items are equal, so the loss is log(1 + N) for every number of interests in use.
    given = problem(K=4, B=12, N=12)
    given["items"][:] = given["items"][:1].clone()
    given["negatives"] = (given["targets"][0] + 1 + np.arange(12)) % 20
    given["log_expected"][:] = 0
    given["interests"][:] = given["interests"][:, :1].clone()
    given["targets"][:] = given["targets"][0]
    for n_used in [1, 2, 3, 4]:
        given["mask"][:] = torch.arange(4) < n_used
        assert sampled_softmax(**given).item() == pytest.approx(math.log(13), rel=1e-6)


def test_targets_may_share_a_row():
    given = problem(B=4)
    given["query_rows"] = np.array([2, 0, 2, 2, 1])
    given["targets"] = np.array([5, 1, 7, 5, 3])
    assert sampled_softmax(**given).item() == pytest.approx(np.mean(looped(**given)), rel=1e-6)
    given["interests"].requires_grad_()
    sampled_softmax(**given).backward()
    moved = given["interests"].grad.abs().sum((1, 2)) > 0
    assert moved.tolist() == [True, True, True, False]


@pytest.mark.parametrize("K", [1, 2, 3, 4, 7])
def test_every_group_of_negatives_is_assigned_to_an_interest_in_use(K):
    groups = assign_groups(K, CPU)
    for n_used in range(1, K + 1):
        interests, is_repeated, log_weights = (part[:, n_used - 1].tolist() for part in groups)
        assert interests == [group % n_used for group in range(K)]
        assert is_repeated == [interests.index(k) < group for group, k in enumerate(interests)]
        expected = [math.log(K / interests.count(k)) for k in interests]
        assert log_weights == pytest.approx(expected)


# ------------------------------------------------------------------ interests and negatives


def test_masked_interests_never_matter():
    given = problem(K=4, B=12)
    before = sampled_softmax(**given)
    given["interests"] = torch.where(given["mask"][:, :, None], given["interests"], 1e3)
    given["interests"].requires_grad_()
    after = sampled_softmax(**given)
    assert after.item() == before.item()
    after.backward()
    moved = given["interests"].grad.abs().sum(2) > 0
    assert (~given["mask"]).any()
    assert torch.equal(moved, given["mask"])


@pytest.mark.parametrize("n_used", [1, 2, 3, 4])
def test_every_row_uses_all_negatives(n_used):
    given = problem(K=4, B=2, N=12)
    given["mask"] = (torch.arange(4) < n_used).repeat(2, 1)
    given["negatives"] = np.arange(12)
    given["targets"] = np.array([15, 16])
    given["items"].requires_grad_()
    sampled_softmax(**given).backward()
    touched = given["items"].grad.abs().sum(1) > 0
    assert touched.nonzero()[:, 0].tolist() == [*range(12), 15, 16]


def test_accidental_hits_are_left_out_of_their_own_row_only():
    given = problem(B=2, K=2, N=6)
    given["negatives"] = np.array([3, 3, 5, 3, 7, 5])
    given["targets"] = np.array([3, 9])
    with_hits = looped(**given)
    assert sampled_softmax(**given).item() == pytest.approx(np.mean(with_hits), rel=1e-6)
    # Without the other negatives, row 0 has a loss only if its hits count.
    given["log_expected"][[2, 4, 5]] = 60.0
    losses = [
        sampled_softmax(
            **(given | {"query_rows": np.array([row]), "targets": given["targets"][[row]]})
        ).item()
        for row in (0, 1)
    ]
    assert losses[0] == pytest.approx(0, abs=1e-12)
    assert losses[1] > 0.1


@pytest.mark.parametrize("K", [1, 3])
def test_a_row_without_negatives_has_a_zero_gradient(K):
    given = problem(B=4, K=K, N=6)
    given["negatives"] = np.full(6, 2)
    given["targets"] = np.array([2, 2, 1, 2])
    for name in ("interests", "items"):
        given[name].requires_grad_()
    sampled_softmax(**given).backward()
    gradient = given["interests"].grad
    assert torch.isfinite(given["items"].grad).all()
    assert not gradient[torch.tensor([0, 1, 3])].any()
    assert gradient[2].any()
    first = given | {"query_rows": np.arange(1), "targets": given["targets"][:1]}
    assert sampled_softmax(**first).item() == 0


# ------------------------------------------------------------------ repeats


def histories(B=9, L=6, n_items=4, seed=0):
    """Return histories, newest first, their targets, the places of these, and the lengths."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, L + 1, size=B)
    lengths[0] = L
    in_history = np.arange(L) < lengths[:, None]
    history = np.where(in_history, rng.integers(n_items, size=(B, L)), -1)
    is_target = in_history & (rng.random((B, L)) < 0.8)
    targets = np.where(is_target, rng.integers(n_items, size=(B, L)), -1)
    return history, targets, np.flatnonzero(is_target), lengths


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_masses_of_repeats_equal_plain_loops(scale):
    for seed in range(3):
        history, targets, places, lengths = histories(seed=seed)
        weights = scale * torch.randn(8, generator=torch.Generator().manual_seed(seed))
        got = repeat_masses(weights, history, targets, places, lengths)
        for n, place in enumerate(places):
            row, q = divmod(place, history.shape[1])
            events = {True: [], False: []}
            for j in range(q, lengths[row]):
                is_target = bool(history[row, j] == targets[row, q])
                events[is_target].append(float(weights[j - q]))
            for mass, is_target in zip(got[:, n].tolist(), (True, False), strict=True):
                expected = np.logaddexp.reduce(events[is_target]) if events[is_target] else None
                if expected is None:
                    assert mass == MASKED_LOGIT
                elif expected > weights.max() - 60:  # float32 holds it beside the largest weight
                    tolerance = 1e-5 if is_target else 1e-3
                    total = np.logaddexp.reduce(events[True] + events[False])
                    if expected > total - 7:
                        assert mass == pytest.approx(expected, abs=tolerance * scale)


def test_masses_of_repeats_have_the_gradient_of_their_logarithms():
    history, targets, places, lengths = histories()
    weights = torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def finite(weights):
        masses = repeat_masses(weights, history, targets, places, lengths)
        return masses[masses > MASKED_LOGIT]

    assert torch.autograd.gradcheck(finite, weights.requires_grad_())


# ------------------------------------------------------------------ gradient


@pytest.mark.parametrize("K", [1, 3])
def test_gradient(K):
    given = problem(B=5, K=K, D=3, n_items=6, N=6)
    given["targets"][0] = given["negatives"][0]
    leaves = [given.pop(name).requires_grad_() for name in ("interests", "items")]
    assert torch.autograd.gradcheck(
        lambda interests, items: sampled_softmax(interests=interests, items=items, **given), leaves
    )
