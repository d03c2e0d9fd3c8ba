"""Classes in an estimator of skmind → their names, which skops and MLflow ask for."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

from scipy import sparse

from .._model import FittedModel
from ..data.features import Feature, FeatureEncoder, Features
from ..data.ids import IdEncoder
from ..data.interactions import Interactions
from ..data.prepare import Prepared, Schema
from ..model_selection import LeaveLastOut, TemporalSplit, UserKFold
from ..nn.network import NetConfig
from ..retrieval.calibration import Plan
from ..scoring import _RankingScorer

CLASSES = (
    FittedModel,
    Feature,
    FeatureEncoder,
    Features,
    IdEncoder,
    Interactions,
    Prepared,
    Schema,
    LeaveLastOut,
    TemporalSplit,
    UserKFold,
    NetConfig,
    Plan,
    _RankingScorer,
    sparse.csr_matrix,  # features
    date,  # ids and values of features
    Decimal,
    type(Path()),  # checkpoint_dir
)
ESTIMATOR = "skmind._estimator.MINDRecommender"  # a layer above this one


def trusted_types() -> list[str]:
    """Return the names of the types that skops must trust to load an estimator of skmind.

    It is meant for ``skops.io.load(..., trusted=...)`` and for the parameter
    ``skops_trusted_types`` of MLflow. The names cover fitted and unfitted recommenders, splitters
    and scorers, alone or in a Pipeline or a search. skops trusts scikit-learn's estimators itself.
    Other estimators of a Pipeline, and ids or values of features that are other Python objects
    (such as `pandas.Period`), need names of their own.

    Returns
    -------
    list of str
        Classes of skmind, ``scipy.sparse.csr_matrix``, `datetime.date`, `decimal.Decimal` and the
        class of paths.

    Examples
    --------
    >>> from skmind import trusted_types
    >>> "skmind._estimator.MINDRecommender" in trusted_types()
    True
    """
    return sorted([ESTIMATOR, *(f"{cls.__module__}.{cls.__qualname__}" for cls in CLASSES)])
