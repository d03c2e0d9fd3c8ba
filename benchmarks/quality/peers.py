"""Accuracy of other recommenders on the tasks and with the metrics of harness.py.

    sh benchmarks/quality/peers.sh ml-100k --data DIR --peers knn ease als bpr mind mind-tuned
    sh benchmarks/quality/peers.sh beauty --data DIR --peers sasrec --where epochs=20

``peers.sh`` creates the environment that ``peers.txt`` pins and runs this file in it. A peer with
several settings in ``PEERS`` is first fitted with each of them and seed 0, and compared by NDCG@10
(MRR@20 on sessions) on the validation task. On sessions, only knn and sasrec run: the users to
recommend to are new. The best setting is then fitted on the test task, with every seed if the
fit is random. Settings that differ only in their epochs are stages of one training, because the
learning rate is constant. ``--each`` measures every setting on the validation task and none on the
test task, to draw curves. All use one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import itertools
import logging
import platform
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from harness import (
    DATASETS,
    SESSIONS,
    TOP_K,
    Run,
    excludes_seen,
    make_task,
    measure,
    metrics_of,
    profiles,
    ranking_metric,
    table_head,
    table_row,
)
from log import Events, Log
from processes import clocks, in_processes, peak_memory
from scipy.linalg import lapack
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

Stages = Iterator[Callable[[], pd.DataFrame]]  # after each stage of training, a recommend function


def ease(log: Log, seed: int, *, penalty: float) -> Stages:
    """Fit EASE (Steck 2019): the closed form of a linear item-to-item model without diagonal."""
    del seed
    gram = (log.known.matrix.T @ log.known.matrix).toarray()
    gram[np.diag_indices_from(gram)] += penalty
    factor, factor_error = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, inverse_error = lapack.spotri(factor, lower=1, overwrite_c=1)
    if factor_error or inverse_error:
        raise ArithmeticError("the matrix of co-occurrences is not positive definite")
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    yield lambda: log.rank(lambda block: csr_array(log.history.matrix[block]) @ weights)


def implicit_model(log: Log, seed: int, *, model: str, **settings: float) -> Stages:
    """Fit a model of implicit, and recommend by its own search."""
    import implicit
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender

    classes = {
        "ALS": implicit.als.AlternatingLeastSquares,
        "BPR": implicit.bpr.BayesianPersonalizedRanking,
        "cosine": CosineRecommender,
        "BM25": BM25Recommender,
        "TF-IDF": TFIDFRecommender,
    }
    if model in ("ALS", "BPR"):
        settings["random_state"] = seed
    fitted = classes[model](num_threads=1, **settings)
    fitted.fit(log.known.matrix, show_progress=False)
    options = {"recalculate_user": True} if model == "ALS" else {}  # BPR does not support it

    def recommend() -> pd.DataFrame:
        users = np.arange(log.shape[0])
        codes, _ = fitted.recommend(
            users,
            log.history.matrix,
            N=TOP_K,
            filter_already_liked_items=log.excludes_seen,
            **options,
        )
        return log.frame(codes)

    yield recommend


def mind(log: Log, seed: int, *, epochs: list[int], **settings: Any) -> Stages:
    """Fit MIND of torch-rechub."""
    from rechub import Mind

    model = Mind(log, seed, **settings)
    for n_more in np.diff(epochs, prepend=0).tolist():
        model.train(n_more)
        yield partial(model.rank, *model.vectors())


def sasrec(log: Log, seed: int, *, epochs: list[int], **settings: object) -> Stages:
    """Fit SASRec of RecTools."""
    from pytorch_lightning import Trainer, seed_everything
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    seed_everything(seed)

    def dataset(events: Events) -> Dataset:
        seconds = pd.to_timedelta(np.arange(len(events.user_codes)), unit="s")
        columns = {
            Columns.User: events.user_codes,
            Columns.Item: events.item_codes,
            Columns.Weight: 1.0,
            Columns.Datetime: pd.Timestamp("2000-01-01") + seconds,
        }
        return Dataset.construct(pd.DataFrame(columns))

    def trainer() -> Trainer:
        return Trainer(
            accelerator="cpu",
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            logger=False,
        )

    model = SASRecModel(get_trainer_func=trainer, recommend_torch_device="cpu", **settings)

    def recommend() -> pd.DataFrame:
        users = np.arange(log.shape[0])
        history = dataset(log.history)
        frame = model.recommend(users, history, k=TOP_K, filter_viewed=log.excludes_seen)
        codes = np.full((log.shape[0], TOP_K), -1)
        codes[frame[Columns.User], frame[Columns.Rank] - 1] = frame[Columns.Item]
        return log.frame(codes)

    for n_more in np.diff(epochs, prepend=0).tolist():
        model.fit_partial(dataset(log.known), min_epochs=n_more, max_epochs=n_more)
        yield recommend


def grid(**choices: list) -> list[dict]:
    """Return all combinations of the choices."""
    combinations = itertools.product(*choices.values())
    return [dict(zip(choices, values, strict=True)) for values in combinations]


ALS = {"factors": [32, 64, 128], "regularization": [0.01, 1.0, 10.0], "alpha": [1.0, 5.0, 20.0]}
BPR = {
    "factors": [32, 64, 128],
    "learning_rate": [0.01, 0.05],
    "regularization": [0.01, 0.05],
    "iterations": [100],
}
MIND = {"dim": 16, "negatives": 3, "temperature": None, "epochs": [5]}
MIND_TUNED = {
    "dim": [32],
    "negatives": [10, 50],
    "temperature": [0.1, 0.2, 0.5],
    "learning_rate": [0.001, 0.01],
    "user_id": [True, False],
    "epochs": [[1, 2, 5, 10, 20]],
    "keep": ["last"],
    "sampling": ["uniform"],
}
SASREC = {
    "n_factors": [64],
    "n_blocks": [2],
    "n_heads": [2],
    "session_max_len": [20, 100],
    "dropout_rate": [0.3],
    "epochs": [[1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 100]],
}
# name: (library, function, settings to choose from, whether the fit is random); epochs are stages
PEERS = {
    "knn": (
        "implicit",
        implicit_model,
        grid(model=["cosine", "TF-IDF", "BM25"], K=[20, 50, 100, 200, 500]),
        False,
    ),
    "ease": ("numpy", ease, grid(penalty=[20, 50, 100, 200, 500, 1000]), False),
    "als": ("implicit", implicit_model, grid(model=["ALS"], **ALS), True),
    "bpr": ("implicit", implicit_model, grid(model=["BPR"], **BPR), True),
    # "mind" follows the tutorial in the documentation, "mind-script" the example script in the
    # repository with the epochs of the tutorial.
    "mind": ("torch-rechub", mind, [{**MIND, "keep": "last", "sampling": "uniform"}], True),
    "mind-script": (
        "torch-rechub",
        mind,
        [{**MIND, "keep": "first", "sampling": "popularity"}],
        True,
    ),
    "mind-tuned": ("torch-rechub", mind, grid(**MIND_TUNED), True),
    "sasrec": ("rectools", sasrec, grid(**SASREC), True),
}


def fit(
    name: str, settings: dict, dataset: str, data: Path, validation: bool, seed: int
) -> list[Run]:
    """Fit, and recommend and measure after each stage."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    task = make_task(dataset, data, validation)
    if name.startswith("mind"):
        settings = {**settings, "profile": profiles(dataset, data, task)}
    log = Log(task, excludes_seen(dataset), dataset in SESSIONS)
    discarded = io.StringIO()
    runs = []
    seconds = np.zeros(2)
    with (
        threadpool_limits(1),
        contextlib.redirect_stdout(discarded),
        contextlib.redirect_stderr(discarded),
    ):
        start = clocks()
        for recommend in PEERS[name][1](log, seed, **settings):
            seconds = seconds + clocks() - start
            metrics = measure(task.test, recommend(), metrics_of(dataset))
            runs.append(Run(metrics, seconds, peak_memory()))
            start = clocks()
    return runs


