"""Trained network + histories (numpy) → interests and item vectors (numpy).

Shapes: B batch, L history length, K interests, D embedding dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch.nn import functional as F

from .device import to_device, torch_defaults
from .network import MINDNet

MAX_HISTORIES_PER_PASS = 512  # larger passes need more memory and time
MAX_ITEM_PAIRS_PER_PASS = 2**23  # pairs of items within a history, over all histories
MIN_WEIGHT_SUM = 1e-7  # routing weights with a smaller sum are not normalised


def blocks(n_histories: int, max_history: int) -> Iterator[np.ndarray]:
    """Yield the rows of the histories that share a forward pass, in order."""
    size = max(1, min(MAX_HISTORIES_PER_PASS, MAX_ITEM_PAIRS_PER_PASS // max_history**2))
    for start in range(0, n_histories, size):
        yield np.arange(start, min(start + size, n_histories))


class Encoded(NamedTuple):
    """Interests of a batch of histories, as arrays.

    Attributes
    ----------
    interests : ndarray of shape (B, K, D), float32
        Unit length; zero where not in use.
    mask : ndarray of shape (B, K), bool
        Interests in use; none for a user with neither history nor profile. An interest whose sums
        exceed float32 is not in use.
    weights : ndarray of shape (B, K, L), float32
        Weight of each history item, newest first, in each interest.
    norms : ndarray of shape (B, K), float32
        Length of each interest before it was normalised.
    """

    interests: np.ndarray
    mask: np.ndarray
    weights: np.ndarray
    norms: np.ndarray


@torch_defaults(inference=True)
def encode(
    net: MINDNet,
    history: np.ndarray,
    lengths: np.ndarray,
    user_features: sparse.csr_matrix | None = None,
) -> Encoded:
    """Return the interests of a batch of histories; sets the network to evaluation mode.

    Parameters
    ----------
    net : MINDNet
    history : ndarray of shape (B, L), int
        Item codes, newest first, padded with -1. L may be 0; the weights have one column then.
    lengths : ndarray of shape (B,), int
        Number of items of each history.
    user_features : csr_matrix of shape (B, n_user_values) or None

    Returns
    -------
    Encoded
    """
    net.eval()
    if not history.shape[1]:  # the network needs at least one column
        history = np.full((len(history), 1), -1)
    device = net.item_embedding.device
    codes, rows = np.unique(np.maximum(history, 0), return_inverse=True)
    result = net(
        to_device(rows.reshape(history.shape), device),
        to_device(lengths.astype(np.int64), device),
        net.item_vectors(codes.astype(np.int64)),
        net.profiles(user_features),
    )
    interests = result.vectors.cpu().numpy()
    mask = result.used.cpu().numpy()
    # In training, sums beyond float32 are an error; the weights of a file may be any.
    overflows = ~np.isfinite(interests).all(2)
    if overflows.any():
        interests[overflows] = 0
        mask = mask & ~overflows
    return Encoded(
        interests=interests,
        mask=mask,
        weights=result.weights.cpu().numpy(),
        norms=result.norms.cpu().numpy(),
    )


@torch_defaults(inference=True)
def unit_items(net: MINDNet) -> np.ndarray:
    """Return the normalised vectors of all items, float32 of shape (n_items, D)."""
    return F.normalize(net.item_vectors(), dim=1).cpu().numpy()


@torch_defaults(inference=True)
def repeat_weights(net: MINDNet) -> np.ndarray:
    """Return what an event adds to the score of its item, by age, float32 of shape (L,)."""
    return net.repeats.cpu().numpy()


@torch_defaults(inference=True)
def raw_items(net: MINDNet, codes: np.ndarray) -> np.ndarray:
    """Return the vectors of items before they are normalised, float32 of shape (len(codes), D)."""
    return net.item_vectors(codes.astype(np.int64)).cpu().numpy()


@torch_defaults(inference=True)
def profile_vectors(net: MINDNet, user_features: sparse.csr_matrix | None) -> np.ndarray | None:
    """Return what the features of users add to each of their interests.

    Returns
    -------
    ndarray of shape (n_users, D), float32, or None without user features
    """
    profiles = net.profiles(user_features)
    return None if profiles is None else profiles.cpu().numpy()


class Explanation(NamedTuple):
    """Parts of the cosine of an item and the interest nearest to it.

    Attributes
    ----------
    interest : int
        The interest in use that is nearest to the item; -1 if none is in use.
    weights : ndarray of shape (L,), float32
        Weight of each history item in that interest, newest first; the weights add up to 1.
    contributions : ndarray of shape (L,), float32
        Contribution of each history item to the cosine of interest and item. The rest of the cosine
        comes from the sequence encoder and the user features.
    """

    interest: int
    weights: np.ndarray
    contributions: np.ndarray


@torch_defaults(inference=True)
def explain(
    net: MINDNet, history: np.ndarray, item: int, user_features: sparse.csr_matrix | None = None
) -> Explanation:
    """Split the highest cosine of an item into contributions of the history items.

    An interest is a weighted sum over the history, so its cosine with the item is a sum, too.

    Parameters
    ----------
    net : MINDNet
    history : ndarray of shape (L,), int
        Item codes, newest first.
    item : int
        Code of the item.
    user_features : csr_matrix of shape (1, n_user_values) or None

    Returns
    -------
    Explanation
    """
    L = len(history)
    encoded = encode(net, history[None], np.array([L]), user_features)
    device = net.item_embedding.device
    vectors = net.item_vectors(np.append(history, item).astype(np.int64))  # (L + 1, D)
    target = F.normalize(vectors[-1:], dim=1)[0]  # (D,)
    interests = torch.from_numpy(encoded.interests[0]).to(device)
    scores = (interests @ target).cpu().numpy()  # (K,)
    if not encoded.mask.any():
        zeros = np.zeros(L, dtype=np.float32)
        return Explanation(-1, weights=zeros, contributions=zeros.copy())
    best = int(np.where(encoded.mask[0], scores, -np.inf).argmax())
    weights = torch.from_numpy(encoded.weights[0, best, :L]).to(device)
    projected = vectors[:-1] @ net.bilinear.T  # (L, D)
    routed = weights @ projected  # (D,)
    scale = routed.norm() / (1 + routed.square().sum())  # the factor of squash
    contributions = scale * weights * (projected @ target) / float(encoded.norms[0, best])
    weights = weights / weights.sum().clamp(min=MIN_WEIGHT_SUM)
    return Explanation(best, weights.cpu().numpy(), contributions.cpu().numpy())
