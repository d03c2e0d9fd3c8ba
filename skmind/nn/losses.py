"""Interests, targets and shared negatives → softmax loss.

Shapes: B batch, K interests, D embedding dimension, N negatives.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MASKED = -1e9  # finite: a row whose negatives are all masked still has a gradient (of zero)


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
    log_weight = (K / n_groups).log()[:, :, None]  # (B, K, 1)
    queries = scaled.gather(1, group[:, :, None].expand(B, K, D))  # (B, K, D)

    # Weights and corrections ride along as two more dimensions: no extra pass over the logits.
    queries = torch.cat([queries, torch.ones_like(log_weight), log_weight], 2)  # (B, K, D + 2)
    extra = torch.stack([-log_expected, torch.ones_like(log_expected)], 1)
    keys = torch.cat([F.embedding(negatives, items), extra], 1)  # (N, D + 2)
    keys = keys.reshape(K, -1, D + 2).transpose(1, 2)  # (K, D + 2, N / K)
    logits = queries.transpose(0, 1) @ keys  # (K, B, N / K)
    hits = negatives.reshape(K, 1, -1) == targets[:, None]  # (K, B, N / K)
    total = logits.masked_fill_(hits, MASKED).logsumexp((0, 2))  # (B,)
    return F.softplus(total - positive).mean()
