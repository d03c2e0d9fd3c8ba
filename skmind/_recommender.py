"""A fitted model → vectors, recommendations, explanations and scores, in the caller's ids."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import wraps
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, Self, TypeVar

import numpy as np
import pandas as pd
from pandas.api.types import is_list_like
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted, validate_data

from ._checks import check_count, check_option, warn
from ._interests import InterestRows
from ._model import FittedModel, Snapshot
from ._summary import summary_html
from .data.formats import as_table, check_dimensions
from .data.histories import read_histories
from .data.ids import IdEncoder
from .data.interactions import Interactions
from .data.parquet import ParquetTable
from .data.prepare import (
    Schema,
    check_title_columns,
    encode_column,
    profile_rows,
    read_column,
    read_rows,
    result_name,
    warn_of_unknown_items,
)
from .data.ragged import Ragged
from .data.scoring_task import scoring_task
from .data.tables import (
    MAX_EXACT_FLOAT,
    check_names,
    column_names,
    id_array,
    is_frame,
    is_unnamed,
)
from .data.titles import read_titles, title_cells
from .data.weights import check_aligned
from .exceptions import IgnoredDataWarning, InvalidInputError, UnknownIdError
from .nn.device import drop_forked_threads
from .nn.inference import explain
from .persistence import model as persistence
from .persistence.onnx import export
from .retrieval.base import TopK
from .retrieval.calibration import recalls
from .retrieval.exact import ExactIndex, score_pairs
from .retrieval.query import (
    RecommendQuery,
    check_exclude_seen,
    is_per_user,
    warn_of_shortage,
)
from .retrieval.search import retrieve
from .retrieval.users import nearest_users
from .scoring import UNSEEN_USERS_OPTIONS, mean_values, rank_targets

if TYPE_CHECKING:
    from .inspection._explore import ExplorerPage

SCORE_K = 10
OUTPUTS = "frame", "arrays"
SHOWN_VALUES = {"loss": "loss", "validation_ndcg": "validation NDCG@10"}  # of ``history_``
DESCRIBED_K = 10  # recommendations per user whose share describes an interest
MAX_DESCRIBED_USERS = 10_000
DESCRIPTION_COLUMNS = (
    "share_of_users", "share_of_recommended", "item_ids", "titles", "history_item_ids",
    "history_titles", "history_weights",
)  # fmt: skip
ANSWER_PARAMETERS = "n_jobs", "transform_history", "device"  # used after `fit`, too
MAX_PADDED_PLACES = 2**26  # places of arrays wider than the catalogue: 1 GiB

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound="FittedRecommender")


def from_one_state(
    method: Callable[Concatenate[T, P], R],
) -> Callable[Concatenate[T, P], R]:
    """Decorate a method to answer from the state at its call, even if another thread fits."""

    @wraps(method)
    def call(self: T, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self._frozen(), *args, **kwargs)

    return call


class FittedRecommender(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Methods of a fitted recommender; `MINDRecommender` adds the training."""

    _parameter_constraints: ClassVar[dict]
    _snapshot: Snapshot
    user_col: Hashable
    n_jobs: int | None
    transform_history: str
    device: str
    history_: list[dict[str, Any]]
    n_epochs_: int

    @property
    def index_(self) -> str:
        """Index that `fit` chose: "exact", "annoy" or "faiss"."""
        return self._fitted().model.plan.kind

    @property
    def score_temperature_(self) -> float | None:
        """Temperature of the scores, see `recommend`; None: the score is the highest cosine."""
        return self._fitted().model.plan.temperature

    @property
    def repeat_weights_(self) -> np.ndarray | None:
        """Weights of the events of the history, see `recommend`; None: repeats have no weight."""
        weights = self._fitted().model.repeat_weights
        return None if weights is None else weights.copy()

    # `check_is_fitted` looks up these attributes; an AttributeError means "not fitted".

    @property
    def users_(self) -> np.ndarray:
        """Ids of the known users in the order of their codes."""
        return self._learned("users_").model.users.ids

    @property
    def items_(self) -> np.ndarray:
        """Ids of the known items in the order of their codes."""
        return self._learned("items_").model.items.ids

    @property
    def item_counts_(self) -> np.ndarray:
        """Number of interactions of each item."""
        return self._learned("item_counts_").model.prepared.counts

    @property
    def item_embeddings_(self) -> np.ndarray:
        """Unit item vectors."""
        return self._learned("item_embeddings_").item_embeddings

    def _learned(self, name: str) -> Snapshot:
        snapshot = vars(self).get("_snapshot")
        if snapshot is None:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r} before fit")
        return snapshot

    @property
    def _model(self) -> FittedModel:
        return self._learned("_model").model

    @property
    def _n_features_out(self) -> int:
        config = self._model.config
        return config.n_interests * config.embedding_dim

    def _frozen(self) -> Self:
        """Return the estimator as it is now; no later fit changes the copy."""
        frozen = object.__new__(type(self))
        frozen.__dict__ = self.__dict__.copy()  # in one step, as `fit` replaces it in one step
        return frozen

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_moments", None)  # as large as the weights, and only training needs it
        snapshot = state.pop("_snapshot", None)
        if snapshot is not None:  # network and index are built again from the arrays
            state |= {"_model": snapshot.model, "_item_embeddings": snapshot.item_embeddings}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        model = state.pop("_model", None)
        item_embeddings = state.pop("_item_embeddings", None)
        super().__setstate__(state)
        if model is not None:
            self._snapshot = Snapshot(model, item_embeddings)

    def _fitted(self) -> Snapshot:
        """Return the snapshot from which one call answers, after checking what it depends on."""
        check_is_fitted(self, "items_")
        validate_parameter_constraints(
            self._parameter_constraints,
            {name: getattr(self, name) for name in ANSWER_PARAMETERS},
            caller_name=type(self).__name__,
        )
        drop_forked_threads()
        return self._snapshot

    def _check_table(self, X: Any, *, reset: bool = False) -> Any:
        """Return ``X`` as a frame, or as a 2-D array with the columns of ``fit``.

        A frame needs the columns that are read, which their reader checks. Positions only mean the
        same columns if all columns are those of ``fit``.
        """
        given = X
        X = as_table(X, may_be_sessions=reset and isinstance(self.user_col, str))
        user = result_name(self.user_col, "user_id")
        check_dimensions(X, is_fitted=not reset, given=given, user=user)
        if isinstance(X, np.ndarray) and X.dtype.names:
            X = pd.DataFrame(X)
        if is_unnamed(X) and not reset:
            self._check_positions(X)
        if not is_frame(X):
            return validate_data(
                self,
                X,
                dtype=None,
                ensure_all_finite=False,  # ids and times are checked later
                ensure_min_features=2 if reset else 1,
                reset=reset,
            )
        names = column_names(X)
        if names and not len(X):
            raise InvalidInputError("the table of interactions has no rows; pass at least one")
        if reset:
            check_names(names)
        if reset or is_unnamed(X) or _has_positions(self._model.schema, names):
            named = X.head() if isinstance(X, ParquetTable) else X
            validate_data(self, named, skip_check_array=True, reset=reset)
        return X

    def _check_positions(self, X: Any) -> None:
        """Raise if ``X``, without names, has other columns than ``fit``, or in another order."""
        if np.ndim(X) != 2:
            return
        if X.shape[1] != self.n_features_in_:
            # scikit-learn's checks look for the first part.
            raise InvalidInputError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input: columns without names are read by "
                "position, so give all columns of fit in their order, or a DataFrame with the "
                "names of the columns that are used"
            )
        names = getattr(self, "feature_names_in_", None)
        if names is None:
            return
        schema = self._model.schema
        read = schema.for_table(X)[:3]
        for column, position in zip(schema[:3], read, strict=True):
            if isinstance(column, str) and names[position] != column:
                raise InvalidInputError(
                    f"X has no column names, so that column {position} is read as {column!r}, but "
                    f"fit saw the columns {names.tolist()}; pass a DataFrame with names"
                )

    def _html_repr(self) -> str:
        """Return scikit-learn's box for notebooks and, after ``fit``, what was fitted."""
        box = super()._html_repr()
        if "_snapshot" not in vars(self):
            return box
        return box + self._frozen()._summary_html()

    def _summary_html(self) -> str:
        curves = {}
        for key, name in SHOWN_VALUES.items():
            values = [epoch[key] for epoch in self.history_ if key in epoch]
            if values:
                curves[name] = values
        return summary_html(self._summary_rows(), curves)

    def _summary_rows(self) -> dict[str, str]:
        """Return what was fitted, as texts by name."""
        model = self._model
        last = self.history_[-1] if self.history_ else {}
        rows = {
            "users": f"{len(model.users):,}",
            "items": f"{len(model.items):,}",
            "interactions": f"{len(model.interactions.items):,}",
            "epochs": f"{self.n_epochs_:,}",
        }
        for key, name in SHOWN_VALUES.items():
            if key in last:
                rows[name] = f"{last[key]:.4f}"
        rows["index"] = f"{self.index_} search"
        return rows

    # files

    @from_one_state
    def save(self, path: str | Path, *, index: bool = False) -> str:
        """Write the fitted model to a directory, without pickle.

        An existing model in the directory is replaced completely or not at all, even if the process
        is killed. If another thread or process saves to the directory, this call waits for it; on
        Windows, and on network file systems without locks, only one at a time may save there.

        After a fit in several processes, each of which has a part of the users, all of them must
        call this method with the same path on a file system that they share, before the process
        group is destroyed. They write one model.

        Parameters
        ----------
        path : str or Path
            Created if it does not exist; its parent must exist. An existing directory must be empty
            or hold a model.
        index : bool, default=False
            Whether to store the Annoy index too, so that `load` does not have to build it.

        Returns
        -------
        str
            The sha256 of the manifest, the same in all processes. Pass it to `load` to check that
            no file has changed.

        Raises
        ------
        ModelWriteError
            If the directory can't be written to or holds other files, or the disk is full. If that
            happens in one process of several, the error is raised in all and names the process.
        ProcessLostError
            If another process was killed.
        InvalidInputError
            If ids, feature values or parameters are of a type that is not stored (dates in object
            columns, a RandomState), if a parameter was set to an invalid value after `fit`, if
            ``path`` is no path, or ``index=True`` and the model has no Annoy index. If the model
            has a part of the users, and other processes run than those of its fit.
        """
        check_is_fitted(self, "items_")
        return persistence.save(self, path, index)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        manifest_sha256: str | None = None,
        mmap: bool = False,
        users: int | Sequence[int] | None = None,
    ) -> Self:
        """Load a model that `save` wrote, without executing any code from it.

        Parameters
        ----------
        path : str or Path
        manifest_sha256 : str or None, default=None
            The value that `save` returned; store it outside the directory. If given, `load` detects
            every change of the files, and maps a stored index instead of building it again.
        mmap : bool, default=False
            Whether to map the arrays from the files, copy-on-write, so that processes share the
            memory. If another program shortens a mapped file, the process is killed; `save` never
            shortens a file. The users of several parts are copied all the same.
        users : int or list of int or None, default=None
            Parts of the users to load, from 0, if several processes saved the model; files of
            other parts are not read and may be missing. None: all users. A model with some of the
            parts gives its users the answers of the whole model. But `partial_fit` would count the
            interactions of its own users only.

        Returns
        -------
        estimator
            On the same machine, its results are bit-equal to the results of the saved estimator.

        Raises
        ------
        ModelFileError
            If ``path`` has no model, or the model is damaged, manipulated, or of another format or
            class.
        InvalidInputError
            If ``path`` is no path, or the model has no such part of the users.

        Warns
        -----
        DeviceFallbackWarning
            If ``device`` names a CUDA device that is not available; the CPU is used.
        """
        return persistence.load(cls, path, manifest_sha256, mmap, users)

    @from_one_state
    def export_onnx(self, path: Any) -> None:
        """Export the model to a directory, for inference without torch and skmind.

        Needs ``pip install skmind[onnx]``. The method first compares the results of the graph
        in onnxruntime with the results of the network in torch, for up to 257 histories of up to
        ``max_history`` items, including empty histories. It writes the directory only if they
        agree.

        Parameters
        ----------
        path : str or path-like
            A new directory; its parent must exist. The method writes

            - ``user_tower.onnx``, a graph. Its inputs are ``history``, int64 of shape (batch,
              length), item codes newest first with any code as padding; ``lengths``, int64 of shape
              (batch,); and, if ``fit`` was given user features, ``features``, float32 of shape
              (batch, n_values). Its outputs are ``interests``, float32 of shape (batch,
              n_interests, embedding_dim), of unit length, and ``mask``, bool of shape (batch,
              n_interests), the interests in use. The batch may be empty from onnxruntime 1.32
              on; the length is 1 to ``max_history``. Check codes before: onnxruntime counts
              negative ones from the end.
            - ``item_vectors.npy``: `item_embeddings_`; the graph reads this file too.
            - ``item_ids.npy`` and ``item_counts.npy``: `items_` and `item_counts_`.
            - ``about.json``: ``max_history``; the values that the columns of ``features`` stand
              for: categories, in which True is 1, or the mean and the standard deviation of each
              number of a number or vector, whose columns are its value and a 1; the ``opset`` of
              the graph (20); and ``oldest_onnxruntime``, the oldest version that reads it ("1.18").

        Raises
        ------
        ImportError
            If onnxruntime or onnxscript is not installed.
        InvalidInputError
            If ``path`` exists, or item ids or values of user features are neither numbers nor text.
        ModelWriteError
            If the parent of ``path`` does not exist or can't be written to, or the disk is full.
        ExportError
            If the graph differs from the network by more than 1e-5.
        """
        export(self._fitted().model, path)

    # vectors

    def transform(self, X: Any) -> np.ndarray:
        """Return the interests of each row's user, concatenated.

        Parameters
        ----------
        X : frame with the user column, or array with the columns of ``fit``
            With ``transform_history="past"``, a frame needs the item and time columns too. Other
            columns, and their order, don't matter in a frame.

        Returns
        -------
        ndarray of shape (n_rows, n_interests * embedding_dim), float32
            Zeros for users that ``fit`` has not seen, and for interests that a short history does
            not have. With ``transform_history="past"``, interests are computed from the events in
            ``fit`` that are strictly before the time of the row.

        Raises
        ------
        InvalidInputError
            If ``transform_history="past"`` and ``fit`` or ``X`` has no times.
        """
        snapshot = self._fitted()
        X = self._check_table(X)
        if self.transform_history == "past":
            interests = self._past_interests(snapshot, X)
        else:
            model = snapshot.model
            users = encode_column(X, model.schema, model.users)
            codes, rows = np.unique(users, return_inverse=True)
            interests = self._encode_users(snapshot, codes)[0][rows]
        return interests.reshape(len(interests), -1)

    def _past_interests(self, snapshot: Snapshot, X: Any) -> np.ndarray:
        """Return the interests of each row's user from the events before the row's time."""
        model = snapshot.model
        rows = read_rows(X, model.schema, model.interactions.times)
        if rows.times is None:
            raise InvalidInputError(
                "transform_history='past' needs times: set time_col to a column of X and fit again"
            )
        config = model.config
        users = model.users.encode(rows.users, model.schema.label(X, "user"))
        known_rows = np.flatnonzero(users >= 0)
        ends = model.interactions.ends_before(users[known_rows], rows.times[known_rows])
        histories = model.interactions.before(ends, users[known_rows], config.max_history)
        profile = model.profile_rows(users[known_rows])
        interests = np.zeros((len(users), config.n_interests, config.embedding_dim), np.float32)
        net = snapshot.network(self.device)
        interests[known_rows] = model.encode(net, histories, profile)[0]
        return interests

    @from_one_state
    def interests(self, user_ids: Any) -> np.ndarray:
        """Return the interest vectors of known users.

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
            If the ids are of another kind than the ids of ``fit``.
        """
        snapshot = self._fitted()
        return self._encode_users(snapshot, snapshot.model.users.encode(user_ids))[0]

    @from_one_state
    def interests_from_history(self, histories: Any, *, users: Any = None) -> np.ndarray:
        """Return the interest vectors of new users; see `recommend_from_history`.

        Returns
        -------
        ndarray of shape (n_histories, n_interests, embedding_dim), float32
        """
        snapshot = self._fitted()
        _, sequences, profile = self._read_histories(snapshot, histories, users)
        return snapshot.model.encode(snapshot.network(self.device), sequences, profile)[0]

    def _encode_users(self, snapshot: Snapshot, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the interests and the mask of user codes; code -1 has no interests."""
        model = snapshot.model
        histories = model.interactions.take(codes)
        return model.encode(snapshot.network(self.device), histories, model.profile_rows(codes))

    def _read_histories(
        self, snapshot: Snapshot, histories: Any, users: Any
    ) -> tuple[np.ndarray, Interactions, sparse.csr_matrix | None]:
        """Return the keys, histories and features of users who may be unknown to ``fit``."""
        model = snapshot.model
        keys, sequences = read_histories(histories, model.schema, model.items)
        profile = None
        encoder = model.prepared.user_features.encoder
        if users is not None and encoder.width:
            people = IdEncoder(keys, "user", "this call has")
            profile = profile_rows(encoder, users, model.schema, people)
        elif users is not None:
            warn("users= is ignored: fit was given no user features", IgnoredDataWarning)
        return keys, sequences, profile

    # recommendations

    @from_one_state
    def recommend(
        self,
        user_ids: Any = None,
        k: int = 10,
        *,
        exclude_seen: bool | None = None,
        items: Any = None,
        exclude_items: Any = None,
        unknown: str = "popular",
        interest_weights: Any = None,
        quotas: Any = None,
        diversity: float = 0.0,
        diversity_by: str | None = None,
        titles: Any = None,
        output: str = "frame",
    ) -> Any:
        """Recommend the items with the highest scores.

        The score of an item is the soft maximum of its cosines to the interests of the user,
        ``t · log(mean(exp(cosines / t)))``, where ``t`` is ``score_temperature_``. It is at most
        the highest cosine, and equals it if there is one interest or ``t`` is None.

        After a fit with ``exclude_seen=False``, items of the history score higher: an event of age
        a, 0 for the newest, adds ``exp(repeat_weights_[a] / t)`` to the sum of its item over the
        interests. So their scores may exceed the highest cosine.

        Parameters
        ----------
        user_ids : list or array of ids, or None
            None: every known user.
        k : int, default=10
            Number of items per user, at least 1.
        exclude_seen : bool or None, default=None
            Leave out the items of the user's history. None: as the parameter ``exclude_seen``.
        items : list or array of ids, dict or Series of lists, frame, or None
            Recommend only these items; unknown ones are ignored. A dict of lists, by user id, a
            Series of lists whose index has the user ids, or a frame with the user and item columns
            of ``fit`` has a list per user. Users without an entry in it get no items.
        exclude_items : list or array of ids, dict or Series of lists, frame, or None
            Never recommend these items; lists per user as with ``items``.
        unknown : {"popular", "error", "drop"}, default="popular"
            How to treat users that ``fit`` has not seen. "popular": they get the most frequent
            items, with interest -1 and the share of all interactions as score. "error": raise
            `UnknownIdError`. "drop": they get no rows.
        interest_weights : array of shape (n_interests,) or (n_users, n_interests), or None
            Factors of the cosines to each interest, at least 0; ``t``, and ``repeat_weights_``, are
            multiplied by the highest weight that is used. Scores leave [-1, 1] with weights above
            1. An interest with weight 0 is not used.
            Only ratios of weights matter for the order. A higher weight spreads the scores of its
            interest: items near it gain, items with a negative cosine lose. Weights of a user whose
            highest is above 1e30 or below 1e-30 are divided by it first, and so are the scores.
            Users who have no interest left get the most frequent items. The index of a pandas frame
            has the users in the order of ``user_ids``, or numbers the rows; its columns, and the
            index of a Series, are the numbers of the interests.
        quotas : "equal", array of shape (n_interests,) or (n_users, n_interests), or None
            Number of the ``k`` items that come from each interest; the numbers add up to ``k``.
            "equal": the same number for each interest in use; if ``k`` is not divisible, the first
            interests get one more. Items are taken in the order of their scores, as long as the
            quota of their interest is not full. If an interest has too few items, the best other
            items take its places. Can't be combined with ``diversity``. Costs one search per
            interest. A frame or Series is labelled like that of ``interest_weights``.
        diversity : float in [0, 1], default=0
            With 0, items are ordered by score. Higher values give more different items with lower
            scores. With 1, the score only selects the first item and breaks ties. Items are
            selected one by one from the ``5 * k`` items with the highest scores. Each step selects
            the item with the highest ``(1 - diversity) · score + diversity · d``, where ``d`` is
            its mean distance from the items selected before. This is ComiRec's aggregation (Cen et
            al., KDD 2020, section 3.5) with a mean instead of the sum, so that the effect of a
            value does not depend on ``k``.
        diversity_by : str or None, default=None
            The distance of two items. None: 1 - cosine of their vectors. The name of an item
            feature of ``fit`` that holds categories or lists of them: 1 - cosine of their sets of
            values. For single categories, the distance is 0 if they are equal, else 1. An item
            without a value has the distance 1 from all others.
        titles : Series or dict keyed by item id, frame, or None, default=None
            Titles of the items. A frame has them in the column ``item_title``, else "title", else
            its only column beside the item column. None: those of ``item_title`` in `fit`, if it
            was set. Arrays have no titles.
        output : {"frame", "arrays"}, default="frame"
            Arrays have ``k`` columns, also where ``k`` is above the number of items.

        Returns
        -------
        DataFrame, or (ndarray, ndarray) of shape (n_users, k)
            Columns user, item, ``title`` if there are titles (None for items without one),
            ``score`` (cosine, times weight), ``rank`` (from 1) and ``interest``; users in the order
            asked, with exactly ``k`` rows each unless fewer items are eligible. As arrays: ids,
            padded as in `predict`, and scores, padded with -inf.

        Raises
        ------
        UnknownIdError
            If ``unknown="error"`` and a user is unknown, or if no item of ``items``, or of
            ``titles``, is known.
        IdTypeError
            If ids are of another kind than the ids of ``fit``.
        InvalidInputError
            If another argument is invalid.

        Warns
        -----
        SkmindWarning
            If the index of ``titles`` looks like row numbers instead of item ids.
        ShortageWarning
            If users get fewer than ``k`` items, because no more are eligible.
        """
        snapshot = self._fitted()
        model = snapshot.model
        check_option(unknown, "unknown", ("popular", "error", "drop"))
        check_option(output, "output", OUTPUTS)
        texts = titles_by_code(model, titles)
        if user_ids is None:
            ids = model.users.ids
            codes = np.arange(len(ids))
        else:
            codes = model.users.encode(user_ids)
            ids = id_array(user_ids, "user_ids")
        is_unknown = codes < 0
        if unknown == "error" and is_unknown.any():
            raise UnknownIdError(
                f"{is_unknown.sum()} of user_ids were not in fit, the first is "
                f"{pd.Index(ids[is_unknown]).tolist()[0]!r}; use unknown='popular' or 'drop', or "
                "recommend_from_history"
            )
        if output == "arrays":
            _check_padding(k, len(ids), len(model.items))
        query = self._query(
            snapshot,
            ids,
            model.interactions.take(codes),
            k=k,
            exclude_seen=exclude_seen,
            items=items,
            exclude_items=exclude_items,
            interest_weights=interest_weights,
            quotas=quotas,
            diversity=diversity,
            diversity_by=diversity_by,
        )
        top = self._retrieve(snapshot, *self._encode_users(snapshot, codes), query)
        if unknown == "drop":  # only now: weights and quotas may have a row per user
            ids = ids[~is_unknown]
            top = TopK(*(part[~is_unknown] for part in top))
        warn_of_shortage(top, query, len(model.items))
        return _format_result(snapshot, ids, top, query.k, output, texts)

    @from_one_state
    def recommend_from_history(
        self,
        histories: Any,
        k: int = 10,
        *,
        users: Any = None,
        exclude_seen: bool | None = None,
        items: Any = None,
        exclude_items: Any = None,
        interest_weights: Any = None,
        quotas: Any = None,
        diversity: float = 0.0,
        diversity_by: str | None = None,
        titles: Any = None,
        output: str = "frame",
    ) -> Any:
        """Recommend to users who were not in ``fit``, without training.

        Parameters
        ----------
        histories : list of lists, dict or Series of lists, or frame
            Item ids, oldest first, as a list per person; or interactions with the user, item and
            time columns of ``fit``. The index of a Series (``groupby().agg(list)``) has the keys.
            Items that ``fit`` has not seen are ignored. People without a known item get the most
            frequent items.
        users : frame or None
            Features of the people, keyed by ``user_col``: the keys of the dict, the index of the
            Series, the user ids of the frame, or the positions 0, 1, … in the list. Values that
            ``fit`` has not seen count as missing.
        k, exclude_seen, items, exclude_items, interest_weights, quotas, diversity, diversity_by, \
