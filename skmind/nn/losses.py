"""Interests, targets and shared negatives → softmax loss.

Shapes: B batch, K interests, D embedding dimension, N negatives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

MASKED = -1e9  # finite, so that it has a gradient (of zero)
SMALLEST = 1e-38  # instead of the mass 0 of a row whose negatives are all left out


class _LogMass(torch.autograd.Function):
    """Log of the weighted sum of exp(query · key) over all keys, by row.

    Written out because autograd would keep and pass over several arrays of the size of the logits,
    which is most of a training step; here there is one, and its gradient is two matrix products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        query_weights: Tensor,
        key_weights: Tensor,
        hits: tuple[Tensor, Tensor, Tensor],
    ) -> Tensor:
        """Queries (K, B, D), keys (K, M, D), weights (K, B) and (K, M) → log mass (B,).

        ``hits`` are the places of (K, B, M) that are left out.
        """
        logits = queries @ keys.transpose(1, 2)  # (K, B, M)
        top = logits.amax(2).amax(0)  # (B,)
        mass = logits.sub_(top[:, None]).exp_()
        mass[hits] = 0
        total = (mass @ key_weights[..., None]).squeeze(2) * query_weights  # (K, B)
        total = total.sum(0)  # (B,)
        ctx.save_for_backward(queries, keys, query_weights, key_weights, mass, total)
        return top + total.log()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of queries and keys."""
        queries, keys, query_weights, key_weights, mass, total = ctx.saved_tensors
        share = gradients[0] / total.clamp(min=SMALLEST)  # (B,)
        share = (query_weights * share)[..., None]  # (K, B, 1)
        by_key = key_weights[..., None]  # (K, M, 1)
        of_queries = share * (mass @ (by_key * keys))
        of_keys = by_key * (mass.transpose(1, 2) @ (share * queries))
        return of_queries, of_keys, None, None, None


def sampled_softmax(
    interests: Tensor,
    mask: Tensor,
    items: Tensor,
    targets: Tensor,
    negatives: Tensor,
    log_expected: Tensor,
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
    interests : Tensor of shape (B, K, D), unit length
    mask : Tensor of shape (B, K), bool
        Interests in use, the first ones of each row and at least one.
    items : Tensor of shape (n, D), unit length
    targets : Tensor of shape (B,), int64
        Rows of ``items``.
    negatives : Tensor of shape (N,), int64
        Rows of ``items`` in random order, shared by the batch; N is a multiple of K. Those that
        are a row's own target are left out.
    log_expected : Tensor of shape (N,)
        Logarithm of how often each negative was expected among the N.
    temperature : float
        Positive; similarities are divided by it.

    Returns
    -------
    Tensor, a scalar
    """
    B, K, D = interests.shape
    scaled = interests / temperature
    similarity = (scaled @ F.embedding(targets, items)[:, :, None]).squeeze(2)  # (B, K)
    positive = similarity.masked_fill(~mask, MASKED).logsumexp(1)  # (B,)

    # The negatives are dealt into K groups. Group g goes to interest g modulo the number in use;
    # one that gets c of the K groups stands for all negatives with the weight K / c.
    n_used = mask.sum(1, keepdim=True)  # (B, 1)
    group = torch.arange(K, device=mask.device) % n_used  # (B, K)
    n_groups = (K - group + n_used - 1) // n_used  # (B, K)
    queries = scaled.gather(1, group[:, :, None].expand(B, K, D))  # (B, K, D)

    keys = F.embedding(negatives, items).reshape(K, -1, D)  # (K, N / K, D)
    log_total = _LogMass.apply(
        queries.transpose(0, 1),  # (K, B, D)
        keys,
        (K / n_groups).T.to(keys.dtype),
        (-log_expected).exp().to(keys.dtype).reshape(K, -1),
        _hits(targets, negatives, K),
    )
    return F.softplus(log_total - positive).mean()


def _hits(targets: Tensor, negatives: Tensor, n_groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Group, row and place in the group of the negatives that are their row's own target."""
    ordered, order = negatives.sort()
    first = torch.searchsorted(ordered, targets)
    n_found = torch.searchsorted(ordered, targets, right=True) - first  # (B,)
    rows = torch.arange(len(targets), device=targets.device).repeat_interleave(n_found)
    turn = torch.arange(len(rows), device=targets.device)
    turn = turn - (n_found.cumsum(0) - n_found)[rows]
    found = order[first[rows] + turn]
    size = len(negatives) // n_groups
    return found // size, rows, found % size
