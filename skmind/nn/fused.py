"""Tensors → scaled vectors and the mixture loss, with gradients written by hand for speed.

Shapes: P queries, B targets, K interests, D embedding dimension, n items, N negatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LengthFactor = Callable[[Tensor], Tensor]  # |x|² → f(|x|²)
LengthSlope = Callable[[Tensor, Tensor], Tensor]  # |x|² and f(|x|²) → f'(|x|²)

MASKED_LOGIT = -1e9  # finite, so that its gradient is zero instead of nan
LN2 = math.log(2)


class ScaleByLength(torch.autograd.Function):
    """``x · f(|x|²)`` over the last axis.

    Autograd would make twice as many passes over arrays of the size of ``x``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: LengthFactor, slope: LengthSlope) -> Tensor:
        """Return the scaled vectors.

        Parameters
        ----------
        x : Tensor of shape (..., D)
        factor : callable
            The function f of the squared lengths.
        slope : callable
            The derivative of f, as a function of the squared lengths and of the values of f.
        """
        square = x.square().sum(-1, keepdim=True)
        scale = factor(square)
        ctx.slope = slope
        ctx.save_for_backward(x, square, scale)
        return x * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient with respect to ``x``."""
        x, square, scale = ctx.saved_tensors
        along_x = (gradients[0] * x).sum(-1, keepdim=True)
        along_x *= 2 * ctx.slope(square, scale)
        return (gradients[0] * scale).addcmul_(x, along_x), None, None


def scale_by_length(x: Tensor, factor: LengthFactor, slope: LengthSlope) -> Tensor:
    """Return ``x · factor(|x|²)`` over the last axis; use `ScaleByLength` for gradients."""
    if x.requires_grad and torch.is_grad_enabled():
        return ScaleByLength.apply(x, factor, slope)
    return x * factor(x.square().sum(-1, keepdim=True))  # the ONNX exporter needs plain operations


class MixtureLoss(torch.autograd.Function):
    """The loss of `losses.sampled_softmax`, after each negative is assigned to an interest.

    The logits are most of the work of a training step. Autograd would keep several arrays of their
    size and pass over each; this function keeps one, and its gradient is two matrix products. It
    computes powers of 2, which take half the time of powers of e.
    """

    @staticmethod
    def forward(
        ctx: Any,
        interests: Tensor,
        items: Tensor,
        interest_rows: Tensor,
        item_rows: Tensor,
        is_repeated: Tensor,
        log_weights: Tensor,
        offsets: Tensor,
        accidental_hits: Tensor,
        temperature: float,
        weights: Tensor | None = None,
        repeats: Tensor | None = None,
    ) -> Tensor:
        """Return the mean loss of B targets.

        Parameters
        ----------
        interests : Tensor of shape (P · K, D)
        items : Tensor of shape (n, D)
        interest_rows : Tensor of shape (K · B,), int64
            Row of ``interests`` that each target uses in each group of negatives.
        item_rows : Tensor of shape (B + N,), int64
            Rows of ``items``: the targets, then the negatives.
        is_repeated : Tensor of shape (K, B), bool
            Groups with the same interest as an earlier group; they are not compared with the
            target.
        log_weights : Tensor of shape (K, B)
            Logarithm of the weight of the group's negatives.
        offsets : Tensor of shape (K, N / K)
            Added to the logits of the negatives.
        accidental_hits : Tensor of shape (n_hits,), int64
            Positions of the negatives that are left out, in the flattened (K, B, N / K) logits.
        temperature : float
        weights : Tensor of shape (B,) or None, default=None
            Factors of the losses of the targets before their mean.
        repeats : Tensor of shape (2, B) or None, default=None
            Logarithms of what the history itself adds to the target, and to all other items.
        """
        K, B = log_weights.shape
        D = items.shape[1]
        queries = interests.index_select(0, interest_rows).view(K, B, D)
        targets, negatives = items.index_select(0, item_rows).split([B, len(item_rows) - B])
        negatives = negatives.view(K, -1, D)  # (K, N / K, D)

        similarity = (queries * targets).sum(2).div_(temperature)  # (K, B)
        similarity.masked_fill_(is_repeated, MASKED_LOGIT)
        log_positive = _logsumexp(similarity)  # (B,)
        if repeats is not None:
            log_positive = torch.logaddexp(log_positive, repeats[0])

        # the logits have base 2: 2 to the power of a logit is the exponential of the similarity
        logits = torch.baddbmm(
            offsets[:, None] / LN2,
            queries,
            negatives.transpose(1, 2),
            alpha=1 / (temperature * LN2),
        )  # (K, B, N / K)
        logits = logits.to(queries.dtype)  # autocast lowers the precision of products only
        logits.view(-1).index_fill_(0, accidental_hits, MASKED_LOGIT)
        largest = logits.amax(2, keepdim=True)  # (K, B, 1)
        powers = logits.sub_(largest).exp2_()
        total = powers.sum(2)  # (K, B)
        log_sums = (largest.squeeze(2) + total.log2()).mul_(LN2).add_(log_weights)
        log_negative = _logsumexp(log_sums)  # (B,)
        if repeats is not None:
            log_negative = torch.logaddexp(log_negative, repeats[1])

        excess = log_negative - log_positive
        # The gradient of a similarity is the slope times its share of the sum over the interests or
        # negatives. The share of a negative is its power times the power share of its group.
        slope = excess.sigmoid() / (B * temperature)  # (B,)
        losses = F.softplus(excess)
        if weights is not None:
            slope *= weights
            losses *= weights
        target_shares = (similarity - log_positive).exp_()  # (K, B)
        power_shares = (log_sums - log_negative).exp_().div_(total)  # (K, B)
        repeat_slopes = None
        if repeats is not None:
            shares = (repeats - torch.stack([log_positive, log_negative])).exp_()  # (2, B)
            shares[0].neg_()
            repeat_slopes = shares.mul_(slope * temperature)
        ctx.save_for_backward(
            queries,
            targets,
            negatives,
            powers,
            interest_rows,
            item_rows,
            slope,
            target_shares,
            power_shares,
            repeat_slopes,
        )
        ctx.n_interests = len(interests)
        ctx.n_items = len(items)
        ctx.is_autocast = torch.is_autocast_enabled(queries.device.type)
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients with respect to interests, items and repeats."""
        (
            queries,
            targets,
            negatives,
            powers,
            interest_rows,
            item_rows,
            slope,
            target_shares,
            power_shares,
            repeat_slopes,
        ) = ctx.saved_tensors
        D = queries.shape[2]
        slope = slope * gradients[0]
        to_targets = (target_shares * -slope)[..., None]  # (K, B, 1)
        to_powers = (power_shares * slope)[..., None]  # (K, B, 1)
        with torch.autocast(queries.device.type, torch.bfloat16, enabled=ctx.is_autocast):
            of_queries = powers @ negatives  # (K, B, D)
            of_negatives = powers.transpose(1, 2) @ (to_powers * queries)  # (K, N / K, D)
        of_queries = (to_powers * of_queries).addcmul_(to_targets, targets)
        of_targets = (to_targets * queries).sum(0)  # (B, D)
        of_negatives = of_negatives.to(negatives.dtype).view(-1, D)  # (N, D)
        of_gathered = torch.cat([of_targets, of_negatives])  # (B + N, D)
        of_interests = negatives.new_zeros(ctx.n_interests, D)
        of_interests.index_add_(0, interest_rows, of_queries.view(-1, D))
        of_items = negatives.new_zeros(ctx.n_items, D)
        of_items.index_add_(0, item_rows, of_gathered)
        of_repeats = None if repeat_slopes is None else repeat_slopes * gradients[0]
        return of_interests, of_items, *[None] * 8, of_repeats


def _logsumexp(x: Tensor) -> Tensor:
    """Return the log-sum-exp over the first axis."""
    return x.logsumexp(0) if len(x) > 1 else x[0]
