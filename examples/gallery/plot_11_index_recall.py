"""
Recall and speed of an index
============================

An approximate index visits a part of the items. How much of what exact search finds does it find,
and how fast?
"""

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.inspection import IndexRecallDisplay

X = make_interactions(400, 3000, n_topics=60, n_events=(20, 30), random_state=0).interactions
rec = MINDRecommender(embedding_dim=32, max_epochs=2, random_state=0).fit(X)

# %%
# With 3,000 items exact search is fast enough; the curve shows the trade that ``search_k`` makes.
display = IndexRecallDisplay.from_estimator(
    rec, index="annoy", search_k=(50, 200, 800, 3200), n_users=128
)
legend = display.ax_.legend(loc="upper center")
