"""skmind: multi-interest recommendation with a scikit-learn API."""

__version__ = "0.1.0"

from ._estimator import MINDRecommender

__all__ = ["MINDRecommender", "__version__"]
