"""Recommender → what its interests are, how well they recommend, and pictures of both.

`interest_diagnostics` measures the interests themselves, `hits_by_interest` counts the hits of each
interest, and `interest_curve` fits the model with different numbers of interests and tests whether
more interests give better recommendations. They call only public methods of the recommender, for
one block of users at a time, so that memory use grows by a few numbers per user. `index_curve`
measures the recall and the speed of an approximate index.

The displays draw with matplotlib (``pip install skmind[plot]``), as those of scikit-learn do:
create one with its method ``from_estimator``; the axes and what was drawn are its attributes.
`ExplorerPage` is the web page of `MINDRecommender.explore`.
"""

from ._architecture import ArchitectureDisplay
from ._curve import interest_curve
from ._diagnostics import InterestDiagnostics, hits_by_interest, interest_diagnostics
from ._displays import IndexRecallDisplay, InterestCurveDisplay, LearningCurveDisplay
from ._explore import ExplorerPage
from ._index_curve import index_curve
from ._user_displays import InterestMapDisplay, RoutingDisplay

__all__ = [
    "ArchitectureDisplay",
    "ExplorerPage",
    "IndexRecallDisplay",
    "InterestCurveDisplay",
    "InterestDiagnostics",
    "InterestMapDisplay",
    "LearningCurveDisplay",
    "RoutingDisplay",
    "hits_by_interest",
    "index_curve",
    "interest_curve",
    "interest_diagnostics",
]
