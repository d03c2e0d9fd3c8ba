"""
Steering the interests
======================

A person turns one interest up or another one off, or gives each its share of the list.
"""

import matplotlib.pyplot as plt

from skmind import MINDRecommender
from skmind.datasets import make_interactions

data = make_interactions(300, 200, n_topics=20, n_interests=3, random_state=0)
rec = MINDRecommender(n_interests=3, random_state=0).fit(data.interactions)

# %%
# The same user, four ways to ask:
ways = {
    "as it is": {},
    "interest 0 doubled": {"interest_weights": [2, 1, 1]},
    "interest 0 off": {"interest_weights": [0, 1, 1]},
    'quotas="equal"': {"quotas": "equal"},
}
counts = {
    name: rec.recommend([5], k=12, **arguments)["interest"].value_counts()
    for name, arguments in ways.items()
}

figure, ax = plt.subplots(figsize=(8, 3.5), layout="constrained")
left = [0] * len(ways)
for interest, color in enumerate(["#0082C8", "#E69F00", "#009E73"]):
    shares = [int(counts[name].get(interest, 0)) for name in ways]
    bars = ax.barh(list(ways), shares, left=left, color=color, label=f"interest {interest}")
    ax.bar_label(bars, [share or "" for share in shares], label_type="center", color="white")
    left = [a + b for a, b in zip(left, shares, strict=True)]
ax.invert_yaxis()
ax.set_xlabel("items in a list of twelve")
legend = ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
