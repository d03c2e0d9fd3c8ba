"""What fit leaves behind: ids, histories, features and weights as numpy arrays."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from .data.features import scale_rows, select_rows
from .data.ids import IdEncoder
from .data.interactions import Interactions
from .data.prepare import Prepared, Schema
from .data.ragged import Ragged
from .exceptions import InvalidInputError
from .nn.device import resolve_device
from .nn.inference import blocks, encode
from .nn.network import MINDNet, NetConfig
from .retrieval.base import Index
from .retrieval.calibration import Plan, Sample

SAME_WHEN_WARM = ("n_interests", "embedding_dim", "max_history", "n_encoder_layers")


@dataclass
class FittedModel:
    """The state of a fitted recommender; the network is rebuilt from it when it is needed.

    Attributes
    ----------
    schema : Schema
    config : NetConfig
    prepared : Prepared
        Ids, histories, counts and features.
    item_matrix : csr_matrix of shape (n_items, n_item_values)
        Item features, scaled to their part of the mean that an item's vector is.
    item_share : ndarray of shape (n_items,), float32
        Weight of an item's own embedding in that mean.
    seed : int
        Draws the initial weights.
    weights : dict of str to ndarray
        Empty before training.
    plan : Plan
        What the index is built from.
    """

    schema: Schema
    config: NetConfig
    prepared: Prepared
    item_matrix: sparse.csr_matrix
    item_share: np.ndarray
    seed: int
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    plan: Plan = Plan()

    @classmethod
    def start(cls, prepared: Prepared, schema: Schema, config: NetConfig, seed: int) -> FittedModel:
        """The state before training."""
        present = prepared.item_features.presence
        own = (prepared.counts > 0) | (present == 0)  # without events its features say it all
        parts = (present + own).astype(np.float32)
        matrix = scale_rows(prepared.item_features.matrix, present / parts)
        return cls(schema, config, prepared, matrix, (own / parts).astype(np.float32), seed)

    @property
    def users(self) -> IdEncoder:
        """Known users."""
        return self.prepared.users

    @property
    def items(self) -> IdEncoder:
        """Known items."""
        return self.prepared.items

    @property
    def interactions(self) -> Interactions:
        """Histories of the known users."""
        return self.prepared.interactions

    def network(self) -> MINDNet:
        """A network to train, with these weights; with initial ones before training."""
        width = self.prepared.user_features.encoder.width
        net = MINDNet(self.config, self.item_matrix, self.item_share, width, self.seed)
        if self.weights:
            net.set_weights(self.weights)
        return net

    def network_to_ask(self) -> MINDNet:
        """The network without memory of its own for the weights, where they can be shared."""
        width = self.prepared.user_features.encoder.width
        parts = self.config, self.item_matrix, self.item_share, width
        return MINDNet.of_weights(self.weights, *parts)

    def keep(self, net: MINDNet) -> None:
        """Store the weights of a trained network."""
        self.weights = net.get_weights()

    def continue_from(self, old: FittedModel) -> None:
        """Start from the weights of another fit: of the items and feature values in both.

        Raises
        ------
        InvalidInputError
            If the sizes of the networks differ.
        """
        for name in SAME_WHEN_WARM:
            before, now = getattr(old.config, name), getattr(self.config, name)
            if before != now:
                raise InvalidInputError(
                    f"warm_start=True continues a fit with {name}={before}, but {name}={now} now; "
                    f"set it back, or warm_start=False"
                )
        weights = self.network().get_weights()
        new_rows = self.rows_in(old)
        for name, mine in weights.items():
            theirs = old.weights.get(name)
            if theirs is None:
                continue
            if name in new_rows:
                rows = new_rows[name]
                mine[rows >= 0] = theirs[rows[rows >= 0]]
            else:
                mine[...] = theirs
        self.weights = weights

    def rows_in(self, old: FittedModel) -> dict[str, np.ndarray]:
        """For each row of a table of weights, the row of the same item or value in ``old``, or -1.

        Returns
        -------
        dict of str to ndarray of int
            By the names of the tables in `weights`.
        """
        mine, theirs = self.prepared, old.prepared
        return {
            "item_embedding": theirs.items.encode(mine.items.ids),
            "item_values.weight": mine.item_features.encoder.columns_in(
                theirs.item_features.encoder
            ),
            "user_values.weight": mine.user_features.encoder.columns_in(
                theirs.user_features.encoder
            ),
        }

    def profile_rows(self, users: np.ndarray) -> sparse.csr_matrix | None:
        """Feature rows of users by code, an empty one for -1; None without user features."""
        features = self.prepared.user_features
        if not features.encoder.width:
            return None
        return select_rows(features.matrix, users)

    def encode(
        self, net: MINDNet, histories: Interactions, profile: sparse.csr_matrix | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Interests of people with these histories.

        Returns
        -------
        interests : ndarray of shape (n, n_interests, embedding_dim), float32
        mask : ndarray of shape (n, n_interests), bool
            Interests in use.
        """
        n, K, D = histories.n_users, self.config.n_interests, self.config.embedding_dim
        interests = np.zeros((n, K, D), dtype=np.float32)
        mask = np.zeros((n, K), dtype=bool)
        for rows in blocks(n, self.config.max_history):
            window = histories.last_windows(rows, self.config.max_history)
            encoded = encode(net, *window, None if profile is None else profile[rows])
            interests[rows], mask[rows] = encoded.interests, encoded.mask
        return interests, mask


@dataclass(eq=False)
class Snapshot:
    """A fitted model with its network and index, which are built when they are first needed.

    An estimator has one snapshot and replaces it in one assignment, so that a call that has taken
    it answers from one fit, whatever another thread does.

    Attributes
    ----------
    model : FittedModel
    item_embeddings : ndarray of shape (n_items, embedding_dim), float32, unit length
    net : MINDNet or None
    index : Index or None
    """

    model: FittedModel
    item_embeddings: np.ndarray
    net: MINDNet | None = None
    index: Index | None = None
    # One lock per process: a forked child may inherit one that no thread of its own releases.
    _locks: dict[int, threading.Lock] = field(default_factory=dict, repr=False)

    def network(self, device: str) -> MINDNet:
        """Return the network, on ``device`` if it is built now."""
        if self.net is None:
            with self._lock():
                if self.net is None:
                    target = resolve_device(device, fall_back=True)
                    self.net = self.model.network_to_ask().to(target)
        return self.net

    def search_index(self) -> Index:
        """Return the index."""
        if self.index is None:
            with self._lock():
                if self.index is None:
                    self.index = self.model.plan.build(self.item_embeddings)
        return self.index

    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def sample(self, part: slice, device: str) -> Sample:
        """Return a part of the users with a history, in an order that the seed draws."""
        model = self.model
        users = np.flatnonzero(model.interactions.lengths)
        users = np.random.default_rng(model.seed).permutation(users)[part]
        histories = model.interactions.take(users)
        interests, mask = model.encode(self.network(device), histories, model.profile_rows(users))
        return Sample(interests, mask, Ragged(histories.values, histories.offsets))
