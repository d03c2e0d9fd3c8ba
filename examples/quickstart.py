"""From a table of interactions to recommendations that say why: the tour of skmind.

Takes MovieLens 100K when it is cached or can be downloaded, otherwise generated data. Run it with
``make demo`` or ``python examples/quickstart.py``.
"""

import time

import pandas as pd

from skmind import MINDRecommender
from skmind.datasets import fetch_movielens, make_interactions
from skmind.exceptions import DatasetUnavailableError
from skmind.metrics import coverage_at_k, evaluate
from skmind.model_selection import LeaveLastOut

SEED = 0
METRICS = ("hit_rate@10", "ndcg@10", "recall@50")


def load():
    """Interactions, and the title of every item."""
    try:
        data = fetch_movielens("100k")
        print("MovieLens 100K: real ratings of films, used as 'watched'.")
    except (DatasetUnavailableError, ImportError) as error:
        data = make_interactions(random_state=SEED)
        print("GENERATED data: MovieLens 100K is neither cached nor can it be downloaded.")
        print(f"({error})")
        print("Every user follows 4 of 40 topics; a tenth of the events is noise.")
    return data.interactions, data.item_table.set_index("item_id")["title"]


def popularity(train, users, k):
    """The most frequent items that each user has not seen, as `recommend` would return them."""
    counts = train["item_id"].value_counts()
    seen = train.groupby("user_id")["item_id"].agg(set)
    rows = []
    for user in users:
        unseen = [item for item in counts.index if item not in seen[user]][:k]
        rows += [(user, item, rank) for rank, item in enumerate(unseen, start=1)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "rank"])


def compare(train, test, n_items):
    """Fit K=4 and K=1, print the table of metrics, return the first."""
    users = test["user_id"].unique()
    rows = {"popularity": {"fit": "", **measure(popularity(train, users, 50), test, n_items)}}
    fitted = {}
    for n_interests in (1, 4):
        print(f"\nFitting MINDRecommender(n_interests={n_interests}) ...")
        start = time.perf_counter()
        rec = MINDRecommender(n_interests=n_interests, random_state=SEED, verbose=1).fit(train)
        seconds = time.perf_counter() - start
        found = measure(rec.recommend(users, k=50), test, n_items)
        rows[f"skmind, K={n_interests}"] = {"fit": f"{seconds:.0f} s", **found}
        fitted[n_interests] = rec
    print(f"\nThe last event of each of {len(users):,} users, found among all {n_items:,} items:\n")
    print(pd.DataFrame.from_dict(rows, orient="index").to_string(float_format="{:.4f}".format))
    return fitted[4]


def measure(recommended, test, n_items):
    """Ranking metrics, and the share of the catalogue that the top tens show."""
    found = evaluate(test, recommended, METRICS)
    return {**found, "coverage@10": coverage_at_k(recommended, n_items, k=10)}


def tell(rec, train, user, titles):
    """Print one user's history, recommendations and the reasons for them."""
    history = train[train["user_id"] == user].sort_values("timestamp", kind="stable")
    print(f"\nUser {user} has {len(history)} events; the newest ten:\n")
    for item in history["item_id"].iloc[:-11:-1]:
        print(f"    {titles[item]}")
    print(
        f"\nRecommended to user {user}, with the interest that found it and the history behind:\n"
    )
    for row in rec.recommend([user], k=10).itertuples():
        why = rec.explain(user, row.item_id)["history_item_id"].head(2)
        because = " + ".join(titles[item] for item in why)
        print(f"{row.rank:4d}. {titles[row.item_id]:<42.42} {row.score:.2f}")
        print(f"      interest {row.interest}, because of {because}")


def main():
    """Load, split, fit, compare, explain."""
    interactions, titles = load()
    train_rows, test_rows = next(LeaveLastOut().split(interactions))
    train, test = interactions.iloc[train_rows], interactions.iloc[test_rows]
    print(f"{len(train):,} interactions to learn from, {len(test):,} to find.")
    rec = compare(train, test, n_items=interactions["item_id"].nunique())
    n_events = train["user_id"].value_counts()
    tell(rec, train, user=n_events.index[len(n_events) // 2], titles=titles)
    print(
        "\nYour own data: MINDRecommender().fit(df), where df has user_id, item_id, timestamp;\n"
        "then .recommend(user_ids, k=10). README.md goes on from here."
    )


if __name__ == "__main__":
    main()
