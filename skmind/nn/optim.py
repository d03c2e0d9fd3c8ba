"""Gradients of the rows that a step used → those rows of a large table, changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import Parameter

LARGE = 20_000  # rows above which a table has a sparse gradient: benchmarks/speed/catalogue.py
DECAY = 0.999  # of the second moment in a step, as in Adam
EPS = 1e-8


def is_large(table: Tensor) -> bool:
    """Whether the cost of a step must not grow with the rows of this table."""
    return len(table) > LARGE


class RowAdam(torch.optim.Optimizer):
    """What Adam comes to for a table of which each step uses a few rows, at their cost.

    Adam (Kingma and Ba, ICLR 2015) moves every row in every step. Of a row that is used once in
    many steps, what remains of that is done here when it is used:

    - The second moment decays with the steps that have gone by, not with the uses of the row: a
      rare row takes larger steps, as in Adam. Decay by use found less (docs/performance.md).
    - The first moment is left out. In Adam it goes on moving the row after its use, and altogether
      by as much as is done here at once.
    - The second moment is the mean over the row: the optimiser keeps 8 bytes a row, not an entry.

    Parameters
    ----------
    tables : iterable of Parameter of shape (n, D), or of groups of them
        Their gradients are sparse.
    lr : float
        As that of Adam.
    weight_decay : float, default=0
        L2 penalty, of the rows in use.
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
            # the step of the last use: a float, as loading a state makes one of it; exact to 2^24
            state["last"] = table.new_zeros(len(table), 1)
        gradient = table.grad.coalesce()  # type: ignore[union-attr]
        rows, values = gradient.indices()[0], gradient.values()
        if weight_decay:
            values = values + weight_decay * table.index_select(0, rows)
        n_gone = n_steps - state["last"].index_select(0, rows)  # (n, 1)
        square = state["square"].index_select(0, rows) * DECAY**n_gone
        square += (1 - DECAY) * values.square().mean(1, keepdim=True)
        state["square"].index_copy_(0, rows, square)
        state["last"].index_fill_(0, rows, n_steps)
        rate = lr * (1 - DECAY**n_steps) ** 0.5
        table.index_add_(0, rows, values / (square.sqrt() + EPS), alpha=-rate)


def get_moments(
    net: nn.Module, optimizers: Iterable[torch.optim.Optimizer]
) -> dict[str, dict[str, Any]]:
    """What Adam and `RowAdam` know of each parameter, by its name; arrays that share memory."""
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
    """Go on from a copy of what `get_moments` returned, or of the same as arrays in a row.

    Parameters that are not there start afresh, as do tables that have become `LARGE`.

    Raises
    ------
    LookupError, RuntimeError, TypeError, ValueError
        If a part of what is known of a parameter is missing, or of another size.
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
                shapes = _shapes(parameter, by_row).items()
                optimizer.state[parameter] = {
                    key: torch.tensor(
                        state[key], dtype=torch.float32, device=parameter.device
                    ).reshape(shape)
                    for key, shape in shapes
                }


def _shapes(parameter: Parameter, by_row: bool) -> dict[str, tuple[int, ...]]:
    """Shapes of what Adam, or `RowAdam`, knows of a parameter."""
    if by_row:
        return {"square": (len(parameter), 1), "last": (len(parameter), 1)}
    return {"step": (), "exp_avg": (*parameter.shape,), "exp_avg_sq": (*parameter.shape,)}


def grow_moments(
    moments: dict[str, dict[str, Any]], rows: dict[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """The same after tables have grown; new rows start at zero.

    Parameters
    ----------
    moments : dict
        Of `get_moments`.
    rows : dict of str to ndarray of int
        For each row of these tables the row that it had before, or -1.
    """

    def grown(name: str, value: Any) -> Any:
        if name not in rows or np.ndim(value) == 0:
            return value
        result = np.zeros((len(rows[name]), value.shape[1]), value.dtype)
        is_old = rows[name] >= 0
        result[is_old] = value[rows[name][is_old]]
        return result

    return {
        name: {key: grown(name, value) for key, value in state.items()}
        for name, state in moments.items()
    }
