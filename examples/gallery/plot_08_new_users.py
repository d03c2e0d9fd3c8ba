"""
People whom training has not seen
=================================

A new user's history is routed through the network as it is. How many events are needed before the
recommendations are better than popular items?
"""

import matplotlib.pyplot as plt
import numpy as np

from skmind import MINDRecommender
from skmind.datasets import make_interactions

data = make_interactions(500, 200, n_topics=20, n_interests=3, random_state=0)
X = data.interactions.sort_values("timestamp")
new = X["user_id"] >= 400
rec = MINDRecommender(random_state=0).fit(X[~new])

# %%
# Recommend from the first n events of the 100 new users, and look up whether they follow the topics
# of the ten items.
histories = X[new].groupby("user_id")["item_id"].agg(list)
lengths = [0, 1, 2, 3, 5, 8, 12, 16]
shares = []
for n in lengths:
    top = rec.recommend_from_history({user: items[:n] for user, items in histories.items()}, k=10)
    follows = data.user_interests[top["user_id"], data.item_interest[top["item_id"]]]
    shares.append(np.mean(follows))

figure, ax = plt.subplots(layout="constrained")
ax.plot(lengths, shares, marker="o", color="#0082C8")
ax.axhline(shares[0], color="#D55E00", linestyle="--", label="popular items")
ax.set(xlabel="events of the new user", ylabel="share of the ten items in the user's topics")
ax.set_ylim(0, 1)
legend = ax.legend()
