"""Fitted model + grown tables → the model to continue from, with vectors for what is new."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .._model import FittedModel
from ..data.interactions import Interactions
from ..data.prepare import Prepared

NEAR = 5  # events before and after an item's, from whose items its vector is made
REPLAY = 4  # events of users drawn at random that are learned again, to each new one


def grown_model(old: FittedModel, prepared: Prepared, vectors: np.ndarray) -> FittedModel:
    """The model with the ids, histories and features of ``prepared``.

    Parameters
    ----------
    old : FittedModel
        Not changed; weights that stay the same are shared with it.
    prepared : Prepared
        Of ``old``, grown.
    vectors : ndarray of shape (n_old_items, embedding_dim), float32
        Unit item vectors of ``old``.
    """
    config = replace(old.config, n_items=len(prepared.items))
    model = FittedModel.untrained(prepared, old.schema, config, old.seed)
    model.plan = old.plan
    rows = model.matching_rows(old)
    if any(len(rows[name]) > len(old.weights[name]) for name in rows.keys() & old.weights.keys()):
        model.inherit_weights(old)
    else:
        model.weights = old.weights
    had_own = np.zeros(config.n_items, dtype=bool)
    had_own[: old.config.n_items] = old.item_share > 0
    fresh = np.flatnonzero((model.item_share > 0) & ~had_own)
    if len(fresh):
        table = model.weights["item_embedding"].copy()
        size = np.linalg.norm(table[had_own], axis=1).mean()
        near, is_near = _near(prepared.interactions, fresh, vectors)
        table[fresh[is_near]] = size * near[is_near]
        values, has_values = _of_features(model, fresh, rows["item_values.weight"] >= 0)
        table[fresh[has_values]] = values[has_values]
        model.weights = model.weights | {"item_embedding": table}
    return model


def with_replay(
    interactions: Interactions, is_new: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The new events, and the histories of other users drawn at random, who would be forgotten.

    Rehearsal (Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal", 1995).

    Parameters
    ----------
    interactions : Interactions
    is_new : ndarray of shape (n_interactions,), bool
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n_interactions,), bool
        Beside the new ones at most `REPLAY` times as many as new ones have a past.
    """
    lengths, is_first = interactions.lengths, np.zeros(len(is_new), dtype=bool)
    is_first[interactions.offsets[:-1][lengths > 0]] = True
    n_replayed = REPLAY * (is_new & ~is_first).sum()
    has_new = np.zeros(len(lengths), dtype=bool)
    has_new[interactions.rows_at(np.flatnonzero(is_new))] = True
    users = rng.permutation(np.flatnonzero(~has_new))
    is_drawn = np.zeros(len(lengths), dtype=bool)
    is_drawn[users[np.cumsum(lengths[users]) <= n_replayed]] = True
    return is_new | np.repeat(is_drawn, lengths)


def _near(
    interactions: Interactions, items: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Direction of the known items next to each of ``items``, and whether there are any."""
    offsets, codes = interactions.offsets, interactions.items
    places = np.flatnonzero(np.isin(codes, items))
    users = interactions.rows_at(places)
    total = np.zeros((len(items), vectors.shape[1]), dtype=np.float32)
    for step in (*range(-NEAR, 0), *range(1, NEAR + 1)):
        there = places + step
        legal = (there >= offsets[users]) & (there < offsets[users + 1])
        mine, theirs = codes[places[legal]], codes[there[legal]]
        known = theirs < len(vectors)
        rows = np.searchsorted(items, mine[known])
        np.add.at(total, rows, vectors[theirs[known]])
    norms = np.linalg.norm(total, axis=1)
    return total / np.maximum(norms, 1e-12)[:, None], norms > 0


def _of_features(
    model: FittedModel, items: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors that the known feature values give to items, and whether they have any."""
    matrix = model.item_matrix[items][:, known]
    weights = model.weights.get("item_values.weight", np.zeros((0, model.config.embedding_dim)))
    values = matrix @ weights[known]
    others = np.maximum(1 - model.item_share[items], 1e-12)  # none without features
    return values / others[:, None], np.diff(matrix.indptr) > 0
