"""Recommender → whether its interests differ, which of them recommend well, and how many to use.

`interest_diagnostics` measures the interests themselves, `hits_by_interest` counts the hits of each
interest, and `interest_curve` fits the model with different numbers of interests and tests whether
more interests give better recommendations. All of them call only public methods of the recommender,
for one block of users at a time, so that memory use grows by a few numbers per user.
"""

from ._curve import interest_curve
from ._diagnostics import InterestDiagnostics, hits_by_interest, interest_diagnostics
from ._displays import InterestCurveDisplay

__all__ = [
    "InterestCurveDisplay",
    "InterestDiagnostics",
    "hits_by_interest",
    "interest_curve",
    "interest_diagnostics",
]
