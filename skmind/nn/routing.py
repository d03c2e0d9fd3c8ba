"""Projected history (B, L, D) → interest capsules (B, Q, K, D): dynamic routing.

Shapes: B batch, L history length, Q queries, K interests, D embedding dimension. A query is a
moment in the history: it sees the items up to there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Factor = Callable[[Tensor], Tensor]  # of squared lengths
Slope = Callable[[Tensor, Tensor], Tensor]  # of squared lengths and their factors

EPS = 1e-7  # smaller ones are optimised away by ONNX, and empty histories become nan
SMALLEST = 1e-12  # squared length that is still scaled to 1


class _Scaled(torch.autograd.Function):
    """``x · f(|x|²)`` over the last axis.

    Written out because autograd would pass over arrays of the size of ``x`` twice as often.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Factor, slope: Slope) -> Tensor:
        """``factor`` is f and ``slope`` its derivative, of |x|² and f."""
        square = x.square().sum(-1, keepdim=True)
        scale = factor(square)
        ctx.slope = slope
        ctx.save_for_backward(x, square, scale)
        return x * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Of ``x`` alone."""
        x, square, scale = ctx.saved_tensors
        along = (gradients[0] * x).sum(-1, keepdim=True)
        along *= 2 * ctx.slope(square, scale)
        return (gradients[0] * scale).addcmul_(x, along), None, None


def _scaled(x: Tensor, factor: Factor, slope: Slope) -> Tensor:
    if x.requires_grad and torch.is_grad_enabled():
        return _Scaled.apply(x, factor, slope)
    return x * factor(x.square().sum(-1, keepdim=True))  # ONNX knows no other way


def _squash_factor(square: Tensor) -> Tensor:
    return square / ((1 + square) * (square + EPS).sqrt())


def _squash_slope(square: Tensor, scale: Tensor) -> Tensor:
    more = square + EPS
    return (1 / (1 + square) - square / (2 * more)) / ((1 + square) * more.sqrt())


def squash(z: Tensor) -> Tensor:
    """Shorten vectors to a length below 1, keeping their direction (MIND, eq. 6).

    ``squash(z) = |z|² / (1 + |z|²) · z / |z|`` over the last axis.
    """
    return _scaled(z, _squash_factor, _squash_slope)


def _squash_(z: Tensor) -> Tensor:
    """`squash` in place, without a gradient."""
    length = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    return z.mul_(length / (1 + length.square()))


def _unit_factor(square: Tensor) -> Tensor:
    return square.clamp(min=SMALLEST).rsqrt()


def _unit_slope(square: Tensor, scale: Tensor) -> Tensor:
    return (scale**3 / -2).masked_fill_(square < SMALLEST, 0)


def unit(x: Tensor) -> Tensor:
    """Vectors of unit length, over the last axis; zeros stay zero."""
    return _scaled(x, _unit_factor, _unit_slope)


def interest_mask(lengths: Tensor, n_interests: int, adaptive: bool) -> Tensor:
    """Which interests a history of ``lengths`` items has, bool of shape (*lengths.shape, K).

    ``K' = max(1, min(K, ⌊log2 n⌋))`` (MIND, eq. 9); without ``adaptive``, all K.
    """
    if not adaptive:
        return torch.ones(*lengths.shape, n_interests, dtype=torch.bool, device=lengths.device)
    ranks = torch.arange(n_interests, device=lengths.device)
    # no logarithm: that of 32,768 is 14.99… in onnxruntime
    return (ranks == 0) | (lengths[..., None] >= 2 ** (ranks + 1).clamp(max=62))


def _times(x: Tensor, factor: Tensor) -> Tensor:
    """In place, unless the result is of another shape."""
    return x * factor if len(x) < len(factor) else x.mul_(factor)


def route(
    projected: Tensor,
    present: Tensor,
    interests: Tensor,
    logits: Tensor,
    recency: Tensor,
    n_iter: int,
) -> tuple[Tensor, Tensor]:
    """Behaviour-to-interest dynamic routing (Li et al., CIKM 2019, algorithm 1).

    Departures, each with its reason: every behaviour is weighted by a learned recency weight per
    interest and age, since order matters to what comes next; the softmax runs over the interests
    that the history is long enough for, so masked ones take nothing away; the gradient flows
    through the last iteration only, which costs a third and loses nothing.

    Parameters
    ----------
    projected : Tensor of shape (B, L, D)
        ``S e`` of each history item.
    present : Tensor of shape (B, Q, L), or (1, Q, L) for all histories, float
        1 for an item that the query sees, else 0.
    interests : Tensor of shape (B, Q, K), or (1, Q, K) for all histories, bool
        Interests in use.
    logits : Tensor of shape (Q, K, L)
        Initial routing logits, the same for every user.
    recency : Tensor of shape (Q, K, L)
        Positive weight of an item by interest and age.
    n_iter : int
        Number of iterations, at least 1.

    Returns
    -------
    sums : Tensor of shape (B, Q, K, D)
        The capsules before `squash`, which keeps their direction; zero for interests not in use.
    weights : Tensor of shape (B, Q, K, L), or (1, Q, K, L) if the same for all histories
        Coupling times recency of each item; zero for items not seen.
    """
    B, L, D = projected.shape
    Q, K, _ = logits.shape
    # softmax and products by row are fastest with the interests before the queries, and in place
    logits, recency = (part.transpose(0, 1).contiguous() for part in (logits, recency))
    used = interests.transpose(1, 2)[..., None]
    b = torch.where(used, logits, -torch.inf)  # (B or 1, K, Q, L)
    scale = recency * present[:, None]  # (B or 1, K, Q, L)
    fixed = projected.detach()
    with torch.no_grad():
        for i in range(n_iter - 1):
            weights = _times(b.softmax(1), scale).flatten(1, 2)
            capsules = _squash_((weights @ fixed).to(b.dtype))  # (B, K · Q, D)
            add = torch.baddbmm if i == 0 else Tensor.baddbmm_
            b = add(b.flatten(1, 2), capsules, fixed.transpose(1, 2)).view(B, K, Q, L)
        coupling = b.softmax(1)
    weights = coupling * scale
    routed = (weights.flatten(1, 2) @ projected).view(B, K, Q, D)
    return routed.to(b.dtype).transpose(1, 2), weights.transpose(1, 2)