titles, output
            As in `recommend`.

        Returns
        -------
        As `recommend`; users are the keys of the dict, the index of the Series, ids of the frame or
        positions in the list.

        Raises
        ------
        InvalidInputError
            If a history is not a list but a set, which has no order, for example, or a dict has
            columns instead of people; and as `recommend`.
        IdTypeError, UnknownIdError
            As `recommend`.

        Warns
        -----
        ShortageWarning
            As `recommend`.
        SkmindWarning
            As `recommend`.
        IgnoredDataWarning
            If ``users`` has nobody of ``histories``, ``fit`` was given no user features, three or
            more items are all unknown, or lists look like rows of user, item and time.
        """
        snapshot = self._fitted()
        check_option(output, "output", OUTPUTS)
        texts = titles_by_code(snapshot.model, titles)
        keys, sequences, profile = self._read_histories(snapshot, histories, users)
        if output == "arrays":
            _check_padding(k, len(keys), len(snapshot.model.items))
        query = self._query(
            snapshot,
            keys,
            sequences,
            k=k,
            exclude_seen=exclude_seen,
            items=items,
            exclude_items=exclude_items,
            interest_weights=interest_weights,
            quotas=quotas,
            diversity=diversity,
            diversity_by=diversity_by,
        )
        encoded = snapshot.model.encode(snapshot.network(self.device), sequences, profile)
        top = self._retrieve(snapshot, *encoded, query)
        warn_of_shortage(top, query, len(snapshot.model.items))
        return _format_result(snapshot, keys, top, query.k, output, texts)

    def _query(
        self,
        snapshot: Snapshot,
        users: np.ndarray,
        histories: Ragged,
        seen: Ragged | None = None,
        **arguments: Any,
    ) -> RecommendQuery:
        """Validate the arguments of a call.

        ``users``, ``histories`` and ``seen``, the items that ``exclude_seen`` leaves out, have one
        entry per user; without ``seen``, they are those of the histories.
        """
        model = snapshot.model
        K = model.config.n_interests
        if arguments.get("exclude_seen") is None:
            arguments["exclude_seen"] = self.exclude_seen
        seen = histories if seen is None else seen
        query = RecommendQuery.read(users, seen, model.prepared, model.schema, K, **arguments)
        repeats = None if arguments["exclude_seen"] else model.repeats(histories)
        return replace(query, repeats=repeats)

    def _retrieve(
        self,
        snapshot: Snapshot,
        interests: np.ndarray,
        mask: np.ndarray,
        query: RecommendQuery,
    ) -> TopK:
        index = snapshot.search_index()
        return retrieve(index, interests, mask, query, snapshot.model.prepared.counts, self.n_jobs)

    @from_one_state
    def predict(self, X: Any, *, k: int = 10) -> np.ndarray:
        """Return the best ``k`` items of each row's user, as `recommend` does.

        Parameters
        ----------
        X : frame with the user column, or array with the columns of ``fit``
        k : int, default=10
            Items per row, at least 1.

        Returns
        -------
        ndarray of shape (n_rows, k)
            Item ids, best first. Where fewer than ``k`` items are eligible, they are padded: float
            ids with nan; integer ids with nan, as float64, if all of `items_` are below 2**53, so
            that none changes; datetimes with NaT; all other ids, as objects, with None. Without
            padding, the dtype is that of `items_`. Users that ``fit`` has not seen get the most
            frequent items.
        """
        snapshot = self._fitted()
        model = snapshot.model
        check_count(k, "k")
        users = encode_column(self._check_table(X), model.schema, model.users)
        _check_padding(k, len(users), len(model.items))
        codes, rows = np.unique(users, return_inverse=True)
        query = self._query(snapshot, codes, model.interactions.take(codes), k=k)
        top = self._retrieve(snapshot, *self._encode_users(snapshot, codes), query)
        return _item_ids(snapshot, top.widened(query.k).codes)[rows]

    @from_one_state
    def predict_scores(self, user_ids: Any, item_ids: Any = None) -> np.ndarray:
        """Return the scores of given pairs of a user and an item.

        A score is the one of `recommend`: the soft maximum of the cosines of the item with the
        interests of the user. Items that the user has seen have scores too.

        Parameters
        ----------
        user_ids : list or array of ids, or a table
            The user of each pair; or, without ``item_ids``, a frame or array with the user and item
            columns of ``fit``.
        item_ids : list or array of ids, or None
            The item of each pair, as many as ``user_ids``.

        Returns
        -------
        ndarray of shape (n_pairs,), float32
            nan for users and items that ``fit`` has not seen, and for users without an interest.

        Raises
        ------
        InvalidInputError
            If the lengths differ, or both are pandas Series with different indexes.
        IdTypeError
            If ids are of another kind than those of ``fit``.
        """
        snapshot = self._fitted()
        model = snapshot.model
        if item_ids is None:
            if (getattr(user_ids, "ndim", None) == 1 and not is_frame(user_ids)) or (
                isinstance(user_ids, list | tuple) and not any(map(is_list_like, user_ids))
            ):
                raise InvalidInputError(
                    "user_ids is a list of ids, but item_ids is None; give item_ids= the item of "
                    "each pair, or give one table with the user and item columns"
                )
            X = self._check_table(user_ids)
            user_ids = read_column(X, model.schema, "user")
            item_ids = read_column(X, model.schema, "item")
        both = isinstance(user_ids, pd.Series) and isinstance(item_ids, pd.Series)
        if both and not user_ids.index.equals(item_ids.index):
            raise InvalidInputError(
                "user_ids and item_ids are Series with different indexes, but pairs are matched by "
                "position; take both from one frame, or call .to_numpy() on both"
            )
        users = model.users.encode(user_ids)
        items = model.items.encode(item_ids)
        if len(users) != len(items):
            raise InvalidInputError(
                f"user_ids has {len(users)} ids and item_ids {len(items)}; give one item per user, "
                "such as two columns of a frame"
            )
        scores = np.full(len(users), np.nan, dtype=np.float32)
        known = np.flatnonzero((users >= 0) & (items >= 0))
        codes, rows = np.unique(users[known], return_inverse=True)
        interests, mask = self._encode_users(snapshot, codes)
        temperature = model.plan.temperature
        vectors = snapshot.item_embeddings
        found = score_pairs(vectors, interests, mask, rows, items[known], temperature)
        repeats = model.repeats(model.interactions.take(codes))
        if repeats is not None:
            gains = repeats.gains_of(rows, items[known])
            found = repeats.raised(found, gains, mask.sum(1)[rows])
        scores[known] = np.where(np.isneginf(found), np.nan, found)
        return scores

    # questions about items

    @from_one_state
    def similar_items(
        self,
        item_ids: Any,
        k: int = 10,
        *,
        items: Any = None,
        exclude_items: Any = None,
        titles: Any = None,
    ) -> pd.DataFrame:
        """Return the items with the most similar vectors.

        Parameters
        ----------
        item_ids : list or array of known ids
        k : int, default=10
            Items per item, at least 1.
        items : list or array of ids, or None
            Return only these items; unknown ones are ignored.
        exclude_items : list or array of ids, or None
            Never return these items.
        titles : Series or dict keyed by item id, frame, or None, default=None
            As in `recommend`.

        Returns
        -------
        DataFrame
            Columns item, ``similar_item_id``, ``score`` (cosine) and ``rank`` (from 1); with
            titles, also ``title`` and ``similar_title``.

        Raises
        ------
        UnknownIdError
            If ``fit`` has not seen an item, or no item of ``items`` or ``titles``.
        InvalidInputError
            If ``items`` or ``exclude_items`` has a list per user, or another argument is invalid.

        Warns
        -----
        SkmindWarning
            As `recommend`.
        ShortageWarning
            If ``items`` or ``exclude_items`` leaves fewer than ``k`` items.
        """
        snapshot = self._fitted()
        model = snapshot.model
        texts = titles_by_code(model, titles)
        n_items = len(model.items)
        for name, ids in (("items", items), ("exclude_items", exclude_items)):
            if is_per_user(ids):
                raise InvalidInputError(
                    f"{name}= is a {type(ids).__name__}; give one list or array of item ids, which "
                    "holds for all of item_ids"
                )
        codes = known_codes(model.items, item_ids)
        itself = Ragged(codes, np.arange(len(codes) + 1))
        query = self._query(
            snapshot,
            codes,
            itself,
            k=k,
            exclude_seen=False,  # the item itself is not one that was seen
            items=items,
            exclude_items=exclude_items,
        )
        queries = snapshot.item_embeddings[codes][:, None, :]
        mask = np.ones((len(codes), 1), dtype=bool)
        top = snapshot.search_index().search(
            queries, mask, min(query.k, n_items), itself, query.allowed, self.n_jobs
        )
        if query.allowed is not None:
            warn_of_shortage(top, query, n_items, rows="item_ids")
        item = result_name(model.schema.item, "item_id")
        ids = model.items.ids
        table = top_k_table(top, (item, ids[codes]), ("similar_item_id", ids))
        names = {item: "title", "similar_item_id": "similar_title"}
        return _with_titles(table.drop(columns="interest"), model, texts, names)

    @from_one_state
    def audience(
        self, item_ids: Any, k: int = 10, *, exclude_seen: bool | None = None
    ) -> pd.DataFrame:
        """Return the users for whom an item has the highest scores.

        Parameters
        ----------
        item_ids : list or array of known ids
        k : int, default=10
            Users per item, at least 1.
        exclude_seen : bool or None, default=None
            Whether to leave out users whose history has the item. None: as the parameter
            ``exclude_seen``.

        Returns
        -------
        DataFrame
            Columns item, user, ``score`` (as `recommend` gives), ``rank`` (from 1) and
            ``interest``; items in the order of ``item_ids``, with exactly ``k`` rows each unless
            fewer users are eligible and have an interest.

        Raises
        ------
        UnknownIdError
            If ``fit`` has not seen an item.
        InvalidInputError
            If ``k`` or ``exclude_seen`` is invalid.
        """
        snapshot = self._fitted()
        model = snapshot.model
        codes = known_codes(model.items, item_ids)
        if exclude_seen is None:
            exclude_seen = self.exclude_seen
        exclude_seen = check_exclude_seen(exclude_seen)
        k = min(check_count(k, "k"), len(model.users))
        interests, mask = self._encode_users(snapshot, np.arange(len(model.users)))
        excluded = Ragged(np.empty(0, dtype=np.int64), np.zeros(len(codes) + 1, dtype=np.int64))
        if exclude_seen:
            excluded = _users_of_items(codes, model.interactions)
        vectors = snapshot.item_embeddings[codes]
        repeats = None if exclude_seen else model.repeats(model.interactions)
        top = nearest_users(
            vectors,
            interests,
            mask,
            k,
            excluded,
            self.n_jobs,
            model.plan.temperature,
            None if repeats is None else repeats.transposed(codes),
        )
        item = result_name(model.schema.item, "item_id")
        user = result_name(model.schema.user, "user_id")
        return top_k_table(top, (item, model.items.ids[codes]), (user, model.users.ids))

    @from_one_state
    def explain(self, user_id: Any, item_id: Any, *, titles: Any = None) -> pd.DataFrame:
        """Return which interest is nearest to an item, and which events contribute to it.

        Parameters
        ----------
        user_id, item_id : known ids
        titles : Series or dict keyed by item id, frame, or None, default=None
            As in `recommend`.

        Returns
        -------
        DataFrame
            One row per item of the history, the largest contribution first: user, item,
            ``interest``, ``history_item_id``, ``weight`` in the interest (weights add up to 1) and
            ``contribution``; with titles, also ``title`` and ``history_title``. Contributions add
            up to the cosine of the item and the interest, minus the contributions of the user
            features and of the sequence encoder.

        Raises
        ------
        UnknownIdError
            If ``fit`` has not seen the user or the item, or no item of ``titles``.
        InvalidInputError, IdTypeError
            If ``titles`` is invalid.

        Warns
        -----
        SkmindWarning
            As `recommend`.
        """
        snapshot = self._fitted()
        model = snapshot.model
        texts = titles_by_code(model, titles)
        user = known_codes(model.users, [user_id])
        item = known_codes(model.items, [item_id])
        window, _ = model.interactions.last_windows(user, model.config.max_history)
        window = window[window >= 0]
        net = snapshot.network(self.device)
        result = explain(net, window, int(item[0]), model.profile_rows(user))
        order = np.argsort(-result.contributions, kind="stable")
        n = len(order)
        item_column = result_name(model.schema.item, "item_id")
        table = pd.DataFrame(
            {
                result_name(model.schema.user, "user_id"): model.users.ids[np.repeat(user, n)],
                item_column: model.items.ids[np.repeat(item, n)],
                "interest": result.interest,
                "history_item_id": model.items.ids[window[order]],
                "weight": result.weights[order],
                "contribution": result.contributions[order],
            }
        )
        names = {item_column: "title", "history_item_id": "history_title"}
        return _with_titles(table, model, texts, names)

    @from_one_state
    def describe_interests(
        self, user_ids: Any = None, *, titles: Any = None, k: int = 5, n_clusters: int = 10
    ) -> pd.DataFrame:
        """Return what each interest is about: its nearest items, and the history behind it.

        Parameters
        ----------
        user_ids : list or array of known ids, or None, default=None
            None: clusters of the interests of all users, or of 10,000 of them, drawn at random with
            the seed of `fit`. They show what the interests of the whole catalogue are about.
        titles : Series or dict keyed by item id, frame, or None, default=None
            As in `recommend`.
        k : int, default=5
            Maximum number of nearest items, and of history items, at least 1.
        n_clusters : int, default=10
            Maximum number of clusters, at least 1, if ``user_ids`` is None. Higher: finer topics.

        Returns
        -------
        DataFrame of one row per interest in use, or per cluster
            - The user, if ``user_ids`` is given; users without an interest have no row.
            - ``interest``, its number among the interests of the user, as in `recommend`; or the
              number of the cluster, the largest first.
            - ``share_of_users`` who have an interest in the cluster, if ``user_ids`` is None.
            - ``share_of_recommended``: share of the first ten recommendations of the user, or of
              the users, that the interest wins, from 0 to 1.
            - ``item_ids``: list of the items nearest to the interest, or to the mean direction of
              the cluster, the nearest first. Items of the history are among them.
            - ``history_item_ids`` and ``history_weights``: lists of the history items of the
              largest weight in the interest, or of the largest mean weight in the cluster, and of
              these weights. All weights of an interest add up to 1.
            - ``titles`` and ``history_titles``, if there are titles: lists of the titles of both.

        Raises
        ------
        UnknownIdError
            If ``fit`` has not seen a user, or no item of ``titles``.
        InvalidInputError
            If another argument is invalid.
        IdTypeError
            If ids are of another kind than the ids of ``fit``.

        Warns
        -----
        SkmindWarning
            As `recommend`.

        Examples
        --------
        >>> from skmind import MINDRecommender
        >>> from skmind.datasets import make_interactions
        >>> data = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0)
        >>> rec = MINDRecommender(n_interests=2, embedding_dim=8, max_epochs=1, random_state=0)
        >>> rec = rec.fit(data.interactions)
        >>> interests = rec.describe_interests([0], titles=data.item_table, k=2)
        >>> interests["interest"].tolist()
        [0, 1]
        >>> interests["titles"].map(len).tolist()
        [2, 2]
        """
        snapshot = self._fitted()
        model = snapshot.model
        texts = titles_by_code(model, titles)
        k = min(check_count(k, "k"), len(model.items))
        n_clusters = check_count(n_clusters, "n_clusters")
        user = result_name(model.schema.user, "user_id")
        if user in DESCRIPTION_COLUMNS:
            raise InvalidInputError(
                f"user_col={user!r} is the name of a column of describe_interests; rename it to "
                "'user_id' and fit again"
            )
        if user_ids is None:
            codes = _sample_of_users(model)
        else:
            codes = known_codes(model.users, user_ids)
        found = InterestRows.of_users(model, snapshot.network(self.device), codes)
        described, labels = found, np.arange(len(found.users))
        if user_ids is None and len(labels):
            described, labels = found.clustered(n_clusters, model.seed)
        n_won, n_recommended = self._count_won(snapshot, codes, found)
        n_rows = len(described.users)
        won = np.bincount(labels, n_won, minlength=n_rows)
        if user_ids is None:
            columns = {
                "interest": described.interests,
                "share_of_users": _share_of_users(found.users, labels, len(codes)),
                "share_of_recommended": won / max(n_recommended.sum(), 1),
            }
        else:
            columns = {
                user: model.users.ids[codes[found.users]],
                "interest": described.interests,
                "share_of_recommended": won / np.maximum(n_recommended[found.users], 1),
            }
        return pd.DataFrame(columns | self._word_lists(snapshot, described, texts, k))

    def explore(
        self,
        path: str | PathLike[str] | None = None,
        *,
        user_ids: Any = None,
        items: Any = None,
        titles: Any = None,
    ) -> ExplorerPage:
        """Create a web page in which a person explores interests and recommendations.

        The page is one file that loads nothing, sends nothing and needs no server. In it, a person
        picks a user or types a history, and sees the interests, the recommendations with the
        history items behind each, similar items, and a map. Sliders weigh the interests and the
        diversity. The page computes what it shows as `recommend`, `recommend_from_history`,
        `explain` and `similar_items` do, with exact search. It rounds vectors to 16 bits, so that
        only items of nearly equal scores may change places.

        The page holds the histories of its users: whoever has the file can read them.

        Parameters
        ----------
        path : str, path-like or None, default=None
            File to write; an existing file is replaced. None: write no file.
        user_ids : list or array of known ids, or None, default=None
            Users of the page; an empty list for none. At most 2,000, with at most 500,000
            interactions. None: all users, or as many as are possible, drawn at random with the seed
            of `fit`.
        items : list or array of ids, or None, default=None
            Recommend only these items, at most 20,000; unknown ones are ignored. None: all items,
            or the 20,000 most frequent ones.
        titles : Series or dict keyed by item id, frame, or None, default=None
            As in `recommend`.

        Returns
        -------
        ExplorerPage
            Notebooks show the page; ``html`` is its text, and ``save(path)`` writes it.

        Raises
        ------
        UnknownIdError
            If ``fit`` has not seen a user, or no item of ``items`` or ``titles``.
        InvalidInputError
            If ``path`` is a directory or is in none, a list is too long, or another argument is
            invalid.
        IdTypeError
            If ids are of another kind than the ids of ``fit``.
        OSError
            If the file can't be written.

        Warns
        -----
        SkmindWarning
            As `recommend`.

        Examples
        --------
        >>> from skmind import MINDRecommender
        >>> from skmind.datasets import make_interactions
        >>> data = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0)
        >>> rec = MINDRecommender(n_interests=2, embedding_dim=8, max_epochs=1, random_state=0)
        >>> rec = rec.fit(data.interactions)
        >>> page = rec.explore(titles=data.item_table)  # explore("page.html") writes the file
        >>> page.notes
        ('This page has all 50 users and recommends from all 60 items, with up to 2 interests.',)
        """
        from .inspection._explore import explore  # above this layer

        return explore(self, path, user_ids=user_ids, items=items, titles=titles)

    def _word_lists(
        self, snapshot: Snapshot, found: InterestRows, titles: np.ndarray | None, k: int
    ) -> dict[str, list]:
        """Return the columns of lists of `describe_interests`."""
        items = snapshot.model.items.ids
        n_rows = len(found.users)
        nothing = Ragged(np.empty(0, dtype=np.int64), np.zeros(n_rows + 1, dtype=np.int64))
        mask = np.ones((n_rows, 1), dtype=bool)
        queries = found.vectors[:, None, :]
        top = snapshot.search_index().search(queries, mask, k, nothing, None, self.n_jobs)
        nearest = [row[row >= 0] for row in top.codes]
        history = found.top_history(k)
        lists = {"item_ids": [items[row].tolist() for row in nearest]}
        if titles is not None:
            lists["titles"] = [title_cells(titles, row).tolist() for row in nearest]
        lists["history_item_ids"] = [items[row].tolist() for row, _ in history]
        if titles is not None:
            lists["history_titles"] = [title_cells(titles, row).tolist() for row, _ in history]
        lists["history_weights"] = [weights.tolist() for _, weights in history]
        return lists

    def _count_won(
        self, snapshot: Snapshot, codes: np.ndarray, found: InterestRows
    ) -> tuple[np.ndarray, np.ndarray]:
        """Count the first recommendations of users: those that each interest wins, and all."""
        model = snapshot.model
        query = self._query(snapshot, codes, model.interactions.take(codes), k=DESCRIBED_K)
        top = self._retrieve(snapshot, *self._encode_users(snapshot, codes), query)
        rows, ranks = np.nonzero(top.interests >= 0)
        n_won = np.zeros((len(codes), model.config.n_interests), dtype=np.int64)
        np.add.at(n_won, (rows, top.interests[rows, ranks]), 1)
        return n_won[found.users, found.interests], n_won.sum(axis=1)

    # evaluation

    @from_one_state
    def index_recall(self, k: int = 10, n_users: int = 256) -> float:
        """Return the recall of the index: the share of the items of exact search that it finds.

        Parameters
        ----------
        k : int, default=10
            Items per user, at least 1; items of the user's history are left out.
        n_users : int, default=256
            Number of known users to search for, at least 1. They are drawn at random with the seed
            of `fit`, so every call uses the same users. If there are enough users, `fit` did not
            calibrate the index on them.

        Returns
        -------
        float
            Mean over the users; 1 for exact search.
        """
        snapshot = self._fitted()
        k = min(check_count(k, "k"), len(snapshot.model.items))
        sample = snapshot.sample(slice(-check_count(n_users, "n_users"), None), self.device)
        arguments = (sample.queries, sample.mask, k, sample.seen, None, self.n_jobs)
        index = snapshot.search_index()
        truth = ExactIndex(index.vectors, index.temperature).search(*arguments)
        return float(recalls(index.search(*arguments), truth).mean())

    @from_one_state
    def target_ranks(
        self,
        X: Any,
        k: int = 10,
        *,
        unseen_users: str = "fold_in",
        exclude_seen: bool | None = None,
        sample_weight: Any = None,
    ) -> pd.DataFrame:
        """Return the rank of each event of ``X`` among the user's recommendations, for metrics.

        For a user of ``fit``, the targets are the user's rows in ``X``, and the history is the one
        in ``fit``. Targets are never excluded, so ``X`` may also be the data of ``fit``.

        Parameters
        ----------
        X : frame with the user, item and time columns, or array with the columns of ``fit``
        k : int, default=10
            Recommendations per user, at least 1. Above 100, and for an exact index always, ranks
            are those of exact search. ``len(items_)`` or more ranks among all items; that takes
            memory for the targets, not for users × items.
        unseen_users : {"fold_in", "skip", "popular", "error"}, default="fold_in"
            How to treat users that ``fit`` has not seen. "fold_in": for users with at least two
            rows, the last row is the target, and the rows before it are the history. "skip": leave
            these users out. "popular": all their rows are targets among the most frequent items.
            "error": raise `UnknownIdError`.
        exclude_seen : bool or None, default=None
            Leave out the rest of the user's history, so that later items move up. If False, these
            items keep their places, as in libraries that filter after ranking. None: as the
            parameter ``exclude_seen``.
        sample_weight : array of shape (n_rows,) or None
            Weight of each row of ``X``; None: 1.

        Returns
        -------
        DataFrame
            One row per user and distinct target: user, item, ``rank`` (from 1; nan if the item is
            not among the first ``k``, or ``fit`` has not seen it), ``history_length``,
            ``item_count`` (interactions in ``fit``) and ``weight``, the mean over the user's rows.

        Raises
        ------
        UnknownIdError
            If ``unseen_users="error"`` and ``fit`` has not seen a user of ``X``.
        InvalidInputError
            If ``sample_weight`` is not one finite number of at least 0 per row, or another argument
            is invalid.

        Warns
        -----
        NothingToScoreWarning
            If there are no targets.
        """
        options = {"unseen_users": unseen_users, "exclude_seen": exclude_seen}
        return self._rank_targets(X, k, sample_weight=sample_weight, **options)[0]

    @from_one_state
    def _rank_targets(
        self,
        X: Any,
        k: Any,
        *,
        unseen_users: Any,
        exclude_seen: Any,
        sample_weight: Any,
        visit: Any = None,
    ) -> tuple[pd.DataFrame, np.ndarray]:
        """Return `target_ranks` and the item codes; for ``visit`` see `rank_targets`."""
        snapshot = self._fitted()
        model = snapshot.model
        model.check_whole("score and target_ranks")
        check_option(unseen_users, "unseen_users", UNSEEN_USERS_OPTIONS)
        check_aligned(sample_weight, X)
        X = self._check_table(X)
        rows = read_rows(X, model.schema, model.interactions.times)
        users = model.users.encode(rows.users, model.schema.label(X, "user"))
        items = model.items.encode(rows.items, model.schema.label(X, "item"))
        task = scoring_task(
            rows,
            users,
            items,
            model.interactions,
            sample_weight,
            unseen_users,
            model.schema.has_row_order,
        )
        warn_of_unknown_items(
            rows.items[task.targets].tolist()[:1],
            task.target_items,
            model.items,
            "targets in X",
            "all count as missed",
        )
        query = self._query(
            snapshot, task.users, task.histories, task.seen(), k=k, exclude_seen=exclude_seen
        )
        net = snapshot.network(self.device)
        interests, mask = model.encode(net, task.histories, model.profile_rows(task.users))
        ranks = rank_targets(
            snapshot.search_index(),
            interests,
            mask,
            query,
            model.prepared.counts,
            task.target_rows,
            task.target_items,
            self.n_jobs,
            visit,
        )
        counts = np.append(model.prepared.counts, 0)  # the last one is that of an unknown item, -1
        targets = pd.DataFrame(
            {
                result_name(model.schema.user, "user_id"): rows.users[task.targets],
                result_name(model.schema.item, "item_id"): rows.items[task.targets],
                "rank": ranks,
                "history_length": task.histories.lengths[task.target_rows],
                "item_count": counts[task.target_items],
                "weight": task.weights[task.target_rows],
            }
        )
        return targets, task.target_items

    @from_one_state
    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean NDCG@10 over users, in rankings as `recommend` makes them.

        `target_ranks` defines the targets; for users that ``fit`` has not seen, this method uses
        ``unseen_users="fold_in"``. For other metrics see `skmind.scoring.make_ranking_scorer`.

        Parameters
        ----------
        X : frame with the user, item and time columns, or array with the columns of ``fit``
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
            If ``sample_weight`` is not one finite number of at least 0 per row, or all weights of
            the scored rows are 0.

        Warns
        -----
        NothingToScoreWarning
            If no user of ``X`` was in ``fit`` or has two rows.
        """
        targets = self.target_ranks(X, SCORE_K, sample_weight=sample_weight)
        return mean_values(targets, {"ndcg": ("ndcg", SCORE_K)})["ndcg"]


