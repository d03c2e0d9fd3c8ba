"""Accuracy of MINDRecommender on one data set, with paired tests between its settings.

    python benchmarks/quality/run.py beauty --data DIR
    python benchmarks/quality/run.py ml-1m --data DIR --models defaults "n_interests=1 max_epochs=4"

Without ``--models``: the defaults, one interest, the paper's loss, and the documented setting of
the data set. Every fit has a process of its own. With ``--output`` the result is appended to a
file. ``attributes=True`` in a model's settings hands in the attributes of the items of beauty.
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
    HEAD,
    METRICS,
    K,
    Run,
    attributes,
    clocks,
    difference,
    in_processes,
    make_task,
    measure,
    peak,
    popularity,
    row,
)

ML_1M = "n_interests=1 embedding_dim=128 max_history=200 n_encoder_layers=2 max_epochs=24 horizon=2"
LARGE = {  # documented settings: what longer training and larger vectors give
    "ml-100k": [],
    "beauty": ["embedding_dim=128 item_dropout=0.4 negative_sampling=popularity"],
    "ml-1m": [ML_1M],
    "ml-1m-strict": [ML_1M],
}
USUAL = ["defaults", "n_interests=1", "label_attention=hard"]


def parameters(model: str) -> dict:
    """``name=value`` words as keyword arguments."""
    found = {}
    for assignment in [] if model == "defaults" else model.split():
        name, value = assignment.split("=", 1)
        try:
            found[name] = ast.literal_eval(value)
        except ValueError:
            found[name] = value
    return found


def fit(
    dataset: str,
    data: Path,
    validation: bool,
    threads: int,
    model: str,
    seed: int,
    n_users: int | None = None,
) -> Run:
    """Fit one model, recommend, measure."""
    import torch

    from skmind import MINDRecommender

    torch.set_num_threads(threads)
    task = make_task(dataset, data, validation, n_users)
    if model == "popularity":
        return popularity(task)
    settings = parameters(model)
    items = attributes(dataset, data) if settings.pop("attributes", False) else None
    start = clocks()
    rec = MINDRecommender(random_state=seed, **settings).fit(task.known, items=items)
    seconds = clocks() - start
    recommended = rec.recommend_from_history(task.history, k=K)
    return Run(measure(task.test, recommended), seconds, peak())


def report(arguments: argparse.Namespace) -> str:
    """Run every model with every seed."""
    a = arguments
    models = a.models or [*USUAL, *LARGE[a.dataset]]
    common = a.dataset, a.data, a.validation, a.threads
    jobs = [(*common, "popularity", 0)]
    jobs += [(*common, model, seed) for model in models for seed in a.seeds]
    found = in_processes(fit, jobs, a.jobs)
    runs = {"popularity": found[:1]}
    for i, model in enumerate(models):
        runs[model] = found[1 + i * len(a.seeds) :][: len(a.seeds)]
    part = "validation" if a.validation else "test"
    words = [word if word != str(a.data) else "DIR" for word in sys.argv[1:]]
    if "--output" in words:
        place = words.index("--output")
        del words[place : place + 2]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "pandas"))
    lines = [
        f"`python benchmarks/quality/run.py {shlex.join(words)}`, {datetime.date.today()}: "
        f"Python {platform.python_version()}, {libraries}; {a.jobs} fits at once, {a.threads} "
        f"threads each, of a machine with {os.cpu_count()} cores; seeds {a.seeds}.",
        "",
        HEAD,
        *(row(f"{a.dataset} {part}, {model}", result) for model, result in runs.items()),
        "",
    ]
    for model in models[1:]:
        parts = [f"{m} {difference(runs[models[0]], runs[model], m)}" for m in METRICS]
        lines.append(f"- {models[0]} less {model}: {'; '.join(parts)}.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--data", type=Path, help="folder that holds the data sets")
    parser.add_argument("--models", nargs="+", metavar="SETTINGS", help='"n_interests=1 …"')
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--validation", action="store_true", help="find the last event but one")
    parser.add_argument("--jobs", type=int, default=1, help="fits at once")
    parser.add_argument("--threads", type=int, default=1, help="of each fit")
    parser.add_argument("--output", type=Path, help="file that the result is appended to")
    arguments = parser.parse_args()
    text = report(arguments)
    print(text)
    if arguments.output:
        with arguments.output.open("a", encoding="utf-8") as file:
            file.write("\n" + text)


if __name__ == "__main__":
    main()
