"""
Is the difference real?
=======================

Two models on the same held-out events, compared user by user, with 95 % intervals.
"""

import matplotlib.pyplot as plt
import numpy as np

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.model_selection import LeaveLastOut
from skmind.scoring import compare

X = make_interactions(400, 200, n_topics=20, n_interests=4, random_state=0).interactions
train, test = next(LeaveLastOut().split(X))
one = MINDRecommender(n_interests=1, embedding_dim=16, random_state=0).fit(X.iloc[train])
four = MINDRecommender(n_interests=4, embedding_dim=16, random_state=0).fit(X.iloc[train])
table = compare(one, four, X.iloc[test], metric="ndcg", k=10, random_state=0)
table

# %%
# Where the interval contains 0, the difference may be luck.
labels = [
    "all users" if row.segment == "all" else f"{row.segment}: {row[2]:g} to {row.to:g}"
    for row in table.itertuples()
]
middle = table["difference"].to_numpy()
errors = np.stack([middle - table["low"], table["high"] - middle])
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
ax.errorbar(middle, range(len(table)), xerr=errors, fmt="o", color="#0082C8", capsize=3)
ax.axvline(0, color="#8C8C8C", linestyle="--")
ax.set_yticks(range(len(table)), labels)
ax.invert_yaxis()
label = ax.set_xlabel("NDCG@10 of four interests minus that of one")