# The wrapper of scikit-learn's `set_output` must see one state too, for the names of the columns.
FittedRecommender.transform = from_one_state(  # type: ignore[method-assign, assignment]
    FittedRecommender.transform
)


def _has_positions(schema: Schema, names: list) -> bool:
    """Return whether a column is read by its position in a frame with these column names."""
    are_integers = any(isinstance(name, Integral) for name in names)
    return not are_integers and any(isinstance(column, Integral) for column in schema[:3])


# ------------------------------------------------------------------ codes → ids


def top_k_table(
    top: TopK, queries: tuple[Hashable, np.ndarray], results: tuple[Hashable, np.ndarray]
) -> pd.DataFrame:
    """Return the top items (or users) as a frame with one row per item.

    Parameters
    ----------
    top : TopK
    queries : name, ndarray of shape (B,)
        Name and ids of the column of queries; one id per row of ``top``.
    results : name, ndarray of shape (n,)
        Name of the column of results, and the ids that the codes of ``top`` stand for.
    """
    rows, ranks = np.nonzero(top.codes >= 0)
    query_name, query_ids = queries
    item_name, item_ids = results
    return pd.DataFrame(
        {
            query_name: query_ids[rows],
            item_name: item_ids[top.codes[rows, ranks]],
            "score": top.scores[rows, ranks],
            "rank": ranks + 1,
            "interest": top.interests[rows, ranks],
        }
    )


