import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from skmind.nn.fused import MixtureLoss, ScaleByLength, scale_by_length

# ------------------------------------------------------------------ scaled vectors


def factor(square):
    return 1 / (2 + square)


def slope(square, factors):
    return -(factors**2)


def vectors():
    """Vectors (7, 3, 5) with lengths from about 0.001 to 1000; float64, with a gradient."""
    x = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (x * 10.0 ** torch.arange(-3, 4)[:, None, None]).requires_grad_()


def test_vectors_are_scaled_by_a_function_of_their_squared_length():
    x = vectors()
    expected = [
        [[value / (2 + sum(v * v for v in row)) for value in row] for row in block]
        for block in x.tolist()
    ]
    np.testing.assert_allclose(scale_by_length(x, factor, slope).detach(), expected, rtol=1e-12)


def test_scaled_vectors_have_the_gradient_of_autograd():
    x = vectors()
    probe = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain = x * factor(x.square().sum(-1, keepdim=True))
    fused = ScaleByLength.apply(x, factor, slope)
    assert torch.equal(fused, plain)
    (expected,) = torch.autograd.grad(plain, x, probe)
    (gradient,) = torch.autograd.grad(fused, x, probe)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=0)
    assert gradient.abs().min() > 0


def test_scaled_vectors_pass_a_numerical_check_of_the_gradient():
    x = vectors()
    assert torch.autograd.gradcheck(
        lambda x: scale_by_length(x, factor, slope), x, eps=1e-8, atol=1e-4, rtol=1e-4
    )


def test_the_value_is_the_same_with_and_without_a_gradient():
    x = vectors()
    expected = scale_by_length(x, factor, slope)
    assert expected.requires_grad
    for other in (x.detach(), x):
        with torch.no_grad():
            value = scale_by_length(other, factor, slope)
        assert torch.equal(value, expected)
        assert not value.requires_grad


# ------------------------------------------------------------------ mixture loss


