"""Speed and memory of skmind, torch-rechub, implicit and RecTools, in one run.

    sh benchmarks/speed/peers.sh --data DIR --output benchmarks/results/speed.md
    sh benchmarks/speed/peers.sh --data DIR --quick --only train memory

``peers.sh`` creates the environment that benchmarks/quality/peers.txt pins and runs this file in
it. Each section runs in its own process for each data set and number of threads, where the
libraries take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import gc
import io
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from harness import load, make_task, measure, profiles, split_off_last
from processes import in_processes

N_TURNS = 5
N_TIMED_SAMPLES = 49_152  # of an epoch of torch-rechub; all samples take equally long
N_EPOCHS = {"ml-100k": 20, "ml-1m": 10}  # of torch-rechub, to find its best
RECHUB_SETTINGS = {  # the settings of MIND of torch-rechub, as our parameters
    "embedding_dim": 16,
    "n_interests": 4,
    "adaptive_interests": False,
    "max_history": 50,
    "n_encoder_layers": 0,
    "label_attention": "hard",
    "n_negatives": 3,
    "item_dropout": 0.0,
    "batch_size": 2048,
}
MOVIELENS = "ml-100k", "ml-1m"
TUNED_RECHUB_SETTINGS = {  # the best on the validation tasks: results/curves.md, results/peers.md
    "dim": 32,
    "negatives": 10,
    "temperature": 0.2,
    "learning_rate": 0.01,
    "user_id": False,
    "keep": "last",
    "sampling": "uniform",
}
OUR_FAST_SETTINGS = {
    "n_interests": 1,
    "embedding_dim": 32,
    "n_encoder_layers": 0,
    "batch_size": 1024,
    "item_dropout": 0.0,
    "learning_rate": 0.03,
}
OUR_EPOCHS = 1, 2, 3, 4, 6, 8, 12  # numbers of epochs to try
CATALOGUES = {"100k": 100_000, "1M": 1_000_000}  # numbers of generated items
N_SCORES = 200_000_000  # users × items with a generated catalogue
INTRODUCTION = """# Speed and memory beside other libraries

Written by `make bench`. The libraries take turns in one process. Figures are medians of five turns;
"times better" is the median ratio of the turns, with its minimum and maximum.

- prepare: from the table with ids to the input of training. torch-rechub cuts and pads the history
  of every sample, by its own functions. skmind sorts the table; it cuts histories during training,
  which counts as training time. RecTools keeps a table of codes. implicit gets a matrix made by
  pandas and scipy.
- train at its settings: 16 dimensions, 4 interests, 50 history items, 3 negatives, and the user id
  as the only feature. torch-rechub loads data without worker processes, which is fastest here. The
  time of skmind is a whole `fit` of one epoch; for torch-rechub, 49,152 samples of an epoch are
  timed, without preparation. torch-rechub draws three negatives per sample once; skmind draws new
  negatives for each batch, shared by its samples. "At our defaults" skmind has 64 dimensions,
  1,024 negatives and, on MovieLens 1M, a self-attention layer; torch-rechub has the settings of its
  tutorial. On MovieLens 1M, both train on a third of the users.
- train to its best NDCG@10, on the test task of benchmarks/quality: torch-rechub has the best
  settings on the validation tasks (curves.md and peers.md in benchmarks/results), and 20 epochs, 10
  on MovieLens 1M, after which it no longer improves. It is measured after every epoch; the time
  counts the epochs up to the best, without preparation. The time of skmind is a whole `fit` with
  one interest of 32 dimensions and the fewest epochs that reach this NDCG@10. The row shows both
  numbers of epochs, skmind's first. Each turn has another seed; there is one turn on MovieLens 1M.
- recommend: 10 items per user, none of them seen before, by exact search. implicit and RecTools get
  one vector per user; skmind also computes the interests. With one interest, all search for the
  same vectors. The larger catalogues are generated. torch-rechub has no search that leaves out the
  items that a user has seen.
- memory: the peak of each stage minus the memory after the imports; it includes the table that the
  stage starts from. For torch-rechub, recommending only computes the vectors.
