import math

import numpy as np
import pytest
import torch

from skmind.nn.encoder import SelfAttention


def block(D=6, L=9, seed=0, trained=True):
    """Return a block; if trained, every weight differs from its initial value."""
    generator = torch.Generator().manual_seed(seed)
    layer = SelfAttention(D, L, generator)
    if trained:
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * D**-0.5)
    return layer


def causal(L, lengths=None):
    """Return ages (L, L) and what queries do not see (B, L, L): newer items and padding."""
    columns = torch.arange(L)
    age = columns - columns[:, None]
    lengths = torch.tensor([L] if lengths is None else lengths)
    return age.clamp(min=0), (age < 0) | (columns >= lengths[:, None, None])


def inputs(B, L, D, seed=0):
    return torch.randn(B, L, D, generator=torch.Generator().manual_seed(seed))


def looped_norm(x, layer):
    weight, bias = (part.detach().numpy().astype(float) for part in (layer.weight, layer.bias))
    return (x - x.mean()) / math.sqrt(x.var() + 1e-5) * weight + bias


def looped(layer, x, unseen, age):
    """Return the rows (B, L, D) by plain loops in float64; nan for rows that see nothing."""
    weights = {name: p.detach().numpy().astype(float) for name, p in layer.named_parameters()}
    x, unseen, age = (part.numpy() for part in (x.double(), unseen, age))
    B, L, D = x.shape
    H = len(weights["age_bias"])
    maps = weights["queries_keys_values"].reshape(3, H, D // H, D)
    out = np.full(x.shape, np.nan)
    for row, q in np.ndindex(B, L):
        seen = [i for i in range(L) if not unseen[row, q, i]]
        if not seen:
            continue
        normed = {i: looped_norm(x[row, i], layer.norms[0]) for i in {*seen, q}}
        heads = []
        for h in range(H):
            query = maps[0, h] @ normed[q]
            logits = [
                float(query @ maps[1, h] @ normed[i]) / math.sqrt(D // H)
                + weights["age_bias"][h, age[q, i]]
                for i in seen
            ]
            total = sum(math.exp(value) for value in logits)
            heads.append(
                sum(
                    math.exp(value) / total * (maps[2, h] @ normed[i])
                    for i, value in zip(seen, logits, strict=True)
                )
            )
        y = x[row, q] + weights["merge"] @ np.concatenate(heads)
        inner = weights["inner"] @ looped_norm(y, layer.norms[1])
        gelu = [value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in inner]
        out[row, q] = y + weights["outer"] @ np.array(gelu)
    return out


# ------------------------------------------------------------------ one block


@pytest.mark.parametrize("D", [1, 5, 64, 66, 96])
def test_a_block_equals_plain_loops(D):
    for seed in range(3):
        layer = block(D, 7, seed)
        x = inputs(3, 6, D, seed)
        age, unseen = causal(6, [6, 4, 1])
        dropped = torch.tensor(np.random.default_rng(seed).random(unseen.shape) < 0.3)
        for hidden in (unseen, unseen | dropped):
            expected = looped(layer, x, hidden, age)
            rows = ~np.isnan(expected[..., 0])
            assert rows.sum() >= 5
            got = layer(x, hidden, age).detach().numpy()
            np.testing.assert_allclose(got[rows], expected[rows], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("D", "n_heads"),
    [(1, 1), (31, 1), (32, 1), (63, 1), (64, 2), (65, 1), (66, 2), (96, 3), (100, 2), (128, 4)],
)
def test_heads_have_32_dimensions_or_more_and_divide_them(D, n_heads):
    assert block(D).n_heads == n_heads
    assert block(D).age_bias.shape == (n_heads, 9)


def test_an_untrained_block_returns_its_input_and_can_learn():
    layer = block(trained=False)
    x = inputs(2, 5, 6)
    age, unseen = causal(5, [5, 3])
    got = layer(x, unseen, age)
    assert torch.equal(got, x)
    (got * inputs(2, 5, 6, seed=1)).sum().backward()
    moved = {name for name, parameter in layer.named_parameters() if parameter.grad.any()}
    assert moved == {"merge", "outer"}  # the others have a gradient once these have moved
    assert not layer.age_bias.any()


def test_what_is_not_seen_never_matters():
    layer = block()
    x = inputs(2, 6, 6)
    age, unseen = causal(6, [6, 4])
    unseen[0, 1, 3] = unseen[1, 0, 1] = True
    before = layer(x, unseen, age)
    matters = torch.zeros(2, 6, 6, dtype=torch.bool)
    for i in range(6):
        changed = x.clone()
        changed[:, i] = inputs(2, 1, 6, seed=9)[:, 0] * 100
        moved = (layer(changed, unseen, age) - before).abs().amax(2) > 1e-6  # (B, L)
        matters[:, :, i] = moved
    own = torch.eye(6, dtype=torch.bool)  # a query always knows its newest item
    expected = ~unseen | own
    real = torch.arange(6) < torch.tensor([6, 4])[:, None]
    assert torch.equal(matters[real], expected[real])


def test_a_row_depends_on_the_items_from_its_own_on_only():
    """Ages matter, not positions: a row stays the same without newer items and without padding."""
    layer = block()
    x = inputs(2, 8, 6)
    lengths = [8, 5]
    age, unseen = causal(8, lengths)
    whole = layer(x, unseen, age)
    for row, n in enumerate(lengths):
        for q in range(n):
            age, unseen = causal(n - q)
            alone = layer(x[row : row + 1, q:n], unseen, age)
            torch.testing.assert_close(alone[0], whole[row, q:n], atol=1e-5, rtol=1e-5)


def test_a_high_bias_of_an_age_directs_attention_to_items_of_that_age():
    layer = block()
    x = inputs(1, 6, 6)
    age, unseen = causal(6)
    with torch.no_grad():
        layer.age_bias[:, 2] = 100.0
    before = layer(x, unseen, age)
    for q in range(4):
        changed = x.clone()
        changed[0, [i for i in range(q + 1, 6) if i != q + 2]] *= -3
        torch.testing.assert_close(
            layer(changed, unseen, age)[0, q], before[0, q], atol=1e-5, rtol=0
        )
        changed[0, q + 2] *= -3
        assert (layer(changed, unseen, age)[0, q] - before[0, q]).abs().max() > 0.05


def test_dropout_applies_to_the_output_of_both_branches():
    layer = block()
    x = inputs(2, 6, 6)
    age, unseen = causal(6)
    assert torch.equal(layer(x, unseen, age, torch.zeros_like), x)
    branches = []
    doubled = layer(x, unseen, age, lambda branch: branches.append(branch) or branch * 2)
    torch.testing.assert_close(doubled, x + 2 * branches[0] + 2 * branches[1])
    assert (branches[0] != 0).all()
    assert (branches[1] != 0).all()


# ------------------------------------------------------------------ edges


def test_rows_that_see_nothing_are_finite_with_finite_gradients():
    layer = block()
    x = inputs(2, 4, 6).requires_grad_()
    age, unseen = causal(4, [0, 2])
    got = layer(x, unseen, age)
    assert torch.isfinite(got).all()
    got[1, :2].sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad[1, :2].any()
    assert not x.grad[0].any()
    assert not x.grad[1, 2:].any()
    for name, parameter in layer.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_gradient():
    layer = block(4, 5).double()
    age, unseen = causal(5, [5, 3])
    x = inputs(2, 5, 4).double().requires_grad_()
    sees = ~unseen.all(2)  # what the other rows return does not matter
    assert torch.autograd.gradcheck(lambda values: layer(values, unseen, age)[sees], x)


# ------------------------------------------------------------------ randomness


def test_the_generator_alone_decides_the_weights():
    state = torch.get_rng_state()
    first, again, other = (block(seed=s, trained=False).state_dict() for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert {n for n, value in first.items() if not torch.equal(value, other[n])} == {
        "queries_keys_values",
        "inner",
    }
    for name, value in first.items():
        assert torch.equal(value, again[name])


def test_initial_scales():
    layer = block(64, trained=False)
    assert layer.queries_keys_values.std().item() == pytest.approx(1 / 8, rel=0.03)
    assert layer.inner.std().item() == pytest.approx(1 / 8, rel=0.05)
    assert not layer.merge.any()
    assert not layer.outer.any()
