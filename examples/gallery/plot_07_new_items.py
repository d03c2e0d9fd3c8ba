"""
Items without events
====================

A tenth of the items is hidden from training. Can their features alone rank them for the right
people?
"""

import matplotlib.pyplot as plt
import numpy as np

from skmind import MINDRecommender
from skmind.datasets import make_interactions

data = make_interactions(400, 200, n_topics=20, n_interests=3, random_state=0)
X = data.interactions
items = data.item_table[["item_id", "topic"]].astype({"topic": str})
hidden = np.random.default_rng(0).choice(200, 20, replace=False)

# %%
# The table of items has all of them, the log has no event of the hidden ones.
known = X[~X["item_id"].isin(hidden)]
rec = MINDRecommender(random_state=0).fit(known, items=items)

# %%
# For each user, rank the hidden items only. One is relevant if the user follows its topic.
top = rec.recommend(k=20, items=hidden)
relevant = data.user_interests[top["user_id"], data.item_interest[top["item_id"]]]
by_rank = relevant.reshape(-1, 20).mean(axis=0)

figure, ax = plt.subplots(layout="constrained")
ax.bar(np.arange(1, 21), by_rank, color="#0082C8", label="ranked by the features")
ax.axhline(relevant.mean(), color="#D55E00", label="by chance")
ax.set(xlabel="rank among the hidden items", ylabel="share of users who follow its topic")
ax.set_xticks(range(1, 21))
legend = ax.legend()