def _format_result(
    snapshot: Snapshot,
    users: np.ndarray,
    top: TopK,
    k: int,
    output: str,
    titles: np.ndarray | None,
) -> Any:
    """Return the recommendations in the caller's ids, as a frame or as arrays."""
    if output == "arrays":
        top = top.widened(k)
        return _item_ids(snapshot, top.codes), top.scores
    schema = snapshot.model.schema
    user = result_name(schema.user, "user_id")
    item = result_name(schema.item, "item_id")
    table = top_k_table(top, (user, users), (item, snapshot.model.items.ids))
    return _with_titles(table, snapshot.model, titles, {item: "title"})


def titles_by_code(model: FittedModel, titles: Any) -> np.ndarray | None:
    """Return a text per item code, from the argument of a method or else from ``fit``."""
    if titles is None:
        return model.prepared.item_titles
    check_title_columns(model.schema)
    return read_titles(titles, model.items, model.schema)


def _with_titles(
    table: pd.DataFrame, model: FittedModel, titles: np.ndarray | None, names: dict[str, str]
) -> pd.DataFrame:
    """Insert titles, if there are any, after each column of item ids, by the name of the column."""
    if titles is not None:
        for column, name in names.items():
            cells = title_cells(titles, model.items.encode(table[column]))
            table.insert(table.columns.get_loc(column) + 1, name, cells)
    return table


