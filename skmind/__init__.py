"""skmind: multi-interest recommendations with the manners of scikit-learn."""

__version__ = "0.1.0"

from ._estimator import MINDRecommender
from .persistence.trusted import trusted_types

__all__ = ["MINDRecommender", "__version__", "trusted_types"]
