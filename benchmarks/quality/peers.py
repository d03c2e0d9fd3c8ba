"""Accuracy of other recommenders on the tasks and by the metrics of harness.py.

    sh benchmarks/quality/peers.sh ml-100k --data DIR --peers knn ease als bpr mind mind-tuned
    sh benchmarks/quality/peers.sh beauty --data DIR --peers sasrec --where epochs=20

``peers.sh`` makes the environment that ``peers.txt`` pins and runs this file in it. A peer with
several settings in ``PEERS`` is first fitted with each, seed 0, and judged by NDCG@10 on the
validation task; the best setting is fitted on the test task, with every seed where the fit is
random. Settings that differ in their epochs alone are stages of one training, since none changes
its learning rate. With ``--each`` every setting is judged on the validation task, and none on the
test task: for curves. All use one thread.
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
    HEAD,
    K,
    Run,
    clocks,
    in_processes,
    make_task,
    measure,
    peak,
    profiles,
    row,
)
from log import Events, Log
from scipy.linalg import lapack
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

Learning = Iterator[Callable[[], pd.DataFrame]]  # at each stage, what recommends


def ease(log: Log, seed: int, *, penalty: float) -> Learning:
    """Steck 2019: the closed form of a linear item-to-item model with an empty diagonal."""
    del seed
    gram = (log.known.matrix.T @ log.known.matrix).toarray()
    gram[np.diag_indices_from(gram)] += penalty
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, failed_too = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or failed_too:
        raise ArithmeticError("the matrix of co-occurrences is not positive definite")
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    yield lambda: log.rank(lambda block: csr_array(log.history.matrix[block]) @ weights)


def implicit_model(log: Log, seed: int, *, model: str, **settings: float) -> Learning:
    """A model of the library implicit, by its own search."""
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
    again = {"recalculate_user": True} if model == "ALS" else {}  # BPR can't

    def recommend() -> pd.DataFrame:
        codes, _ = fitted.recommend(np.arange(log.shape[0]), log.history.matrix, N=K, **again)
        return log.frame(codes)

    yield recommend


def mind(log: Log, seed: int, *, epochs: list[int], **settings: Any) -> Learning:
    """MIND of torch-rechub."""
    from rechub import Mind

    model = Mind(log, seed, **settings)
    for n_more in np.diff(epochs, prepend=0).tolist():
        model.train(n_more)
        yield partial(model.rank, *model.vectors())


def sasrec(log: Log, seed: int, *, epochs: list[int], **settings: object) -> Learning:
    """SASRec of RecTools."""
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
        found = model.recommend(users, dataset(log.history), k=K, filter_viewed=True)
        codes = np.full((log.shape[0], K), -1)
        codes[found[Columns.User], found[Columns.Rank] - 1] = found[Columns.Item]
        return log.frame(codes)

    for n_more in np.diff(epochs, prepend=0).tolist():
        model.fit_partial(dataset(log.known), min_epochs=n_more, max_epochs=n_more)
        yield recommend


def grid(**choices: list) -> list[dict]:
    """Every combination."""
    return [dict(zip(choices, c, strict=True)) for c in itertools.product(*choices.values())]


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
    "epochs": [[1, 2, 3, 5, 10, 15, 20, 30, 50, 100]],
}
# name: (library, function, settings to choose from, whether its fit is random); epochs are stages
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
    # the documentation's tutorial, and the repository's example script with the tutorial's epochs
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
    """Fit, recommend, measure: after each stage."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    task = make_task(dataset, data, validation)
    if name.startswith("mind"):
        settings = {**settings, "profile": profiles(dataset, data, task)}
    log = Log(task)
    quiet, runs, seconds = io.StringIO(), [], np.zeros(2)
    with threadpool_limits(1), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        start = clocks()
        for recommend in PEERS[name][1](log, seed, **settings):
            seconds = seconds + clocks() - start
            runs.append(Run(measure(task.test, recommend()), seconds, peak()))
            start = clocks()
    return runs


def chosen(settings: dict, kept: dict[str, list[str]]) -> dict | None:
    """The setting with the epochs that are kept; None if another of its values is not."""
    if "epochs" in settings:
        epochs = [n for n in settings["epochs"] if str(n) in kept.get("epochs", [str(n)])]
        settings = {**settings, "epochs": epochs}
    others = kept.keys() - {"epochs"}
    return settings if all(str(settings.get(n, kept[n][0])) in kept[n] for n in others) else None


def stages(settings: dict) -> list[dict]:
    """A setting for each of the epochs."""
    if "epochs" not in settings:
        return [settings]
    return [{**settings, "epochs": [n]} for n in settings["epochs"]]


def words(settings: dict) -> str:
    """The setting of a stage as name=value."""
    shown = {n: value[0] if n == "epochs" else value for n, value in settings.items()}
    return ", ".join(f"{name}={value}" for name, value in shown.items())


def main() -> None:
    """Choose settings, run every seed, print the table."""
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
    parser.add_argument("--each", action="store_true", help="every setting, on validation")
    parser.add_argument("--jobs", type=int, default=1, help="fits at once")
    parser.add_argument("--output", type=Path, help="file that the rows are appended to")
    arguments = parser.parse_args()

    def say(line: str) -> None:
        print(line, flush=True)
        if arguments.output:
            with arguments.output.open("a") as file:
                file.write(line + "\n")

    libraries = ("implicit", "torch-rechub", "rectools", "torch", "numpy", "scipy", "pandas")
    versions = ", ".join(f"{library} {version(library)}" for library in libraries)
    command = f"{arguments.dataset} --data DIR --peers {' '.join(arguments.peers)}"
    if arguments.seeds != parser.get_default("seeds"):
        command += f" --seeds {' '.join(map(str, arguments.seeds))}"
    if arguments.each:
        command += " --each"
    if arguments.where:
        command += f" --where {' '.join(arguments.where)}"
    kept = dict(assignment.split("=", 1) for assignment in arguments.where)
    kept = {setting: values.split(",") for setting, values in kept.items()}
    say(f"\n`sh benchmarks/quality/peers.sh {command}`, {datetime.date.today()}, one thread:")
    say(f"Python {platform.python_version()}, {versions}.\n")
    say(HEAD)
    notes = []
    for name in arguments.peers:
        library, _, settings, is_random = PEERS[name]
        settings = [s for s in (chosen(s, kept) for s in settings) if s is not None]
        seeds = arguments.seeds if is_random else arguments.seeds[:1]
        staged = [stage for s in settings for stage in stages(s)]
        where = arguments.dataset, arguments.data
        if not arguments.each and len(staged) > 1:
            jobs = [(name, s, *where, True, 0) for s in settings]
            runs = itertools.chain(*in_processes(fit, jobs, arguments.jobs))
            found = [run.users["NDCG@10"].mean() for run in runs]
            settings = [staged[int(np.argmax(found))]]
            notes.append(
                f"- {name}: best of {len(found)} settings on the validation task, where its "
                f"NDCG@10 is {max(found):.4f} (worst {min(found):.4f})."
            )
        part = "validation" if arguments.each else "test"
        for s in settings:
            jobs = [(name, s, *where, arguments.each, seed) for seed in seeds]
            by_stage = zip(*in_processes(fit, jobs, arguments.jobs), strict=True)
            for stage, runs in zip(stages(s), by_stage, strict=True):
                label = f"{arguments.dataset} {part}, {name} of {library} ({words(stage)})"
                label += f", {' '.join(map(str, seeds))}" if is_random else ""
                say(row(label, list(runs)))
    if notes:
        say("\n" + "\n".join(notes))


if __name__ == "__main__":
    main()
