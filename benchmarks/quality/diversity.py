"""What diversity costs and buys on MovieLens 100K: leave last out, k = 10, all items ranked.

    python benchmarks/quality/diversity.py --data DIR

DIR holds ``ml-100k/`` in GroupLens's layout. One model with default parameters is fitted, with the
items' genres as a feature: ``diversity_by`` knows the features of ``fit`` only, so the row of λ = 0
is that of a model with genres. Writes the table benchmarks/results/diversity.md.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from harness import make_task
from threadpoolctl import threadpool_limits

from skmind import MINDRecommender
from skmind.datasets import fetch_movielens
from skmind.metrics import coverage_at_k, evaluate, intra_list_diversity_at_k

RESULT = Path(__file__).parents[1] / "results" / "diversity.md"
K, SEED, TURNS = 10, 0, 7
LEVELS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
HEAD = """\
| distance | λ | HR@10 | NDCG@10 | embedding diversity | genre diversity | coverage@10 | speed |
|---|---:|---:|---:|---:|---:|---:|---:|"""


def genre_diversity(lists: pd.Series, genres: pd.Series) -> float:
    """Share of the pairs of a list without a common genre, mean over the lists (ComiRec)."""
    table = genres.str.join("|").str.get_dummies()
    has = table.loc[np.concatenate(lists.to_numpy())].to_numpy().reshape(len(lists), K, -1)
    first, second = np.triu_indices(K, 1)
    return float((~(has[:, first] & has[:, second]).any(2)).mean())


def quality(
    rec: MINDRecommender, test: pd.DataFrame, genres: pd.Series, options: dict
) -> list[float]:
    """Accuracy and diversity of the lists."""
    frame = rec.recommend(test["user_id"], K, **options)
    accuracy = evaluate(test, frame, (f"hit_rate@{K}", f"ndcg@{K}"))
    spread = intra_list_diversity_at_k(frame, rec.item_embeddings_, k=K, item_ids=rec.items_)
    lists = frame.groupby("user_id")["item_id"].agg(list)
    covered = coverage_at_k(frame, len(rec.items_), k=K)
    return [*accuracy.values(), spread, genre_diversity(lists, genres), covered]


def seconds(rec: MINDRecommender, users: pd.Series, every: list[dict]) -> list[float]:
    """Median processor time of recommending with each of the options, which take turns."""
    spent: list[list[float]] = [[] for _ in every]
    for _ in range(TURNS):
        for options, times in zip(every, spent, strict=True):
            start = time.process_time()
            rec.recommend(users, K, output="arrays", **options)
            times.append(time.process_time() - start)
    return list(map(statistics.median, spent))


def rows(rec: MINDRecommender, test: pd.DataFrame, genres: pd.Series) -> list[str]:
    """A row of the table for each distance and λ."""
    every = [
        {"diversity": level, "diversity_by": by} for by in (None, "genres") for level in LEVELS
    ]
    times = seconds(rec, test["user_id"], every)
    lines = []
    for options, spent in zip(every, times, strict=True):
        hit, ndcg, *rest = quality(rec, test, genres, options)
        cells = [f"{hit:.4f}", f"{ndcg:.4f}", *(f"{value:.3f}" for value in rest)]
        cells.append(f"{times[0] / spent:.2f}")
        name = options["diversity_by"] or "vectors"
        lines.append(f"| {name} | {options['diversity']:g} | {' | '.join(cells)} |")
    return lines


def report(data: Path) -> str:
    """The whole document."""
    _, train, test = make_task("ml-100k", data)
    items = fetch_movielens("100k", data_home=data).item_table[["item_id", "genres"]]
    genres = items.set_index("item_id")["genres"]
    rec = MINDRecommender(random_state=SEED).fit(train, items=items)
    hits = quality(rec, test, genres, {})[0]
    error = (hits * (1 - hits) / len(test)) ** 0.5
    table = "\n".join(rows(rec, test, genres))
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    return f"""# Diversity

`python benchmarks/quality/diversity.py --data DIR`, {datetime.date.today()}, Python \
{platform.python_version()}, {versions}, one thread. MovieLens 100K, leave last out, {len(test)} \
users; one fit with default parameters, genres as an item feature and `random_state={SEED}`.

Diversity, the higher the more: of the embeddings, the mean cosine distance of two items of a list;
of the genres, the share of pairs without a common one, as in ComiRec. Coverage is the share of all
items that are in somebody's list. Speed is users a second of `recommend` relative to λ = 0 (medians
of {TURNS} turns, processor time). The standard error of HR@10 with so many users is {error:.3f}.

{HEAD}
{table}
"""


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds the data set")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        text = report(arguments.data)
    RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