"""
TABLE_HEAD = (
    "| work | data | threads | skmind | other library | its figure | times better | aim |\n"
    "|---|---|---:|---:|---|---:|---:|---|"
)


class Row(NamedTuple):
    """Figures of skmind and of another library, one of each per turn."""

    work: str
    unit: str
    data: str
    threads: int
    ours: list[float]
    other: str
    theirs: list[float]
    aim: float | None = None

    def __str__(self) -> str:
        pairs = zip(self.ours, self.theirs, strict=True)
        less_is_better = self.unit in ("s", "MiB")
        ratios = sorted(
            theirs / ours if less_is_better else ours / theirs for ours, theirs in pairs
        )
        median_ratio = statistics.median(ratios)
        times_better = three_digits(median_ratio)
        if len(ratios) > 1:
            times_better += f" ({three_digits(ratios[0])} to {three_digits(ratios[-1])})"
        aim = ""
        if self.aim is not None:
            aim = f"{self.aim:g}: {'met' if median_ratio >= self.aim else '**missed**'}"
        cells = [
            f"{self.work}, {self.unit}",
            self.data,
            str(self.threads),
            three_digits(statistics.median(self.ours)),
            self.other,
            three_digits(statistics.median(self.theirs)),
            times_better,
            aim,
        ]
        return f"| {' | '.join(cells)} |"


def three_digits(value: float) -> str:
    """Format a number with three significant digits, or more if it is at least 1,000."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def seconds_of(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(n: int, *works: Callable[[], object]) -> list[list[float]]:
    """Return the seconds of each work, measured in turns: A B A B."""
    return np.transpose([[seconds_of(work) for work in works] for _ in range(n)]).tolist()


def interactions(dataset: str, data: Path) -> pd.DataFrame:
    """Return a table with integer times."""
    frame = load(dataset, data)[["user_id", "item_id", "timestamp"]]
    return frame.astype({"timestamp": np.int64})


def our_preparation(frame: pd.DataFrame) -> object:
    from skmind.data.prepare import Schema, prepare

    return prepare(frame, Schema("user_id", "item_id", "timestamp"))


def prepare(dataset: str, data: Path, threads: int, n: int) -> list[Row]:
    """Measure the way from a table to the input of training."""
    import rechub
    from rectools.dataset import Dataset
    from scipy.sparse import csr_matrix

    frame = interactions(dataset, data)
    named = frame.assign(weight=1.0, datetime=pd.to_datetime(frame["timestamp"], unit="s"))

    def matrix() -> csr_matrix:
        users, items = (pd.factorize(frame[column])[0] for column in ("user_id", "item_id"))
        return csr_matrix((np.ones(len(frame), dtype=np.float32), (users, items)))

    ours, *theirs = in_turns(
        n,
        partial(our_preparation, frame),
        partial(rechub.prepare, frame, 3),
        partial(Dataset.construct, named),
        matrix,
    )
    others = ("torch-rechub", 100), ("RecTools", None), ("matrix for implicit", None)
    return [
        Row("prepare", "s", dataset, threads, ours, other, seconds, aim)
        for (other, aim), seconds in zip(others, theirs, strict=True)
    ]


