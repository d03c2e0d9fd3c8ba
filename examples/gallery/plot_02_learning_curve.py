"""
How training went
=================

Loss and validation metric by epoch, for two ways to start: random item vectors, and vectors from
the co-occurrence of items.
"""

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.inspection import LearningCurveDisplay

X = make_interactions(400, 200, n_topics=20, n_interests=3, random_state=0).interactions

# %%
# ``early_stopping`` holds out the last event of some users and measures NDCG@10 on them after each
# epoch. It also stops when the metric no longer improves; here all epochs should be seen.
settings = {
    "early_stopping": True,
    "validation_fraction": 0.5,
    "n_iter_no_change": 12,
    "random_state": 0,
}
fits = {init: MINDRecommender(init=init, **settings).fit(X) for init in ("random", "cooccurrence")}
display = LearningCurveDisplay.from_estimator(fits)
display.figure_.set_size_inches(9, 4)

# %%
# The numbers are plain data, in ``history_``:
fits["random"].history_[-1]
