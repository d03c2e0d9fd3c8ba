"""Fits that several processes make together: a name → the arguments of `MINDRecommender` and `fit`.

Run as a script, this is one of these processes: it makes all fits and stores what it got.
"""

import os
import pickle
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from skmind import MINDRecommender
from skmind.nn import optim

N_USERS = 60
N_ITEMS = 80
SAVED = "all features"  # the case whose model is also saved
SMALL = {"max_epochs": 2, "embedding_dim": 8, "n_interests": 2, "batch_size": 64, "random_state": 3}


def table(seed=0, n_rows=900):
    """Histories in which users prefer items of their own group."""
    rng = np.random.default_rng(seed)
    users = rng.integers(N_USERS, size=n_rows)
    items = (users % 4 + 4 * rng.integers(N_ITEMS // 4, size=n_rows)) % N_ITEMS
    times = rng.integers(200, size=n_rows)
    return pd.DataFrame({"user_id": users, "item_id": items, "timestamp": times})


def text_ids(frame):
    return frame.assign(
        user_id="u" + frame.user_id.astype(str), item_id="i" + frame.item_id.astype(str)
    )


def item_table():
    codes = np.arange(N_ITEMS + 5)  # five items have no events
    return pd.DataFrame(
        {"item_id": codes, "group": codes % 4, "price": np.where(codes % 7, codes / 10, np.nan)}
    )


def user_table():
    codes = np.arange(N_USERS + 9)  # nine users have no events
    return pd.DataFrame({"user_id": codes, "country": codes % 3, "age": codes / 3})


def cases(folder, rank=None):
    """Return parameters and arguments of `fit` by name; ``folder`` holds files.

    ``rank`` is the number of this process of two; None: the one process that fits alone.
    """
    X = table()
    own = X if rank is None else X[X.user_id % 2 == rank]
    own_users = user_table() if rank is None else user_table()[lambda t: t.user_id % 2 == rank]
    rng = np.random.default_rng(1)
    weights = rng.integers(3, size=len(X)).astype(float)
    part = X.sample(frac=1, random_state=0)
    return {
        "plain": ({}, {"X": X}),
        "encoder": ({"n_encoder_layers": 1}, {"X": X}),
        "random start": ({"init": "random", "adaptive_interests": False}, {"X": X}),
        "early stopping": (
            {"early_stopping": True, "n_iter_no_change": 1, "max_epochs": 6},
            {"X": X},
        ),
        "in batch": ({"negative_sampling": "in_batch"}, {"X": X}),
        "mixed": ({"negative_sampling": "mixed", "n_negatives": 20}, {"X": X}),
        "full softmax": ({"n_negatives": "all"}, {"X": X}),
        "label-aware": ({"label_attention": "hard"}, {"X": X}),
        "weights": ({}, {"X": X, "sample_weight": weights}),
        "weight column": ({"weight_col": "w"}, {"X": X.assign(w=weights)}),
        "horizon": ({"horizon": 3}, {"X": X}),
        "samples per epoch": ({"samples_per_epoch": 300}, {"X": X}),
        "short histories": ({"max_history": 3}, {"X": X}),
        "without times": ({"time_col": None}, {"X": X[["user_id", "item_id"]]}),
        "row order": ({"tie_order": "rows"}, {"X": X}),
        "item features": ({}, {"X": X, "items": item_table()}),
        "user features": ({}, {"X": X, "users": user_table()}),
        "all features": ({}, {"X": X, "users": user_table(), "items": item_table()}),
        "user features of X": (
            {"user_features": ["country"]},
            {"X": X.assign(country=X.user_id % 3)},
        ),
        "rare items": ({"min_item_count": 12}, {"X": X}),
        "text ids": ({}, {"X": text_ids(X)}),
        "array": ({}, {"X": X.to_numpy()}),
        "large table": ({}, {"X": X, "items": item_table()}),
        "batches of one user": ({"batch_size": 1}, {"X": X[X.user_id < 16]}),
        "parquet": ({}, {"X": str(folder / "log.parquet")}),
        "shuffled": ({}, {"X": part}),
        "titles": ({"item_title": "title"}, {"X": X.assign(title="t" + X.item_id.astype(str))}),
        "own tables": ({}, {"X": own, "users": own_users}),
    }


def mistakes(rank):
    """Return parameters and arguments of `fit` that process ``rank`` of two must refuse, by name.

    The values of the dict are what the message of all processes holds.
    """
    X = table()
    own = X[X.user_id % 2 == rank]
    other_features = item_table().assign(group=np.arange(N_ITEMS + 5) % (4 - rank))
    weights = np.ones(len(X)) if rank else None
    mixed = X.assign(user_id=[u if u % 2 else f"u{u}" for u in X.user_id])
    dates = own.assign(timestamp=pd.to_datetime(own.timestamp, unit="s"))
    return {
        "the user 2 is in the tables of two processes": ({}, {"X": X[X.user_id % 3 > rank]}),
        "the user 0 is in the tables": ({}, {"X": X.assign(item_id=X.item_id + 100 * rank)}),
        "items= differs between the processes": ({}, {"X": X, "items": item_table()[rank:]}),
        "items= differs": ({}, {"X": X, "items": other_features}),
        "items= differs between the processes: None": (
            {}, {"X": X, "items": item_table() if rank else None}
        ),
        "sample_weight= differs": ({}, {"X": X, "sample_weight": weights}),
        "the columns of users= differs": (
            {}, {"X": X, "users": user_table()[["user_id", "age", "country"][: 2 + rank]]}
        ),
        "no user of the table falls to process": ({}, {"X": X[X.user_id == 0]}),
        "must be in the table of the items": (
            {"item_features": ["group"]}, {"X": X.assign(group=X.item_id % 4)}
        ),
        "max_epochs differs between the processes: 2 in process 0 and 3 in process 1": (
            {"max_epochs": 2 + rank}, {"X": X}
        ),
        "checkpoint_dir differs": ({"checkpoint_dir": "epochs" if rank else None}, {"X": X}),
        "the user ids are a mix of text and other values": ({}, {"X": mixed}),
        "the type of the times differs": ({}, {"X": dates if rank else own}),
    }  # fmt: skip


def failures(rank):
    """Return parameters and arguments that process 1 of two refuses, by what its message holds."""
    X = table()
    own = X[X.user_id % 2 == rank]
    return {
        "missing": ({}, {"X": own.assign(timestamp=None) if rank else own}),
        "'n_interests' parameter": ({"n_interests": 1 - rank}, {"X": X}),
        "device='nowhere'": ({"device": "nowhere" if rank else "cpu"}, {"X": X}),
    }


def write_files(folder):
    table().to_parquet(folder / "log.parquet", row_group_size=100)


def fit(name, parameters, arguments, path=None):
    """Return what a fit has learned; ``path``: also save the model there."""
    limit = optim.LARGE_TABLE_ROWS
    try:
        if name == "large table":
            optim.LARGE_TABLE_ROWS = 10
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rec = MINDRecommender(**SMALL | parameters).fit(**arguments)
    finally:
        optim.LARGE_TABLE_ROWS = limit
    users = rec.users_
    if path is not None:
        rec.save(path)
    return {
        "weights": rec._model.weights,
        "users": users.tolist(),
        "items": rec.items_.tolist(),
        "counts": rec.item_counts_.tolist(),
        "losses": [epoch["loss"] for epoch in rec.history_],
        "validation": [epoch.get("validation_ndcg") for epoch in rec.history_],
        "recommended": rec.recommend(users, k=5),
        "titles": rec._model.prepared.item_titles,
        "histories": {u: rec._model.interactions.take(np.array([i])).items.tolist()
                      for i, u in enumerate(users.tolist())},
    }  # fmt: skip


def refusal(parameters, arguments):
    """Return the class and the message of the error of a fit."""
    try:
        fit("", parameters, arguments)
    except Exception as error:
        return type(error).__name__, str(error)
    return "nothing", ""


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    rank, size = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    names = sys.argv[2:] or cases(folder)
    results = {}
    for name in names:
        path = folder / f"model of {size}" if name == SAVED else None
        results[name] = fit(name, *cases(folder, rank)[name], path)
    if size == 2:
        for refused in (mistakes(rank), failures(rank)):
            results |= {name: refusal(*value) for name, value in refused.items()}
        results["threads"] = threading.active_count(), len(os.listdir("/proc/self/task"))
    (folder / f"{size}.{rank}.pickle").write_bytes(pickle.dumps(results))
