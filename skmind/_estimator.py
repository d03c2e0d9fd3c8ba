"""MINDRecommender: parameters and tables → a fitted model."""

from __future__ import annotations

import os
import secrets
from collections.abc import Hashable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields, replace
from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, Self
from weakref import WeakKeyDictionary

import numpy as np
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Hidden, Interval, StrOptions

from ._callbacks import CallbackSupportMixin, FitTasks, with_callbacks
from ._checks import check_count, machine_memory, quiet_unless, warn
from ._model import FittedModel, Snapshot
from ._recommender import FittedRecommender
from .data.extend import append, grow
from .data.interactions import Interactions
from .data.negatives import STRATEGIES
from .data.prepare import (
    Prepared,
    Schema,
    check_distinct_roles,
    check_roles,
    fitted_schema,
    prepare,
)
from .data.shard import Shard, check_same, join_titles, own_rows
from .data.tables import is_frame
from .data.ties import TIE_ORDERS
from .data.titles import learn_titles
from .data.weights import check_aligned, check_weights, read_weights
from .exceptions import InvalidInputError, NothingToLearnWarning
from .nn.device import resolve_device, torch_defaults
from .nn.encoder import SelfAttention
from .nn.inference import unit_items
from .nn.network import MINDNet, NetConfig, check_sizes
from .nn.optim import grow_moments
from .nn.processes import Processes
from .retrieval.approximate import ApproximateIndex
from .retrieval.base import Index
from .retrieval.calibration import CALIBRATION_USERS, Plan
from .retrieval.faiss import load_faiss
from .training.checkpoint import Checkpoint, State, fingerprint, open_checkpoint
from .training.extend import extend_model, with_replay
from .training.trainer import Trainer, TrainingSettings, count_samples

AUTO_EXACT_ITEMS = 1_000_000  # measured by benchmarks/speed/index_crossover.py
SAMPLES_PER_WEIGHT = 4  # from which on the encoder pays; its dropout prevents overfitting
SAMPLES_WITHOUT_DROPOUT = 20  # per weight, from which on the encoder learns more without dropout
ENCODER_DROPOUT = 0.2  # with fewer samples

DEPRECATED_VALUE = "deprecated"  # default value of a parameter that was renamed
LOSSES = "mixture", "label_aware"

# What a change of the model replaces; other attributes may be set while it runs.
LEARNED = (
    "_snapshot",
    "_moments",
    "history_",
    "n_epochs_",
    "n_features_in_",
    "feature_names_in_",
)
# By estimator and process; not an attribute, because copies must not share it.
_change_locks: WeakKeyDictionary[Any, dict[int, RLock]] = WeakKeyDictionary()

# Parameters that may differ between the processes of a fit.
PARAMETERS_OF_A_PROCESS = {"checkpoint_dir", "device", "n_jobs", "random_state", "verbose"}

NETWORK_SIZES = (
    "n_interests",
    "embedding_dim",
    "max_history",
    "n_routing_iter",
    "adaptive_interests",
    "n_encoder_layers",
)

MAX_COUNT = 2**31 - 1
# Larger sizes are of no use, but a forged model could ask for work without end.
MAX_INTERESTS = 256
MAX_DIM = 2**14
MAX_HISTORY = 10**6
MAX_ROUTING_ITER = 100
MAX_LAYERS = 64
MAX_TREES = 1000
MIN_REAL = 1e-10  # float32 arithmetic overflows or stands still far outside of these limits
MAX_REAL = 1e10


class _Number(Interval):
    """An interval of numbers without booleans."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Whether ``val`` is an int or float in the interval."""
        is_number = isinstance(val, Integral | float | np.floating) and not isinstance(val, bool)
        return is_number and super().is_satisfied_by(val)


def _count(minimum: int, maximum: int = MAX_COUNT) -> _Number:
    return _Number(Integral, minimum, maximum, closed="both")


def _real(minimum: float) -> _Number:
    return _Number(Real, minimum, MAX_REAL, closed="both")


MEMORY_SIZES = "embedding_dim", "n_encoder_layers", "n_interests", "max_history"