def restrict(settings: dict, allowed: dict[str, list[str]]) -> dict | None:
    """Return the settings with the allowed epochs; None if another value is not allowed.

    Settings without a name in ``allowed`` are kept.
    """
    if "epochs" in settings:
        epochs = [n for n in settings["epochs"] if str(n) in allowed.get("epochs", [str(n)])]
        settings = {**settings, "epochs": epochs}
    for name in allowed.keys() & settings.keys() - {"epochs"}:
        if str(settings[name]) not in allowed[name]:
            return None
    return settings


def stages(settings: dict) -> list[dict]:
    """Return one setting for each number of epochs."""
    if "epochs" not in settings:
        return [settings]
    return [{**settings, "epochs": [n]} for n in settings["epochs"]]


def stage_label(settings: dict) -> str:
    """Return the settings of a stage as words ``name=value``."""
    values = {name: value[0] if name == "epochs" else value for name, value in settings.items()}
    return ", ".join(f"{name}={value}" for name, value in values.items())


def choose(name: str, settings: list[dict], arguments: argparse.Namespace) -> tuple[dict, str]:
    """Return the stage with the best ranking on the validation task, and a note about it."""
    jobs = [(name, s, arguments.dataset, arguments.data, True, 0) for s in settings]
    runs = itertools.chain(*in_processes(fit, jobs, arguments.jobs))
    metric = ranking_metric(arguments.dataset)
    scores = [run.user_metrics[metric].mean() for run in runs]
    all_stages = [stage for s in settings for stage in stages(s)]
    note = (
        f"- {name}: best of {len(scores)} settings on the validation task, with an {metric} of "
        f"{max(scores):.4f} (worst {min(scores):.4f})."
    )
    return all_stages[int(np.argmax(scores))], note


