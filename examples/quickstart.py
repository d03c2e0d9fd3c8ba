"""A tour of skmind: from a table of interactions to explained recommendations.

Uses MovieLens 100K if it is cached or can be downloaded, otherwise generated data. Run it with
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
    """Return the interactions, and the title of each item."""
    try:
        data = fetch_movielens("100k")
        print("MovieLens 100K: real ratings of films; each rating counts as a film watched.")
    except (DatasetUnavailableError, ImportError) as error:
        data = make_interactions(random_state=SEED)
        print("GENERATED data: MovieLens 100K is not cached and cannot be downloaded.")
        print(f"({error})")
        print("Each user follows 4 of 40 topics; a tenth of the events is noise.")
    return data.interactions, data.item_table.set_index("item_id")["title"]


def popularity(train, users, k):
    """Return the most frequent items that each user has not seen, in the form of `recommend`."""
    counts = train["item_id"].value_counts()
    seen = train.groupby("user_id")["item_id"].agg(set)
    rows = []
    for user in users:
        unseen = [item for item in counts.index if item not in seen[user]][:k]
        rows += [(user, item, rank) for rank, item in enumerate(unseen, start=1)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "rank"])


def compare(train, test, n_items):
    """Fit with one and with four interests, print the metrics, and return the latter model."""
    users = test["user_id"].unique()
    rows = {"popularity": {"fit": "", **measure(popularity(train, users, 50), test, n_items)}}
    fitted = {}
    for n_interests in (1, 4):
        print(f"\nFitting MINDRecommender(n_interests={n_interests}) ...")
        start = time.perf_counter()
        rec = MINDRecommender(n_interests=n_interests, random_state=SEED, verbose=1).fit(train)
        seconds = time.perf_counter() - start
        metrics = measure(rec.recommend(users, k=50), test, n_items)
        rows[f"skmind, K={n_interests}"] = {"fit": f"{seconds:.0f} s", **metrics}
        fitted[n_interests] = rec
    print(f"\nThe last event of {len(users):,} users is to be found among {n_items:,} items:\n")
    print(pd.DataFrame.from_dict(rows, orient="index").to_string(float_format="{:.4f}".format))
    return fitted[4]


def measure(recommended, test, n_items):
    """Return ranking metrics, and the share of the catalogue that is in a top ten."""
    metrics = evaluate(test, recommended, METRICS)
    return {**metrics, "coverage@10": coverage_at_k(recommended, n_items, k=10)}


def explain(rec, train, user, titles):
    """Print one user's history and recommendations, with the history items behind each."""
    history = train[train["user_id"] == user].sort_values("timestamp", kind="stable")
    print(f"\nUser {user} has {len(history)} events; the newest ten:\n")
    for item in history["item_id"].iloc[:-11:-1]:
        print(f"    {titles[item]}")
    print(f"\nRecommendations for user {user}, with the interest and the history behind each:\n")
    for row in rec.recommend([user], k=10).itertuples():
        reasons = rec.explain(user, row.item_id)["history_item_id"].head(2)
        print(f"{row.rank:4d}. {titles[row.item_id]:<42.42} {row.score:.2f}")
        print(
            f"      interest {row.interest}, because of "
            f"{' + '.join(titles[item] for item in reasons)}"
        )


def main():
    """Load, split, fit, compare and explain."""
    interactions, titles = load()
    train_rows, test_rows = next(LeaveLastOut().split(interactions))
    train = interactions.iloc[train_rows]
    test = interactions.iloc[test_rows]
    print(f"{len(train):,} interactions to learn from, {len(test):,} to find.")
    rec = compare(train, test, n_items=interactions["item_id"].nunique())
    n_events = train["user_id"].value_counts()
    explain(rec, train, user=n_events.index[len(n_events) // 2], titles=titles)
    print(
        "\nFor your own data: MINDRecommender().fit(df), where df has the columns user_id,\n"
        "item_id and timestamp; then .recommend(user_ids, k=10). README.md shows more."
    )


if __name__ == "__main__":
    main()
