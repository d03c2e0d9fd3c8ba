import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from skmind.nn import optim
from skmind.nn.optim import RowAdam, is_large

N, D = 12, 5


def table(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return nn.Parameter(torch.randn(N, D, generator=generator))


def gradients(n_steps, seed=0):
    """Yield some rows and their gradients for each step; rows come back, and two are never used."""
    rng = np.random.default_rng(seed)
    for _ in range(n_steps):
        rows = rng.choice(N - 2, size=rng.integers(1, 5), replace=False)
        yield rows, rng.normal(size=(len(rows), D)).astype(np.float32)


def move(optimizer, parameter, rows, values):
    index = torch.tensor(np.asarray(rows))[None]
    parameter.grad = torch.sparse_coo_tensor(
        index, torch.tensor(values), parameter.shape, check_invariants=True
    )
    optimizer.step()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_equals_plain_loops(weight_decay):
    parameter = table()
    expected = parameter.detach().numpy().astype(np.float64)
    square, last = np.zeros(N), np.zeros(N)
    one = RowAdam([parameter], 0.02, weight_decay)
    for step, (rows, values) in enumerate(gradients(60), 1):
        move(one, parameter, rows, values)
        for row, value in zip(rows, values.astype(np.float64), strict=True):
            gradient = value + weight_decay * expected[row]
            square[row] *= 0.999 ** (step - last[row])
            square[row] += 0.001 * np.mean(gradient**2)
            last[row] = step
            corrected = square[row] / (1 - 0.999**step)
            expected[row] -= 0.02 * gradient / math.sqrt(corrected)
    np.testing.assert_allclose(parameter.detach(), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(parameter[-2:], table()[-2:])
    assert not torch.isclose(parameter[:-2], table()[:-2]).all(1).any()


@pytest.mark.parametrize("gap", [1, 7, 50])
def test_moves_a_row_as_far_as_adam(gap):
    """A row is used at every ``gap``-th step; Adam moves it in the steps between, too."""
    dense, rows = table(), table()
    adam, one = torch.optim.Adam([dense], 0.01), RowAdam([rows], 0.01)
    gradient = torch.zeros(N, D)
    places = []
    for step in range(30 * gap):
        used = step % gap == 0
        gradient[3] = 0.3 if used else 0.0  # equal entries, so equal second moments
        dense.grad = gradient
        adam.step()
        move(one, rows, [3] if used else [4], np.full((1, D), 0.3, dtype=np.float32))
        if step == 15 * gap - 1:
            places = [dense[3, 0].item(), rows[3, 0].item()]
    wanted, moved = dense[3, 0].item() - places[0], rows[3, 0].item() - places[1]
    assert abs(wanted) >= 0.99 * 15 * 0.01  # about the learning rate per use, or more
    assert moved == pytest.approx(wanted, rel=0.02)


def test_gradients_of_a_row_used_twice_are_added():
    twice, once = table(), table()
    bags, weights = torch.tensor([3, 1, 3]), torch.tensor([1.0, 0.5, 2.0])
    F.embedding_bag(
        bags, twice, torch.tensor([0, 2]), mode="sum", sparse=True, per_sample_weights=weights
    ).square().sum().backward()
    dense = table()
    F.embedding_bag(
        bags, dense, torch.tensor([0, 2]), mode="sum", per_sample_weights=weights
    ).square().sum().backward()
    RowAdam([twice], 0.1).step()
    move(RowAdam([once], 0.1), once, [1, 3], dense.grad[[1, 3]].numpy())
    torch.testing.assert_close(twice, once)
    assert not torch.equal(twice[3], table()[3])


def test_a_table_without_a_gradient_does_not_move():
    used, unused = table(), table()
    one = RowAdam([used, unused], 0.1)
    move(one, used, [1], np.ones((1, D), dtype=np.float32))
    assert torch.equal(unused, table())
    assert unused not in one.state


def test_continues_bit_by_bit_from_a_saved_state(tmp_path):
    parameter = table()
    one = RowAdam([{"params": [parameter], "share": 1.0}], 0.02, 0.1)
    steps = list(gradients(40))
    for rows, values in steps[:25]:
        move(one, parameter, rows, values)
    torch.save(one.state_dict(), tmp_path / "state")
    resumed = copy.deepcopy(parameter)
    other = RowAdam([{"params": [resumed], "share": 1.0}], 0.5)
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    fresh = copy.deepcopy(parameter)
    forgetful = RowAdam([fresh], 0.02, 0.1)
    for rows, values in steps[25:]:
        move(one, parameter, rows, values)
        move(other, resumed, rows, values)
        move(forgetful, fresh, rows, values)
    assert torch.equal(resumed, parameter)
    assert not torch.equal(fresh, parameter)
    for name, values in one.state[parameter].items():
        assert torch.equal(values, other.state[resumed][name])
        assert values.shape == (N, 1)


def test_which_tables_are_large(monkeypatch):
    monkeypatch.setattr(optim, "LARGE_TABLE_ROWS", N)
    assert not is_large(table())
    monkeypatch.setattr(optim, "LARGE_TABLE_ROWS", N - 1)
    assert is_large(table())


def make_net(n_rows):
    """Return a table and a weight, with their optimisers."""
    net = torch.nn.ParameterDict({"table": torch.randn(n_rows, 3), "rest": torch.ones(2)})
    net = net.requires_grad_()
    large = is_large(net["table"])
    dense = [net["rest"]] if large else [net["rest"], net["table"]]
    rows = [RowAdam([net["table"]], 0.1)] if large else []
    return net, [torch.optim.Adam(dense, 0.1), *rows]


def use(net, optimizers, row):
    used = torch.nn.functional.embedding(
        torch.tensor([row]), net["table"], sparse=is_large(net["table"])
    )
    for optimizer in optimizers:
        optimizer.zero_grad()
    (used.square().sum() + net["rest"].square().sum()).backward()
    for optimizer in optimizers:
        optimizer.step()


@pytest.mark.parametrize("large", [3, 100])
def test_moments_continue_in_a_grown_table(monkeypatch, large):
    monkeypatch.setattr(optim, "LARGE_TABLE_ROWS", large)
    old, old_optimizers = make_net(4)
    for row in (0, 2, 2):
        use(old, old_optimizers, row)
    old_rows = np.array([0, 1, 2, 3, -1])
    kept = copy.deepcopy(optim.get_moments(old, old_optimizers))
    new, new_optimizers = make_net(5)
    with torch.no_grad():
        new["table"][:4] = old["table"]
        new["rest"].copy_(old["rest"])
    optim.set_moments(new, new_optimizers, optim.grow_moments(kept, {"table": old_rows}))
    for row in (2, 1):
        use(old, old_optimizers, row)
        use(new, new_optimizers, row)
    assert torch.equal(new["table"][:4], old["table"])
    assert torch.equal(new["rest"], old["rest"])
    mine = optim.get_moments(new, new_optimizers)
    for name, state in optim.get_moments(old, old_optimizers).items():
        for key, value in state.items():
            grown = mine[name][key]
            if name == "table" and np.ndim(value):
                assert not grown[4:].any()
                grown = grown[:4]
            np.testing.assert_array_equal(grown, value)


def test_a_table_that_has_become_large_starts_afresh(monkeypatch):
    monkeypatch.setattr(optim, "LARGE_TABLE_ROWS", 4)
    old, old_optimizers = make_net(4)
    use(old, old_optimizers, 0)
    new, new_optimizers = make_net(5)
    optim.set_moments(new, new_optimizers, optim.get_moments(old, old_optimizers))
    assert optim.get_moments(new, new_optimizers).keys() == {"rest"}
