"""A fitted model → vectors, recommendations, explanations and scores, in the caller's ids."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ._checks import check_count, check_option, check_real, warn
from ._item_queries import ItemQueries, top_k_table
from ._model import FittedModel
from .data.histories import read_histories
from .data.ids import IdEncoder
from .data.interactions import Interactions
from .data.parquet import ParquetTable, is_path
from .data.prepare import profile_rows, read_column, read_rows, result_name
from .data.ragged import Ragged
from .data.scoring_task import scoring_task
from .data.tables import column_names, id_array, is_frame
from .exceptions import IgnoredDataWarning, InvalidInputError, UnknownIdError
from .nn.device import drop_forked_threads, resolve_device
from .nn.network import MINDNet
from .persistence import model as persistence
from .persistence.onnx import export
from .retrieval.approximate import ApproximateIndex
from .retrieval.base import Index, TopK
from .retrieval.calibration import N_USERS, Plan, Sample, recalls
from .retrieval.exact import ExactIndex
from .retrieval.query import (
    RecommendQuery,
    eligible_items,
    read_quotas,
    read_weights,
    warn_of_shortage,
)
from .retrieval.search import retrieve
from .scoring import _UNSEEN, _find_ranks, _mean_values

AUTO_EXACT_ITEMS = 1_000_000  # measured by benchmarks/speed/index_crossover.py
SCORE_K = 10
OUTPUTS = "frame", "arrays"
_BUILDING: dict[int, threading.Lock] = {}  # held while network and index are rebuilt


class FittedRecommender(
    ItemQueries, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """What can be asked of a recommender after ``fit``; `MINDRecommender` adds the fitting."""

    _model: FittedModel
    _net: MINDNet
    _index: Index
    users_: np.ndarray
    items_: np.ndarray
    item_counts_: np.ndarray
    item_embeddings_: np.ndarray
    index: str
    n_trees: int
    search_k: int | None
    transform_history: str
    device: str

    @property
    def index_(self) -> str:
        """How items are searched since `fit`: "exact", "annoy" or "faiss"."""
        check_is_fitted(self, "items_")
        return self._model.plan.kind

    def _plan_index(self) -> None:
        """Choose, build and calibrate the index; to be called by `fit`."""
        kind, n_items = self.index, len(self.item_embeddings_)
        if kind == "auto":
            kind = "exact" if n_items <= AUTO_EXACT_ITEMS else "annoy"
        plan = Plan(kind, self.n_trees, self.search_k, self._model.seed)
        self._index = plan.build(self.item_embeddings_)
        if isinstance(self._index, ApproximateIndex) and self.search_k is None:
            sample = self._sample(slice(N_USERS))
            plan, self._index = plan.calibrated(self._index, sample, self.n_jobs)
        self._model.plan = plan

    def _sample(self, part: slice) -> Sample:
        """A part of the users with a history, in an order that the seed draws."""
        model = self._model
        known = np.flatnonzero(model.interactions.lengths)
        known = np.random.default_rng(model.seed).permutation(known)[part]
        seen = model.interactions.take(known)
        interests, mask = model.encode(self._net, seen, model.profile_rows(known))
        return Sample(interests, mask, Ragged(seen.items, seen.offsets))

    def _set_model(self, model: FittedModel, item_embeddings: np.ndarray) -> None:
        """Store the fitted state, and what of it is public."""
        self._model = model
        self.users_, self.items_ = model.users.ids, model.items.ids
        self.item_counts_ = model.prepared.counts
        self.item_embeddings_ = item_embeddings
        self._n_features_out = model.config.n_interests * model.config.embedding_dim

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_net", None)  # both are rebuilt from the arrays of `_model` on first use
        state.pop("_index", None)
        state.pop("_moments", None)  # as large as the weights, and only training asks for it
        return state

    def _ready(self) -> tuple[FittedModel, MINDNet, Index]:
        check_is_fitted(self, "items_")
        drop_forked_threads()
        if not {"_net", "_index"} <= vars(self).keys():
            # A lock for each process: a thread that holds one may be missing in a forked child.
            with _BUILDING.setdefault(os.getpid(), threading.Lock()):
                if "_net" not in vars(self):
                    device = resolve_device(self.device, fall_back=True)
                    self._net = self._model.network_to_ask().to(device)
                if "_index" not in vars(self):
                    self._index = self._model.plan.build(self.item_embeddings_)
        return self._model, self._net, self._index

    def _check_table(self, X: Any, *, reset: bool = False) -> Any:
        """``X`` as a frame or a 2-D array; its columns are those of ``fit``."""
        if is_path(X):
            X = ParquetTable(X)
        if isinstance(X, list | tuple):
            X = np.array(X, dtype=object)  # keeps the kind of each id
        if isinstance(X, np.ndarray) and X.dtype.names:
            X = pd.DataFrame(X)
        if type(X) is dict:  # some sparse matrices are dicts by inheritance
            raise InvalidInputError(
                "the table of interactions is a dict; pass a DataFrame (pandas.DataFrame(X)), a "
                "2-D array, or a list of rows"
            )
        if not is_frame(X):
            return validate_data(
                self,
                X,
                dtype=None,
                ensure_all_finite=False,  # features may be missing; ids and times are checked later
                ensure_min_features=2 if reset else 1,
                reset=reset,
            )
        if len(column_names(X)) and not len(X):
            raise InvalidInputError("the table of interactions has no rows; pass at least one")
        named = X.head() if isinstance(X, ParquetTable) else X
        validate_data(self, named, skip_check_array=True, reset=reset)
        return X

    # files

    def save(self, path: str | Path, *, index: bool = False) -> str:
        """Write the fitted model to a directory, without pickle.

        What the directory held before is replaced whole or not at all, whenever the process dies.
        One process at a time may save to it.

        Parameters
        ----------
        path : str or Path
            Made if it isn't there; its parent must be. A directory that holds anything but a model
            is refused.
        index : bool, default=False
            Store the Annoy index too, so that `load` need not build it again.

        Returns
        -------
        str
            The sha256 of the manifest: `load` takes it to make sure that nothing was changed.

        Raises
        ------
        ModelWriteError
            If the directory can't be written to, or the disk is full.
        InvalidInputError
            If ids, feature values or parameters are of a type that is not stored (dates in object
            columns, a RandomState), or ``index=True`` and there is none.
        """
        check_is_fitted(self, "items_")
        return persistence.save(self, path, index)

    @classmethod
    def load(
        cls, path: str | Path, *, manifest_sha256: str | None = None, mmap: bool = False
    ) -> Self:
        """Read a model that `save` wrote; nothing in it is executed.

        Parameters
        ----------
        path : str or Path
        manifest_sha256 : str or None, default=None
            What `save` returned, kept elsewhere: then no change at all goes unnoticed, and a stored
            index is mapped rather than built again.
        mmap : bool, default=False
            Map the arrays from the files, copy-on-write, so that processes share their memory. A
            file that is shortened while it is mapped kills the process; `save` never does that.

        Returns
        -------
        estimator
            Its answers are bit-equal to those of the one that was saved, on the same machine.

        Raises
        ------
        ModelFileError
            If there is no model, or it is damaged, forged or of another format or class.

        Warns
        -----
        DeviceFallbackWarning
            If ``device`` names a CUDA device and there is none: the CPU answers.
        """
        return persistence.load(cls, path, manifest_sha256, mmap)

    # vectors

    def transform(self, X: Any) -> np.ndarray:
        """The interests of each row's user, concatenated.

        Parameters
        ----------
        X : frame or array with the columns of ``fit``

        Returns
        -------
        ndarray of shape (n_rows, n_interests * embedding_dim), float32
            Zeros for users that ``fit`` has not seen, and for interests that a short history does
            not have. With ``transform_history="past"``, made from what the user did in ``fit``
            strictly before the time of the row.

        Raises
        ------
        InvalidInputError
            If ``transform_history="past"`` and ``fit`` or ``X`` has no times.
        """
        model = self._ready()[0]
        X = self._check_table(X)
        if self.transform_history == "past":
            interests = self._past_interests(X)
        else:
            ids = read_column(X, model.schema, "user")
            codes, rows = np.unique(model.users.encode(ids), return_inverse=True)
            interests = self._encode_users(codes)[0][rows]
        return interests.reshape(len(interests), -1)

    def _past_interests(self, X: Any) -> np.ndarray:
        """Interests of each row's user from the events before the row's time."""
        model, net, _ = self._ready()
        rows = read_rows(X, model.schema)
        if rows.times is None:
            raise InvalidInputError(
                "transform_history='past' needs times: set time_col to a column of X and fit again"
            )
        config, users = model.config, model.users.encode(rows.users)
        known = np.flatnonzero(users >= 0)
        ends = model.interactions.ends_before(users[known], rows.times[known])
        histories = model.interactions.before(ends, users[known], config.max_history)
        interests = np.zeros((len(users), config.n_interests, config.embedding_dim), np.float32)
        interests[known] = model.encode(net, histories, model.profile_rows(users[known]))[0]
        return interests

    def interests(self, user_ids: Any) -> np.ndarray:
        """Interest vectors of known users.

        Parameters
        ----------
        user_ids : list or array of ids

        Returns
        -------
        ndarray of shape (n_users, n_interests, embedding_dim), float32
            Unit length; zeros for unknown users and for interests not in use.

        Raises
        ------
        IdTypeError
            If the ids are of another kind than those of ``fit``.
        """
        model = self._ready()[0]
        return self._encode_users(model.users.encode(user_ids))[0]

    def interests_from_history(self, histories: Any, *, users: Any = None) -> np.ndarray:
        """Interest vectors of people by what they did; see `recommend_from_history`.

        Returns
        -------
        ndarray of shape (n_people, n_interests, embedding_dim), float32
        """
        return self._encode_strangers(histories, users)[2]

    def _encode_users(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Interests and mask of users by code, nothing for -1."""
        model, net, _ = self._ready()
        return model.encode(net, model.interactions.take(codes), model.profile_rows(codes))

    def _encode_strangers(
        self, histories: Any, users: Any
    ) -> tuple[np.ndarray, Interactions, np.ndarray, np.ndarray]:
        """Keys, histories, interests and mask of people who were not in ``fit``."""
        model, net, _ = self._ready()
        keys, known = read_histories(histories, model.schema, model.items)
        profile, encoder = None, model.prepared.user_features.encoder
        if users is not None and encoder.width:
            profile = profile_rows(encoder, users, model.schema, IdEncoder(keys, "user"))
        elif users is not None:
            warn(
                "users= is ignored: fit was given no user features",
                IgnoredDataWarning,
            )
        return keys, known, *model.encode(net, known, profile)

    # recommendations

    def recommend(
        self,
        user_ids: Any = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        items: Any = None,
        exclude_items: Any = None,
        unknown: str = "popular",
        interest_weights: Any = None,
        quotas: Any = None,
        diversity: float = 0.0,
        diversity_by: str | None = None,
        output: str = "frame",
    ) -> Any:
        """The best items of each user, by the interest that is nearest.

        Parameters
        ----------
        user_ids : list or array of ids, or None
            None: every known user.
        k : int, default=10
            Items a user, at least 1.
        exclude_seen : bool, default=True
            Leave out what the user did in ``fit``.
        items : list or array of ids, dict of lists, frame, or None
            Recommend only these; unknown ones are passed over. A list for each user: a dict of item
            ids by user id, or a table with the user and item columns of ``fit``. Users without an
            entry there get no item.
        exclude_items : list or array of ids, dict of lists, frame, or None
            Never recommend these; for each user, as with ``items``.
        unknown : {"popular", "error", "drop"}, default="popular"
            What users get whom ``fit`` has not seen: the most frequent items (interest -1, score
            the share of all interactions), an error, or no rows.
        interest_weights : array of shape (n_interests,) or (n_users, n_interests), or None
            Multiplies the scores of each interest, so that a score is the highest weight × cosine
            and leaves [-1, 1] with weights above 1. At least 0; 0: the interest is not used. Only
            ratios matter for the order. A weight spreads the scores of its interest: its near items
            gain by a higher one, those with a negative cosine lose. Users left without an interest
            get the most frequent items.
        quotas : "equal", array of shape (n_interests,) or (n_users, n_interests), or None
            How many of the ``k`` items each interest brings; they add up to ``k``. "equal": as many
            of each interest in use, one more of the first where ``k`` can't be divided. Of the
            items, by score, each takes a place of its nearest interest that has one left. What an
            interest can't fill, as it is not in use or runs out of items, goes to the best others.
            Not together with ``diversity``. Costs a search for each interest.
        diversity : float in [0, 1], default=0
            0 orders by score; higher values trade score for unlike items; at 1 the score only
            chooses the first item and among equals. In turn, the item with the highest
            ``(1 - diversity) · score + diversity · d`` is taken from the 5 ``k`` best ones, where
            ``d`` is the mean distance from those taken: ComiRec's aggregation (Cen et al., KDD
            2020, section 3.5), with a mean for the sum so that a value suits every ``k``.
        diversity_by : str or None, default=None
            The distance of two items. None: 1 - cosine of their vectors. The name of an item
            feature of ``fit`` that holds categories or lists of them: 1 - cosine of their sets of
            values; for single categories 0 if they are the same, else 1. An item without a value
            is at distance 1 from all.
        output : {"frame", "arrays"}, default="frame"

        Returns
        -------
        DataFrame, or (ndarray, ndarray) of shape (n_users, k)
            Columns user, item, ``score`` (cosine, times weight), ``rank`` (from 1) and
            ``interest``, users in the order asked, exactly ``k`` rows each unless fewer items are
            eligible. As arrays: ids, padded with nan or None, and scores, padded with -inf.

        Raises
        ------
        UnknownIdError
            If ``unknown="error"`` and a user is, or if none of ``items`` is known.
        IdTypeError
            If ids are of another kind than those of ``fit``.
        InvalidInputError
            If another argument is illegal.

        Warns
        -----
        ShortageWarning
            If users get fewer than ``k`` items, as no more are eligible.
        """
        model = self._ready()[0]
        check_option(unknown, "unknown", ("popular", "error", "drop"))
        check_option(output, "output", OUTPUTS)
        if user_ids is None:
            ids, codes = model.users.ids, np.arange(len(model.users))
        else:
            codes = model.users.encode(user_ids)
            ids = id_array(user_ids, "user_ids")
        strange = codes < 0
        if unknown == "error" and strange.any():
            raise UnknownIdError(
                f"{strange.sum()} of user_ids were not in fit, the first is "
                f"{pd.Index(ids[strange]).tolist()[0]!r}; use unknown='popular' or 'drop', or "
                "recommend_from_history"
            )
        seen = model.interactions.take(codes)
        wanted = RecommendQuery(
            k, exclude_seen, items, exclude_items, interest_weights, quotas, diversity, diversity_by
        )
        hits = self._retrieve(ids, *self._encode_users(codes), seen, wanted)
        if unknown == "drop":  # only now, as weights and quotas may have a row a user
            ids, hits = ids[~strange], TopK(*(part[~strange] for part in hits))
        warn_of_shortage(hits, wanted, len(model.items))
        return self._answer(ids, hits, k, output)

    def recommend_from_history(
        self,
        histories: Any,
        k: int = 10,
        *,
        users: Any = None,
        exclude_seen: bool = True,
        items: Any = None,
        exclude_items: Any = None,
        interest_weights: Any = None,
        quotas: Any = None,
        diversity: float = 0.0,
        diversity_by: str | None = None,
        output: str = "frame",
    ) -> Any:
        """`recommend` for people who were not in ``fit``, without training.

        Parameters
        ----------
        histories : list of lists, dict of lists, or frame
            Item ids oldest first, a list a person; or interactions with the columns of ``fit``.
            Items that ``fit`` has not seen are passed over; who has none left gets the most
            frequent items.
        users : frame or None
            Their features, keyed by ``user_col``: the dict's keys, the frame's user ids, or
            positions 0, 1, … in the list. Values that ``fit`` has not seen count as missing.
        k, exclude_seen, items, exclude_items, interest_weights, quotas, diversity, diversity_by, \
output
            As in `recommend`.

        Returns
        -------
        As `recommend`; users are the keys of the dict, ids of the frame or positions in the list.
        """
        self._ready()
        check_option(output, "output", OUTPUTS)
        keys, known, interests, mask = self._encode_strangers(histories, users)
        wanted = RecommendQuery(
            k, exclude_seen, items, exclude_items, interest_weights, quotas, diversity, diversity_by
        )
        hits = self._retrieve(keys, interests, mask, known, wanted)
        warn_of_shortage(hits, wanted, len(self.items_))
        return self._answer(keys, hits, k, output)

    def _retrieve(
        self,
        users: np.ndarray,
        interests: np.ndarray,
        mask: np.ndarray,
        seen: Interactions,
        wanted: RecommendQuery,
    ) -> TopK:
        model, _, index = self._ready()
        by, features = wanted.diversity_by, model.prepared.item_features
        k = check_count(wanted.k, "k")
        diversity = check_real(wanted.diversity, "diversity", 0, 1)
        values = None if by is None else features.values_of(by, "diversity_by")
        if wanted.interest_weights is not None:
            weights = read_weights(wanted.interest_weights, mask)
            interests, mask = interests * weights[:, :, None], mask & (weights > 0)
        quotas = None if wanted.quotas is None else read_quotas(wanted.quotas, k, mask)
        if quotas is not None and diversity:
            raise InvalidInputError(
                f"quotas={wanted.quotas!r} and diversity={diversity:g} can't be combined; leave "
                "one out"
            )
        excluded, allowed, lists = eligible_items(wanted, seen, users, model.schema, model.items)
        return retrieve(
            index,
            interests,
            mask,
            k,
            excluded,
            counts=model.prepared.counts,
            allowed=allowed,
            lists=lists,
            quotas=quotas,
            diversity=diversity,
            values=values,
            n_jobs=self.n_jobs,
        )

    def index_recall(self, k: int = 10, n_users: int = 256) -> float:
        """Share of the items of exact search that the index finds.

        Parameters
        ----------
        k : int, default=10
            Items a user, at least 1; what they did in `fit` is excluded.
        n_users : int, default=256
            Known users it is measured on, drawn at random but the same in every call; others than
            those the index was calibrated on, where there are enough.

        Returns
        -------
        float
            Mean over the users; 1 for exact search.
        """
        model, _, index = self._ready()
        k = min(check_count(k, "k"), len(model.items))
        sample = self._sample(slice(-check_count(n_users, "n_users"), None))
        truth = ExactIndex(index.vectors).search(*sample[:2], k, sample.seen, None, self.n_jobs)
        found = index.search(*sample[:2], k, sample.seen, None, self.n_jobs)
        return float(recalls(found, truth).mean())

    def _answer(self, ids: np.ndarray, hits: TopK, k: int, output: str) -> Any:
        """TopK in the caller's ids, as a frame or as arrays."""
        if output == "arrays":
            hits = hits.widened(k)
            return self._item_ids(hits.codes), hits.scores
        schema = self._model.schema
        user = result_name(schema.user, "user_id")
        item = result_name(schema.item, "item_id")
        return top_k_table(hits, (user, ids), (item, self.items_))

    def _item_ids(self, codes: np.ndarray) -> np.ndarray:
        """Ids of item codes; nan, NaT or None for -1."""
        ids, short = self.items_[codes], codes < 0
        if not short.any():
            return ids
        if ids.dtype.kind in "iufb":
            return np.where(short, np.nan, ids.astype(np.float64))
        ids[short] = np.datetime64("NaT") if ids.dtype.kind == "M" else None
        return ids

    def predict(self, X: Any, *, k: int = 10) -> np.ndarray:
        """The best ``k`` items of each row's user, seen ones excluded.

        Parameters
        ----------
        X : frame or array with the columns of ``fit``
        k : int, default=10

        Returns
        -------
        ndarray of shape (n_rows, k)
            Item ids, best first; nan or None where a user runs out of items. Users that ``fit``
            has not seen get the most frequent items.
        """
        model = self._ready()[0]
        k = check_count(k, "k")
        ids = read_column(self._check_table(X), model.schema, "user")
        codes, rows = np.unique(model.users.encode(ids), return_inverse=True)
        seen = model.interactions.take(codes)
        hits = self._retrieve(codes, *self._encode_users(codes), seen, RecommendQuery(k))
        return self._item_ids(hits.widened(k).codes)[rows]

    def export_onnx(self, path: Any) -> None:
        """Write a directory that serves recommendations without torch and skmind.

        Needs ``pip install skmind[onnx]``. Before the directory appears, what onnxruntime makes of
        the graph is compared with what torch makes of the network, for up to 257 histories of up
        to ``max_history`` items, empty ones among them.

        Parameters
        ----------
        path : str or path-like
            Of a new directory, in one that exists. It gets

            - ``user_tower.onnx``: ``history``, int64 of shape (batch, length), item codes newest
              first, in the padding any; ``lengths``, int64 of shape (batch,); and, if ``fit`` was
              given user features, ``features``, float32 of shape (batch, n_values) → ``interests``,
              float32 of shape (batch, n_interests, embedding_dim), of unit length, and ``mask``,
              bool of shape (batch, n_interests), which are in use. The length is 1 to
              ``max_history``. Codes must be checked before: onnxruntime counts negative ones from
              the end.
            - ``item_vectors.npy``: as `item_embeddings_`; the graph reads this file too;
            - ``item_ids.npy`` and ``item_counts.npy``: `items_` and `item_counts_`;
            - ``about.json``: ``max_history``, and the values that the columns of ``features``
              stand for.

        Raises
        ------
        ImportError
            If onnxruntime or onnxscript is not installed.
        InvalidInputError
            If ``path`` exists, or if item ids or values of user features are neither numbers nor
            text.
        ExportError
            If the graph differs from the network by more than 1e-5.
        """
        check_is_fitted(self, "items_")
        export(self._model, path)

    def target_ranks(
        self,
        X: Any,
        k: int = 10,
        *,
        unseen_users: str = "fold_in",
        exclude_seen: bool = True,
        sample_weight: Any = None,
    ) -> pd.DataFrame:
        """Where in a user's recommendations the events of ``X`` are; what metrics are made from.

        Users of ``fit``: their rows in ``X`` are to be found, from the history of ``fit``. What is
        to be found is never excluded, so that data of ``fit`` can be ranked too.

        Parameters
        ----------
        X : frame or array with the columns of ``fit``
        k : int, default=10
            Recommendations a user, at least 1.
        unseen_users : {"fold_in", "skip", "popular", "error"}, default="fold_in"
            Users that ``fit`` has not seen. "fold_in": of those with at least two rows the last
            one is to be found, from those before; "skip": left out; "popular": all their rows are
            to be found among the most frequent items; "error": an error.
        exclude_seen : bool, default=True
            Leave out the rest of the user's history.
        sample_weight : array of shape (n_rows,) or None

        Returns
        -------
        DataFrame
            One row for each user and distinct item to be found: user, item, ``rank`` (from 1; nan
            if it is not among the first ``k``, or ``fit`` has not seen the item),
            ``history_length``, ``item_count`` (interactions in ``fit``) and ``weight``, the mean
            over the user's rows.

        Raises
        ------
        UnknownIdError
            If ``unseen_users="error"`` and there are some.
        InvalidInputError
            If there is not one finite weight of at least 0 a row, or an argument is illegal.

        Warns
        -----
        NothingToScoreWarning
            If there is nothing to be found.
        """
        model, net, _ = self._ready()
        check_option(unseen_users, "unseen_users", _UNSEEN)
        rows = read_rows(self._check_table(X), model.schema)
        users, items = model.users.encode(rows.users), model.items.encode(rows.items)
        task = scoring_task(rows, users, items, model.interactions, sample_weight, unseen_users)
        interests, mask = model.encode(net, task.histories, model.profile_rows(task.users))
        hits = self._retrieve(
            task.users, interests, mask, task.seen(), RecommendQuery(k, exclude_seen)
        )
        counts = np.append(model.prepared.counts, 0)  # the last is that of an unknown item, -1
        return pd.DataFrame(
            {
                result_name(model.schema.user, "user_id"): rows.users[task.targets],
                result_name(model.schema.item, "item_id"): rows.items[task.targets],
                "rank": _find_ranks(hits.codes, task.target_rows, task.target_items),
                "history_length": task.histories.lengths[task.target_rows],
                "item_count": counts[task.target_items],
                "weight": task.weights[task.target_rows],
            }
        )

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean NDCG@10 over users, all items ranked, seen ones excluded, unseen users folded in.

        See `target_ranks` for what is to be found, and `skmind.scoring.make_ranking_scorer` for
        other metrics.

        Parameters
        ----------
        X : frame or array with the columns of ``fit``
        y : None
            Ignored.
        sample_weight : array of shape (n_rows,) or None
            A user's weight is the mean over the user's rows.

        Returns
        -------
        float
            nan if there is nothing to score.

        Raises
        ------
        InvalidInputError
            If there is not one finite weight of at least 0 a row, or all that count are 0.

        Warns
        -----
        NothingToScoreWarning
            If no user of ``X`` was in ``fit`` or has two rows.
        """
        targets = self.target_ranks(X, SCORE_K, sample_weight=sample_weight)
        return _mean_values(targets, {"ndcg": ("ndcg", SCORE_K)})["ndcg"]
