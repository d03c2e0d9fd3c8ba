"""Capsules (B, K, D) and targets (B, D) → the vector (B, D) that is trained on the target."""

from __future__ import annotations

import torch
from torch import Tensor

from .routing import SMALLEST, unit


def label_aware(capsules: Tensor, mask: Tensor, targets: Tensor, power: str | float) -> Tensor:
    """Label-aware attention (MIND, section 4.4).

    Parameters
    ----------
    capsules : Tensor of shape (B, K, D)
        What points where the interests do, of any length.
    mask : Tensor of shape (B, K), bool
        Interests in use.
    targets : Tensor of shape (B, D), unit length
    power : "hard" or positive float
        "hard": the interest nearest the target. A number multiplies the similarities before the
        softmax; the paper's power of a negative similarity would be undefined or flip the order.

    Returns
    -------
    Tensor of shape (B, D)
        Of unit length if ``"hard"``, else the mean of the unit vectors by their weights.
    """
    if isinstance(power, str):
        return unit(_nearest(capsules, mask, targets))
    interests = unit(capsules)
    similarity = (interests @ targets[:, :, None]).squeeze(2)  # (B, K)
    weights = (power * similarity).masked_fill(~mask, -torch.inf).softmax(1)
    return (weights[:, None, :] @ interests).squeeze(1)  # (B, D)


def _nearest(capsules: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
    """The capsule that points nearest to the target, shape (B, D)."""
    B, K, D = capsules.shape
    with torch.no_grad():
        lengths = torch.linalg.vector_norm(capsules, dim=2).clamp_(min=SMALLEST**0.5)  # (B, K)
        similarity = (capsules @ targets[:, :, None]).squeeze(2) / lengths
        best = similarity.masked_fill_(~mask, -torch.inf).argmax(1)
        rows = torch.arange(0, B * K, K, device=best.device) + best
    return capsules.reshape(-1, D).index_select(0, rows)
