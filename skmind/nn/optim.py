"""Sparse gradients → updated rows of a large table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import Parameter

LARGE_TABLE_ROWS = 20_000  # above, gradients are sparse; see benchmarks/speed/catalogue.py
SECOND_MOMENT_DECAY = 0.999  # per step, as in Adam
ADAM_EPSILON = 1e-8


def is_large(table: Tensor) -> bool:
    """Return whether the table gets a sparse gradient.

    With a sparse gradient, the cost of a step does not depend on the size of the table.

    Parameters
    ----------
    table : Tensor of shape (n, ...)
    """
    return len(table) > LARGE_TABLE_ROWS


class RowAdam(torch.optim.Optimizer):
    """Sparse approximation of Adam; its cost scales with the rows touched.

    Adam (Kingma and Ba, ICLR 2015) moves every row of a table in every step. This optimiser moves
    the rows that have a gradient. Differences from Adam:

    - The second moment of a row decays with the number of steps since its last use. So a rare row
      takes larger steps, as in Adam. Decay by the number of uses is less accurate
      (docs/performance.md).
    - There is no first moment. With it, Adam keeps moving a row after its use; the sum of these
      moves is about the single move here.
    - The second moment is averaged over the row, so the state takes 8 bytes per row.

    Parameters
    ----------
    tables : iterable of Parameter of shape (n, D), or of parameter groups
        Parameters with sparse gradients.
    lr : float
        Learning rate, with the same meaning as in Adam.
    weight_decay : float, default=0
        L2 penalty on the rows that have a gradient.
    """

    def __init__(self, tables: Iterable[Any], lr: float, weight_decay: float = 0) -> None:
        super().__init__(tables, {"lr": lr, "weight_decay": weight_decay, "n_steps": 0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the rows that have a gradient."""
        for group in self.param_groups:
            group["n_steps"] += 1
            for table in group["params"]:
                if table.grad is not None:
                    self._move(table, group["n_steps"], group["lr"], group["weight_decay"])

    def _move(self, table: Parameter, n_steps: int, lr: float, weight_decay: float) -> None:
        state = self.state[table]
        if not state:
            state["square"] = table.new_zeros(len(table), 1)
            # Step of the last use. It is a float, because torch converts it to float when it loads
            # a state. Exact up to 2^24 steps.
            state["last"] = table.new_zeros(len(table), 1)
        gradient = table.grad.coalesce()  # type: ignore[union-attr]
        rows = gradient.indices()[0]  # (n,)
        values = gradient.values()  # (n, D)
        if weight_decay:
            values = values + weight_decay * table.index_select(0, rows)
        n_since = n_steps - state["last"].index_select(0, rows)  # (n, 1)
        square = state["square"].index_select(0, rows) * SECOND_MOMENT_DECAY**n_since
        square += (1 - SECOND_MOMENT_DECAY) * values.square().mean(1, keepdim=True)
        state["square"].index_copy_(0, rows, square)
        state["last"].index_fill_(0, rows, n_steps)
        rate = lr * (1 - SECOND_MOMENT_DECAY**n_steps) ** 0.5
        table.index_add_(0, rows, values / (square.sqrt() + ADAM_EPSILON), alpha=-rate)


def get_moments(
    net: nn.Module, optimizers: Iterable[torch.optim.Optimizer]
) -> dict[str, dict[str, Any]]:
    """Return the state of Adam and `RowAdam` for each parameter.

    Parameters
    ----------
    net : nn.Module
        Gives the names of the parameters.
    optimizers : iterable of Optimizer
        Optimisers of the parameters of ``net``.

    Returns
    -------
    dict of str to dict
        For each parameter that a step has updated, by name: arrays that share memory with the
        optimiser, and ``n_steps`` if the optimiser is `RowAdam`.
    """
    names = {parameter: name for name, parameter in net.named_parameters()}
    moments = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                state = {k: v.cpu().numpy() for k, v in optimizer.state.get(parameter, {}).items()}
                if state:
                    n_steps = {"n_steps": group["n_steps"]} if "n_steps" in group else {}
                    moments[names[parameter]] = state | n_steps
    return moments


def set_moments(
    net: nn.Module,
    optimizers: Iterable[torch.optim.Optimizer],
    moments: dict[str, dict[str, Any]],
) -> None:
    """Restore the state of the optimisers from a copy of the result of `get_moments`.

    Parameters without an entry keep a new state, and so do tables that have become large.

    Parameters
    ----------
    net : nn.Module
    optimizers : iterable of Optimizer
        Optimisers of the parameters of ``net``; changed in place.
    moments : dict of str to dict
        Result of `get_moments`; the arrays may be flattened.

    Raises
    ------
    LookupError, RuntimeError, TypeError, ValueError
        If an entry lacks an array, or an array has another size.
    """
    names = {parameter: name for name, parameter in net.named_parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                state = moments.get(names[parameter], {})
                by_row = "n_steps" in group
                if not state or by_row != ("n_steps" in state):
                    continue
                if by_row:
                    group["n_steps"] = np.asarray(state["n_steps"]).item()
                optimizer.state[parameter] = {
                    key: torch.tensor(
                        state[key], dtype=torch.float32, device=parameter.device
                    ).reshape(shape)
                    for key, shape in _state_shapes(parameter, by_row).items()
                }


def _state_shapes(parameter: Parameter, by_row: bool) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the state of a parameter, in `RowAdam` if ``by_row``, else in Adam."""
    if by_row:
        return {"square": (len(parameter), 1), "last": (len(parameter), 1)}
    return {"step": (), "exp_avg": (*parameter.shape,), "exp_avg_sq": (*parameter.shape,)}


def grow_moments(
    moments: dict[str, dict[str, Any]], old_rows: dict[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Return the moments of tables that have new rows; the moments of new rows are zero.

    Parameters
    ----------
    moments : dict of str to dict
        As `get_moments` returns.
    old_rows : dict of str to ndarray of int
        One array per table, by name: for each row, its number in the old table, or -1 if it is
        new.
    """

    def grow(name: str, value: Any) -> Any:
        if name not in old_rows or np.ndim(value) == 0:
            return value
        rows = old_rows[name]
        is_old = rows >= 0
        grown = np.zeros((len(rows), value.shape[1]), value.dtype)
        grown[is_old] = value[rows[is_old]]
        return grown

    return {
        name: {key: grow(name, value) for key, value in state.items()}
        for name, state in moments.items()
    }
