"""Projected history (B, L, D) → interest capsules (B, K, D): dynamic routing.

Shapes: B batch, L history length, K interests, D embedding dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-7  # smaller ones are optimised away by ONNX, and empty histories become nan


def squash(z: Tensor) -> Tensor:
    """Shorten vectors to a length below 1, keeping their direction (MIND, eq. 6).

    ``squash(z) = |z|² / (1 + |z|²) · z / |z|`` over the last axis.
    """
    square = z.square().sum(-1, keepdim=True)
    return z * (square / ((1 + square) * (square + EPS).sqrt()))


def interest_mask(lengths: Tensor, n_interests: int, adaptive: bool) -> Tensor:
    """Which interests a history of ``lengths`` items has, bool of shape (B, K).

    ``K' = max(1, min(K, ⌊log2 n⌋))`` (MIND, eq. 9); without ``adaptive``, all K.
    """
    if not adaptive:
        return torch.ones(len(lengths), n_interests, dtype=torch.bool, device=lengths.device)
    count = lengths.clamp(min=1).to(torch.float32).log2().floor()
    ranks = torch.arange(n_interests, device=lengths.device)
    return ranks < count.clamp(min=1)[:, None]  # (B, K)


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
        ``S e`` of each history item, newest first.
    present : Tensor of shape (B, L), float
        1 for an item, 0 for padding.
    interests : Tensor of shape (B, K), bool
        Interests in use.
    logits : Tensor of shape (K, L)
        Initial routing logits, the same for every user.
    recency : Tensor of shape (K, L)
        Positive weight of an item by interest and age.
    n_iter : int
        Number of iterations, at least 1.

    Returns
    -------
    capsules : Tensor of shape (B, K, D)
        Zero for interests that are not in use.
    weights : Tensor of shape (B, K, L)
        Coupling times recency of each item; zero for padding.
    """
    off = torch.zeros_like(interests, dtype=logits.dtype).masked_fill(~interests, -torch.inf)
    b = logits + off[:, :, None]  # (B, K, L)
    scale = present[:, None, :] * recency  # (B, K, L)
    fixed = projected.detach()
    with torch.no_grad():
        for _ in range(n_iter - 1):
            weights = b.softmax(1) * scale
            capsules = squash(weights @ fixed)  # (B, K, D)
            b = b + capsules @ fixed.transpose(1, 2)  # (B, K, L)
    weights = b.softmax(1) * scale
    return squash(weights @ projected), weights
