import math

import numpy as np
import pytest
import torch

from skmind.nn.routing import (
    AGE_LOGIT,
    LOGIT_NOISE,
    SQUASH_EPSILON,
    initial_logits,
    interest_mask,
    route,
    squash,
    unit,
)


def looped_squash(z):
    """Squash one vector (MIND, eq. 6)."""
    square = sum(x * x for x in z)
    if square == 0:
        return np.zeros(len(z))
    return square / (1 + square) * np.array(z) / math.sqrt(square)


def looped_query(history, seen, n_used, logits, log_recency, n_iter):
    """Route one query by algorithm 1 in plain loops, with the documented departures, in float64.

    The query sees the positions ``seen`` of a history (L, D) and has ``n_used`` interests.
    """
    K, L = logits.shape
    b = [[float(logits[k, i]) for i in range(L)] for k in range(n_used)]
    for _ in range(n_iter):
        w = np.zeros((K, L))
        for i in seen:
            total = sum(math.exp(b[k][i]) for k in range(n_used))  # over the interests
            for k in range(n_used):
                w[k, i] = math.exp(b[k][i]) / total * math.exp(log_recency[k, i])
        u = np.zeros((K, history.shape[1]))
        for k in range(n_used):
            u[k] = looped_squash(sum((w[k, i] * history[i] for i in seen), 0 * u[k]))
        for k in range(n_used):
            for i in seen:
                b[k][i] += float(u[k] @ history[i])
    return u, w


def n_used_interests(n, n_interests):
    return max(1, min(n_interests, int(math.log2(n)) if n else 0))


def looped_routing(projected, lengths, n_interests, logits, log_recency, n_iter):
    """Return capsules (B, K, D) and weights (B, K, L) of whole histories."""
    results = [
        looped_query(
            history, range(n), n_used_interests(n, n_interests), logits, log_recency, n_iter
        )
        for history, n in zip(projected, lengths, strict=True)
    ]
    return tuple(np.array(part) for part in zip(*results, strict=True))


def problem(B=6, L=7, D=5, K=3, seed=0, lengths=None):
    """Return random projected histories of several lengths, the last one full; float32 arrays."""
    rng = np.random.default_rng(seed)
    if lengths is None:
        lengths = np.append(rng.integers(L + 1, size=B - 1), L)
    projected = rng.normal(size=(B, L, D)).astype(np.float32)
    logits = rng.normal(size=(K, L)).astype(np.float32)
    log_recency = rng.normal(scale=0.5, size=(K, L)).astype(np.float32)
    return projected, np.asarray(lengths), logits, log_recency


def torch_routing(projected, lengths, logits, log_recency, n_iter, adaptive=True):
    """Route the whole histories; the results have no axis for queries."""
    lengths = torch.as_tensor(lengths)
    visible = (torch.arange(projected.shape[1]) < lengths[:, None]).float()
    sums, weights = route(
        torch.as_tensor(projected),
        visible[:, None],
        interest_mask(lengths, len(logits), adaptive)[:, None],
        torch.as_tensor(logits)[None],
        torch.as_tensor(log_recency).exp()[None],
        n_iter,
    )
    return squash(sums.squeeze(1)), weights.squeeze(1)


