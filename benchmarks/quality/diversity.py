"""Effect of ``diversity`` on MovieLens 100K: leave last out, k = 10, all items ranked.

    python benchmarks/quality/diversity.py --data DIR

DIR holds ``ml-100k/`` in GroupLens's layout. One model with default parameters is fitted, with the
genres of the items as a feature, because ``diversity_by`` needs a feature of ``fit``. So the row
λ = 0 also describes a model with genres. Writes the table benchmarks/results/diversity.md.
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
TOP_K = 10
SEED = 0
N_TURNS = 7
DIVERSITIES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
TABLE_HEAD = """\
| distance | λ | HR@10 | NDCG@10 | embedding diversity | genre diversity | coverage@10 | speed |
|---|---:|---:|---:|---:|---:|---:|---:|"""


def genre_diversity(lists: pd.Series, genres: pd.Series) -> float:
    """Return the share of pairs without a common genre (ComiRec), as a mean over the lists."""
    table = genres.str.join("|").str.get_dummies()
    items = np.concatenate(lists.to_numpy())
    has_genre = table.loc[items].to_numpy().reshape(len(lists), TOP_K, -1)
    first, second = np.triu_indices(TOP_K, 1)
    has_common_genre = (has_genre[:, first] & has_genre[:, second]).any(2)
    return float((~has_common_genre).mean())


def quality(
    rec: MINDRecommender, test: pd.DataFrame, genres: pd.Series, options: dict
) -> list[float]:
    """Return hit rate, NDCG, embedding diversity, genre diversity and coverage."""
    frame = rec.recommend(test["user_id"], TOP_K, **options)
    accuracy = evaluate(test, frame, (f"hit_rate@{TOP_K}", f"ndcg@{TOP_K}"))
    embedding_diversity = intra_list_diversity_at_k(
        frame, rec.item_embeddings_, k=TOP_K, item_ids=rec.items_
    )
    lists = frame.groupby("user_id")["item_id"].agg(list)
    coverage = coverage_at_k(frame, len(rec.items_), k=TOP_K)
    return [*accuracy.values(), embedding_diversity, genre_diversity(lists, genres), coverage]


def median_seconds(rec: MINDRecommender, users: pd.Series, options_list: list[dict]) -> list[float]:
    """Return the median processor time of `recommend` with each of the options, taken in turns."""
    seconds: list[list[float]] = [[] for _ in options_list]
    for _ in range(N_TURNS):
        for options, option_seconds in zip(options_list, seconds, strict=True):
            start = time.process_time()
            rec.recommend(users, TOP_K, output="arrays", **options)
            option_seconds.append(time.process_time() - start)
    return list(map(statistics.median, seconds))


def rows(rec: MINDRecommender, test: pd.DataFrame, genres: pd.Series) -> list[str]:
    """Return one row of the table for each distance and λ."""
    options_list = [
        {"diversity": diversity, "diversity_by": by}
        for by in (None, "genres")
        for diversity in DIVERSITIES
    ]
    seconds = median_seconds(rec, test["user_id"], options_list)
    lines = []
    for options, option_seconds in zip(options_list, seconds, strict=True):
        hit_rate, ndcg, *rest = quality(rec, test, genres, options)
        cells = [f"{hit_rate:.4f}", f"{ndcg:.4f}", *(f"{value:.3f}" for value in rest)]
        cells.append(f"{seconds[0] / option_seconds:.2f}")
        name = options["diversity_by"] or "vectors"
        lines.append(f"| {name} | {options['diversity']:g} | {' | '.join(cells)} |")
    return lines


def report(data: Path) -> str:
    """Return the whole document."""
    _, train, test = make_task("ml-100k", data)
    items = fetch_movielens("100k", data_home=data).item_table[["item_id", "genres"]]
    genres = items.set_index("item_id")["genres"]
    rec = MINDRecommender(random_state=SEED).fit(train, items=items)
    hit_rate = quality(rec, test, genres, {})[0]
    error = (hit_rate * (1 - hit_rate) / len(test)) ** 0.5
    table = "\n".join(rows(rec, test, genres))
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    return f"""# Diversity

`python benchmarks/quality/diversity.py --data DIR`, {datetime.date.today()}, Python \
{platform.python_version()}, {versions}, one thread. MovieLens 100K, leave last out, {len(test)} \
users; one fit with default parameters, genres as an item feature and `random_state={SEED}`.

Embedding diversity is the mean cosine distance of two items of a list. Genre diversity is the share
of pairs without a common genre, as in ComiRec. Coverage is the share of all items that are in at
least one list. Speed is users per second of `recommend` relative to λ = 0 (medians of {N_TURNS}
turns, processor time). The standard error of HR@10 with {len(test)} users is {error:.3f}.

{TABLE_HEAD}
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
