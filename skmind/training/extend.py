"""Fitted model + new ids and events → the model to train further, with vectors for new items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .._model import FittedModel
from ..data.interactions import Interactions
from ..data.prepare import Prepared

NEIGHBOUR_EVENTS = 5  # on each side of a new item; their vectors initialise its vector
REPLAYED_PER_NEW_EVENT = 4  # upper bound of old events that are learned again
MIN_NORM = 1e-12  # lower bound of divisors


def extend_model(old: FittedModel, prepared: Prepared, vectors: np.ndarray) -> FittedModel:
    """Return the model with the ids, histories and features of ``prepared``.

    Items that get their first events start from the feature values that ``old`` knows, or else
    from the items next to them in the histories.

    Parameters
    ----------
    old : FittedModel
        Not changed. The result shares its weights if no table of weights grows.
    prepared : Prepared
        The data of ``old`` with new ids, events or features; old ids keep their codes.
    vectors : ndarray of shape (n_old_items, embedding_dim), float32
        Unit item vectors of ``old``.

    Returns
    -------
    FittedModel
    """
    config = replace(old.config, n_items=len(prepared.items))
    model = FittedModel.untrained(prepared, old.schema, config, old.seed)
    model.plan = old.plan
    old_rows = model.matching_rows(old)
    tables = old_rows.keys() & old.weights.keys()
    if any(len(old_rows[name]) > len(old.weights[name]) for name in tables):
        model.inherit_weights(old)
    else:
        model.weights = old.weights
    had_embedding = np.zeros(config.n_items, dtype=bool)  # and used it
    had_embedding[: old.config.n_items] = old.item_share > 0
    new_items = np.flatnonzero((model.item_share > 0) & ~had_embedding)
    if len(new_items):
        embeddings = model.weights["item_embedding"].copy()
        mean_norm = np.linalg.norm(embeddings[had_embedding], axis=1).mean()
        directions, has_neighbours = _neighbour_directions(
            prepared.interactions, new_items, vectors
        )
        embeddings[new_items[has_neighbours]] = mean_norm * directions[has_neighbours]
        is_old_value = old_rows["item_values.weight"] >= 0
        feature_means, has_values = _feature_means(model, new_items, is_old_value)
        embeddings[new_items[has_values]] = feature_means[has_values]
        model.weights = model.weights | {"item_embedding": embeddings}
    return model


def with_replay(
    interactions: Interactions, is_new: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Mark the new events, and all events of other users, who are drawn at random.

    Training on new events alone would forget other users. Old events prevent this (Robins,
    "Catastrophic forgetting, rehearsal and pseudorehearsal", 1995).

    Parameters
    ----------
    interactions : Interactions
    is_new : ndarray of shape (n_interactions,), bool
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n_interactions,), bool
        At most `REPLAYED_PER_NEW_EVENT` events of other users for each new event, not counting
        the first event of a user.
    """
    lengths = interactions.lengths
    is_first = np.zeros(len(is_new), dtype=bool)
    is_first[interactions.offsets[:-1][lengths > 0]] = True
    n_replayed = REPLAYED_PER_NEW_EVENT * (is_new & ~is_first).sum()
    has_new = np.zeros(len(lengths), dtype=bool)
    has_new[interactions.rows_at(np.flatnonzero(is_new))] = True
    users = rng.permutation(np.flatnonzero(~has_new))
    is_replayed = np.zeros(len(lengths), dtype=bool)
    is_replayed[users[np.cumsum(lengths[users]) <= n_replayed]] = True
    return is_new | np.repeat(is_replayed, lengths)


def _neighbour_directions(
    interactions: Interactions, items: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean direction of the old items next to each item in the histories.

    Parameters
    ----------
    interactions : Interactions
    items : ndarray of shape (n,), int
        Ascending.
    vectors : ndarray of shape (n_old_items, embedding_dim), float32
        Vectors of the items that count as neighbours, in code order.

    Returns
    -------
    directions : ndarray of shape (n, embedding_dim), float32
        Unit length.
    has_neighbours : ndarray of shape (n,), bool
        Where it is False, the direction is zero.
    """
    codes = interactions.items
    places = np.flatnonzero(np.isin(codes, items))
    users = interactions.rows_at(places)
    starts = interactions.offsets[users]
    ends = interactions.offsets[users + 1]
    sums = np.zeros((len(items), vectors.shape[1]), dtype=np.float32)
    for step in (*range(-NEIGHBOUR_EVENTS, 0), *range(1, NEIGHBOUR_EVENTS + 1)):
        neighbour_places = places + step
        is_same_user = (neighbour_places >= starts) & (neighbour_places < ends)
        centres = codes[places[is_same_user]]
        neighbours = codes[neighbour_places[is_same_user]]
        is_old = neighbours < len(vectors)
        rows = np.searchsorted(items, centres[is_old])
        np.add.at(sums, rows, vectors[neighbours[is_old]])
    norms = np.linalg.norm(sums, axis=1)
    return sums / np.maximum(norms, MIN_NORM)[:, None], norms > 0


def _feature_means(
    model: FittedModel, items: np.ndarray, is_old_value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean vector of the old feature values of each item.

    Parameters
    ----------
    model : FittedModel
    items : ndarray of shape (n,), int
    is_old_value : ndarray of shape (n_item_values,), bool
        Values that have a trained vector.

    Returns
    -------
    means : ndarray of shape (n, embedding_dim)
    has_values : ndarray of shape (n,), bool
        Where it is False, the mean is zero.
    """
    matrix = model.item_matrix[items][:, is_old_value]
    no_values = np.zeros((0, model.config.embedding_dim))
    value_vectors = model.weights.get("item_values.weight", no_values)
    sums = matrix @ value_vectors[is_old_value]
    feature_share = np.maximum(1 - model.item_share[items], MIN_NORM)  # 0 without features
    return sums / feature_share[:, None], np.diff(matrix.indptr) > 0