def queries(B=3, Q=4, L=6, D=5, K=3, seed=0):
    """Return arguments of `route` for queries with different visible items, masks and logits."""
    rng = np.random.default_rng(seed)
    shapes = {"projected": (B, L, D), "logits": (Q, K, L), "log_recency": (Q, K, L)}
    arrays = {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    visible = (rng.random((B, Q, L)) < 0.6).astype(np.float32)
    visible[0, 0] = 0
    visible[-1, -1] = 1
    mask = np.arange(K) < rng.integers(1, K + 1, size=(B, Q, 1))
    return arrays | {"visible": visible, "mask": mask}


def route_queries(arrays, n_iter):
    """Return capsules and weights for arguments like those of `queries`, arrays or tensors."""
    given = {name: torch.as_tensor(array) for name, array in arrays.items()}
    recency = given.pop("log_recency").exp()
    sums, weights = route(**given, recency=recency, n_iter=n_iter)
    return squash(sums), weights


@pytest.mark.parametrize("function", [squash, unit])
def test_gradients_of_short_and_long_vectors(function):
    x = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x *= 10.0 ** torch.arange(-3, 4, dtype=torch.float64)[:, None, None]
    assert torch.autograd.gradcheck(function, x.requires_grad_(), eps=1e-8, atol=1e-4, rtol=1e-4)
    zeros = torch.zeros(2, 5, requires_grad=True)
    function(zeros).sum().backward()
    assert torch.isfinite(zeros.grad).all()
    assert torch.equal(function(x), function(x.detach()))


# ------------------------------------------------------------------ routing against the paper


@pytest.mark.parametrize("n_iter", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("B", "L", "D", "K"),
    [(6, 7, 5, 3), (4, 20, 8, 4), (5, 9, 3, 1), (3, 1, 4, 4), (2, 33, 1, 2), (1, 16, 6, 7)],
)
def test_routing_equals_plain_loops(B, L, D, K, n_iter):
    for seed in range(3):
        projected, lengths, logits, log_recency = problem(B, L, D, K, seed)
        u, w = torch_routing(projected, lengths, logits, log_recency, n_iter)
        expected_u, expected_w = looped_routing(projected, lengths, K, logits, log_recency, n_iter)
        np.testing.assert_allclose(u.numpy(), expected_u, atol=1e-5)
        np.testing.assert_allclose(w.numpy(), expected_w, atol=1e-5)


def test_routing_of_empty_single_and_full_histories():
    projected, lengths, logits, log_recency = problem(B=3, L=16, K=4, lengths=[0, 1, 16])
    u, w = torch_routing(projected, lengths, logits, log_recency, 3)
    expected_u, expected_w = looped_routing(projected, lengths, 4, logits, log_recency, 3)
    np.testing.assert_allclose(u.numpy(), expected_u, atol=1e-5)
    np.testing.assert_allclose(w.numpy(), expected_w, atol=1e-5)
    assert not u[0].any()
    assert not w[0].any()
    # one item, one interest: coupling 1 times the recency weight of age 0
    assert w[1, 0, 0].item() == pytest.approx(math.exp(log_recency[0, 0]), rel=1e-6)
    assert (u != 0).any(2).tolist() == [[False] * 4, [True, False, False, False], [True] * 4]


@pytest.mark.parametrize("n_iter", [1, 4])
def test_softmax_runs_over_the_interests_in_use(n_iter):
    projected, _, logits, log_recency = problem(B=2, L=8, K=4)
    _, w = torch_routing(projected, [8, 5], logits, 0 * log_recency, n_iter)
    # Without recency weights, the couplings of an item add up to 1 over the interests, not over
    # the positions. Five items have two interests, whose couplings add up to 1, too.
    expected = torch.tensor([[1.0] * 8, [1.0] * 5 + [0.0] * 3])
    torch.testing.assert_close(w.sum(1), expected)
    assert (w[1, :2].sum(0)[:5] - 1).abs().max() < 1e-6
    assert (w.sum(2) - 1).abs().min() > 0.05


def test_recency_weight_multiplies_the_coupling():
    projected, lengths, logits, log_recency = problem(B=1, L=6, K=2, lengths=[6])
    _, plain = torch_routing(projected, lengths, logits, 0 * log_recency, 1)
    _, weighted = torch_routing(projected, lengths, logits, log_recency, 1)
    torch.testing.assert_close(weighted, plain * torch.as_tensor(log_recency).exp())


def test_values_in_the_padding_never_matter():
    projected, lengths, logits, log_recency = problem(lengths=[0, 1, 3, 4, 6, 7])
    changed = projected.copy()
    for row, n in zip(changed, lengths, strict=True):
        row[n:] = 1e6
    before = torch_routing(projected, lengths, logits, log_recency, 3)
    after = torch_routing(changed, lengths, logits, log_recency, 3)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_batch_composition_and_padding_width_never_matter():
    projected, lengths, logits, log_recency = problem(B=8, L=12, K=3, seed=4)
    u, w = torch_routing(projected, lengths, logits, log_recency, 3)
    for row, n in enumerate(lengths):
        width = max(n, 1)
        alone, weights = torch_routing(
            projected[row : row + 1, :width],
            lengths[row : row + 1],
            logits[:, :width],
            log_recency[:, :width],
            3,
        )
        torch.testing.assert_close(alone[0], u[row], atol=1e-6, rtol=0)
        torch.testing.assert_close(weights[0], w[row, :, :width], atol=1e-6, rtol=0)


# ------------------------------------------------------------------ queries


@pytest.mark.parametrize("n_iter", [1, 2, 4])
@pytest.mark.parametrize(
    ("B", "Q", "L", "D", "K"),
    [(3, 4, 6, 5, 3), (2, 9, 9, 4, 2), (1, 5, 3, 6, 4), (4, 1, 7, 3, 2), (2, 3, 5, 4, 1)],
)
def test_each_query_equals_plain_loops(B, Q, L, D, K, n_iter):
    """Queries differ in their visible items, logits, recency weights and masks."""
    for seed in range(3):
        a = queries(B, Q, L, D, K, seed)
        u, w = route_queries(a, n_iter)
        assert u.shape == (B, Q, K, D)
        assert w.shape == (B, Q, K, L)
        for row in range(B):
            for q in range(Q):
                seen = np.flatnonzero(a["visible"][row, q])
                n_used = a["mask"][row, q].sum()
                one = a["projected"][row], seen, n_used, a["logits"][q], a["log_recency"][q]
                expected_u, expected_w = looped_query(*one, n_iter)
                np.testing.assert_allclose(u[row, q].numpy(), expected_u, atol=1e-5)
                np.testing.assert_allclose(w[row, q].numpy(), expected_w, atol=1e-5)


@pytest.mark.parametrize("n_iter", [1, 2, 4])
def test_one_row_of_masks_stands_for_all_histories(n_iter):
    a = queries(B=3)
    for shared in [("visible",), ("mask",), ("visible", "mask")]:
        one = {name: a[name][1:2] for name in shared}
        repeated = {name: np.repeat(part, 3, axis=0) for name, part in one.items()}
        for got, expected in zip(
            route_queries(a | one, n_iter), route_queries(a | repeated, n_iter), strict=True
        ):
            torch.testing.assert_close(got.expand_as(expected), expected, atol=1e-6, rtol=0)


def test_items_that_a_query_does_not_see_never_matter_to_it():
    a = queries()
    before = route_queries(a, 3)
    changes = torch.zeros(3, 4, 6, dtype=torch.bool)
    for row, i in np.ndindex(3, 6):
        changed = a["projected"].copy()
        changed[row, i] = 1e3
        for old, new in zip(before, route_queries(a | {"projected": changed}, 3), strict=True):
            same = torch.isclose(old, new, rtol=0, atol=1e-6).all(3).all(2)  # (B, Q)
            others = np.arange(3) != row
            assert same[others].all()
            changes[row, :, i] |= ~same[row]
    assert torch.equal(changes, torch.tensor(a["visible"]) > 0)


def test_the_gradient_of_several_queries_is_the_sum_of_their_gradients():
    a = queries(seed=2)
    probe = torch.randn(3, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    trained = {
        name: torch.tensor(a[name], requires_grad=True) for name in ("projected", "log_recency")
    }
    (route_queries(a | trained, 3)[0] * probe).sum().backward()
    expected = {name: torch.zeros(value.shape) for name, value in trained.items()}
    for q in range(4):
        one = slice(q, q + 1)
        parts = {name: torch.tensor(a[name], requires_grad=True) for name in trained}
        part = {
            "projected": parts["projected"],
            "log_recency": parts["log_recency"][one],
            "logits": a["logits"][one],
            "visible": a["visible"][:, one],
            "mask": a["mask"][:, one],
        }
        (route_queries(part, 3)[0] * probe[:, one]).sum().backward()
        for name, value in parts.items():
            expected[name] += value.grad
    for name, value in trained.items():
        torch.testing.assert_close(value.grad, expected[name], atol=1e-6, rtol=1e-4)
        assert value.grad.any()


# ------------------------------------------------------------------ gradients


def test_gradient_reaches_the_items_through_the_last_iteration_only():
    projected, lengths, logits, log_recency = problem(B=4, L=6, K=2, seed=1)
    probe = torch.as_tensor(np.random.default_rng(0).normal(size=(4, 2, 5)).astype(np.float32))
    items = torch.tensor(projected, requires_grad=True)
    log_weights = torch.tensor(log_recency, requires_grad=True)
    u, _ = torch_routing(items, lengths, logits, log_weights, 3)
    ((u * probe).sum()).backward()

    # the couplings after three iterations as constants, then one differentiable step
    coupling = looped_routing(projected, lengths, 2, logits, log_recency, 3)[1]
    coupling = torch.as_tensor(coupling.astype(np.float32)) / torch.as_tensor(log_recency).exp()
    by_hand = torch.tensor(projected, requires_grad=True)
    by_hand_log = torch.tensor(log_recency, requires_grad=True)
    z = (coupling * by_hand_log.exp()) @ by_hand
    norm = z.norm(dim=2, keepdim=True).clamp(min=1e-9)
    ((norm / (1 + norm**2) * z) * probe).sum().backward()
    torch.testing.assert_close(items.grad, by_hand.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(log_weights.grad, by_hand_log.grad, atol=1e-5, rtol=1e-4)
    assert items.grad[-1].abs().min() > 0
    assert log_weights.grad.abs().min() > 0

    # the gradient through all iterations is a different one
    through_all = torch.tensor(projected, requires_grad=True)
    for history, n, p in zip(through_all, lengths, probe, strict=True):
        if n:
            (unrolled(history[:n], logits, log_recency) * p).sum().backward(retain_graph=True)
    assert (through_all.grad - items.grad).abs().max() > 1e-3


def unrolled(history, logits, log_recency, n_iter=3):
    """Return capsules (K, D) of one history, with the gradient through every iteration."""
    n = len(history)
    K = max(1, min(len(logits), int(math.log2(n))))
    b, u = torch.as_tensor(logits)[:K, :n], None
    for _ in range(n_iter):
        w = b.softmax(0) * torch.as_tensor(log_recency)[:K, :n].exp()
        u = squash(w @ history)
        b = b + u @ history.T
    return torch.cat([u, torch.zeros(len(logits) - K, history.shape[1])])


def test_an_empty_history_has_a_finite_zero_gradient():
    projected, lengths, logits, log_recency = problem(B=2, L=4, K=3, lengths=[0, 4])
    items = torch.tensor(projected, requires_grad=True)
    log_weights = torch.tensor(log_recency, requires_grad=True)
    u, _ = torch_routing(items, lengths, logits, log_weights, 3)
    u.sum().backward()
    assert not items.grad[0].any()
    assert torch.isfinite(items.grad).all()
    assert torch.isfinite(log_weights.grad).all()
    assert items.grad[1].any()


# ------------------------------------------------------------------ squash


def test_squash_equals_the_formula():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 6)) * 10.0 ** rng.uniform(-2, 2, size=(50, 1))
    got = squash(torch.tensor(z)).numpy()
    np.testing.assert_allclose(got, [looped_squash(row) for row in z], rtol=1e-3)
    large = (z**2).sum(1) > 1e4 * SQUASH_EPSILON
    np.testing.assert_allclose(got[large], [looped_squash(row) for row in z[large]], rtol=1e-4)
    lengths = np.linalg.norm(got, axis=1)
    assert lengths.max() < 1
    assert (np.argsort(lengths) == np.argsort(np.linalg.norm(z, axis=1))).all()


def test_squash_of_zero_is_zero_with_a_finite_gradient():
    z = torch.zeros(2, 3, requires_grad=True)
    u = squash(z)
    u.sum().backward()
    assert torch.equal(u, torch.zeros(2, 3))
    assert torch.equal(z.grad, torch.zeros(2, 3))


def test_squash_gradient():
    z = torch.randn(
        4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    assert torch.autograd.gradcheck(squash, z)


# ------------------------------------------------------------------ number of interests


@pytest.mark.parametrize(
    ("length", "K4", "K2", "K1"),
    [
        (0, 1, 1, 1),
        (1, 1, 1, 1),
        (2, 1, 1, 1),
        (3, 1, 1, 1),
        (4, 2, 2, 1),
        (7, 2, 2, 1),
        (8, 3, 2, 1),
        (15, 3, 2, 1),
        (16, 4, 2, 1),
        (1000, 4, 2, 1),
    ],
)
def test_interest_mask_table(length, K4, K2, K1):
    for K, n_used in [(4, K4), (2, K2), (1, K1)]:
        mask = interest_mask(torch.tensor([length]), K, adaptive=True)
        assert mask.dtype == torch.bool
        assert mask.tolist() == [[True] * n_used + [False] * (K - n_used)]
        assert interest_mask(torch.tensor([length]), K, adaptive=False).tolist() == [[True] * K]


@pytest.mark.parametrize("adaptive", [True, False])
def test_interest_mask_of_lengths_of_any_shape(adaptive):
    lengths = torch.arange(-2, 22).view(2, 3, 4)  # padded queries have a negative length
    mask = interest_mask(lengths, 4, adaptive)
    assert mask.shape == (2, 3, 4, 4)
    assert torch.equal(mask.flatten(0, 2), interest_mask(lengths.flatten(), 4, adaptive))
    assert torch.equal(mask[0, 0, :3], interest_mask(torch.zeros(3), 4, adaptive))


def test_more_interests_than_any_history_uses():
    mask = interest_mask(torch.tensor([0, 5, 10**6]), 70, adaptive=True)
    assert mask.sum(1).tolist() == [1, 2, 19]


def test_interest_mask_is_exact_around_every_power_of_two():
    lengths = np.arange(1, 2**13 + 2)
    mask = interest_mask(torch.as_tensor(lengths), 16, adaptive=True)
    # bit_length - 1 is the integer part of log2 without any rounding
    expected = [max(1, min(16, int(n).bit_length() - 1)) for n in lengths]
    assert mask.sum(1).tolist() == expected
    assert (mask.int().diff(dim=1) <= 0).all()  # used interests come first


# ------------------------------------------------------------------ initial logits


@pytest.mark.parametrize("K", [1, 2, 4, 9])
def test_each_interest_starts_with_its_ages(K):
    L = 40
    logits = initial_logits(K, L, torch.Generator().manual_seed(0))
    noise = torch.randn(K, L, generator=torch.Generator().manual_seed(0)) * LOGIT_NOISE
    for k in range(K):
        last = L if k == K - 1 else min(2 ** (k + 1) - 1, L)
        expected = np.zeros(L)
        expected[2**k - 1 : last] = AGE_LOGIT
        np.testing.assert_allclose((logits - noise)[k].numpy(), expected, atol=1e-6)


def test_interests_in_use_start_with_items_of_every_history():
    K = 4
    logits = initial_logits(K, 40, torch.Generator().manual_seed(1))
    for n in range(1, 41):
        n_used = int(interest_mask(torch.tensor(n), K, True).sum())
        owners = logits[:, :n].argmax(0)
        assert set(range(n_used)) <= set(owners.tolist())


def test_interests_that_start_without_ages_differ():
    logits = initial_logits(12, 8, torch.Generator().manual_seed(2))
    assert len(torch.unique(logits, dim=0)) == 12
