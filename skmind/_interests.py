"""Fitted model → the interests of users as rows of a table, with the history behind each, in codes.

Shapes: n interests of all users together, D embedding dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans

from ._model import FittedModel
from .nn.network import MINDNet, NetConfig

N_STARTS = 3  # of k-means, of which the best is kept
MIN_NORM = 1e-12  # lower bound of divisors


@dataclass(frozen=True)
class InterestRows:
    """Interests in use, of several users.

    Attributes
    ----------
    users : ndarray of shape (n,), int
        Row of each interest's user.
    interests : ndarray of shape (n,), int
        Its number among the interests of the user.
    vectors : ndarray of shape (n, D), float32, unit length
    weights : csr_matrix of shape (n, n_items), float32
        Weight of each history item in the interest; they add up to 1 unless there is no history.
    """

    users: np.ndarray
    interests: np.ndarray
    vectors: np.ndarray
    weights: sparse.csr_matrix

    @classmethod
    def of_users(cls, model: FittedModel, net: MINDNet, codes: np.ndarray) -> InterestRows:
        """Encode the users with these codes."""
        histories = model.interactions.take(codes)
        parts = [cls._none(model.config)]
        for rows, window, encoded in model.encode_blocks(net, histories, model.profile_rows(codes)):
            in_block, interests = np.nonzero(encoded.mask)
            items = window[in_block]  # (n, L)
            weights = encoded.weights[in_block, interests, : items.shape[1]]  # (n, L)
            interest, place = np.nonzero((items >= 0) & (weights > 0))
            matrix = sparse.csr_matrix(
                (weights[interest, place], (interest, items[interest, place])),
                shape=(len(in_block), model.config.n_items),
            )
            vectors = encoded.interests[in_block, interests]
            parts.append(cls(rows[in_block], interests, vectors, _with_unit_sums(matrix)))
        return cls(
            np.concatenate([part.users for part in parts]),
            np.concatenate([part.interests for part in parts]),
            np.concatenate([part.vectors for part in parts]),
            sparse.vstack([part.weights for part in parts], format="csr"),
        )

    @classmethod
    def _none(cls, config: NetConfig) -> InterestRows:
        nobody = np.empty(0, dtype=np.int64)
        vectors = np.empty((0, config.embedding_dim), dtype=np.float32)
        weights = sparse.csr_matrix((0, config.n_items), dtype=np.float32)
        return cls(nobody, nobody, vectors, weights)

    def clustered(self, n_clusters: int, seed: int) -> tuple[InterestRows, np.ndarray]:
        """Group interests of all users by k-means.

        Parameters
        ----------
        n_clusters : int
            Maximum number of clusters; there are at most as many as different vectors.
        seed : int

        Returns
        -------
        InterestRows
            One row per cluster, the largest first: its number as user and as interest, the
            direction of its mean vector, and the mean weights of its interests.
        labels : ndarray of shape (n,), int
            The cluster of each interest.
        """
        n_clusters = min(n_clusters, len(np.unique(self.vectors, axis=0)))
        k_means = KMeans(n_clusters, n_init=N_STARTS, random_state=seed).fit(self.vectors)
        sizes = np.bincount(k_means.labels_, minlength=n_clusters)
        order = np.argsort(-sizes, kind="stable")
        labels = np.argsort(order)[k_means.labels_]
        places = np.arange(len(labels))
        members = sparse.csr_matrix((np.ones(len(labels), np.float32), (labels, places)))
        means = members @ self.vectors / sizes[order, None]
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        clusters = replace(
            self,
            users=np.arange(n_clusters),
            interests=np.arange(n_clusters),
            vectors=(means / np.maximum(lengths, MIN_NORM)).astype(np.float32),
            weights=_with_unit_sums(members @ self.weights),
        )
        return clusters, labels

    def top_history(self, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return, per interest, the codes and weights of the ``k`` history items of most weight."""
        tops = []
        matrix = self.weights
        for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
            weights = matrix.data[start:stop]
            order = np.argsort(-weights, kind="stable")[:k]
            tops.append((matrix.indices[start:stop][order], weights[order]))
        return tops


def _with_unit_sums(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return non-negative rows divided by their sums; entries of one place are added up."""
    matrix.sum_duplicates()
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    return sparse.csr_matrix(
        sparse.diags(1 / np.maximum(sums, MIN_NORM)) @ matrix, dtype=np.float32
    )
