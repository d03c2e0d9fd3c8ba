"""
Accuracy against diversity
==========================

``diversity`` trades score for variety. How much does a more varied list cost?
"""

import matplotlib.pyplot as plt

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.metrics import evaluate
from skmind.model_selection import LeaveLastOut

data = make_interactions(400, 200, n_topics=20, n_interests=3, random_state=0)
X = data.interactions
items = data.item_table[["item_id", "topic"]].astype({"topic": str})
train, test = next(LeaveLastOut().split(X))
rec = MINDRecommender(random_state=0).fit(X.iloc[train], items=items)

# %%
# Recommend with several values, and count the topics in each list of ten.
topics = items.set_index("item_id")["topic"]
values = [0, 0.1, 0.2, 0.3, 0.5]
hit_rates = []
n_topics = []
for value in values:
    top = rec.recommend(k=10, diversity=value, diversity_by="topic")
    hit_rates.append(evaluate(X.iloc[test], top, ["hit_rate@10"])["hit_rate@10"])
    n_topics.append(top["item_id"].map(topics).groupby(top["user_id"]).nunique().mean())

figure, ax = plt.subplots(layout="constrained")
ax.plot(n_topics, hit_rates, marker="o", color="#0082C8")
for value, x, y in zip(values, n_topics, hit_rates, strict=True):
    ax.annotate(f"λ = {value:g}", (x, y), textcoords="offset points", xytext=(6, 6))
ax.set(xlabel="topics in a list of ten", ylabel="hit rate at 10")
ax.margins(x=0.15)

# %%
# The score is a cosine and a different topic weighs 1, so small values do much.
