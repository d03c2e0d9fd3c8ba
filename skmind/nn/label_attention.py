"""Capsules (B, K, D) and targets (B, D) → the vector (B, D) that is trained on the target.

Shapes: B targets, K interests, D embedding dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .routing import MIN_SQUARED_LENGTH, unit


def label_aware(capsules: Tensor, mask: Tensor, targets: Tensor, power: str | float) -> Tensor:
    """Label-aware attention (MIND, section 4.4).

    Departure from the paper: ``power`` multiplies the similarities before the softmax. The power
    of a negative similarity, as in the paper, is undefined or reverses the order.

    Parameters
    ----------
    capsules : Tensor of shape (B, K, D)
        Vectors with the directions of the interests, of any length.
    mask : Tensor of shape (B, K), bool
        Interests in use.
    targets : Tensor of shape (B, D), unit length
    power : "hard" or positive float
        "hard" takes the interest nearest to the target. A higher number gives that interest more
        weight.

    Returns
    -------
    Tensor of shape (B, D)
        Of unit length if "hard", else the weighted mean of the unit vectors.
    """
    if isinstance(power, str):
        return unit(_nearest(capsules, mask, targets))
    interests = unit(capsules)
    similarity = (interests @ targets[:, :, None]).squeeze(2)  # (B, K)
    weights = (power * similarity).masked_fill(~mask, -torch.inf).softmax(1)
    return (weights[:, None, :] @ interests).squeeze(1)  # (B, D)


def _nearest(capsules: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
    """Return the capsule whose direction is nearest to the target, shape (B, D)."""
    B, K, D = capsules.shape
    with torch.no_grad():
        min_length = MIN_SQUARED_LENGTH**0.5
        lengths = torch.linalg.vector_norm(capsules, dim=2).clamp_(min=min_length)  # (B, K)
        similarity = (capsules @ targets[:, :, None]).squeeze(2) / lengths  # (B, K)
        best = similarity.masked_fill_(~mask, -torch.inf).argmax(1)  # (B,)
        first_rows = torch.arange(0, B * K, K, device=best.device)  # row of the first of K capsules
        rows = first_rows + best
    return capsules.reshape(-1, D).index_select(0, rows)
