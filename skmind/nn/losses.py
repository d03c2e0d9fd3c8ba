"""Interests, targets and shared negatives → softmax loss.

Shapes: P places, B targets, K interests, D embedding dimension, N negatives.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .device import to_device

MASKED = -1e9  # finite, so that it has a gradient (of zero)
LN2 = math.log(2)


class _Mixture(torch.autograd.Function):
    """The loss of `sampled_softmax`, once the negatives are dealt.

    Written out because autograd would keep and pass over several arrays of the size of the logits,
    which is most of a training step, and make many small ones; here there is one, and its gradient
    is two matrix products. Its powers are those of 2, which take half the time of those of e.
    """

    @staticmethod
    def forward(
        ctx: Any,
        interests: Tensor,
        items: Tensor,
        rows: Tensor,
        codes: Tensor,
        unused: Tensor,
        log_weights: Tensor,
        offsets: Tensor,
        hits: Tensor,
        temperature: float,
    ) -> Tensor:
        """Mean loss of B targets.

        Parameters
        ----------
        interests : Tensor of shape (P · K, D)
        items : Tensor of shape (n, D)
        rows : Tensor of shape (K · B,)
            The interest to which each target is dealt in each group.
        codes : Tensor of shape (B + N,)
            Items, the targets and then the negatives.
        unused : Tensor of shape (K, B), bool
            Interests that are not compared with the target.
        log_weights : Tensor of shape (K, B)
            What a group's negatives count for.
        offsets : Tensor of shape (K, N / K)
            Added to the logits of the negatives.
        hits : Tensor of shape (n_hits,)
            Places of negatives in the flat (K, B, N / K) that are left out.
        temperature : float
        """
        (K, B), D = log_weights.shape, items.shape[1]
        queries = interests.index_select(0, rows).view(K, B, D)
        candidates, keys = items.index_select(0, codes).split([B, len(codes) - B])
        keys = keys.view(K, -1, D)
        similarity = (queries * candidates).sum(2).div_(temperature).masked_fill_(unused, MASKED)
        logits = torch.baddbmm(
            offsets[:, None] / LN2, queries, keys.transpose(1, 2), alpha=1 / (temperature * LN2)
        )  # (K, B, N / K)
        logits = logits.to(queries.dtype)  # under autocast only the products are of low precision
        logits.view(-1).index_fill_(0, hits, MASKED)
        top = logits.amax(2, keepdim=True)
        mass = logits.sub_(top).exp2_()  # (K, B, N / K)
        total = mass.sum(2)  # (K, B)
        log_mass = (top.squeeze(2) + total.log2()).mul_(LN2).add_(log_weights)
        positive, negative = _logsumexp(similarity), _logsumexp(log_mass)  # (B,)
        excess = negative - positive
        ctx.save_for_backward(
            queries, candidates, keys, mass, rows, codes,
            excess.sigmoid() / (B * temperature),
            (similarity - positive).exp_(),
            (log_mass - negative).exp_().div_(total),
        )  # fmt: skip
        ctx.sizes = len(interests), len(items)
        ctx.low = torch.is_autocast_enabled(queries.device.type)
        return F.softplus(excess).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of interests and items."""
        queries, candidates, keys, mass, rows, codes, slope, share, weight = ctx.saved_tensors
        D, slope = queries.shape[2], slope * gradients[0]
        to_target, to_mass = (share * -slope)[..., None], (weight * slope)[..., None]  # (K, B, 1)
        with torch.autocast(queries.device.type, torch.bfloat16, enabled=ctx.low):
            of_queries = mass @ keys
            of_keys = mass.transpose(1, 2) @ (to_mass * queries)
        of_queries = (to_mass * of_queries).addcmul_(to_target, candidates)
        of_items = torch.cat([(to_target * queries).sum(0), of_keys.to(keys.dtype).view(-1, D)])
        n_interests, n_items = ctx.sizes
        return (
            keys.new_zeros(n_interests, D).index_add_(0, rows, of_queries.view(-1, D)),
            keys.new_zeros(n_items, D).index_add_(0, codes, of_items),
            *[None] * 7,
        )