def rows(
    name: str, settings: list[dict], seeds: list[int], arguments: argparse.Namespace
) -> Iterator[str]:
    """Yield one row of the table for each stage of each setting."""
    library, _, _, is_random = PEERS[name]
    part = "validation" if arguments.each else "test"
    for s in settings:
        jobs = [
            (name, s, arguments.dataset, arguments.data, arguments.each, seed) for seed in seeds
        ]
        runs_by_stage = zip(*in_processes(fit, jobs, arguments.jobs), strict=True)
        for stage, runs in zip(stages(s), runs_by_stage, strict=True):
            label = f"{arguments.dataset} {part}, {name} of {library} ({stage_label(stage)})"
            label += f", {' '.join(map(str, seeds))}" if is_random else ""
            yield table_row(label, list(runs))


def head(arguments: argparse.Namespace, default_seeds: list[int]) -> str:
    """Return the lines above the table: command, versions and names of the columns."""
    libraries = ("implicit", "torch-rechub", "rectools", "torch", "numpy", "scipy", "pandas")
    versions = ", ".join(f"{library} {version(library)}" for library in libraries)
    command = f"{arguments.dataset} --data DIR --peers {' '.join(arguments.peers)}"
    if arguments.seeds != default_seeds:
        command += f" --seeds {' '.join(map(str, arguments.seeds))}"
    if arguments.each:
        command += " --each"
    if arguments.where:
        command += f" --where {' '.join(arguments.where)}"
    return (
        f"\n`sh benchmarks/quality/peers.sh {command}`, {datetime.date.today()}, one thread:\n"
        f"Python {platform.python_version()}, {versions}.\n\n{table_head(arguments.dataset)}"
    )


def main() -> None:
    """Choose settings, run every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--data", type=Path, help="folder that holds the data sets")
    parser.add_argument("--peers", nargs="+", choices=tuple(PEERS), required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--where",
        nargs="*",
        default=[],
        metavar="NAME=V,W",
        help="try only these values of a setting",
    )
    parser.add_argument(
        "--each", action="store_true", help="measure every setting, on the validation task"
    )
    parser.add_argument("--jobs", type=int, default=1, help="fits at the same time")
    parser.add_argument("--output", type=Path, help="file that the rows are appended to")
    arguments = parser.parse_args()

    def report(line: str) -> None:
        print(line, flush=True)
        if arguments.output:
            with arguments.output.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    allowed = {}
    for assignment in arguments.where:
        setting, values = assignment.split("=", 1)
        allowed[setting] = values.split(",")
    report(head(arguments, parser.get_default("seeds")))
    notes = []
    for name in arguments.peers:
        _, _, settings, is_random = PEERS[name]
        settings = [s for s in (restrict(s, allowed) for s in settings) if s is not None]
        if not arguments.each and sum(len(stages(s)) for s in settings) > 1:
            best, note = choose(name, settings, arguments)
            settings = [best]
            notes.append(note)
        seeds = arguments.seeds if is_random else arguments.seeds[:1]
        for row in rows(name, settings, seeds, arguments):
            report(row)
    if notes:
        report("\n" + "\n".join(notes))


if __name__ == "__main__":
    main()
