"""Accuracy of MINDRecommender on one data set, with paired tests between settings.

    python benchmarks/quality/run.py beauty --data DIR
    python benchmarks/quality/run.py ml-1m --data DIR --models defaults "n_interests=1 max_epochs=4"

Without ``--models``: the defaults, one interest, the loss of the paper, and the documented settings
of the data set. Each fit runs in its own process. ``--output`` names a file to which the result is
appended. ``attributes=True`` in the settings of a model adds the item attributes of beauty.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import os
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

from harness import (
    DATASETS,
    TOP_K,
    Run,
    difference,
    excludes_seen,
    item_attributes,
    make_task,
    measure,
    metrics_of,
    own_items,
    popularity,
    publish,
    table_head,
    table_row,
)
from processes import clocks, in_processes, peak_memory

RETAIL_SETTINGS = (
    "embedding_dim=128 item_dropout=0.4 n_encoder_layers=1 encoder_dropout=0.4 n_negatives=4096 "
    "max_epochs=12"
)
LONG_HISTORY_SETTINGS = (
    "embedding_dim=128 max_history=200 n_encoder_layers=2 encoder_dropout=0 n_routing_iter=2 "
    "max_epochs=12"
)
DOCUMENTED_SETTINGS = {  # longer training and larger vectors
    "ml-100k": [],
    "ml-1m": [LONG_HISTORY_SETTINGS, f"{LONG_HISTORY_SETTINGS} n_interests=1"],
    "beauty": [RETAIL_SETTINGS, f"{RETAIL_SETTINGS} n_interests=1"],
    "toys": [RETAIL_SETTINGS, f"{RETAIL_SETTINGS} n_interests=1"],
    "tmall": ["embedding_dim=128", "embedding_dim=128 n_interests=1"],
    "planted": [RETAIL_SETTINGS, f"{RETAIL_SETTINGS} n_interests=1"],
}
BASELINES = {"popularity": popularity, "own items": own_items}
COMMON_SETTINGS = ["defaults", "n_interests=1", "label_attention=hard"]


def parse_settings(model: str) -> dict:
    """Return keyword arguments from words ``name=value``."""
    settings = {}
    for assignment in [] if model == "defaults" else model.split():
        name, value = assignment.split("=", 1)
        try:
            settings[name] = ast.literal_eval(value)
        except ValueError:
            settings[name] = value
    return settings


def fit(
    dataset: str,
    data: Path,
    validation: bool,
    threads: int,
    model: str,
    seed: int,
    n_users: int | None = None,
) -> Run:
    """Fit one model, recommend and measure."""
    import torch

    from skmind import MINDRecommender

    torch.set_num_threads(threads)
    task = make_task(dataset, data, validation, n_users)
    if model in BASELINES:
        return BASELINES[model](task, dataset)
    settings = parse_settings(model)
    items = item_attributes(dataset, data) if settings.pop("attributes", False) else None
    start = clocks()
    repeats = {"exclude_seen": excludes_seen(dataset)}
    rec = MINDRecommender(random_state=seed, **(repeats | settings)).fit(task.known, items=items)
    seconds = clocks() - start
    recommended = rec.recommend_from_history(task.history, k=TOP_K)
    return Run(measure(task.test, recommended, metrics_of(dataset)), seconds, peak_memory())


def report(arguments: argparse.Namespace) -> str:
    """Run every model with every seed and return the table."""
    a = arguments
    models = a.models or [*COMMON_SETTINGS, *DOCUMENTED_SETTINGS[a.dataset]]
    common = a.dataset, a.data, a.validation, a.threads
    baselines = [name for name in BASELINES if name != "own items" or not excludes_seen(a.dataset)]
    jobs = [(*common, name, 0) for name in baselines]
    jobs += [(*common, model, seed) for model in models for seed in a.seeds]
    results = in_processes(fit, jobs, a.jobs)
    runs = {name: [run] for name, run in zip(baselines, results, strict=False)}
    for i, model in enumerate(models):
        start = len(baselines) + i * len(a.seeds)
        runs[model] = results[start : start + len(a.seeds)]
    part = "validation" if a.validation else "test"
    words = [word if word != str(a.data) else "DIR" for word in sys.argv[1:]]
    if "--output" in words:
        place = words.index("--output")
        del words[place : place + 2]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "pandas"))
    lines = [
        f"`python benchmarks/quality/run.py {shlex.join(words)}`, {datetime.date.today()}: "
        f"Python {platform.python_version()}, {libraries}; {a.jobs} fits at the same time, "
        f"{a.threads} threads each, on a machine with {os.cpu_count()} cores; seeds {a.seeds}.",
        "",
        table_head(a.dataset),
        *(table_row(f"{a.dataset} {part}, {model}", result) for model, result in runs.items()),
        "",
    ]
    pairs = [(models[0], model) for model in models[1:]]
    pairs += [(model, f"{model} n_interests=1") for model in models[1:]]
    for one, other in pairs:
        if other in runs:
            parts = [f"{m} {difference(runs[one], runs[other], m)}" for m in metrics_of(a.dataset)]
            lines.append(f"- {one} minus {other}: {'; '.join(parts)}.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--data", type=Path, help="folder that holds the data sets")
    parser.add_argument("--models", nargs="+", metavar="SETTINGS", help='"n_interests=1 …"')
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--validation", action="store_true", help="find the last event but one")
    parser.add_argument("--jobs", type=int, default=1, help="fits at the same time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each fit")
    parser.add_argument("--output", type=Path, help="file that the result is appended to")
    arguments = parser.parse_args()
    publish(report(arguments), arguments.output)


if __name__ == "__main__":
    main()