def sampled_softmax(
    interests: Tensor,
    mask: Tensor,
    places: np.ndarray,
    items: Tensor,
    targets: np.ndarray,
    negatives: np.ndarray,
    log_expected: np.ndarray,
    temperature: float,
) -> Tensor:
    """Mean cross-entropy of the target against the negatives, under a mixture of the interests.

    ``p(item) ∝ Σ_k exp(u_k · v / temperature)``: every interest competes with every other for
    every item, as in retrieval, where an item's score is its best one. MIND trains only the
    interest nearest the target, against its own negatives (that is, with K = 1 here); then nothing
    keeps the other interests from finding wrong items.

    The sum over interests × negatives is estimated at the cost of one interest: each negative is
    compared with one of them and counted for all. With the log-Q correction it estimates the sum
    over all other items without bias, whatever the negatives were drawn from; the target was not
    drawn, so it is not corrected. With K = 1 and every item this is the full softmax.

    Parameters
    ----------
    interests : Tensor of shape (P, K, D), unit length
    mask : Tensor of shape (P, K), bool
        Interests in use, the first ones of each row and at least one.
    places : ndarray of shape (B,), int64
        Row of ``interests`` of each target.
    items : Tensor of shape (n, D), unit length
    targets : ndarray of shape (B,), int64
        Rows of ``items``.
    negatives : ndarray of shape (N,), int64
        Rows of ``items`` in random order, shared by the batch; N is a multiple of K. Those that
        are a row's own target are left out.
    log_expected : ndarray of shape (N,), float32
        Logarithm of how often each negative was expected among the N.
    temperature : float
        Positive; similarities are divided by it.

    Returns
    -------
    Tensor, a scalar
    """
    K, D = interests.shape[1:]
    device = items.device
    at = to_device(places, device)
    n_used = mask.sum(1).index_select(0, at)  # (B,)
    group, unused, log_weights = (part.index_select(1, n_used - 1) for part in _dealing(K, device))
    return _Mixture.apply(
        interests.reshape(-1, D),
        items,
        (at * K + group).view(-1),
        to_device(np.concatenate([targets, negatives]), device),
        unused,
        log_weights,
        -to_device(log_expected, device).view(K, -1),
        to_device(_hits(targets, negatives, K), device),
        temperature,
    )


@cache
def _dealing(K: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """How the negatives are dealt into K groups, if 1 to K interests are in use.

    Group g goes to interest g modulo the number in use; one that gets c of the K groups stands for
    all negatives with the weight K / c.

    Returns
    -------
    interests : Tensor of shape (K, K), int64
        The interest of each group (row) with so many in use (column).
    unused : Tensor of shape (K, K), bool
        Groups whose interest has another one before: each is compared with the target once.
    log_weights : Tensor of shape (K, K)
    """
    ranks = np.arange(K)[:, None]
    n_used = np.arange(1, K + 1)
    interests = ranks % n_used
    n_groups = (K - interests + n_used - 1) // n_used
    log_weights = np.log(K / n_groups).astype(np.float32)
    return (
        to_device(interests, device),
        to_device(ranks >= n_used, device),
        to_device(log_weights, device),
    )


def _logsumexp(x: Tensor) -> Tensor:
    """Over the first axis."""
    return x.logsumexp(0) if len(x) > 1 else x[0]


def _hits(targets: np.ndarray, negatives: np.ndarray, n_groups: int) -> np.ndarray:
    """Places of the negatives that are their row's own target, in the flat (K, B, N / K)."""
    order = negatives.argsort(kind="stable")
    ordered = negatives[order]
    first = ordered.searchsorted(targets)
    hit = np.flatnonzero(ordered.take(first, mode="clip") == targets)
    first = first[hit]
    n_found = ordered.searchsorted(targets[hit], side="right") - first
    turn = np.arange(n_found.sum()) - np.repeat(n_found.cumsum() - n_found, n_found)
    group, place = np.divmod(order[np.repeat(first, n_found) + turn], len(negatives) // n_groups)
    return (group * len(targets) + np.repeat(hit, n_found)) * (len(negatives) // n_groups) + place
