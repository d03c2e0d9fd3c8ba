"""
How many interests?
===================

More interests help where people follow several topics, and cost time where they don't. The curve
fits with several values of ``n_interests`` and tests the differences user by user.
"""

import matplotlib.pyplot as plt

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.inspection import InterestCurveDisplay

# %%
# Two generated data sets: everybody follows one topic, or four. There are 24 items in one topic of
# the first, and in four topics of the second.
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
rec = MINDRecommender(embedding_dim=16, max_epochs=5, random_state=0)
for ax, n_topics_per_user in zip(axes, (1, 4), strict=True):
    X = make_interactions(
        600,
        240,
        n_topics=10 * n_topics_per_user,
        n_interests=n_topics_per_user,
        random_state=0,
    ).interactions
    InterestCurveDisplay.from_estimator(rec, X, n_interests=(1, 2, 4), metric="recall@10", ax=ax)
    ax.set_title(f"topics per user: {n_topics_per_user}")

# %%
# On real data, look before you pay for more interests: on MovieLens the curve is flat, on purchases
# of Amazon Beauty it rises.
