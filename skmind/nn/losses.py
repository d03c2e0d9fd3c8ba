"""Interests, targets and shared negatives → softmax loss.

Shapes: P queries, B targets, K interests, D embedding dimension, n items, N negatives.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .device import to_device
from .fused import MASKED_LOGIT, MixtureLoss

NO_MASS = 1e-30  # of the largest weight of an event; less is a rounding error or nothing


class GroupAssignment(NamedTuple):
    """Assignment of each of K groups of negatives to the interest it is compared with.

    Column ``c`` of each tensor is for users with ``c + 1`` interests in use.

    Attributes
    ----------
    interests : Tensor of shape (K, K), int64
        The interest of each group (row).
    is_repeated : Tensor of shape (K, K), bool
        Whether an earlier group has the same interest. An interest is compared with the target
        once, in the first group that has it.
    log_weights : Tensor of shape (K, K), float32
        Logarithm of the weight of the group's negatives.
    """

    interests: Tensor
    is_repeated: Tensor
    log_weights: Tensor


def assign_groups(n_interests: int, device: torch.device) -> GroupAssignment:
    """Assign K = ``n_interests`` groups of negatives to the interests in use.

    Group g goes to interest g modulo the number in use. The negatives of an interest stand for all
    N negatives, so an interest with c of the K groups gives each of its negatives the weight K / c.
    """
    K = n_interests
    ranks = np.arange(K)[:, None]
    n_used = np.arange(1, K + 1)
    interests = ranks % n_used  # (K, K)
    n_groups = (K - interests + n_used - 1) // n_used  # number of groups with the same interest
    log_weights = np.log(K / n_groups).astype(np.float32)
    return GroupAssignment(
        to_device(interests, device),
        to_device(ranks >= n_used, device),
        to_device(log_weights, device),
    )


def sampled_softmax(
    interests: Tensor,
    mask: Tensor,
    query_rows: np.ndarray,
    items: Tensor,
    targets: np.ndarray,
    negatives: np.ndarray,
    log_expected: np.ndarray,
    groups: GroupAssignment,
    temperature: float,
    weights: np.ndarray | None = None,
    repeats: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of the target against the negatives, under a mixture of the interests.

    ``p(item) ∝ Σ_k exp(u_k · v / temperature)``: the interests of a user compete with each other
    for every item, as in retrieval, where the score of an item is the highest over the interests.
    MIND trains only the interest nearest to the target, against the negatives of that interest
    (K = 1 here). Then nothing prevents the other interests from retrieving wrong items.

    The sum over interests × negatives is estimated at the cost of one interest: each negative is
    compared with one interest and weighted to stand for all of them. With the log-Q correction, the
    estimate of the sum over all other items is unbiased for every distribution of the negatives.
    The target is not sampled, so it is not corrected. With K = 1 and every item as a negative, this
    is the full softmax.

    Parameters
    ----------
    interests : Tensor of shape (P, K, D), unit length
    mask : Tensor of shape (P, K), bool
        Interests in use: the first interests of each row, at least one.
    query_rows : ndarray of shape (B,), int64
        Row of ``interests`` that belongs to each target.
    items : Tensor of shape (n, D), unit length
    targets : ndarray of shape (B,), int64
        Rows of ``items``.
    negatives : ndarray of shape (N,), int64
        Rows of ``items`` in random order, shared by the batch; N is a multiple of K. A negative is
        left out for the rows whose target it is.
    log_expected : ndarray of shape (N,), float32
        Logarithm of the expected number of times that each negative occurs among the N.
    groups : GroupAssignment
        Result of `assign_groups` for K interests, on the device of ``interests``.
    temperature : float
        Positive; similarities are divided by it. A higher value makes the distribution flatter.
    weights : ndarray of shape (B,), float32, or None, default=None
        Factors of the losses of the targets before their mean; None: no factors.
    repeats : Tensor of shape (2, B) or None, default=None
        Result of `repeat_masses`, for each target; it adds to the sum over the interests.

    Returns
    -------
    Tensor
        A scalar.
    """
    K, D = interests.shape[1:]
    device = items.device
    rows = to_device(query_rows, device)
    n_used = mask.sum(1).index_select(0, rows)  # (B,)
    column = n_used - 1
    group_interests = groups.interests.index_select(1, column)  # (K, B)
    return MixtureLoss.apply(
        interests.reshape(-1, D),
        items,
        (rows * K + group_interests).view(-1),
        to_device(np.concatenate([targets, negatives]), device),
        groups.is_repeated.index_select(1, column),
        groups.log_weights.index_select(1, column),
        -to_device(log_expected, device).view(K, -1),
        to_device(_accidental_hits(targets, negatives, K), device),
        temperature,
        None if weights is None else to_device(weights, device),
        repeats,
    )


