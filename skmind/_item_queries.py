"""A fitted model → answers about items: what is like them, whom they suit, why they won."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pandas as pd

from ._checks import check_count
from ._model import FittedModel
from .data.ids import IdEncoder
from .data.interactions import Interactions
from .data.prepare import result_name
from .data.ragged import Ragged
from .exceptions import UnknownIdError
from .nn.inference import explain
from .nn.network import MINDNet
from .retrieval.base import Index, TopK
from .retrieval.search import nearest_users


class ItemQueries:
    """The part of `FittedRecommender` that is asked about items."""

    items_: np.ndarray
    item_embeddings_: np.ndarray
    n_jobs: int | None
    _ready: Callable[[], tuple[FittedModel, MINDNet, Index]]

    def similar_items(self, item_ids: Any, k: int = 10) -> pd.DataFrame:
        """The items with the most similar vectors.

        Parameters
        ----------
        item_ids : list or array of known ids
        k : int, default=10

        Returns
        -------
        DataFrame
            Columns item, ``similar_item_id``, ``score`` (cosine) and ``rank`` (from 1).

        Raises
        ------
        UnknownIdError
            If ``fit`` has not seen an item.
        """
        model, _, index = self._ready()
        codes = _known_codes(model.items, item_ids)
        k = min(check_count(k, "k"), len(model.items))
        itself = Ragged(codes, np.arange(len(codes) + 1))
        queries = self.item_embeddings_[codes][:, None, :]
        mask = np.ones((len(codes), 1), dtype=bool)
        hits = index.search(queries, mask, k, itself, None, self.n_jobs)
        item = result_name(model.schema.item, "item_id")
        found = ("similar_item_id", self.items_)
        return top_k_table(hits, (item, self.items_[codes]), found).drop(columns="interest")

    def audience(self, item_ids: Any, k: int = 10, *, exclude_seen: bool = True) -> pd.DataFrame:
        """The users who have an interest nearest an item.

        Parameters
        ----------
        item_ids : list or array of known ids
        k : int, default=10
            Users an item, at least 1.
        exclude_seen : bool, default=True
            Leave out those in whose history the item is.

        Returns
        -------
        DataFrame
            Columns item, user, ``score`` (the cosine that `recommend` gives), ``rank`` (from 1)
            and ``interest``, items in the order asked; exactly ``k`` rows each unless fewer users
            have an interest and are eligible.

        Raises
        ------
        UnknownIdError
            If ``fit`` has not seen an item.
        """
        model, net, _ = self._ready()
        codes = _known_codes(model.items, item_ids)
        k = min(check_count(k, "k"), len(model.users))
        everyone = np.arange(len(model.users))
        interests, mask = model.encode(net, model.interactions, model.profile_rows(everyone))
        seen = _users_of(codes, model.interactions, exclude_seen)
        queries = self.item_embeddings_[codes]
        hits = nearest_users(queries, interests, mask, k, seen, self.n_jobs)
        item = result_name(model.schema.item, "item_id")
        user = result_name(model.schema.user, "user_id")
        return top_k_table(hits, (item, self.items_[codes]), (user, model.users.ids))

    def explain(self, user_id: Any, item_id: Any) -> pd.DataFrame:
        """Which interest wins an item for a user, and what the user did that speaks for it.

        Parameters
        ----------
        user_id, item_id : known ids

        Returns
        -------
        DataFrame
            One row a history item, the largest contribution first: user, item, ``interest``,
            ``history_item_id``, ``weight`` in the interest (they add up to 1) and
            ``contribution``: they add up to the score, less what user features and, for the
            first interest, the sequence encoder add.

        Raises
        ------
        UnknownIdError
            If ``fit`` has not seen the user or the item.
        """
        model, net, _ = self._ready()
        user = _known_codes(model.users, [user_id])
        item = _known_codes(model.items, [item_id])
        window, _ = model.interactions.last_windows(user, model.config.max_history)
        window = window[window >= 0]
        found = explain(net, window, int(item[0]), model.profile_rows(user))
        order = np.argsort(-found.contributions, kind="stable")
        return pd.DataFrame(
            {
                result_name(model.schema.user, "user_id"): model.users.ids[
                    np.repeat(user, len(order))
                ],
                result_name(model.schema.item, "item_id"): self.items_[np.repeat(item, len(order))],
                "interest": found.interest,
                "history_item_id": self.items_[window[order]],
                "weight": found.weights[order],
                "contribution": found.contributions[order],
            }
        )


def top_k_table(
    hits: TopK, asked: tuple[Hashable, np.ndarray], found: tuple[Hashable, np.ndarray]
) -> pd.DataFrame:
    """TopK as a long frame.

    Parameters
    ----------
    hits : TopK
    asked : name, ndarray of shape (B,)
        The id of each row.
    found : name, ndarray of shape (n,)
        The ids that the codes stand for.
    """
    rows, ranks = np.nonzero(hits.codes >= 0)
    return pd.DataFrame(
        {
            asked[0]: asked[1][rows],
            found[0]: found[1][hits.codes[rows, ranks]],
            "score": hits.scores[rows, ranks],
            "rank": ranks + 1,
            "interest": hits.interests[rows, ranks],
        }
    )


def _users_of(codes: np.ndarray, interactions: Interactions, wanted: bool) -> Ragged:
    """The users of each item; nobody, unless ``wanted``."""
    distinct, rows = np.unique(codes, return_inverse=True)
    events = np.flatnonzero(np.isin(interactions.items, distinct if wanted else []))
    owners = interactions.rows_at(events)
    of = np.searchsorted(distinct, interactions.items[events])
    return Ragged.from_pairs(of, owners, len(distinct)).take(rows)


def _known_codes(encoder: IdEncoder, ids: Any) -> np.ndarray:
    """Codes of ids that must all be known."""
    codes = encoder.encode(ids)
    if (codes < 0).any():
        first = list(ids)[int((codes < 0).argmax())]
        raise UnknownIdError(
            f"the {encoder.name} {first!r} was not in fit; {encoder.name}s_ has those that were"
        )
    return codes
