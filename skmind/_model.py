"""Result of ``fit``: ids, histories, features and weights as numpy arrays."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import sparse

from .data.features import Feature, FeatureEncoder, Features, scale_rows, select_rows
from .data.ids import IdEncoder
from .data.interactions import Interactions
from .data.prepare import Prepared, Schema
from .data.ragged import Ragged, count
from .exceptions import InvalidInputError
from .nn.device import resolve_device
from .nn.inference import Encoded, blocks, encode
from .nn.network import MINDNet, NetConfig
from .retrieval.base import Index
from .retrieval.calibration import Plan, Sample
from .retrieval.repeats import Repeats

# A warm start can't change these sizes, because they decide the shapes of the weights.
WARM_START_SIZES = ("n_interests", "embedding_dim", "max_history", "n_encoder_layers")


@dataclass
class FittedModel:
    """The state of a fitted recommender; the network is rebuilt from it on first use.

    Attributes
    ----------
    schema : Schema
    config : NetConfig
    prepared : Prepared
        Ids, histories, counts and features.
    item_matrix : csr_matrix of shape (n_items, n_item_values), float32
        Item features, multiplied by their weight in the item vector.
    item_share : ndarray of shape (n_items,), float32
        Weight of the item's own embedding in the item vector.
    seed : int
        Seed of the initial weights.
    weights : dict of str to ndarray
        Weights of the network by name; empty before training.
    plan : Plan
        Settings of the index.
    part : tuple of int, or None
        Rank and number of the processes of a fit that divided the users among them: the model has
        all items, but the users of this process only. None: it has all users.
    """

    schema: Schema
    config: NetConfig
    prepared: Prepared
    item_matrix: sparse.csr_matrix
    item_share: np.ndarray
    seed: int
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    plan: Plan = Plan()
    part: tuple[int, int] | None = None

    @classmethod
    def untrained(
        cls, prepared: Prepared, schema: Schema, config: NetConfig, seed: int
    ) -> FittedModel:
        """Return the model before training, without weights."""
        n_features = prepared.item_features.presence
        # The vector of an item without events is computed from its features alone, if it has any.
        has_own = (prepared.counts > 0) | (n_features == 0)
        n_parts = (n_features + has_own).astype(np.float32)
        matrix = scale_rows(prepared.item_features.matrix, n_features / n_parts)
        return cls(schema, config, prepared, matrix, (has_own / n_parts).astype(np.float32), seed)

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

    def check_whole(self, method: str) -> None:
        """Raise `InvalidInputError` if other processes of the fit have users, too."""
        if self.part is not None:
            raise InvalidInputError(
                f"{method}: this model has the users of process {self.part[0]} of {self.part[1]}, "
                f"not all; save it in all {self.part[1]} processes, and load it in one"
            )

    # ------------------------------------------------------------------ arrays

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays of the model by name, without copying them.

        Returns
        -------
        dict of str to ndarray
            - ``users``, ``items``: ids in code order.
            - ``interactions.items``, ``interactions.offsets``, and ``interactions.times`` if the
              events have times.
            - ``{side}_features.indptr``, ``.indices``, ``.data``, ``.presence`` and one
              ``.vocabulary.{i}`` per feature, for each side ("user", "item") with features.
            - ``item_titles``, if titles were named.
            - ``weights.{name}``: weights of the network.
        """
        prepared = self.prepared
        arrays = {
            "users": prepared.users.ids,
            "items": prepared.items.ids,
            "interactions.items": prepared.interactions.items,
            "interactions.offsets": prepared.interactions.offsets,
        }
        if prepared.interactions.times is not None:
            arrays["interactions.times"] = prepared.interactions.times
        arrays |= _features_to_arrays(prepared.user_features, "user_features")
        arrays |= _features_to_arrays(prepared.item_features, "item_features")
        if prepared.item_titles is not None:
            arrays["item_titles"] = prepared.item_titles
        arrays |= {f"weights.{name}": array for name, array in self.weights.items()}
        return arrays

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray],
        schema: Schema,
        config: NetConfig,
        seed: int,
        plan: Plan,
        user_features: Sequence[tuple[Any, str]],
        item_features: Sequence[tuple[Any, str]],
    ) -> FittedModel:
        """Rebuild a model from the arrays that `to_arrays` returned.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            Not copied. They must be consistent with each other and with ``config``; this method
            only checks that no id is repeated. ``item_counts`` may be among them, if it counts
            interactions of users whom the model does not have.
        schema : Schema
        config : NetConfig
        seed : int
        plan : Plan
        user_features, item_features : sequence of (name, kind)
            The features of each side in the order of their vocabularies; see `Feature`.

        Raises
        ------
        InvalidInputError
            If an id is repeated.
        """
        users = IdEncoder(arrays["users"], "user")
        items = IdEncoder(arrays["items"], "item")
        interactions = Interactions(
            arrays["interactions.items"],
            arrays["interactions.offsets"],
            arrays.get("interactions.times"),
        )
        prepared = Prepared(
            users,
            items,
            interactions,
            arrays.get("item_counts", count(interactions.items, len(items))),
            _features_from_arrays(arrays, "user_features", user_features, len(users)),
            _features_from_arrays(arrays, "item_features", item_features, len(items)),
            arrays.get("item_titles"),
        )
        model = cls.untrained(prepared, schema, config, seed)
        model.weights = {
            name.removeprefix("weights."): array
            for name, array in arrays.items()
            if name.startswith("weights.")
        }
        if "state" in model.weights and config.n_interests > 1:
            # In earlier models, the encoder changes the first interest only.
            D = config.embedding_dim
            no_states = np.zeros(((config.n_interests - 1) * D, D), dtype=np.float32)
            model.weights.setdefault("state_others", no_states)
        model.plan = plan
        return model

    # ------------------------------------------------------------------ network and weights

    def network(self) -> MINDNet:
        """Return a network for training, with a copy of the weights or with initial weights."""
        n_user_values = self.prepared.user_features.encoder.width
        net = MINDNet(self.config, self.item_matrix, self.item_share, n_user_values, self.seed)
        if self.weights:
            net.set_weights(self.weights)
        return net

    def network_for_inference(self) -> MINDNet:
        """Return a network that shares the memory of the weights where torch allows it."""
        n_user_values = self.prepared.user_features.encoder.width
        return MINDNet.of_weights(
            self.weights, self.config, self.item_matrix, self.item_share, n_user_values
        )

    def store_weights(self, net: MINDNet) -> None:
        """Store a copy of the weights of a trained network."""
        self.weights = net.get_weights()

    def forget_event_weights(self) -> None:
        """Drop the weights of the interactions, which only training needs."""
        if self.interactions.weights is not None:
            interactions = replace(self.interactions, weights=None)
            self.prepared = replace(self.prepared, interactions=interactions)

    def inherit_weights(self, previous: FittedModel) -> None:
        """Start from the weights of another model.

        Items and feature values that only this model has keep their initial weights.

        Raises
        ------
        InvalidInputError
            If the sizes of the networks differ.
        """
        for name in WARM_START_SIZES:
            previous_size = getattr(previous.config, name)
            size = getattr(self.config, name)
            if previous_size != size:
                raise InvalidInputError(
                    f"warm_start=True continues a fit with {name}={previous_size}, but "
                    f"{name}={size} now; set it back to {previous_size}, or set warm_start=False"
                )
        weights = self.network().get_weights()
        matching_rows = self.matching_rows(previous)
        for name, array in weights.items():
            previous_array = previous.weights.get(name)
            if previous_array is None:
                continue
            if name in matching_rows:
                rows = matching_rows[name]
                array[rows >= 0] = previous_array[rows[rows >= 0]]
            else:
                array[...] = previous_array
        self.weights = weights

    def matching_rows(self, previous: FittedModel) -> dict[str, np.ndarray]:
        """Match the rows of the weight tables with the rows of another model.

        Returns
        -------
        dict of str to ndarray of int
            One array per table in `weights`, by name: for each row of the table, the row of the
            same item or feature value in ``previous``, or -1 if there is none.
        """
        own_data = self.prepared
        previous_data = previous.prepared
        return {
            "item_embedding": previous_data.items.encode(own_data.items.ids),
            "item_values.weight": own_data.item_features.encoder.columns_in(
                previous_data.item_features.encoder
            ),
            "user_values.weight": own_data.user_features.encoder.columns_in(
                previous_data.user_features.encoder
            ),
        }

    # ------------------------------------------------------------------ inference

    def profile_rows(self, users: np.ndarray) -> sparse.csr_matrix | None:
        """Return the features of each user code in ``users``; an empty row for code -1.

        Return None if there are no user features.
        """
        features = self.prepared.user_features
        if not features.encoder.width:
            return None
        return select_rows(features.matrix, users)

    @property
    def repeat_weights(self) -> np.ndarray | None:
        """Weights of the events of a history; None if scores do not use them."""
        if not self.config.repeats or self.plan.temperature is None:
            return None
        return self.weights["repeats"]

    def repeats(self, histories: Ragged) -> Repeats | None:
        """Return the items of histories that score higher; None if no item does."""
        weights = self.repeat_weights
        temperature = self.plan.temperature
        if weights is None or temperature is None:
            return None
        return Repeats.of_histories(histories, weights, temperature)

    def encode(
        self, net: MINDNet, histories: Interactions, profile: sparse.csr_matrix | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the interests of users from their histories.

        Parameters
        ----------
        net : MINDNet
        histories : Interactions
            One history per user.
        profile : csr_matrix of shape (n, n_user_values) or None
            Features of the users.

        Returns
        -------
        interests : ndarray of shape (n, n_interests, embedding_dim), float32
        mask : ndarray of shape (n, n_interests), bool
            Interests in use.
        """
        n = histories.n_users
        K = self.config.n_interests
        D = self.config.embedding_dim
        interests = np.zeros((n, K, D), dtype=np.float32)
        mask = np.zeros((n, K), dtype=bool)
        for rows, _, encoded in self.encode_blocks(net, histories, profile):
            interests[rows] = encoded.interests
            mask[rows] = encoded.mask
        return interests, mask

    def encode_blocks(
        self, net: MINDNet, histories: Interactions, profile: sparse.csr_matrix | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray, Encoded]]:
        """Yield the users of each forward pass, their newest items and their interests.

        Parameters
        ----------
        net, histories, profile
            As in `encode`.

        Yields
        ------
        rows : ndarray of shape (B,), int
            Positions of the users in ``histories``.
        window : ndarray of shape (B, L), int
            Item codes, newest first, padded with -1.
        encoded : Encoded
        """
        for rows in blocks(histories.n_users, self.config.max_history):
            window, lengths = histories.last_windows(rows, self.config.max_history)
            yield (
                rows,
                window,
                encode(net, window, lengths, None if profile is None else profile[rows]),
            )


@dataclass(eq=False)
class Snapshot:
    """A fitted model with its network and its index, which are built on first use.

    An estimator has one snapshot and replaces it in one assignment. So a call that uses one
    snapshot sees one consistent fit, even if another thread fits at the same time.

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
    # One lock per process: a forked child may inherit a locked lock that nothing releases.
    _locks: dict[int, threading.Lock] = field(default_factory=dict, repr=False)

    def network(self, device: str) -> MINDNet:
        """Return the network; build it on ``device`` on first use."""
        if self.net is None:
            with self._lock():
                if self.net is None:
                    target = resolve_device(device, fall_back=True)
                    self.net = self.model.network_for_inference().to(target)
        return self.net

    def search_index(self) -> Index:
        """Return the index; build it on first use."""
        if self.index is None:
            with self._lock():
                if self.index is None:
                    self.index = self.model.plan.build(self.item_embeddings)
        return self.index

    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def sample(self, part: slice, device: str) -> Sample:
        """Return the slice ``part`` of the users with a history, after a shuffle by the seed."""
        model = self.model
        users = np.flatnonzero(model.interactions.lengths)
        users = np.random.default_rng(model.seed).permutation(users)[part]
        histories = model.interactions.take(users)
        interests, mask = model.encode(self.network(device), histories, model.profile_rows(users))
        return Sample(interests, mask, Ragged(histories.values, histories.offsets))


def _features_to_arrays(features: Features, prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays of the features of one side; none if there are no features."""
    if not features.encoder.features:
        return {}
    arrays = {
        f"{prefix}.indptr": features.matrix.indptr,
        f"{prefix}.indices": features.matrix.indices,
        f"{prefix}.data": features.matrix.data,
        f"{prefix}.presence": features.presence,
    }
    for i, feature in enumerate(features.encoder.features):
        arrays[f"{prefix}.vocabulary.{i}"] = feature.values
    return arrays


def _features_from_arrays(
    arrays: Mapping[str, np.ndarray],
    prefix: str,
    names_and_kinds: Sequence[tuple[Any, str]],
    n_rows: int,
) -> Features:
    """Rebuild the features of one side, which has ``n_rows`` ids."""
    encoder = FeatureEncoder(
        [
            Feature(name, kind, arrays[f"{prefix}.vocabulary.{i}"])
            for i, (name, kind) in enumerate(names_and_kinds)
        ]
    )
    if not encoder.features:
        return encoder.transform({}, n_rows)
    matrix = sparse.csr_matrix(
        (arrays[f"{prefix}.data"], arrays[f"{prefix}.indices"], arrays[f"{prefix}.indptr"]),
        shape=(n_rows, encoder.width),
    )
    return Features(encoder, matrix, arrays[f"{prefix}.presence"])