def train(dataset: str, data: Path, threads: int, n: int) -> list[Row]:
    """Measure samples per second of a whole `fit` of one epoch, and of batches of torch-rechub."""
    import rechub

    from skmind import MINDRecommender

    frame = interactions(dataset, data)
    if dataset == "ml-1m":
        frame = frame[frame["user_id"] % 3 == 0]
    known, _ = split_off_last(frame)
    samples, users, items, sizes = rechub.prepare(frame, 3)
    n_samples = len(samples["movie_id"])
    rows = []
    for work, batch_size, settings, aim in [
        ("train at its settings", 2048, RECHUB_SETTINGS, 12),
        ("train at its settings", 256, {**RECHUB_SETTINGS, "batch_size": 256}, None),
        ("train at our defaults", 256, {}, None),
    ]:
        training = rechub.Training(sizes, len(items["movie_id"]), dim=16)
        loader, *_ = rechub.loaders(samples, users, items, batch_size)
        n_batches = min(N_TIMED_SAMPLES // batch_size, n_samples // batch_size)
        rec = MINDRecommender(max_epochs=1, random_state=0, **settings)

        def train_batches(training=training, loader=loader, n_batches=n_batches) -> None:
            training.trainer.train_one_epoch(islice(loader, n_batches))

        our_seconds, their_seconds = in_turns(n, partial(rec.fit, known), train_batches)
        ours = [n_samples / s for s in our_seconds]
        theirs = [n_batches * batch_size / s for s in their_seconds]
        other = f"torch-rechub, batches of {batch_size:,}"
        rows.append(Row(work, "samples/s", dataset, threads, ours, other, theirs, aim))
    return rows


def reach(dataset: str, data: Path, threads: int, n: int) -> list[Row]:
    """Measure the seconds of training to the best NDCG@10 of torch-rechub on the test task.

    Each turn has another seed. torch-rechub is measured after every epoch. Ours is the fit with
    `OUR_FAST_SETTINGS` and the fewest epochs that reaches the same NDCG@10.
    """
    import rechub
    from log import Log

    from skmind import MINDRecommender

    task = make_task(dataset, data)
    log = Log(task)
    best_ndcgs = []
    ours = []
    theirs = []
    epochs = []

    def ndcg(recommended: pd.DataFrame) -> float:
        return float(measure(task.test, recommended)["NDCG@10"].mean())

    for seed in range(n if dataset == "ml-100k" else 1):
        profile = profiles(dataset, data, task)
        mind = rechub.Mind(log, seed, profile=profile, **TUNED_RECHUB_SETTINGS)
        epoch_seconds = []
        epoch_ndcgs = []
        for _ in range(N_EPOCHS[dataset]):
            epoch_seconds.append(seconds_of(partial(mind.train, 1)))
            epoch_ndcgs.append(ndcg(mind.rank(*mind.vectors())))
        best_epoch = int(np.argmax(epoch_ndcgs)) + 1
        best_ndcgs.append(max(epoch_ndcgs))
        theirs.append(sum(epoch_seconds[:best_epoch]))
        for n_epochs in OUR_EPOCHS:
            rec = MINDRecommender(max_epochs=n_epochs, random_state=seed, **OUR_FAST_SETTINGS)
            fit_seconds = seconds_of(partial(rec.fit, task.known))
            if ndcg(rec.recommend_from_history(task.history, k=10)) >= best_ndcgs[-1]:
                break
        else:
            fit_seconds = np.inf
        ours.append(fit_seconds)
        epochs.append(f"{n_epochs} to {best_epoch}")
    best = statistics.median(best_ndcgs)
    work = f"train to NDCG@10 {best:.4f}, its best (epochs: {', '.join(epochs)})"
    return [Row(work, "s", dataset, threads, ours, "torch-rechub, tuned", theirs, 20)]


def recommend(dataset: str, data: Path, threads: int, n: int) -> list[Row]:
    """Measure users per second with 10 items each, none of them seen before."""
    from skmind import MINDRecommender

    frame, items = interactions_and_items(dataset, data)
    settings = {"max_epochs": 1, "batch_size": 16_384, "n_negatives": 4, "n_encoder_layers": 0}
    four_interests, one_interest = (
        MINDRecommender(n_interests=k, random_state=0, **settings).fit(frame, items=items)
        for k in (4, 1)
    )
    by_implicit, by_rectools = searches(one_interest, frame, threads)
    recommended = one_interest.recommend(k=10)["item_id"].to_numpy().reshape(-1, 10)
    if (one_interest.items_[by_implicit()] == recommended).mean() < 0.99:
        raise AssertionError("implicit recommends other items from the same vectors")
    seconds = in_turns(
        n, four_interests.recommend, one_interest.recommend, by_implicit, by_rectools
    )
    rates = [[len(recommended) / s for s in part] for part in seconds]
    return [
        Row(f"recommend, {work}", "users/s", dataset, threads, ours, other, theirs)
        for work, ours in zip(("4 interests", "1 interest"), rates[:2], strict=True)
        for other, theirs in zip(("implicit", "RecTools"), rates[2:], strict=True)
    ]


def interactions_and_items(dataset: str, data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the interactions of a data set or generated catalogue, and a table of its items."""
    if dataset not in CATALOGUES:
        frame = interactions(dataset, data)
        return frame, frame[["item_id"]].drop_duplicates()
    n_items = CATALOGUES[dataset]
    users = np.repeat(np.arange(N_SCORES // n_items), 50)
    items = np.random.default_rng(0).integers(n_items, size=len(users))
    frame = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": 0})
    return frame, pd.DataFrame({"item_id": np.arange(n_items)})


def searches(
    rec: Any, frame: pd.DataFrame, threads: int
) -> tuple[Callable[[], np.ndarray], Callable[[], pd.DataFrame]]:
    """Return the searches of implicit and RecTools with the vectors of a one-interest model."""
    from implicit.als import AlternatingLeastSquares
    from rectools.dataset import Dataset, IdMap, Interactions
    from rectools.models import ImplicitALSWrapperModel

    als = AlternatingLeastSquares(factors=rec.embedding_dim, num_threads=threads)
    als.user_factors = rec.interests(rec.users_)[:, 0]
    als.item_factors = rec.item_embeddings_
    wrapped = ImplicitALSWrapperModel(als)
    wrapped.model = als
    wrapped.is_fitted = True
    maps = IdMap(rec.users_), IdMap(rec.items_)
    named = frame.assign(weight=1.0, datetime=pd.Timestamp("2000-01-01"))
    dataset = Dataset(*maps, Interactions.from_raw(named, *maps))
    seen = dataset.get_user_item_matrix()
    users = np.arange(len(rec.users_))
    return (
        lambda: als.recommend(users, seen, N=10, filter_already_liked_items=True)[0],
        lambda: wrapped.recommend(rec.users_, dataset, k=10, filter_viewed=True),
    )


def memory(dataset: str, data: Path, threads: int, n: int) -> list[Row]:
    """Measure the peak of each stage minus the memory of the process after its imports."""
    del n
    jobs = [(library, dataset, data, threads) for library in ("skmind", "torch-rechub")]
    ours, theirs = in_processes(peaks, jobs)
    stages = "prepare", "train at its settings", "train at our defaults", "recommend"
    others = "", ", batches of 2,048", ", batches of 2,048", ", vectors only"
    return [
        Row(
            f"memory, {stage}",
            "MiB",
            dataset,
            threads,
            [our_peak],
            f"torch-rechub{other}",
            [their_peak],
            3,
        )
        for stage, other, our_peak, their_peak in zip(stages, others, ours, theirs, strict=True)
    ]


def peaks(library: str, dataset: str, data: Path, threads: int) -> list[float]:
    """Return the peaks in MiB of the stages that `memory` names."""
    if library == "skmind":
        from skmind import MINDRecommender
    else:
        import rechub
    stage_peaks = []

    def run_stage(work: Callable[[], object]) -> Any:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        result = work()
        stage_peaks.append(memory_status("VmHWM") - after_imports)
        return result

    with quiet(threads):
        after_imports = memory_status("VmRSS")
        frame = interactions(dataset, data)
        if library == "skmind":
            known, _ = split_off_last(frame)
            run_stage(partial(our_preparation, frame))
            for settings in (RECHUB_SETTINGS, {}):
                rec = MINDRecommender(max_epochs=1, random_state=0, **settings)
                run_stage(partial(rec.fit, known))
            run_stage(rec.recommend)
        else:
            samples, users, items, sizes = run_stage(partial(rechub.prepare, frame, 3))
            training = rechub.Training(sizes, len(items["movie_id"]), dim=16)
            loader, *query_loaders = rechub.loaders(samples, users, items, 2048)
            run_stage(lambda: training.train(islice(loader, N_TIMED_SAMPLES // 2048), 1))
            stage_peaks.append(stage_peaks[-1])  # its settings are the same in both rows
            run_stage(partial(training.vectors, *query_loaders))
    return stage_peaks


def memory_status(name: str) -> float:
    """Return a memory figure of this process in MiB; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[name].split()[0]) / 1024


@contextlib.contextmanager
def quiet(threads: int) -> Iterator[None]:
    """Set the number of threads of all libraries and discard their output."""
    # The first step of an optimiser imports torch._dynamo. Import it here, so that the memory is
    # not counted for a library.
    import torch._dynamo
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore")
    discarded = io.StringIO()
    with (
        threadpool_limits(threads),
        contextlib.redirect_stdout(discarded),
        contextlib.redirect_stderr(discarded),
    ):
        yield


SECTIONS = {  # name: (function, data sets, numbers of threads)
    "prepare": (prepare, MOVIELENS, (1,)),
    "train": (train, MOVIELENS, (1, 2)),
    "reach": (reach, MOVIELENS, (1,)),
    "recommend": (recommend, (*MOVIELENS, *CATALOGUES), (1, 2)),
    "memory": (memory, MOVIELENS, (1,)),
}


def run_section(
    function: Callable[..., list[Row]], dataset: str, data: Path, threads: int, n: int
) -> list[Row]:
    """Return the rows of a section; runs in its own process."""
    import implicit  # noqa: F401 - its threads can be limited only after the import

    with quiet(threads):
        return function(dataset, data, threads, n)


def report(rows: list[str], command: str, start: float) -> str:
    libraries = ("torch-rechub", "implicit", "rectools", "torch", "numpy", "scipy", "pandas")
    versions = ", ".join(f"{library} {version(library)}" for library in libraries)
    minutes = (time.perf_counter() - start) / 60
    environment = (
        f"`sh benchmarks/speed/peers.sh {command}`, {datetime.date.today()}, {minutes:.0f} min: "
        f"Python {platform.python_version()}, {versions}; {platform.machine()}, "
        f"{os.cpu_count()} cores."
    )
    return "\n".join([INTRODUCTION, environment, "", TABLE_HEAD, *rows, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data sets")
    parser.add_argument("--output", type=Path, help="file that the table is written to")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="one turn on the smallest data")
    arguments = parser.parse_args()
    start = time.perf_counter()
    rows = []
    n_turns = 1 if arguments.quick else N_TURNS
    print(TABLE_HEAD)
    for name in arguments.only:
        function, datasets, thread_numbers = SECTIONS[name]
        for dataset in datasets[:1] if arguments.quick else datasets:
            for threads in thread_numbers:
                job = function, dataset, arguments.data, threads, n_turns
                (section_rows,) = in_processes(run_section, [job])
                lines = [str(row) for row in section_rows]
                print(*lines, sep="\n", flush=True)
                rows += lines
    if arguments.output:
        words = ["--data DIR", "--quick" * arguments.quick]
        words += ["--only", *arguments.only] if arguments.only != list(SECTIONS) else []
        command = " ".join(filter(None, words))
        arguments.output.write_text(report(rows, command, start), encoding="utf-8")


if __name__ == "__main__":
    main()
