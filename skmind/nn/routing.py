"""Projected history (B, L, D) → interest capsules (B, Q, K, D): dynamic routing.

Shapes: B batch, L history length, Q queries, K interests, D embedding dimension. A query is a
moment in the history: it sees the items up to that moment.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .fused import scale_by_length

SQUASH_EPSILON = 1e-7  # ONNX removes smaller values; then empty histories give nan
AGE_LOGIT = 2.0  # of an interest for the items of its ages, before routing
LOGIT_NOISE = 0.3  # standard deviation; interests that start with the same ages must differ
MIN_SQUARED_LENGTH = 1e-12  # shorter vectors are not scaled to length 1


def squash(z: Tensor) -> Tensor:
    """Shorten vectors to a length below 1, keeping their direction (MIND, eq. 6).

    ``squash(z) = |z|² / (1 + |z|²) · z / |z|`` over the last axis.
    """
    return scale_by_length(z, _squash_factor, _squash_slope)


def _squash_factor(square: Tensor) -> Tensor:
    return square / ((1 + square) * (square + SQUASH_EPSILON).sqrt())


def _squash_slope(square: Tensor, factor: Tensor) -> Tensor:
    shifted = square + SQUASH_EPSILON
    return (1 / (1 + square) - square / (2 * shifted)) / ((1 + square) * shifted.sqrt())


def _squash_in_place(z: Tensor) -> Tensor:
    """Apply `squash` in place, for tensors that need no gradient.

    The factor is simplified to ``|z| / (1 + |z|²)``. It needs no epsilon, as it doesn't divide by
    ``|z|``, so the result may differ from that of `squash` in the last digits.
    """
    length = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    return z.mul_(length / (1 + length.square()))


def unit(x: Tensor) -> Tensor:
    """Scale vectors to unit length over the last axis; zeros stay zero."""
    return scale_by_length(x, _unit_factor, _unit_slope)


def _unit_factor(square: Tensor) -> Tensor:
    return square.clamp(min=MIN_SQUARED_LENGTH).rsqrt()


def _unit_slope(square: Tensor, factor: Tensor) -> Tensor:
    return (factor**3 / -2).masked_fill_(square < MIN_SQUARED_LENGTH, 0)


def interest_mask(lengths: Tensor, n_interests: int, adaptive: bool) -> Tensor:
    """Return which interests are in use for histories of ``lengths`` items.

    ``K' = max(1, min(K, ⌊log2 n⌋))`` interests for n items (MIND, eq. 9).

    Parameters
    ----------
    lengths : Tensor of any shape, int64
        Number of items; values below 0 count as 0.
    n_interests : int
        K.
    adaptive : bool
        If False, all K interests are in use for every length.

    Returns
    -------
    Tensor of shape (*lengths.shape, K), bool
    """
    if not adaptive:
        return torch.ones(*lengths.shape, n_interests, dtype=torch.bool, device=lengths.device)
    ranks = torch.arange(n_interests, device=lengths.device)
    # no logarithm: onnxruntime computes log2(32768) as 14.99…
    return (ranks == 0) | (lengths[..., None] >= 2 ** (ranks + 1).clamp(max=62))


def initial_logits(n_interests: int, max_history: int, generator: torch.Generator) -> Tensor:
    """Return routing logits per interest and age of the item, shape (K, L), the same for all users.

    Interest k starts with the items of the ages ``2^k - 1`` to ``2^(k + 1) - 2``: the newest item,
    the two before it, the four before these and so on, the last interest with all older items. So
    the interests in use (see `interest_mask`) share every history. With random logits, as in the
    paper, it is left to chance which items start together, and the next item is found less often.

    Parameters
    ----------
    n_interests, max_history : int
        K and L.
    generator : torch.Generator
    """
    octave = torch.log2(torch.arange(max_history, dtype=torch.float32) + 1).floor()  # (L,)
    owner = octave.clamp(max=n_interests - 1)
    is_owner = torch.arange(n_interests)[:, None] == owner  # (K, L)
    noise = torch.randn(n_interests, max_history, dtype=torch.float32, generator=generator)
    return AGE_LOGIT * is_owner.float() + LOGIT_NOISE * noise


def route(
    projected: Tensor,
    visible: Tensor,
    mask: Tensor,
    logits: Tensor,
    recency: Tensor,
    n_iter: int,
) -> tuple[Tensor, Tensor]:
    """Behaviour-to-interest dynamic routing (Li et al., CIKM 2019, algorithm 1).

    Departures from the paper, with reasons:

    - A learned recency weight per interest and age multiplies the weight of every item, because
      the order of a history helps to predict its continuation.
    - The softmax runs over the interests in use, so unused interests take no
      weight from the others.
    - The gradient flows through the last iteration only, which costs a third as much and is as
      accurate.

    Parameters
    ----------
    projected : Tensor of shape (B, L, D)
        ``S e`` of each history item.
    visible : Tensor of shape (B, Q, L), or (1, Q, L) for all histories, float
        1 for an item that the query sees, else 0.
    mask : Tensor of shape (B, Q, K), or (1, Q, K) for all histories, bool
        Interests in use.
    logits : Tensor of shape (Q, K, L)
        Initial routing logits, the same for every user.
    recency : Tensor of shape (Q, K, L)
        Positive weight per interest and item, by the item's age.
    n_iter : int
        Number of iterations, at least 1.

    Returns
    -------
    sums : Tensor of shape (B, Q, K, D)
        The capsules before `squash`, which keeps their direction; zero for interests not in use.
    weights : Tensor of shape (B, Q, K, L), or (1, Q, K, L) if the same for all histories
        Coupling times recency of each item; zero for items that the query does not see.
    """
    B, L, D = projected.shape
    Q, K, _ = logits.shape
    # softmax and products are fastest in place, with the interest axis before the query axis
    logits = logits.transpose(0, 1).contiguous()  # (K, Q, L)
    recency = recency.transpose(0, 1).contiguous()  # (K, Q, L)
    used = mask.transpose(1, 2)[..., None]  # (B or 1, K, Q, 1)
    b = torch.where(used, logits, -torch.inf)  # (B or 1, K, Q, L)
    scale = recency * visible[:, None]  # (B or 1, K, Q, L)
    constant = projected.detach()
    with torch.no_grad():
        for i in range(n_iter - 1):
            coupling = b.softmax(1)
            is_shared = len(coupling) < len(scale)  # one coupling for all histories
            weights = coupling * scale if is_shared else coupling.mul_(scale)
            sums = weights.flatten(1, 2) @ constant  # (B, K · Q, D)
            capsules = _squash_in_place(sums.to(b.dtype))
            # the first logits may be one row for all histories, which can't be changed in place
            add = torch.baddbmm if i == 0 else Tensor.baddbmm_
            b = add(b.flatten(1, 2), capsules, constant.transpose(1, 2)).view(B, K, Q, L)
        coupling = b.softmax(1)
    weights = coupling * scale
    sums = (weights.flatten(1, 2) @ projected).view(B, K, Q, D)
    return sums.to(b.dtype).transpose(1, 2), weights.transpose(1, 2)