class MINDRecommender(CallbackSupportMixin, FittedRecommender):
    """Multi-interest recommender: K interest vectors per user, made by capsule routing.

    A torch implementation of MIND (Li et al., "Multi-Interest Network with Dynamic Routing for
    Recommendation at Tmall", CIKM 2019, arXiv 1904.08030) with the departures that `MINDNet` lists.
    ``fit`` takes a table of interactions. It encodes the ids, samples negatives, trains the network
    and builds the search index.

    Parameters
    ----------
    user_col, item_col : str or int, default="user_id", "item_id"
        Columns of the ids, as a name or a position. In an array without column names, and in
        ``pandas.DataFrame(array)``, names stand for the positions 0 and 1. In a frame whose column
        names are integers, an integer is a name. Results have the columns of the same names, or
        "user_id" and "item_id" for integers; so a name can't be that of another column of results,
        such as "score" or "rank". Ids are scalars of any kind: numbers, text, dates. Whole floats
        stand for integers, below 2**53.
    time_col : str, int or None, default="timestamp"
        Column of the times, numbers or datetimes; in an array, a name stands for position 2 if
        there are three columns. None: there are no times.
    tie_order : {"auto", "random", "rows"}, default="auto"
        Order of events that have the same time as another event of their user; without times, of
        all events of a user. "rows": the order of the rows is the order in time. "random": it is
        drawn anew in every epoch, so that nothing is learned from the order of the rows, such as
        "the next item has a larger id" from a table that is sorted by item. "auto": as "random",
        with a warning if there are no times, or if the rows of tied events look sorted by item.
    weight_col : str, int or None, default=None
        Column of `fit` and `partial_fit` with the weight of each interaction in training, a number
        of at least 0: how much it counts as a target, relative to the mean weight. 0: it is in the
        history but never a target. None: all weigh the same, unless ``sample_weight`` is given.
        Other methods don't read it.
    user_features, item_features : list of str, or None, default=None
        Feature columns. They are read from the tables ``users`` and ``items`` of `fit`, or else
        from its ``X``, where the newest row of each id counts. Integers are names, and positions
        only in an array ``X``. None: every column of the tables except the ids.
    item_title : str, int or None, default=None
        Column of the titles of the items, by which people know them. It is read like a feature,
        from the table ``items`` of `fit` or else from its ``X``, where the last row of each item
        counts, but nothing is learned from it unless ``item_features`` names it too. Results then
        have titles beside item ids; see ``titles`` of `recommend`. None: there are none.
    min_item_count : int, default=1
        Minimum number of interactions of an item, at least 1. Items with fewer are left out.
    n_interests : int, default=4
        Number of interest vectors per user, K, from 1 to 256. Higher: finer interests, slower.
    adaptive_interests : bool, default=True
        Whether users with short histories have fewer interests: ``max(1, min(K, floor(log2(n))))``
        for ``n`` items.
    embedding_dim : int, default=64
        Length of every vector, from 1 to 16,384. Higher: better on large data, slower, larger.
    max_history : int, default=50
        Number of newest interactions per user that the interests are computed from, from 1 to
        1,000,000.
    n_routing_iter : int, default=3
        Iterations of dynamic routing, from 1 to 100.
    n_encoder_layers : int or "auto", default="auto"
        Number of self-attention layers, from 0 to 64, that read the order of the history. Higher:
        slower, but better where the next item depends on the items just before it. "auto": 1 if
        there are four samples for each of the ``6 * embedding_dim**2`` weights of a layer, else 0,
        because the layer overfits with fewer samples.
    loss : {"auto", "mixture", "label_aware"}, default="auto"
        How interests are trained on a target. "mixture": all of them, as a mixture in which they
        compete with each other for every item, as in retrieval. "label_aware": by label-aware
        attention, as in the paper; interests are further apart but find less. "auto":
        "label_aware" if ``label_attention`` is given, else "mixture".
    label_attention : "hard", float from 1e-10 to 1e10, or None, default=None
        Weights of the interests in the label-aware loss; other losses don't use it. "hard": only
        the interest nearest the target. A number: all interests, weighted by the softmax of this
        number times their similarity to the target. None: "hard".
    temperature : float from 1e-10 to 1e10, default=0.1
        Divisor of the similarities in the loss. Lower: more weight on the hardest negatives.
    item_dropout : float in [0, 1), default=0.2
        Share of the history items that each training sample leaves out at random. Higher: less
        overfitting; 0.4 is better with more dimensions on sparse data.
    encoder_dropout : float in [0, 1) or "auto", default="auto"
        Share of the entries of the encoder's input and of the outputs of its layers that are set to
        0 at random in training. Higher: less overfitting; 0.4 is better with more dimensions on
        sparse data. "auto": 0 if there are twenty samples for each of the weights of a layer, else
        0.2.
    init : {"auto", "cooccurrence", "random"}, default="auto"
        Item vectors before training. "cooccurrence": from a factorisation of which items occur
        within five interactions of each other, plus 0.3 times random vectors; items without
        neighbours have random vectors, and features start from the items that have them. It finds
        more new items, and training needs fewer epochs. "random": normally distributed; with
        label-aware attention, finds more of the items that a user comes back to. "auto": "random"
        for label-aware attention with ``exclude_seen=False``, else "cooccurrence". A fit with
        ``warm_start`` does not use it.
    n_negatives : int or "all", default=1024
        Number of negatives that the samples of a batch share, at least 1. Higher: better, slower.
        "all", or at least the number of items: the full softmax.
    negative_sampling : {"popularity", "uniform", "in_batch", "mixed"}, default="popularity"
        Where negatives are drawn from. "popularity": items by frequency. "uniform": all items with
        equal probability. "in_batch": the targets of the batch; ``n_negatives`` is not used.
        "mixed": the targets of the batch and uniform ones. The loss corrects all for the expected
        number of draws of an item, so that they estimate the same full softmax.
    max_epochs : int, default=8
        Passes over the data, at least 1. The learning rate falls linearly over them to a tenth.
    batch_size : int or "auto", default="auto"
        Approximate number of samples per step, at least 1. A sample is an interaction and the
        history before it; samples of up to ``max_history`` successive interactions of a user stay
        together. "auto": a hundredth of the samples, from 32 to 1,024.
    samples_per_epoch : int or None, default=None
        Approximate number of samples per epoch, at least 1. Each epoch draws users at random, at
        least one, and uses all their samples. Useful for logs where a full epoch takes too long.
        None: all samples.
    horizon : int, default=1
        The target of a sample is drawn from this number of interactions after its history, at
        least 1. Higher, as in PinnerFormer (Pancha et al., KDD 2022): better for recommendations
        that are made before the newest interactions are known, or that must last.
    learning_rate : float from 1e-10 to 1e10, default=0.01
        Initial step size of Adam. In tables of more than 20,000 rows (items, values of a feature)
        a step updates only the rows that it uses, by a sparse approximation of Adam.
    weight_decay : float from 0 to 1e10, default=0
        L2 penalty of Adam. In tables of more than 20,000 rows it applies to the rows that a step
        uses.
    early_stopping : bool, default=False
        Whether to hold out the last interaction of ``validation_fraction`` of the users, and to
        stop when its NDCG@10 has not improved for ``n_iter_no_change`` epochs: training goes back
        to the best weights, and runs for as many epochs again, in which the learning rate falls to
        its final value. If these would not end before ``max_epochs``, it runs on to there. The
        last weights are kept. So ``max_epochs`` may be higher than the data need.
    validation_fraction : float in (0, 1), default=0.1
        Share of the users with at least three interactions whose last interaction is held out.
    n_iter_no_change : int, default=3
        Number of epochs without improvement before early stopping, and of the epochs that follow
        it, at least 1.
    warm_start : bool, default=False
        Whether `fit` starts from the weights of the last fit, for the items that both fits have.
        The sizes ``n_interests``, ``embedding_dim``, ``max_history`` and ``n_encoder_layers`` must
        not change.
    checkpoint_dir : str, Path or None, default=None
        Directory in which `fit` keeps its last two epochs; it is created if it does not exist. If
        `fit` is interrupted, the next `fit` with the same parameters and data continues after the
        last epoch. On one machine and one thread, its weights are bit-equal to those of an
        uninterrupted fit. `fit` removes its epochs when it is complete. Each combination of
        parameters and data has its own folder, so that the fits of a search may share the
        directory. None: nothing is kept.
    exclude_seen : bool, default=True
        Whether to leave out the items of a user's history: in recommendations, in `score` and
        other scorers, and in early stopping. False: for sessions, and for items that people come
        back to; `fit` then learns how likely an item of the history comes again, by its age (with
        the mixture loss). Methods take an argument of the same name, which wins.
    transform_history : {"full", "past"}, default="full"
        Which history `transform` uses. "full": all interactions of the user in `fit`. "past": only
        the interactions strictly before the time of the row; use it if another model is trained on
        the result.
    index : {"auto", "exact", "annoy", "faiss"}, default="auto"
        Index for the search of items. "auto": "exact" up to 1,000,000 items, "annoy" above. "annoy"
        and "faiss" (``pip install skmind[faiss]``) are approximate. For one user per call, they are
        faster than "exact" from 50,000 items on. For batches of users, "faiss" is faster from a few
        hundred thousand items on.
    n_trees : int, default=50
        Number of trees of the Annoy index, from 1 to 1,000. Higher: better recall, larger.
    search_k : int or None, default=None
        Number of nodes of Annoy's trees, or of lists of faiss (its ``nprobe``), that a query
        visits, at least 1. Higher: better recall, slower. None: `fit` measures on 128 users,
        with ``k`` of 10 and 100, how many are needed to find 95 % of the items that exact search
        finds; queries with a larger ``k`` visit more. If the index is then no faster than exact
        search, `fit` warns and uses exact search.
    n_jobs : int or None, default=None
        Number of threads of the search; results don't depend on it. None: 1, or as set by
        `joblib.parallel_config`. -1: one per processor. 0 is invalid. Threads of torch and BLAS are
        not changed.
    device : str, default="auto"
        "cpu", "cuda" or "cuda:1" and so on. "auto": a CUDA device if there is one; under
        `torchrun`, the one of this process.
    precision : {"float32", "bfloat16"}, default="float32"
        Precision of the matrix products in `fit`. "bfloat16" (automatic mixed precision) is faster
        on hardware that supports it, such as GPUs and newer CPUs. Weights, sums and everything
        after `fit` stay float32.
    random_state : int, RandomState or None, default=None
        An int makes fits repeatable: bit-equal on one machine and one thread.
    verbose : int, default=0
        1 shows a progress bar with samples/s, the loss and the validation metric, or one line per
        epoch if stderr is not a terminal.
    dropout : float in [0, 1)
        Deprecated name of ``item_dropout``; it will be removed in version 0.2.

    Attributes
    ----------
    users_, items_ : ndarray of shape (n_users,), (n_items,)
        Known ids in the order of their codes.
    item_embeddings_ : ndarray of shape (n_items, embedding_dim), float32
        Unit item vectors; scores are computed from their cosines to the interests.
    item_counts_ : ndarray of shape (n_items,), int64
        Number of interactions of each item.
    history_ : list of dict
        One dict per epoch: ``epoch``, ``loss``, ``seconds``, ``samples_per_second``, and
        ``validation_ndcg`` with early stopping.
    n_epochs_ : int
        Number of epochs that training ran.
    score_temperature_ : float or None
        Temperature of the scores, see `recommend`: ``temperature`` of the mixture loss, or None
        for the highest cosine.
    repeat_weights_ : ndarray of shape (max_history,), float32, or None
        Weights of the events of the history by their age, see `recommend`. None after a fit with
        ``exclude_seen=True`` or label-aware attention.
    index_ : {"exact", "annoy", "faiss"}
        Index that `fit` chose.
    n_features_in_ : int
        Number of columns of ``X`` in `fit`.
    feature_names_in_ : ndarray of str
        Names of the columns, if all are text.

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

    # What scikit-learn's metadata routing may pass; `fit` says why it is not in the signature.
    __metadata_request__fit: ClassVar[dict] = {"sample_weight": None}
    __metadata_request__partial_fit: ClassVar[dict] = {"sample_weight": None}

    _parameter_constraints: ClassVar[dict] = {
        "user_col": [str, Integral],
        "item_col": [str, Integral],
        "time_col": [str, Integral, None],
        "tie_order": [StrOptions(set(TIE_ORDERS))],
        "weight_col": [str, Integral, None],
        "user_features": ["array-like", None],
        "item_features": ["array-like", None],
        "item_title": [str, Integral, None],
        "min_item_count": [_count(1)],
        "n_interests": [_count(1, MAX_INTERESTS)],
        "adaptive_interests": ["boolean"],
        "embedding_dim": [_count(1, MAX_DIM)],
        "max_history": [_count(1, MAX_HISTORY)],
        "n_routing_iter": [_count(1, MAX_ROUTING_ITER)],
        "n_encoder_layers": [StrOptions({"auto"}), _count(0, MAX_LAYERS)],
        "loss": [StrOptions({"auto", *LOSSES})],
        "label_attention": [
            StrOptions({"hard", "mixture"}, deprecated={"mixture"}),
            _real(MIN_REAL),
            None,
        ],
        "temperature": [_real(MIN_REAL)],
        "item_dropout": [_Number(Real, 0, 1, closed="left")],
        "encoder_dropout": [_Number(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "init": [StrOptions({"auto", "cooccurrence", "random"})],
        "n_negatives": [StrOptions({"all"}), _count(1)],
        "negative_sampling": [StrOptions(set(STRATEGIES))],
        "max_epochs": [_count(1)],
        "batch_size": [StrOptions({"auto"}), _count(1)],
        "samples_per_epoch": [_count(1), None],
        "horizon": [_count(1)],
        "learning_rate": [_real(MIN_REAL)],
        "weight_decay": [_real(0)],
        "early_stopping": ["boolean"],
        "validation_fraction": [_Number(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [_count(1)],
        "warm_start": ["boolean"],
        "checkpoint_dir": [str, Path, None],
        "exclude_seen": ["boolean"],
        "transform_history": [StrOptions({"full", "past"})],
        "index": [StrOptions({"auto", "exact", "annoy", "faiss"})],
        "n_trees": [_count(1, MAX_TREES)],
        "search_k": [_count(1), None],
        "n_jobs": [_Number(Integral, None, -1, closed="right"), _count(1), None],
        "device": [str],
        "precision": [StrOptions({"float32", "bfloat16"})],
        "random_state": [_count(0, 2**32 - 1), np.random.RandomState, None],
        "verbose": ["verbose"],
        "dropout": [_Number(Real, 0, 1, closed="left"), Hidden(StrOptions({DEPRECATED_VALUE}))],
    }

    def __init__(
        self,
        *,
        user_col: str | int = "user_id",
        item_col: str | int = "item_id",
        time_col: str | int | None = "timestamp",
        tie_order: str = "auto",
        weight_col: str | int | None = None,
        user_features: Any = None,
        item_features: Any = None,
        item_title: str | int | None = None,
        min_item_count: int = 1,
        n_interests: int = 4,
        adaptive_interests: bool = True,
        embedding_dim: int = 64,
        max_history: int = 50,
        n_routing_iter: int = 3,
        n_encoder_layers: int | str = "auto",
        loss: str = "auto",
        label_attention: str | float | None = None,
        temperature: float = 0.1,
        item_dropout: float = 0.2,
        encoder_dropout: float | str = "auto",
        init: str = "auto",
        n_negatives: int | str = 1024,
        negative_sampling: str = "popularity",
        max_epochs: int = 8,
        batch_size: int | str = "auto",
        samples_per_epoch: int | None = None,
        horizon: int = 1,
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        warm_start: bool = False,
        checkpoint_dir: str | Path | None = None,
        exclude_seen: bool = True,
        transform_history: str = "full",
        index: str = "auto",
        n_trees: int = 50,
        search_k: int | None = None,
        n_jobs: int | None = None,
        device: str = "auto",
        precision: str = "float32",
        random_state: Any = None,
        verbose: int = 0,
        dropout: float | str = DEPRECATED_VALUE,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.time_col = time_col
        self.tie_order = tie_order
        self.weight_col = weight_col
        self.user_features = user_features
        self.item_features = item_features
        self.item_title = item_title
        self.min_item_count = min_item_count
        self.n_interests = n_interests
        self.adaptive_interests = adaptive_interests
        self.embedding_dim = embedding_dim
        self.max_history = max_history
        self.n_routing_iter = n_routing_iter
        self.n_encoder_layers = n_encoder_layers
        self.loss = loss
        self.label_attention = label_attention
        self.temperature = temperature
        self.item_dropout = item_dropout
        self.encoder_dropout = encoder_dropout
        self.init = init
        self.n_negatives = n_negatives
        self.negative_sampling = negative_sampling
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.samples_per_epoch = samples_per_epoch
        self.horizon = horizon
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.checkpoint_dir = checkpoint_dir
        self.exclude_seen = exclude_seen
        self.transform_history = transform_history
        self.index = index
        self.n_trees = n_trees
        self.search_k = search_k
        self.n_jobs = n_jobs
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose
        self.dropout = dropout

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        users: Any = None,
        items: Any = None,
        **weights: Any,
    ) -> Self:
        """Learn item vectors and keep the history of every user.

        Parameters
        ----------
        X : frame (pandas, polars, pyarrow), array of shape (n_interactions, n_columns), path
            One row per interaction; never changed. Frames of other libraries that export Arrow data
            (duckdb relations, record batch readers) are read with pyarrow. A list of rows is read
            like an array. A path names a Parquet file, or a folder of them, which are read in the
            order of their names; a list of files, or a pyarrow dataset, is possible too. Files are
            never held in memory as a whole, and need ``pip install skmind[parquet]``.
        y : None
            Ignored.
        users, items : frame or None
            Features keyed by ``user_col`` and ``item_col``, one row per id. Text, category, bool
            and integer columns are categories, columns of floats or Decimals are numbers, and cells
            with lists hold several categories at once. Lists or arrays of floats, all of the same
            length, are vectors (embeddings): the same as one float column per number. Ids that
            occur only in such a table are known too: their features make these items recommendable,
            and give these users recommendations.
        **weights : ``sample_weight``, array of shape (n_interactions,) or None
            Weight of each row as a target of training, instead of ``weight_col``. The loss is the
            sum of weight times loss of the targets, divided by the mean weight and the number of
            samples: only ratios of weights matter, and ``learning_rate`` means the same. A row of
            weight 0 stays in the history and in `item_counts_`, but is not a target. Early stopping
            holds out no row of weight 0, and weights the rows that it holds out equally.
            ``sample_weight`` is not in the signature, because scikit-learn expects of estimators
            with such a parameter that a weight is a number of repeated rows, and that 0 removes a
            row from the history too.

        Returns
        -------
        self

        Notes
        -----
        Under `torchrun`, or with an initialised process group of torch, all processes must call
        `fit`. They train one model: if all have the same table, each keeps the users that a hash
        gives it; if the tables differ, each must have the whole histories of other users. Then
        each process has all items and its own users, `save` writes them as one model, and
        warnings and progress come from the first process. Features of items must be in ``items``,
        not in ``X``.

        Raises
        ------
        InvalidInputError
            If a column or id is missing, a column name is there twice or is one of results, a time
            is missing or text, rows have names for their values, a feature is infinite or 1e20 and
            more, vectors differ in length, a feature table has an id twice, a float stands for
            several integer ids, or a file can't be read; if a weight is not a finite number of at
            least 0, or all are 0; if ``X`` or a feature table is not in memory as a table, or ``X``
            may be a matrix of users × items or a list of sessions. The message says how to convert
            it. The estimator does not change.
        IdTypeError
            If an id is not a scalar, or the ids of a feature table are of another kind than in X.
        ImportError
            If ``X`` is a path and pyarrow is not installed, or ``index="faiss"`` and faiss is not.
        TrainingDivergedError
            If the loss or a weight is not finite.
        ModelFileError, ModelWriteError
            If ``checkpoint_dir`` can't be written to, or all epochs of this fit in it are damaged.
        ProcessLostError
            If another process of the same fit failed or was lost; the message names it.

        Warns
        -----
        NothingToLearnWarning
            If no user has two interactions, or no later one of positive weight; the vectors keep
            their initial values.
        NothingToScoreWarning
            If ``early_stopping=True`` and no user has three interactions.
        IgnoredDataWarning
            If a feature column has no values, or an array has columns that are not used.
        FeatureTypeWarning
            If a feature column of categories probably holds dates, numbers, joined lists or free
            text, in tables of 50 rows and more.
        TiedTimesWarning
            If there are no times, if the rows of events with equal times look sorted by item, or if
            equal times are floats so large that different times may have become one.
        SkmindWarning
            If an id is there in two types, such as text and numbers, if no id of a feature table
            occurs in ``X``, if times look like a mix of two units (seconds and milliseconds), or if
            the third column of an array looks like ratings.
        ExactSearchWarning
            If the index is approximate and not faster than exact search; see ``search_k``.
        """
        sample_weight = _sample_weight(weights, "fit")
        with self._change_lock():
            with Processes.fitting(self.device) as processes:
                changed = self._frozen()
                changed._fit(X, y, users, items, sample_weight, processes)
            self._take_over(changed)
        return self

    def _change_lock(self) -> RLock:
        """Return the lock of the estimator that a change holds, so that another thread waits."""
        # One lock per process: a forked child may inherit a locked lock that nothing releases.
        return _change_locks.setdefault(self, {}).setdefault(os.getpid(), RLock())

    def _take_over(self, changed: Self) -> None:
        """Take over what ``changed`` has learned, in one assignment."""
        learned = {name: vars(changed)[name] for name in LEARNED if name in vars(changed)}
        others = {name: value for name, value in vars(self).copy().items() if name not in LEARNED}
        self.__dict__ = others | learned

    @with_callbacks
    @torch_defaults()
    def _fit(
        self,
        X: Any,
        y: Any,
        users: Any,
        items: Any,
        sample_weight: Any,
        processes: Processes,
    ) -> None:
        self._validate_params()
        tasks = FitTasks(self, "fit", self.max_epochs, X, y)
        tasks.begin()
        with quiet_unless(processes.is_first):
            self._learn(X, users, items, sample_weight, tasks, processes)
        tasks.end()

    def _check_agreement(self, processes: Processes, **tables: Any) -> None:
        """Raise `InvalidInputError` unless all processes fit alike."""
        own = self.get_params(deep=False)
        values = {name: repr(own[name]) for name in own.keys() - PARAMETERS_OF_A_PROCESS}
        values["checkpoint_dir"] = "None" if self.checkpoint_dir is None else "a directory"
        values |= {f"{name}=": "None" if t is None else "a table" for name, t in tables.items()}
        all_values = processes.gather(values)
        for name in values:
            check_same(name, [others[name] for others in all_values])

    def _learn(
        self,
        X: Any,
        users: Any,
        items: Any,
        sample_weight: Any,
        tasks: FitTasks,
        processes: Processes,
    ) -> None:
        previous: FittedModel | None = getattr(self, "_model", None)
        settings = self._settings()
        device = resolve_device(self.device)
        if self.warm_start and previous is not None:
            settings = replace(settings, init="random")  # keep the vectors of the last fit
        if self.index == "faiss":
            load_faiss()
        schema = self._schema()
        check_aligned(sample_weight, X)
        X = self._check_table(X, reset=True)
        if processes.size > 1:
            self._check_agreement(processes, users=users, items=items, sample_weight=sample_weight)
            check_roles(X, schema)
            user, item, *_ = schema.for_table(X)
            X, is_own = own_rows(X, user, item, processes)
            if sample_weight is not None and is_own is not None:
                sample_weight = check_weights(sample_weight, len(is_own))[is_own]
            del is_own  # a byte per row
        weights = read_weights(X, schema, sample_weight, processes)
        prepared = prepare(
            X,
            schema,
            users=users,
            items=items,
            min_item_count=self.min_item_count,
            weights=weights,
            processes=processes,
        )
        schema = fitted_schema(X, schema, prepared.interactions.times)
        times = prepared.interactions.times
        check_same("the type of the users", processes.gather(str(prepared.users.ids.dtype)))
        kind = schema.time_kind, None if times is None else str(times.dtype)
        check_same("the type of the times", processes.gather(kind))
        shard = Shard.of(processes, prepared.users)
        titles = join_titles(processes, learn_titles(X, items, schema, prepared.items))
        prepared = replace(prepared, item_titles=titles)
        sizes = {name: getattr(self, name) for name in NETWORK_SIZES}
        if sizes["n_encoder_layers"] == "auto":
            n_samples = count_samples(prepared.interactions, processes)
            sizes["n_encoder_layers"] = self._auto_layers(n_samples, previous)
        repeats = not self.exclude_seen and settings.score_temperature is not None
        config = NetConfig(n_items=len(prepared.items), repeats=repeats, **sizes)
        check_sizes(config)
        _check_memory(config)
        seed = processes.broadcast(_entropy(self.random_state))
        with self._checkpoint(prepared, config, previous, seed, processes) as checkpoint:
            seed = processes.broadcast(seed if checkpoint is None else checkpoint.seed)
            rng = np.random.default_rng(seed)
            model = FittedModel.untrained(prepared, schema, config, int(rng.integers(2**31)))
            if processes.size > 1:
                model.part = processes.rank, processes.size
            if self.warm_start and previous is not None:
                model.inherit_weights(previous)
            net = model.network().to(device)
            history, moments = self._train(
                net,
                model,
                settings,
                rng,
                tasks=tasks,
                checkpoint=checkpoint,
                processes=processes,
                shard=shard,
            )
            self._keep(model, net, settings, history, moments, processes)

    def _keep(
        self,
        model: FittedModel,
        net: MINDNet,
        settings: TrainingSettings,
        history: list[dict[str, Any]],
        moments: dict[str, Any],
        processes: Processes,
    ) -> None:
        """Store the trained weights and the state of the fit, and build the index."""
        model.store_weights(net)
        model.forget_event_weights()
        snapshot = Snapshot(model, unit_items(net), net)
        if processes.is_first:
            model.plan, snapshot.index = self._plan_index(snapshot, settings.score_temperature)
        model.plan = processes.broadcast(model.plan)
        self.history_ = history
        self.n_epochs_ = len(history)
        self._moments = moments
        self._snapshot = snapshot

    def _plan_index(self, snapshot: Snapshot, temperature: float | None) -> tuple[Plan, Index]:
        """Choose, build and calibrate the index."""
        kind = self.index
        if kind == "auto":
            n_items = len(snapshot.item_embeddings)
            kind = "exact" if n_items <= AUTO_EXACT_ITEMS else "annoy"
        seed = snapshot.model.seed
        plan = Plan(kind, self.n_trees, self.search_k, seed, temperature=temperature)
        vectors = snapshot.item_embeddings
        if kind == "exact" or self.search_k is not None:
            return plan, plan.build(vectors)
        sample = snapshot.sample(slice(CALIBRATION_USERS), self.device)
        # To build the index of a large catalogue takes minutes.
        if self.index == "auto" and plan.is_hopeless(vectors, sample, self.n_jobs):
            return plan.exact_instead(vectors)
        index = plan.build(vectors)
        assert isinstance(index, ApproximateIndex)
        return plan.calibrated(index, sample, self.n_jobs)

    def _checkpoint(
        self,
        prepared: Prepared,
        config: NetConfig,
        previous: FittedModel | None,
        seed: int,
        processes: Processes,
    ) -> AbstractContextManager[Checkpoint | None]:
        """Return the checkpoint, which the first process keeps for all."""
        if self.checkpoint_dir is None:
            return nullcontext()
        inputs = self.get_params() | asdict(config) | {"device": resolve_device(self.device)}
        for name in ("verbose", "n_jobs", "checkpoint_dir", "random_state", "item_title"):
            del inputs[name]
        if isinstance(self.random_state, Integral):  # a random seed is in the checkpoint
            inputs["seed"] = seed
        weights = previous.weights.values() if self.warm_start and previous is not None else ()
        name = fingerprint(inputs, prepared, weights, processes)
        if not processes.is_first:
            return nullcontext()
        return open_checkpoint(self.checkpoint_dir, name, seed)

    def _settings(self) -> TrainingSettings:
        names = {f.name for f in fields(TrainingSettings)} - {"has_row_order"}
        settings = {name: getattr(self, name) for name in names}
        settings["label_attention"] = self._label_attention()
        settings["item_dropout"] = self._item_dropout()
        if self.init == "auto":
            # Without weights of repeats, items of the history must be the nearest to be found.
            needs_nearest = not self.exclude_seen and settings["label_attention"] is not None
            settings["init"] = "random" if needs_nearest else "cooccurrence"
        return TrainingSettings(**settings)

    def _label_attention(self) -> str | float | None:
        """Return the label attention of the label-aware loss; None for the mixture loss."""
        power = self.label_attention
        loss = self.loss
        if power == "mixture":
            if loss == "label_aware":
                raise InvalidInputError(
                    "label_attention='mixture' is the deprecated form of loss='mixture', which "
                    "contradicts loss='label_aware'; set label_attention to None, 'hard' or a "
                    "number"
                )
            warn(
                "label_attention='mixture' is deprecated and will be an error in version 0.2; set "
                "loss='mixture', or leave both out",
                FutureWarning,
            )
            return None
        if loss == "mixture" or (loss == "auto" and power is None):
            return None
        return "hard" if power is None else power

    def _item_dropout(self) -> float:
        """Return ``item_dropout``, or the value of its deprecated name ``dropout``."""
        if self.dropout == DEPRECATED_VALUE:
            return self.item_dropout
        if self.item_dropout != signature(type(self)).parameters["item_dropout"].default:
            raise InvalidInputError(
                f"dropout={self.dropout!r} is the deprecated name of item_dropout="
                f"{self.item_dropout!r}, and both are set; set only item_dropout"
            )
        warn(
            f"dropout is deprecated and will be removed in version 0.2; set item_dropout="
            f"{self.dropout!r}",
            FutureWarning,
        )
        return self.dropout  # type: ignore[return-value]

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        *,
        users: Any = None,
        items: Any = None,
        n_epochs: int = 1,
        **weights: Any,
    ) -> Self:
        """Learn from new interactions, users and items; known ids keep their codes.

        New ids follow the known ones in `users_` and `items_`. The vectors of new items start from
        their features, or else from the mean of the items next to them in the histories. Training
        uses the new interactions and up to ``max_history`` earlier ones per user. To keep what was
        learned, it also uses up to four times as many interactions of other users, drawn at
        random. The optimiser continues with its state and with the learning rate at which `fit`
        ended. Files and pickles don't hold the state of the optimiser: after loading one, it starts
        with a new state and the same rate.

        Parameters
        ----------
        X : frame, array or path
            New interactions only, as in `fit`. A frame needs the user, item and time columns; its
            other columns, and their order, don't matter. Features that it lacks stay as they are,
            or are missing for new ids. Interactions may be older than known ones; at equal times
            they come after them. ``min_item_count`` does not apply.
        y : None
            Ignored.
        users, items : frame or None
            Features, as in `fit`, with the same columns. A row replaces the known features of its
            id. New categories are learned.
        **weights : ``sample_weight``, array of shape (n_interactions,) or None
            Weights of the rows of ``X``, as in `fit`. The model does not keep weights: earlier
            interactions that are learned again have the mean weight of the rows of ``X``.
        n_epochs : int, default=1
            Passes over the training data, at least 1. If the estimator is not fitted, `partial_fit`
            calls `fit`, which makes ``max_epochs`` passes.

        Returns
        -------
        self
            ``history_`` and ``n_epochs_`` include the new epochs. Sizes (``n_interests`` …) stay as
            in `fit`. All weights are trained, so that known vectors change too.

        Raises
        ------
        InvalidInputError
            As in `fit`, and if the times are of another kind than in `fit` (numbers, dates, or
            dates with a time zone), or all in another unit (seconds, milliseconds and so on). The
            estimator does not change.
        IdTypeError
            If ids are of another kind than in `fit`.

        Warns
        -----
        NothingToLearnWarning
            If no user of ``X`` has two interactions.
        IgnoredDataWarning
            If a feature table has columns that `fit` has not seen.
        """
        sample_weight = _sample_weight(weights, "partial_fit")
        check_count(n_epochs, "n_epochs")
        Processes.check_alone("partial_fit")
        with self._change_lock():
            if not hasattr(self, "items_"):
                return self.fit(X, users=users, items=items, **weights)
            changed = self._frozen()
            changed._partial_fit(X, y, users, items, sample_weight, n_epochs)
            self._take_over(changed)
        return self

    @with_callbacks
    @torch_defaults()
    def _partial_fit(
        self, X: Any, y: Any, users: Any, items: Any, sample_weight: Any, n_epochs: int
    ) -> None:
        self._validate_params()
        tasks = FitTasks(self, "partial_fit", n_epochs, X, y)
        tasks.begin()
        self._learn_more(X, users, items, sample_weight, n_epochs, tasks)
        tasks.end()

    def _learn_more(
        self,
        X: Any,
        users: Any,
        items: Any,
        sample_weight: Any,
        n_epochs: int,
        tasks: FitTasks,
    ) -> None:
        snapshot = self._fitted()
        snapshot.model.check_whole("partial_fit")
        previous = snapshot.model
        settings = replace(
            self._settings(), max_epochs=n_epochs, early_stopping=False, init="random"
        )
        device = resolve_device(self.device)
        check_aligned(sample_weight, X)
        X = self._check_table(X)
        schema = previous.schema._replace(weight=self.weight_col)  # it may be set after fit
        check_distinct_roles(schema)
        weights = read_weights(X, schema, sample_weight)
        prepared, is_new = grow(
            previous.prepared, X, previous.schema, users=users, items=items, weights=weights
        )
        titles = previous.prepared.item_titles
        titles = learn_titles(X, items, previous.schema, prepared.items, titles)
        prepared = replace(prepared, item_titles=titles)
        model = extend_model(previous, prepared, snapshot.item_embeddings)
        net = model.network().to(device)
        rng = np.random.default_rng(_entropy(self.random_state))
        moments = grow_moments(getattr(self, "_moments", {}), model.matching_rows(previous))
        marked = with_replay(prepared.interactions, is_new, rng)
        new = prepared.interactions.since(marked, model.config.max_history)
        epochs, moments = self._train(net, model, settings, rng, new, tasks=tasks, moments=moments)
        history = self._continued(epochs)
        self._keep(model, net, settings, history, moments, Processes())

    def _continued(self, epochs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return ``history_`` with the epochs of `partial_fit`."""
        last = self.n_epochs_
        return self.history_ + [epoch | {"epoch": last + epoch["epoch"]} for epoch in epochs]

    def add_interactions(self, X: Any) -> Self:
        """Extend the histories without training; all users of ``X`` are known afterwards.

        The item vectors and the index do not change. The recommendations change, because interests
        are computed from the histories, and items in the history are not recommended again.

        Parameters
        ----------
        X : frame, array or path
            As in `partial_fit`.

        Returns
        -------
        self

        Raises
        ------
        InvalidInputError, IdTypeError
            As in `partial_fit`. The estimator does not change.
        NotFittedError
            If `fit` was not called.

        Warns
        -----
        IgnoredDataWarning
            If rows have unknown items; these rows are left out, but their users become known.
        """
        with self._change_lock():
            snapshot = self._fitted()
            model = snapshot.model
            model.check_whole("add_interactions")
            prepared = append(model.prepared, self._check_table(X), model.schema)
            extended = extend_model(model, prepared, snapshot.item_embeddings)
            net = snapshot.net if extended.weights is model.weights else None
            self._snapshot = Snapshot(extended, snapshot.item_embeddings, net, snapshot.index)
        return self

    def _auto_layers(self, n_samples: int, previous: FittedModel | None) -> int:
        if self.warm_start and previous is not None:
            return previous.config.n_encoder_layers
        return int(n_samples >= SAMPLES_PER_WEIGHT * SelfAttention.n_weights(self.embedding_dim))

    def _encoder_dropout(self, model: FittedModel, processes: Processes) -> float:
        """Return the dropout of the encoder that "auto" stands for, or the one that is given."""
        if not isinstance(self.encoder_dropout, str):
            return self.encoder_dropout
        n_samples = count_samples(model.interactions, processes)
        n_weights = SelfAttention.n_weights(model.config.embedding_dim)
        return 0.0 if n_samples >= SAMPLES_WITHOUT_DROPOUT * n_weights else ENCODER_DROPOUT

    def _schema(self) -> Schema:
        schema = Schema(
            self.user_col,
            self.item_col,
            self.time_col,
            _feature_names(self.user_features, "user_features"),
            _feature_names(self.item_features, "item_features"),
            self.tie_order,
            self.weight_col,
            title=self.item_title,
        )
        check_distinct_roles(schema)
        return schema

    def _train(
        self,
        net: MINDNet,
        model: FittedModel,
        settings: TrainingSettings,
        rng: np.random.Generator,
        part: tuple[np.ndarray, Interactions] | None = None,
        *,
        tasks: FitTasks,
        **start: Any,
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Train the network; return a record per epoch and the state of the optimisers.

        ``part`` holds the codes and the histories of the users to train on; None: all users.
        """
        users, interactions = part or (np.arange(len(model.users)), model.interactions)
        processes = start.get("processes", Processes())
        if not processes.any(bool(interactions.n_samples.any())) or model.config.n_items < 2:
            weights = "" if interactions.weights is None else ", a later one with a weight above 0"
            warn(
                f"nothing to learn: no user has two interactions{weights}, or there is only one "
                "item; the vectors keep their initial values. Pass more interactions per user",
                NothingToLearnWarning,
            )
            return [], start.get("moments", {})
        settings = replace(
            settings,
            has_row_order=model.schema.has_row_order,
            encoder_dropout=self._encoder_dropout(model, processes),
        )

        def attributes(state: State) -> dict[str, Any]:
            """Return what `_keep` would store if training ended here, with exact search."""
            plan = Plan(temperature=settings.score_temperature)
            now = replace(model, weights=net.get_weights(), plan=plan)
            history = list(state.history) if part is None else self._continued(state.history)
            snapshot = Snapshot(now, unit_items(now.network()))
            return {"history_": history, "n_epochs_": len(history), "_snapshot": snapshot}

        start["begin_epoch"] = lambda epoch: tasks.begin_epoch(epoch, attributes)
        trainer = Trainer(net, model.profile_rows(users), settings, rng, **start)
        return trainer.fit(interactions), trainer.moments()


def _feature_names(names: Any, parameter: str) -> tuple | None:
    """Return the names of feature columns; None for all columns of the feature table."""
    if names is None:
        return None
    if is_frame(names):
        raise InvalidInputError(
            f"{parameter} is a {type(names).__name__}, but must be a list of names of columns; "
            f"pass the table to fit: {parameter.partition('_')[0]}s="
        )
    for name in names:
        if not isinstance(name, Hashable):
            raise InvalidInputError(
                f"{parameter} has {name!r} of type {type(name).__name__}; give the names of "
                "columns as text, or integers as positions in an array"
            )
    return tuple(names)


def _check_memory(config: NetConfig) -> None:
    """Raise if training needs more than the memory of the machine for its largest arrays."""
    D = config.embedding_dim
    K = config.n_interests
    n_moving = D**2 + SelfAttention.n_weights(D) * config.n_encoder_layers + K * config.max_history
    # 16 bytes for a weight, its gradient and two moments; the table of the items needs at least 4
    n_bytes = 16 * n_moving + 4 * D * config.n_items + 8 * K**2
    memory = machine_memory()
    if memory is not None and n_bytes > memory:
        sizes = ", ".join(f"{name}={getattr(config, name)}" for name in MEMORY_SIZES)
        raise InvalidInputError(
            f"{sizes} and {config.n_items} items need at least {n_bytes / 1e9:,.0f} GB of memory, "
            f"but this machine has {memory / 1e9:,.0f} GB; use smaller values"
        )


def _entropy(random_state: Any) -> int:
    """Return a seed; None draws fresh entropy without using numpy's global generator."""
    if random_state is None:
        return secrets.randbits(128)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _sample_weight(weights: dict[str, Any], method: str) -> Any:
    """Return ``sample_weight``, the only keyword argument that is not in the signature."""
    unknown = sorted(weights.keys() - {"sample_weight"})
    if unknown:
        raise TypeError(f"{method}() got an unexpected keyword argument {unknown[0]!r}")
    return weights.get("sample_weight")
