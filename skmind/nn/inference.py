"""Trained network + histories (numpy) → interests and item vectors (numpy)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch.nn import functional as F

from .device import to_device, torch_defaults
from .network import MINDNet
from .routing import EPS

ROWS = 512  # histories of a forward pass, at most: more cost memory and time
PAIRS = 2**23  # pairs of items of the same history that it compares, at most


def blocks(n_histories: int, max_history: int) -> Iterator[np.ndarray]:
    """Rows of the histories that fit into one forward pass, block by block."""
    size = max(1, min(ROWS, PAIRS // max_history**2))
    for start in range(0, n_histories, size):
        yield np.arange(start, min(start + size, n_histories))


class Encoded(NamedTuple):
    """Interests of a batch of histories.

    Attributes
    ----------
    interests : ndarray of shape (B, K, D), float32
        Unit length; zero where not in use.
    mask : ndarray of shape (B, K), bool
        Interests in use; none for a user with neither history nor profile.
    weights : ndarray of shape (B, K, L), float32
        Weight of each history item, newest first, in each interest.
    norms : ndarray of shape (B, K), float32
        Length of each interest before it was normalised.
    """

    interests: np.ndarray
    mask: np.ndarray
    weights: np.ndarray
    norms: np.ndarray


@torch_defaults()
@torch.inference_mode()
def encode(
    net: MINDNet,
    history: np.ndarray,
    lengths: np.ndarray,
    user_features: sparse.csr_matrix | None = None,
) -> Encoded:
    """Run the network in evaluation mode.

    Parameters
    ----------
    net : MINDNet
    history : ndarray of shape (B, L), int
        Item codes, newest first, padded with -1; without any column it gets one.
    lengths : ndarray of shape (B,), int
    user_features : csr_matrix of shape (B, n_user_values) or None
    """
    net.eval()
    if not history.shape[1]:  # the network asks after a column at least
        history = np.full((len(history), 1), -1)
    device = net.item_embedding.device
    codes, rows = np.unique(np.maximum(history, 0), return_inverse=True)
    found = net(
        to_device(rows.reshape(history.shape), device),
        to_device(lengths.astype(np.int64), device),
        net.item_vectors(codes.astype(np.int64)),
        net.profiles(user_features),
    )
    parts = found.vectors, found.used, found.weights, found.norms
    return Encoded(*(part.cpu().numpy() for part in parts))


@torch_defaults()
@torch.inference_mode()
def unit_items(net: MINDNet) -> np.ndarray:
    """Normalised vectors of all items, float32 of shape (n_items, D)."""
    return F.normalize(net.item_vectors(), dim=1).cpu().numpy()


class Explanation(NamedTuple):
    """Why an item suits a history.

    Attributes
    ----------
    interest : int
        The interest in use that is nearest the item; -1 if none is in use.
    weights : ndarray of shape (L,), float32
        Weight of each history item in it, newest first; they add up to 1.
    contributions : ndarray of shape (L,), float32
        What each adds to the cosine of interest and item. An interest is a weighted sum over the
        history, so they add up to the cosine, less what the sequence encoder and user features add.
    """

    interest: int
    weights: np.ndarray
    contributions: np.ndarray


@torch_defaults()
@torch.inference_mode()
def explain(
    net: MINDNet, history: np.ndarray, item: int, user_features: sparse.csr_matrix | None = None
) -> Explanation:
    """Split the score of ``item`` (a code) into parts of a history of shape (L,), newest first."""
    L = len(history)
    encoded = encode(net, history[None], np.array([L]), user_features)
    device = net.item_embedding.device
    vectors = net.item_vectors(np.append(history, item).astype(np.int64))
    target = F.normalize(vectors[-1:], dim=1)[0]
    interests = torch.from_numpy(encoded.interests[0]).to(device)
    scores = (interests @ target).cpu().numpy()
    if not encoded.mask.any():
        return Explanation(-1, *np.zeros((2, L), dtype=np.float32))
    best = int(np.where(encoded.mask[0], scores, -np.inf).argmax())
    weights = torch.from_numpy(encoded.weights[0, best, :L]).to(device)
    projected = vectors[:-1] @ net.bilinear.T  # (L, D)
    routed = weights @ projected  # (D,)
    scale = routed.norm() / (1 + routed.square().sum())  # what squash multiplies by
    parts = scale * weights * (projected @ target) / float(encoded.norms[0, best])
    weights = weights / weights.sum().clamp(min=EPS)
    return Explanation(best, weights.cpu().numpy(), parts.cpu().numpy())