def repeat_masses(
    log_weights: Tensor,
    history: np.ndarray,
    targets: np.ndarray,
    places: np.ndarray,
    lengths: np.ndarray,
) -> Tensor:
    """Return what the items of the history add to the target, and to all other items.

    A mixture of generating a new item and repeating one of the history, as in RepeatNet (Ren et
    al., AAAI 2019): an event of age a adds ``exp(log_weights[a])`` to the probability of its item,
    beside what the interests add.

    Parameters
    ----------
    log_weights : Tensor of shape (max_history,)
        By the age of an event, 0 for the newest.
    history, targets : ndarray of shape (B, L), int
        See `Batch`.
    places : ndarray of shape (n,), int
        Positions of the samples in the flattened (B, L).
    lengths : ndarray of shape (B,), int
        See `Batch`.

    Returns
    -------
    Tensor of shape (2, n)
        Logarithms for the target and for all others, `MASKED_LOGIT` for nothing.
    """
    B, L = history.shape
    device = log_weights.device
    rows, queries, columns = np.nonzero(
        (history[:, None] == targets[:, :, None])
        & (targets >= 0)[:, :, None]
        & (np.arange(L) >= np.arange(L)[:, None])
    )
    number = np.zeros(B * L, dtype=np.int64)  # of the sample in each place
    number[places] = np.arange(len(places))
    samples = to_device(number[rows * L + queries], device)
    ages = to_device(columns - queries, device)
    n_events = to_device(lengths[places // L] - places % L, device)  # at least 1

    highest = log_weights.detach().max()
    weights = (log_weights - highest).exp()
    total = weights.cumsum(0).index_select(0, n_events - 1)  # (n,)
    of_target = torch.zeros_like(total).index_add(0, samples, weights.index_select(0, ages))
    masses = torch.stack([of_target, total - of_target])  # (2, n)
    is_nothing = masses < NO_MASS
    logs = masses.clamp(min=NO_MASS).log() + highest
    return logs.masked_fill(is_nothing, MASKED_LOGIT)


def _accidental_hits(targets: np.ndarray, negatives: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the positions, in the flattened (K, B, N / K), of negatives that equal the target.

    Parameters
    ----------
    targets : ndarray of shape (B,), int
    negatives : ndarray of shape (N,), int
    n_groups : int
        K.

    Returns
    -------
    ndarray of shape (n_hits,), int64
    """
    B = len(targets)
    group_size = len(negatives) // n_groups
    # The copies of a target are one run of the sorted negatives, so a binary search for each end
    # of the run replaces the comparison of all B × N pairs.
    order = negatives.argsort(kind="stable")
    ordered = negatives[order]
    start = ordered.searchsorted(targets)
    hit_rows = np.flatnonzero(ordered.take(start, mode="clip") == targets)
    start = start[hit_rows]
    stop = ordered.searchsorted(targets[hit_rows], side="right")
    # Each run from start to stop becomes one entry per copy: its start plus 0, 1, 2, ...
    n_copies = stop - start
    n_before = n_copies.cumsum() - n_copies
    step = np.arange(n_copies.sum()) - np.repeat(n_before, n_copies)
    hit_negatives = order[np.repeat(start, n_copies) + step]
    group, column = np.divmod(hit_negatives, group_size)
    row = np.repeat(hit_rows, n_copies)
    return (group * B + row) * group_size + column
