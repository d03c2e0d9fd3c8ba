"""Interests, targets and shared negatives → softmax loss.

Shapes: P places, B targets, K interests, D embedding dimension, N negatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .device import to_device

MASKED = -1e9  # finite, so that it has a gradient (of zero)


class _LogMass(torch.autograd.Function):
    """Log of the sum of exp(query · key / temperature + offset) over the keys of each group.

    Written out because autograd would keep and pass over several arrays of the size of the logits,
    which is most of a training step; here there is one, and its gradient is two matrix products.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, offsets: Tensor, hits: Tensor, temperature: float
    ) -> Tensor:
        """Queries (K, B, D), keys (K, M, D), offsets (K, M) → log mass (K, B).

        ``hits`` are the places in the flat (K, B, M) that are left out.
        """
        logits = torch.baddbmm(
            offsets[:, None], queries, keys.transpose(1, 2), alpha=1 / temperature
        )  # (K, B, M)
        logits = logits.to(queries.dtype)  # under autocast only the products are of low precision
        logits.view(-1).index_fill_(0, hits, MASKED)
        top = logits.amax(2)  # (K, B)
        share = torch.softmax(logits, 2, out=logits)
        ctx.save_for_backward(queries, keys, share)
        ctx.temperature = temperature
        ctx.low = torch.is_autocast_enabled(queries.device.type)
        # the largest share is exp(its logit - log mass): cheaper than a second sum of exponentials
        return top - share.amax(2).log()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of queries and keys."""
        queries, keys, share = ctx.saved_tensors
        weight = (gradients[0] / ctx.temperature)[..., None]  # (K, B, 1)
        with torch.autocast(queries.device.type, torch.bfloat16, enabled=ctx.low):
            of_queries = weight * (share @ keys)
            of_keys = share.transpose(1, 2) @ (weight * queries)
        return of_queries, of_keys, None, None, None


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
    B, device = len(places), items.device
    at = to_device(places, device)
    codes = to_device(np.concatenate([targets, negatives]), device)
    candidates, keys = items.index_select(0, codes).split([B, len(negatives)])

    # The negatives are dealt into K groups. Group g goes to interest g modulo the number in use;
    # one that gets c of the K groups stands for all negatives with the weight K / c.
    n_used = mask.sum(1).index_select(0, at)  # (B,)
    ranks = torch.arange(K, device=device)[:, None]  # (K, 1)
    group = ranks % n_used  # (K, B)
    n_groups = (K - group + n_used - 1).div(n_used, rounding_mode="floor")  # (K, B)
    rows = (at * K + group).view(-1)
    queries = interests.view(-1, D).index_select(0, rows).view(K, B, D)

    # the first groups are the interests in use, each once
    similarity = (queries * candidates).sum(2) / temperature  # (K, B)
    positive = _logsumexp(similarity.masked_fill(ranks >= n_used, MASKED))  # (B,)
    log_mass = _LogMass.apply(
        queries,
        keys.view(K, -1, D),
        -to_device(log_expected, device).view(K, -1),
        to_device(_hits(targets, negatives, K), device),
        temperature,
    )  # (K, B)
    log_total = _logsumexp(log_mass + (K / n_groups).log())  # (B,)
    return F.softplus(log_total - positive).mean()


def _logsumexp(x: Tensor) -> Tensor:
    """Over the first axis."""
    return x.logsumexp(0) if len(x) > 1 else x[0]


def _hits(targets: np.ndarray, negatives: np.ndarray, n_groups: int) -> np.ndarray:
    """Places of the negatives that are their row's own target, in the flat (K, B, N / K)."""
    order = negatives.argsort(kind="stable")
    ordered = negatives[order]
    first = ordered.searchsorted(targets)
    n_found = ordered.searchsorted(targets, side="right") - first  # (B,)
    rows = np.repeat(np.arange(len(targets)), n_found)
    turn = np.arange(len(rows)) - (n_found.cumsum() - n_found)[rows]
    group, place = np.divmod(order[first[rows] + turn], len(negatives) // n_groups)
    return (group * len(targets) + rows) * (len(negatives) // n_groups) + place