def problem(K=3, B=7, N=12, D=4, n_interests=10, n_items=9, seed=0, dtype=torch.float64):
    """Random arguments of the loss, with some interests repeated and some negatives left out."""
    rng = np.random.default_rng(seed)

    def unit(*shape):
        return F.normalize(torch.tensor(rng.normal(size=shape)), dim=-1).to(dtype)

    is_repeated = np.arange(K)[:, None] >= rng.integers(1, K + 1, size=B)
    hits = rng.choice(B * N, size=B * N // 5, replace=False)
    return {
        "interests": unit(n_interests, D).requires_grad_(),
        "items": unit(n_items, D).requires_grad_(),
        "interest_rows": torch.tensor(rng.integers(n_interests, size=K * B)),
        "item_rows": torch.tensor(rng.integers(n_items, size=B + N)),
        "is_repeated": torch.tensor(is_repeated),
        "log_weights": torch.tensor(rng.normal(size=(K, B))).to(dtype),
        "offsets": torch.tensor(rng.normal(size=(K, N // K))).to(dtype),
        "hits": torch.tensor(hits),
        "temperature": 0.5,
    }


def plain_loss(
    interests,
    items,
    interest_rows,
    item_rows,
    is_repeated,
    log_weights,
    offsets,
    hits,
    temperature,
    weights=1.0,
    repeats=None,
):
    """Return the same loss, written as a sum of exponentials for autograd."""
    K, B = log_weights.shape
    queries = interests[interest_rows].view(K, B, -1)
    targets = items[item_rows[:B]]
    negatives = items[item_rows[B:]].view(K, -1, items.shape[1])
    target_terms = torch.exp((queries * targets).sum(2) / temperature) * ~is_repeated
    products = torch.einsum("kbd,knd->kbn", queries, negatives)
    is_kept = torch.ones(products.numel(), dtype=torch.bool)
    is_kept[hits] = False
    terms = torch.exp(products / temperature + offsets[:, None]) * is_kept.view(products.shape)
    positive = target_terms.sum(0)
    negative = (terms.sum(2) * log_weights.exp()).sum(0)
    if repeats is not None:
        positive = positive + repeats[0].exp()
        negative = negative + repeats[1].exp()
    return -(weights * torch.log(positive / (positive + negative))).mean()


def gradients(loss, given):
    return torch.autograd.grad(loss, [given["interests"], given["items"]])


@pytest.mark.parametrize(("K", "N"), [(1, 12), (3, 12), (4, 4), (5, 20)])
def test_the_mixture_loss_equals_a_plain_one_with_its_gradient(K, N):
    for seed in range(3):
        given = problem(K=K, N=N, seed=seed)
        loss = MixtureLoss.apply(*given.values())
        expected = plain_loss(**given)
        torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
        for mine, theirs in zip(
            gradients(3 * loss, given), gradients(3 * expected, given), strict=True
        ):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
            assert mine.any()


@pytest.mark.parametrize("K", [1, 3])
def test_weights_multiply_the_losses_of_the_targets(K):
    given = problem(K=K, N=12)
    B = given["log_weights"].shape[1]
    weights = torch.arange(B, dtype=given["items"].dtype)
    loss = MixtureLoss.apply(*given.values(), weights)
    expected = plain_loss(**given, weights=weights)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    for mine, theirs in zip(gradients(loss, given), gradients(expected, given), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
    ones = MixtureLoss.apply(*given.values(), torch.ones_like(weights))
    torch.testing.assert_close(ones, MixtureLoss.apply(*given.values()), rtol=0, atol=0)


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_repeats_add_to_the_sums(K, is_weighted):
    given = problem(K=K, N=12)
    B = given["log_weights"].shape[1]
    generator = torch.Generator().manual_seed(0)
    repeats = torch.randn(2, B, generator=generator, dtype=torch.float64).requires_grad_()
    weights = torch.arange(B, dtype=torch.float64) if is_weighted else None
    loss = MixtureLoss.apply(*given.values(), weights, repeats)
    expected = plain_loss(**given, weights=1.0 if weights is None else weights, repeats=repeats)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    leaves = [given["interests"], given["items"], repeats]
    for mine, theirs in zip(
        torch.autograd.grad(3 * loss, leaves),
        torch.autograd.grad(3 * expected, leaves),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
        assert mine.any()


@pytest.mark.parametrize("K", [1, 3])
def test_the_mixture_loss_passes_a_numerical_check_of_the_gradient(K):
    interests, items, *others = problem(K=K, B=5, N=6, D=3, n_items=6).values()
    assert torch.autograd.gradcheck(
        lambda interests, items: MixtureLoss.apply(interests, items, *others), [interests, items]
    )


@pytest.mark.parametrize("K", [1, 3])
def test_similarities_may_be_far_apart(K):
    """Exponentials of ±2000 exceed any float."""
    given = problem(K=K, dtype=torch.float32)
    given["temperature"] = 0.0005
    loss = MixtureLoss.apply(*given.values())
    exact = {name: value.double() if value.is_floating_point() else value
             for name, value in given.items() if isinstance(value, torch.Tensor)}  # fmt: skip
    expected = MixtureLoss.apply(*exact.values(), given["temperature"])
    assert 100 < loss.item() < math.inf
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert all(gradient.isfinite().all() for gradient in gradients(loss, given))


def test_products_in_bfloat16_are_close():
    given = problem(K=3, B=200, D=64, N=96, dtype=torch.float32)
    losses = []
    flat_gradients = []
    for is_autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast):
            loss = MixtureLoss.apply(*given.values())
        assert loss.dtype == torch.float32
        losses.append(loss.item())
        flat_gradients.append(torch.cat([part.ravel() for part in gradients(loss, given)]))
    assert 0 < abs(losses[1] - losses[0]) < 0.01
    error = (flat_gradients[1] - flat_gradients[0]).norm() / flat_gradients[0].norm()
    assert 0 < error < 0.01
