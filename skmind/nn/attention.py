"""Interests (B, K, D) and targets (B, D) → the vector (B, D) that is trained on the target."""

from __future__ import annotations

import torch
from torch import Tensor


def label_aware(interests: Tensor, mask: Tensor, targets: Tensor, power: str | float) -> Tensor:
    """Label-aware attention (MIND, section 4.4).

    Parameters
    ----------
    interests : Tensor of shape (B, K, D), unit length
    mask : Tensor of shape (B, K), bool
        Interests in use.
    targets : Tensor of shape (B, D), unit length
    power : "hard" or positive float
        "hard": the interest nearest the target. A number multiplies the similarities before the
        softmax; the paper's power of a negative similarity would be undefined or flip the order.

    Returns
    -------
    Tensor of shape (B, D)
    """
    similarity = (interests @ targets[:, :, None]).squeeze(2)  # (B, K)
    similarity = similarity.masked_fill(~mask, -torch.inf)
    if isinstance(power, str):
        B, K, D = interests.shape
        rows = torch.arange(0, B * K, K, device=similarity.device) + similarity.argmax(1)
        return interests.reshape(-1, D).index_select(0, rows)  # (B, D)
    weights = (power * similarity).softmax(1)
    return (weights[:, None, :] @ interests).squeeze(1)  # (B, D)
