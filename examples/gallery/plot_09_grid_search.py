"""
Searching for parameters
========================

``GridSearchCV`` of scikit-learn, with a split that respects time, as a heat map.
"""

import matplotlib.pyplot as plt
from sklearn.model_selection import GridSearchCV

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.model_selection import LeaveLastOut
from skmind.scoring import make_ranking_scorer

X = make_interactions(300, 200, n_topics=20, n_interests=3, random_state=0).interactions
grid = {"n_interests": [1, 2, 4], "embedding_dim": [8, 16, 32]}
search = GridSearchCV(
    MINDRecommender(max_epochs=3, random_state=0),
    grid,
    cv=LeaveLastOut(),
    scoring=make_ranking_scorer("ndcg", k=10),
).fit(X)
search.best_params_

# %%
scores = search.cv_results_["mean_test_score"].reshape(3, 3)  # (embedding_dim, n_interests)
figure, ax = plt.subplots(layout="constrained")
image = ax.imshow(scores, cmap="viridis")
ax.set_xticks(range(3), grid["n_interests"])
ax.set_yticks(range(3), grid["embedding_dim"])
ax.set(xlabel="n_interests", ylabel="embedding_dim")
for (i, j), score in zip([(i, j) for i in range(3) for j in range(3)], scores.flat, strict=True):
    ax.text(j, i, f"{score:.3f}", ha="center", va="center", color="white", weight="bold")
bar = figure.colorbar(image, label="NDCG@10")
