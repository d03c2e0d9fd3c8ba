"""skmind: multi-interest recommendations with the manners of scikit-learn."""

__version__ = "0.1.0"

from ._estimator import MINDRecommender

__all__ = ["MINDRecommender", "__version__"]
