"""
The network as it is built
==========================

Layers, shapes and numbers of weights, before or after ``fit``, for any parameters.
"""

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.inspection import ArchitectureDisplay

# %%
# Before ``fit``, the number of items is not known:
display = ArchitectureDisplay.from_estimator(MINDRecommender(n_interests=2, n_encoder_layers=0))

# %%
# After ``fit``, with features of the items and a layer that reads the order of the history:
data = make_interactions(100, 60, n_topics=6, random_state=0)
items = data.item_table[["item_id", "topic"]].astype({"topic": str})
rec = MINDRecommender(n_encoder_layers=1, max_epochs=1, random_state=0)
rec.fit(data.interactions, items=items)
display = ArchitectureDisplay.from_estimator(rec)
