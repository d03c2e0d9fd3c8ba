"""Name of a dataset, or sizes of a generated one → Bunch of interaction, user and item frames."""

from ._movielens import fetch_movielens
from ._synthetic import make_interactions

__all__ = ["fetch_movielens", "make_interactions"]
