"""skmind: multi-interest recommendation with a scikit-learn API."""

__version__ = "0.1.0"

from ._estimator import MINDRecommender
from .persistence.trusted import trusted_types

__all__ = ["MINDRecommender", "__version__", "trusted_types"]
