"""
The interests of one user
=========================

What a model knows about a person: a map of the interests, and the history items that each is made
of.
"""

# %%
# We use MovieLens 100K if it is at hand, because titles of films say more than numbers, and
# generated data otherwise.
from skmind import MINDRecommender
from skmind.datasets import fetch_movielens, make_interactions
from skmind.exceptions import DatasetUnavailableError
from skmind.inspection import InterestMapDisplay, RoutingDisplay

try:
    data = fetch_movielens("100k")
    user = 59
except (DatasetUnavailableError, ImportError):
    data = make_interactions(300, 200, n_topics=20, n_interests=3, random_state=0)
    user = 0
rec = MINDRecommender(random_state=0).fit(data.interactions)

# %%
# Each star is an interest. Dots are the history, larger where they weigh more; diamonds are
# recommendations. What is near has a high cosine.
display = InterestMapDisplay.from_estimator(rec, user, titles=data.item_table)
display.figure_.set_size_inches(9, 5.5)

# %%
# The same history in the order of time: which interest does each item feed?
display = RoutingDisplay.from_estimator(rec, user, titles=data.item_table, n_items=15)

# %%
# And in words:
interests = rec.describe_interests([user], titles=data.item_table, k=3)
interests[["interest", "share_of_recommended", "titles", "history_titles"]]
