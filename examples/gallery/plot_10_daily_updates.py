"""
A model that grows
==================

New events arrive every day. Three ways to treat them: ignore them, note them
(``add_interactions``), or learn from them (``partial_fit``).
"""

import copy

import matplotlib.pyplot as plt

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.metrics import evaluate

data = make_interactions(400, 200, n_topics=20, n_interests=3, random_state=0)
X = data.interactions.sort_values("timestamp", ignore_index=True)
start = len(X) // 2
slices = [X.iloc[i : i + 700] for i in range(start, start + 3500, 700)]

# %%
# Each day, recommend first and learn afterwards.
fitted = MINDRecommender(max_epochs=8, random_state=0).fit(X.iloc[:start])
models = {"ignore": fitted, "note": copy.deepcopy(fitted), "learn": copy.deepcopy(fitted)}
scores = {name: [] for name in models}
for rows in slices:
    for name, rec in models.items():
        top = rec.recommend(rows["user_id"].unique(), k=10)
        scores[name].append(evaluate(rows, top, ["ndcg@10"])["ndcg@10"])
    models["note"].add_interactions(rows)
    models["learn"].partial_fit(rows)

figure, ax = plt.subplots(layout="constrained")
for (name, values), color in zip(scores.items(), ["#8C8C8C", "#E69F00", "#0082C8"], strict=True):
    ax.plot(range(1, len(values) + 1), values, marker="o", color=color, label=name)
ax.set(xlabel="day", ylabel="NDCG@10 of the day's events", xticks=range(1, len(slices) + 1))
ax.set_ylim(bottom=0)
legend = ax.legend()