def _check_padding(k: Any, n_rows: int, n_items: int) -> None:
    """Raise if the padding of arrays with ``k`` columns would fill the memory."""
    k = check_count(k, "k")
    if k > n_items and k * n_rows > MAX_PADDED_PLACES:
        raise InvalidInputError(
            f"k={k} is more than the {n_items} known items, and {n_rows} rows of arrays with {k} "
            f"columns would be nearly all padding; set k to at most {n_items}"
        )


def _sample_of_users(model: FittedModel) -> np.ndarray:
    """Return the codes of all users, or of a random part of many."""
    n_users = len(model.users)
    if n_users <= MAX_DESCRIBED_USERS:
        return np.arange(n_users)
    return np.random.default_rng(model.seed).permutation(n_users)[:MAX_DESCRIBED_USERS]


def _share_of_users(users: np.ndarray, labels: np.ndarray, n_users: int) -> np.ndarray:
    """Return, per cluster, the share of the users who have an interest in it."""
    pairs = np.unique(np.column_stack([labels, users]), axis=0)
    return np.bincount(pairs[:, 0]) / n_users


def _item_ids(snapshot: Snapshot, codes: np.ndarray) -> np.ndarray:
    """Return the ids of item codes; nan, NaT or None for -1, so that no id changes."""
    ids = snapshot.model.items.ids[codes]
    is_padding = codes < 0
    if not is_padding.any():
        return ids
    if ids.dtype.kind in "iu":
        known = snapshot.model.items.ids  # not those of this call, so that every call has one dtype
        is_exact = max(-int(known.min()), int(known.max())) < MAX_EXACT_FLOAT
        ids = ids.astype(np.float64 if is_exact else object)
    elif ids.dtype.kind == "b":
        ids = ids.astype(object)
    # numpy writes None into floats as nan, and into datetimes as NaT.
    ids[is_padding] = None
    return ids


def _users_of_items(codes: np.ndarray, interactions: Interactions) -> Ragged:
    """Return, for each item code, the users whose history has the item."""
    distinct, rows = np.unique(codes, return_inverse=True)
    events = np.flatnonzero(np.isin(interactions.items, distinct))
    users = interactions.rows_at(events)
    items = np.searchsorted(distinct, interactions.items[events])
    return Ragged.from_pairs(items, users, len(distinct)).take(rows)


def known_codes(encoder: IdEncoder, ids: Any) -> np.ndarray:
    """Return the codes of the ids; raise `UnknownIdError` if an id is unknown."""
    codes = encoder.encode(ids)
    if (codes < 0).any():
        first = list(ids)[int((codes < 0).argmax())]
        raise UnknownIdError(
            f"the {encoder.name} {first!r} was not in fit; {encoder.name}s_ has the known ids"
        )
    return codes
