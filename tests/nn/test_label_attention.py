import math

import numpy as np
import pytest
import torch

from skmind.nn.label_attention import label_aware


def unit(rng, *shape):
    vectors = rng.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def problem(B=20, K=4, D=6, seed=0):
    """Return unit interests, a mask with the first ones of each row in use, and unit targets."""
    rng = np.random.default_rng(seed)
    n_used = rng.integers(1, K + 1, size=B)
    n_used[0] = K
    return unit(rng, B, K, D), np.arange(K) < n_used[:, None], unit(rng, B, D)


def looped(interests, mask, targets, power):
    out = []
    for u, used, v in zip(interests, mask, targets, strict=True):
        cosines = [float(u[k] @ v) for k in range(len(u)) if used[k]]
        if power == "hard":
            out.append(u[cosines.index(max(cosines))])
            continue
        weights = [math.exp(power * c) for c in cosines]
        out.append(sum(w / sum(weights) * u[k] for k, w in enumerate(weights)))
    return np.array(out)


@pytest.mark.parametrize("power", ["hard", 0.3, 1.0, 2, 20.0])
@pytest.mark.parametrize("K", [1, 4])
def test_equals_plain_loops(power, K):
    interests, mask, targets = problem(K=K)
    got = label_aware(*map(torch.tensor, (interests, mask, targets)), power)
    np.testing.assert_allclose(got.numpy(), looped(interests, mask, targets, power), atol=1e-12)


@pytest.mark.parametrize("power", ["hard", 5.0])
def test_lengths_of_capsules_do_not_matter(power):
    interests, mask, targets = problem()
    factors = np.random.default_rng(1).uniform(1e-3, 1e3, size=(*mask.shape, 1))
    before = label_aware(*map(torch.tensor, (interests, mask, targets)), power)
    after = label_aware(*map(torch.tensor, (interests * factors, mask, targets)), power)
    torch.testing.assert_close(before, after)


def test_zero_capsules_never_win_and_stay_finite():
    capsules = torch.tensor([[[0.0, 0.0], [0.5, 0.1]], [[0.0, 0.0], [0.0, 0.0]]]).requires_grad_()
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    result = label_aware(capsules, torch.ones(2, 2, dtype=torch.bool), targets, "hard")
    torch.testing.assert_close(result[0], capsules[0, 1] / capsules[0, 1].norm())
    assert not result[1].any()
    result.sum().backward()
    assert capsules.grad.isfinite().all()


@pytest.mark.parametrize("power", ["hard", 5.0])
def test_masked_interests_never_win(power):
    interests, mask, targets = problem()
    tempting = np.where(
        mask[:, :, None], interests, targets[:, None, :]
    )  # with cosine 1 but not in use
    assert (~mask).any()
    before = label_aware(*map(torch.tensor, (interests, mask, targets)), power)
    after = label_aware(*map(torch.tensor, (tempting, mask, targets)), power)
    torch.testing.assert_close(before, after)


def test_negative_similarities_keep_their_order():
    # The cosines are -0.1 and -0.9; by an even power of them the second would win.
    target = torch.tensor([[1.0, 0.0]])
    interests = torch.tensor([[[-0.1, 0.99**0.5], [-0.9, 0.19**0.5]]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    assert torch.equal(label_aware(interests, mask, target, "hard"), interests[:, 0])
    for power in [0.5, 2.0, 3.0]:
        odds = math.exp(power * (-0.1 + 0.9))
        expected = (odds * interests[:, 0] + interests[:, 1]) / (1 + odds)
        torch.testing.assert_close(label_aware(interests, mask, target, power), expected)


def test_a_large_power_approaches_the_hard_choice_and_a_small_one_the_mean():
    interests, _, targets = problem()
    mask = torch.ones(interests.shape[:2], dtype=torch.bool)
    interests, targets = torch.tensor(interests), torch.tensor(targets)
    hard = label_aware(interests, mask, targets, "hard")
    torch.testing.assert_close(label_aware(interests, mask, targets, 1e6), hard)
    small = label_aware(interests, mask, targets, 1e-9)
    torch.testing.assert_close(small, interests.mean(1), atol=1e-8, rtol=0)


def test_the_hard_choice_trains_the_winner_only():
    interests, mask, targets = problem()
    leaf = torch.tensor(interests, requires_grad=True)
    label_aware(leaf, torch.tensor(mask), torch.tensor(targets), "hard").sum().backward()
    cosines = np.where(mask, np.einsum("bkd,bd->bk", interests, targets), -np.inf)
    winners = np.eye(4, dtype=bool)[cosines.argmax(1)]
    assert (leaf.grad.abs().sum(2).numpy() > 0).tolist() == winners.tolist()


def test_gradient():
    interests, mask, targets = problem(B=5)
    leaves = [torch.tensor(x, requires_grad=True) for x in (interests, targets)]
    assert torch.autograd.gradcheck(lambda u, v: label_aware(u, torch.tensor(mask), v, 3.0), leaves)
