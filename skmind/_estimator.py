"""MINDRecommender: tables and ids → codes, work handed to the modules below, codes → ids."""

from __future__ import annotations

import warnings
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from ._fitted import FittedModel
from ._retrieval import retrieve
from ._training import Trainer, TrainingSettings
from ._validation import check_count, check_option, check_real, column_names, id_array, is_frame
from .data.encoder import IdEncoder
from .data.interactions import Interactions
from .data.prepare import Schema, prepare, profile_rows, read_column, read_rows
from .data.queries import read_histories, score_task
from .data.sampling import STRATEGIES
from .exceptions import (
    InvalidInputError,
    NothingToLearnWarning,
    NothingToScoreWarning,
    UnknownIdError,
)
from .index.annoy import AnnoyIndex
from .index.exact import ExactIndex
from .index.protocol import Excluded, Hits, Index
from .metrics import _hits, _ndcg
from .nn.encode import explain, unit_items
from .nn.model import MINDNet, NetConfig

AUTO_EXACT_ITEMS = 200_000  # measured by benchmarks/index_crossover.py
SCORE_K = 10
SIZES = (
    "n_interests",
    "embedding_dim",
    "max_history",
    "n_routing_iter",
    "adaptive_interests",
)


class MINDRecommender(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Multi-interest recommender: K interest vectors a user, by capsule routing over the history.

    A torch implementation of MIND (Li et al., "Multi-Interest Network with Dynamic Routing for
    Recommendation at Tmall", CIKM 2019, arXiv 1904.08030) with the departures that `MINDNet`
    lists. ``fit`` takes a table of interactions; everything else happens inside.

    Parameters
    ----------
    user_col, item_col : str or int, default="user_id", "item_id"
        Columns of the ids: a name, or a position. In an array without column names, names stand
        for the positions 0 and 1. Ids are scalars of any kind: numbers, text, dates.
    time_col : str, int or None, default="timestamp"
        Column of the times, numbers or datetimes; position 2 of an array if it has three columns.
        None: the order of the rows is the order in time. Rows of equal time keep their order.
    user_features, item_features : list of str, or None, default=None
        Feature columns, from the tables ``users`` and ``items`` of `fit` or else from its ``X``,
        where the newest row of each id counts. None: every column of the tables but the ids.
    min_item_count : int, default=1
        Items with fewer interactions are left out. At least 1.
    n_interests : int, default=4
        Interest vectors a user, K. At least 1. More: finer interests, slower.
    adaptive_interests : bool, default=True
        Users with short histories have fewer: ``max(1, min(K, floor(log2(n))))`` for ``n`` items.
    embedding_dim : int, default=64
        Length of every vector. At least 1. More: better on large data, slower and larger.
    max_history : int, default=50
        Newest interactions that interests are made from. At least 1.
    n_routing_iter : int, default=3
        Iterations of dynamic routing. At least 1.
    label_attention : "mixture", "hard" or float > 0, default="mixture"
        Which interests are trained on a target. "mixture": all, as a mixture in which they compete
        with each other for every item, as in retrieval. As in the paper: "hard", only the nearest;
        a number, all, weighted by the softmax of it times their similarity to the target. With
        these, interests are further apart but find less.
    temperature : float > 0, default=0.1
        Similarities are divided by it in the loss. Lower: more weight on the hardest negatives.
    dropout : float in [0, 1), default=0.2
        Share of history items left out at random in training. Higher: less overfitting.
    n_negatives : int or "all", default=1024
        Negatives that the samples of a batch share; "all", or at least the number of items: the
        full softmax. More: better and slower.
    negative_sampling : {"uniform", "popularity", "in_batch", "mixed"}, default="uniform"
        What negatives are drawn from: all items alike, items by frequency, the targets of the
        batch (``n_negatives`` is not used), or these and uniform ones. All are corrected for how
        often an item is expected, so that they estimate the same full softmax.
    max_epochs : int, default=12
        Passes over the data; the learning rate falls linearly over them to a tenth.
    batch_size : int or "auto", default="auto"
        Samples a step; a sample is an interaction and the history before it. "auto": a hundredth
        of the samples, from 32 to 1,024.
    learning_rate : float > 0, default=0.01
        Initial step size of Adam.
    weight_decay : float >= 0, default=0
        L2 penalty of Adam.
    early_stopping : bool, default=False
        Hold out the last interaction of ``validation_fraction`` of the users, stop when its
        NDCG@10 has not improved for ``n_iter_no_change`` epochs, and restore the best weights.
    validation_fraction : float in (0, 1), default=0.1
        Share of the users with at least three interactions.
    n_iter_no_change : int, default=3
        Epochs without improvement before stopping. At least 1.
    warm_start : bool, default=False
        `fit` starts from the weights of the last one, for the items that both know. Sizes
        (``n_interests``, ``embedding_dim``, ``max_history``) must not change.
    transform_history : {"full", "past"}, default="full"
        `transform` uses the whole history that `fit` saw, or only what came strictly before the
        row's time: what a model that is trained on the result may know.
    index : {"auto", "exact", "annoy"}, default="auto"
        How items are searched; "auto": exactly up to 200,000 items, by Annoy above.
    n_trees : int, default=50
        Trees of the Annoy index. At least 1. More: better recall, larger.
    search_k : int or None, default=None
        Nodes that Annoy visits a query; None: ``n_trees`` × items asked for. More: better recall,
        slower.
    device : str, default="auto"
        "cpu", "cuda", "cuda:1"; "auto": a CUDA device if there is one.
    random_state : int, RandomState or None, default=None
        An int makes fits repeatable: bit-equal on one machine at one thread.
    verbose : int, default=0
        1 shows a progress bar an epoch.

    Attributes
    ----------
    users_, items_ : ndarray of shape (n_users,), (n_items,)
        Known ids in the order of their codes.
    item_embeddings_ : ndarray of shape (n_items, embedding_dim), float32
        Unit item vectors; the score of an item is its highest cosine to an interest.
    item_counts_ : ndarray of shape (n_items,), int64
        Interactions of each item.
    history_ : list of dict
        One an epoch: ``epoch``, ``loss``, ``seconds``, ``samples_per_second``, and
        ``validation_ndcg`` when stopping early.
    n_epochs_ : int
        Epochs that were run.
    n_features_in_ : int
        Columns of ``X`` in `fit`.
    feature_names_in_ : ndarray of str
        Their names, if all are text.

    Examples
    --------
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> data = make_interactions(n_users=200, random_state=0)
    >>> rec = MINDRecommender(max_epochs=2, random_state=0).fit(data.interactions)
    >>> rec.recommend([0, 1], k=3)[["user_id", "rank"]].to_numpy().tolist()
    [[0, 1], [0, 2], [0, 3], [1, 1], [1, 2], [1, 3]]
    >>> rec.transform(data.interactions).shape == (len(data.interactions), 4 * 64)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "user_col": [str, Integral],
        "item_col": [str, Integral],
        "time_col": [str, Integral, None],
        "user_features": ["array-like", None],
        "item_features": ["array-like", None],
        "min_item_count": [Interval(Integral, 1, None, closed="left")],
        "n_interests": [Interval(Integral, 1, None, closed="left")],
        "adaptive_interests": ["boolean"],
        "embedding_dim": [Interval(Integral, 1, None, closed="left")],
        "max_history": [Interval(Integral, 1, None, closed="left")],
        "n_routing_iter": [Interval(Integral, 1, None, closed="left")],
        "label_attention": [
            StrOptions({"mixture", "hard"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "n_negatives": [StrOptions({"all"}), Interval(Integral, 1, None, closed="left")],
        "negative_sampling": [StrOptions(set(STRATEGIES))],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "transform_history": [StrOptions({"full", "past"})],
        "index": [StrOptions({"auto", "exact", "annoy"})],
        "n_trees": [Interval(Integral, 1, None, closed="left")],
        "search_k": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        user_col: str | int = "user_id",
        item_col: str | int = "item_id",
        time_col: str | int | None = "timestamp",
        user_features: Any = None,
        item_features: Any = None,
        min_item_count: int = 1,
        n_interests: int = 4,
        adaptive_interests: bool = True,
        embedding_dim: int = 64,
        max_history: int = 50,
        n_routing_iter: int = 3,
        label_attention: str | float = "mixture",
        temperature: float = 0.1,
        dropout: float = 0.2,
        n_negatives: int | str = 1024,
        negative_sampling: str = "uniform",
        max_epochs: int = 12,
        batch_size: int | str = "auto",
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        warm_start: bool = False,
        transform_history: str = "full",
        index: str = "auto",
        n_trees: int = 50,
        search_k: int | None = None,
        device: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.time_col = time_col
        self.user_features = user_features
        self.item_features = item_features
        self.min_item_count = min_item_count
        self.n_interests = n_interests
        self.adaptive_interests = adaptive_interests
        self.embedding_dim = embedding_dim
        self.max_history = max_history
        self.n_routing_iter = n_routing_iter
        self.label_attention = label_attention
        self.temperature = temperature
        self.dropout = dropout
        self.n_negatives = n_negatives
        self.negative_sampling = negative_sampling
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.transform_history = transform_history
        self.index = index
        self.n_trees = n_trees
        self.search_k = search_k
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags

    def fit(self, X: Any, y: Any = None, *, users: Any = None, items: Any = None) -> Self:
        """Learn item vectors and keep the history of every user.

        Parameters
        ----------
        X : frame (pandas, polars, pyarrow table) or array of shape (n_interactions, n_columns)
            One row an interaction; never changed.
        y : None
            Ignored.
        users, items : frame or None
            Features keyed by ``user_col`` and ``item_col``, one row an id. Text, category, bool
            and integer columns are categories, float columns numbers, cells of lists several
            categories at once. Ids that only a table knows are known: such items can be
            recommended and such users get recommendations, through their features.

        Returns
        -------
        self

        Raises
        ------
        InvalidInputError
            If a column or id is missing, a time is missing or text, a feature is infinite, or a
            feature table has an id twice. The estimator stays as it was.
        IdTypeError
            If ids are no scalars, or those of a feature table of another kind than those of X.

        Warns
        -----
        NothingToLearnWarning
            If no user has two interactions; the vectors keep their initial values.
        """
        before = dict(self.__dict__)
        try:
            self._fit(X, users, items)
        except BaseException:  # an interrupt too: a fit that fails changes nothing
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def _fit(self, X: Any, users: Any, items: Any) -> None:
        before: FittedModel | None = getattr(self, "_model", None)
        self._validate_params()
        device = _resolve_device(self.device)
        X = self._check_table(X, reset=True)
        schema = Schema(
            self.user_col,
            self.item_col,
            self.time_col,
            None if self.user_features is None else tuple(self.user_features),
            None if self.item_features is None else tuple(self.item_features),
        )
        prepared = prepare(X, schema, users=users, items=items, min_item_count=self.min_item_count)
        sizes = {name: getattr(self, name) for name in SIZES}
        config = NetConfig(n_items=len(prepared.items), **sizes)
        rng = np.random.default_rng(_entropy(self.random_state))
        model = FittedModel.start(prepared, schema, config, int(rng.integers(2**31)))
        if self.warm_start and before is not None:
            model.continue_from(before)
        net = model.network().to(device)
        self.history_ = self._train(net, model, rng)
        model.keep(net)
        self.n_epochs_ = len(self.history_)
        self.users_, self.items_ = prepared.users.ids, prepared.items.ids
        self.item_counts_ = prepared.counts
        self.item_embeddings_ = unit_items(net)
        self._n_features_out = config.n_interests * config.embedding_dim
        self._model, self._net = model, net
        self._index = self._new_index()

    def _train(
        self, net: MINDNet, model: FittedModel, rng: np.random.Generator
    ) -> list[dict[str, Any]]:
        if model.interactions.lengths.max() < 2 or model.config.n_items < 2:
            warnings.warn(
                "nothing to learn: no user has two interactions, or there is one item only; "
                "the vectors stay as they were initialised",
                NothingToLearnWarning,
                stacklevel=4,
            )
            return []
        settings = TrainingSettings(
            **{f.name: getattr(self, f.name) for f in fields(TrainingSettings)}
        )
        profile = model.profile_rows(np.arange(len(model.users)))
        return Trainer(net, profile, settings, rng).fit(model.interactions)

    def _new_index(self) -> Index:
        vectors = self.item_embeddings_
        if self.index == "exact" or (self.index == "auto" and len(vectors) <= AUTO_EXACT_ITEMS):
            return ExactIndex(vectors)
        return AnnoyIndex(vectors, self.n_trees, self.search_k, self._model.seed)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_net", None)  # both are rebuilt from the arrays of `_model` on first use
        state.pop("_index", None)
        return state

    def _ready(self) -> tuple[FittedModel, MINDNet, Index]:
        check_is_fitted(self, "items_")
        if "_net" not in vars(self):
            self._net = self._model.network().to(_resolve_device(self.device))
        if "_index" not in vars(self):
            self._index = self._new_index()
        return self._model, self._net, self._index

    def _check_table(self, X: Any, *, reset: bool = False) -> Any:
        """``X`` as a frame or a 2-D array; its columns are those of ``fit``."""
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
        validate_data(self, X, skip_check_array=True, reset=reset)
        return X

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
        return model.encode(net, model.interactions.select(codes), model.profile_rows(codes))

    def _encode_strangers(
        self, histories: Any, users: Any
    ) -> tuple[np.ndarray, Interactions, np.ndarray, np.ndarray]:
        """Keys, histories, interests and mask of people who were not in ``fit``."""
        model, net, _ = self._ready()
        keys, known = read_histories(histories, model.schema, model.items)
        profile = None
        if users is not None and model.prepared.user_features.encoder.width:
            encoder = model.prepared.user_features.encoder
            profile = profile_rows(encoder, users, model.schema, IdEncoder(keys, "user"))
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
        diversity: float = 0.0,
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
        items : list or array of ids, or None
            Recommend only these; unknown ones are passed over.
        exclude_items : list or array of ids, or None
            Never recommend these.
        unknown : {"popular", "error", "drop"}, default="popular"
            What users get whom ``fit`` has not seen: the most frequent items (interest -1, score
            the share of all interactions), an error, or no rows.
        diversity : float in [0, 1], default=0
            0 orders by score; higher values trade score for unlike items (`diversify`).
        output : {"frame", "arrays"}, default="frame"

        Returns
        -------
        DataFrame, or (ndarray, ndarray) of shape (n_users, k)
            Columns user, item, ``score`` (cosine), ``rank`` (from 1) and ``interest``, users in
            the order asked, exactly ``k`` rows each unless fewer items are eligible. As arrays:
            ids, padded with nan or None, and scores, padded with -inf.

        Raises
        ------
        UnknownIdError
            If ``unknown="error"`` and a user is, or if none of ``items`` is known.
        IdTypeError
            If ids are of another kind than those of ``fit``.
        InvalidInputError
            If another argument is illegal.
        """
        model = self._ready()[0]
        check_option(unknown, "unknown", ("popular", "error", "drop"))
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
        if unknown == "drop":
            ids, codes = ids[~strange], codes[~strange]
        seen = model.interactions.select(codes)
        hits = self._retrieve(
            *self._encode_users(codes), k, seen, exclude_seen, items, exclude_items, diversity
        )
        return self._answer(ids, hits, output)

    def recommend_from_history(
        self,
        histories: Any,
        k: int = 10,
        *,
        users: Any = None,
        exclude_seen: bool = True,
        items: Any = None,
        exclude_items: Any = None,
        diversity: float = 0.0,
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
        k, exclude_seen, items, exclude_items, diversity, output
            As in `recommend`.

        Returns
        -------
        As `recommend`; users are the keys of the dict, ids of the frame or positions in the list.
        """
        keys, known, interests, mask = self._encode_strangers(histories, users)
        hits = self._retrieve(
            interests, mask, k, known, exclude_seen, items, exclude_items, diversity
        )
        return self._answer(keys, hits, output)

    def _retrieve(
        self,
        interests: np.ndarray,
        mask: np.ndarray,
        k: int,
        seen: Interactions,
        exclude_seen: bool,
        items: Any,
        exclude_items: Any,
        diversity: float,
    ) -> Hits:
        model, _, index = self._ready()
        k = check_count(k, "k")
        diversity = check_real(diversity, "diversity", 0, 1)
        if not exclude_seen:
            seen = seen.select(np.full(seen.n_users, -1))
        return retrieve(
            index,
            interests,
            mask,
            k,
            Excluded(seen.items, seen.offsets),
            counts=model.prepared.counts,
            allowed=_allowed(model.items, items, exclude_items),
            diversity=diversity,
        )

    def _answer(self, ids: np.ndarray, hits: Hits, output: str) -> Any:
        """Hits in the caller's ids, as a frame or as arrays."""
        if check_option(output, "output", ("frame", "arrays")) == "arrays":
            return self._item_ids(hits.codes), hits.scores
        schema = self._model.schema
        rows, ranks = np.nonzero(hits.codes >= 0)
        return pd.DataFrame(
            {
                _name(schema.user, "user_id"): ids[rows],
                _name(schema.item, "item_id"): self.items_[hits.codes[rows, ranks]],
                "score": hits.scores[rows, ranks],
                "rank": ranks + 1,
                "interest": hits.interests[rows, ranks],
            }
        )

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
        seen = model.interactions.select(codes)
        hits = self._retrieve(*self._encode_users(codes), k, seen, True, None, None, 0.0)
        found = hits.codes
        padding = (0, k - found.shape[1])
        return self._item_ids(np.pad(found, ((0, 0), padding), constant_values=-1))[rows]

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
        itself = Excluded(codes, np.arange(len(codes) + 1))
        queries = self.item_embeddings_[codes][:, None, :]
        hits = index.search(queries, np.ones((len(codes), 1), dtype=bool), k, itself)
        rows, ranks = np.nonzero(hits.codes >= 0)
        return pd.DataFrame(
            {
                _name(model.schema.item, "item_id"): self.items_[codes[rows]],
                "similar_item_id": self.items_[hits.codes[rows, ranks]],
                "score": hits.scores[rows, ranks],
                "rank": ranks + 1,
            }
        )

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
            ``contribution``: without user features, they add up to the score.

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
                _name(model.schema.user, "user_id"): model.users.ids[np.repeat(user, len(order))],
                _name(model.schema.item, "item_id"): self.items_[np.repeat(item, len(order))],
                "interest": found.interest,
                "history_item_id": self.items_[window[order]],
                "weight": found.weights[order],
                "contribution": found.contributions[order],
            }
        )

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean NDCG@10 over users, all items ranked, seen ones excluded.

        Users of ``fit``: their rows in ``X`` are to be found, from the history of ``fit``. Others,
        with at least two rows: the last one is to be found, from those before. Items of ``X`` that
        ``fit`` has not seen count as missed. What is to be found is never excluded, so that data
        of ``fit`` can be scored too.

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
        model, net, _ = self._ready()
        X = self._check_table(X)
        rows = read_rows(X, model.schema)
        users, items = model.users.encode(rows.users), model.items.encode(rows.items)
        task = score_task(rows, users, items, model.interactions, sample_weight)
        if not len(task.users):
            warnings.warn(
                "nothing to score: no user of X was in fit or has two rows. To score known users, "
                "split by time (skmind.model_selection.LeaveLastOut) rather than by row",
                NothingToScoreWarning,
                stacklevel=2,
            )
            return float("nan")
        if not task.weights.any():
            raise InvalidInputError(
                "sample_weight is 0 in every row that can be scored; give one a positive weight"
            )
        interests, mask = model.encode(net, task.histories, model.profile_rows(task.users))
        seen = task.seen()
        hits = self._retrieve(interests, mask, SCORE_K, seen, True, None, None, 0.0)
        found = _hits(hits.codes, task.target_rows, task.target_items, len(task.users))
        return float(np.average(_ndcg(found, task.n_targets, SCORE_K), weights=task.weights))


def _resolve_device(device: str) -> torch.device:
    """The torch device that a name stands for."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise InvalidInputError(
            f"device={device!r} is no torch device; use 'auto', 'cpu', 'cuda' or 'cuda:1'"
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise InvalidInputError(f"device={device!r}, but torch finds no CUDA device; use 'auto'")
    return resolved


def _entropy(random_state: Any) -> int | None:
    """A seed; None draws fresh entropy without touching numpy's global generator."""
    if random_state is None:
        return None
    return int(check_random_state(random_state).randint(2**31 - 1))


def _allowed(encoder: IdEncoder, items: Any, exclude_items: Any) -> np.ndarray | None:
    """Mask of the items that may be recommended; None: all."""
    if items is None and exclude_items is None:
        return None
    allowed = np.full(len(encoder), items is None)
    if items is not None:
        codes = encoder.encode(items)
        if not (codes >= 0).any():
            raise UnknownIdError(
                f"items= has {len(codes)} ids, none of which was in fit; name at least one that "
                "is in items_, or None for all"
            )
        allowed[codes[codes >= 0]] = True
    if exclude_items is not None:
        codes = encoder.encode(exclude_items)
        allowed[codes[codes >= 0]] = False
    return allowed


def _known_codes(encoder: IdEncoder, ids: Any) -> np.ndarray:
    """Codes of ids that must all be known."""
    codes = encoder.encode(ids)
    if (codes < 0).any():
        first = list(ids)[int((codes < 0).argmax())]
        raise UnknownIdError(
            f"the {encoder.name} {first!r} was not in fit; {encoder.name}s_ has those that were"
        )
    return codes


def _name(column: Any, default: str) -> str:
    """Column name in results: the caller's, unless it was a position."""
    return column if isinstance(column, str) else default
