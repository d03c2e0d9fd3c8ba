"""Speed and memory beside torch-rechub, implicit and RecTools, in one run.

    sh benchmarks/speed/peers.sh --data DIR --output benchmarks/results/speed.md
    sh benchmarks/speed/peers.sh --data DIR --quick --only train memory

``peers.sh`` makes the environment that benchmarks/quality/peers.txt pins and runs this file in it.
Each section has a process of its own for each data set and number of threads; the libraries take
turns in it.
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
from harness import in_processes, load, make_task, measure, profiles, without_last

TURNS = 5
N_BATCHED = 49_152  # samples of torch-rechub's epoch that are timed; each takes as long
N_EPOCHS = {"ml-100k": 20, "ml-1m": 10}  # of torch-rechub, to find its best
SAME = {  # torch-rechub's MIND in our words
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
TUNED = {  # the best of those in results/curves.md and results/peers.md, on the validation tasks
    "dim": 32,
    "negatives": 10,
    "temperature": 0.2,
    "learning_rate": 0.01,
    "user_id": False,
    "keep": "last",
    "sampling": "uniform",
}
QUICK = {  # ours, of which the fewest epochs are looked for
    "n_interests": 1,
    "embedding_dim": 32,
    "n_encoder_layers": 0,
    "batch_size": 1024,
    "item_dropout": 0.0,
    "learning_rate": 0.03,
}
OUR_EPOCHS = 1, 2, 3, 4, 6, 8, 12
CATALOGUES = {"100k": 100_000, "1M": 1_000_000}  # generated
N_SCORES = 200_000_000  # users × items of a generated catalogue
INTRODUCTION = """# Speed and memory beside other libraries

Written by `make bench`. The libraries take turns in one process; figures are medians of five turns,
"times better" is the median of the turns' ratios, with the least and the greatest of them.

- prepare: the table with its ids → what training starts from. torch-rechub cuts and pads the
  history of every sample, by its own functions. We sort; histories are cut while training, which
  is part of that time. RecTools keeps a table of codes, implicit is given a matrix made by pandas
  and scipy.
- train at its settings: 16 dimensions, 4 interests, 50 items of history, 3 negatives, no feature
  but the user's id; its loader without workers, which is its fastest. Ours is the time of the
  whole `fit` of one epoch; of its epoch, 49,152 samples are timed, without preparation. Its
  negatives are drawn once, three for each sample; ours anew for each batch, whose samples share
  them. "At our defaults" we have 64 dimensions and 1,024 negatives, and on MovieLens 1M a layer
  of self-attention; it has its tutorial's settings. Of MovieLens 1M a third of the users are
  trained on.
- train to its best NDCG@10, on the test task of benchmarks/quality: its settings are the best of
  those that were tried on the validation tasks (curves.md and peers.md of benchmarks/results), for
  20 epochs, 10 on MovieLens 1M, where more find no more; it is measured after every epoch, and only
  those up to the best count, without preparation. Ours is the whole `fit` with one interest of 32
  dimensions and the fewest epochs that find as much; the row has both numbers of epochs, ours
  first. Each turn has another seed; on MovieLens 1M there is one turn.
- recommend: 10 items a user, none of the user's own, by exact search. implicit and RecTools are
  given vectors, one a user; we compute the interests too. With one interest all search for the
  same vectors. The larger catalogues are generated. torch-rechub has no search that leaves out
  what a user has seen.
- memory: the peak of each stage, above what the imports take; the table that the stage starts
  from is part of it. Of torch-rechub's recommending, this is only the computing of the vectors.
"""
HEAD = (
    "| work | data | threads | skmind | other | its figure | times better | aim |\n"
    "|---|---|---:|---:|---|---:|---:|---|"
)


class Row(NamedTuple):
    """Figures of both sides, a pair a turn; less is better in seconds and MiB."""

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
        less = self.unit in ("s", "MiB")
        ratios = sorted(theirs / ours if less else ours / theirs for ours, theirs in pairs)
        better, aim = number(statistics.median(ratios)), ""
        if len(ratios) > 1:
            better += f" ({number(ratios[0])} to {number(ratios[-1])})"
        if self.aim is not None:
            met = statistics.median(ratios) >= self.aim
            aim = f"{self.aim:g}: {'met' if met else '**missed**'}"
        ours, theirs = (number(statistics.median(part)) for part in (self.ours, self.theirs))
        work = f"{self.work}, {self.unit}"
        cells = work, self.data, self.threads, ours, self.other, theirs, better, aim
        return f"| {' | '.join(map(str, cells))} |"


def number(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def seconds_of(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(n: int, *works: Callable[[], object]) -> list[list[float]]:
    """Seconds of each work, in turns: A B A B."""
    return np.transpose([[seconds_of(work) for work in works] for _ in range(n)]).tolist()


def interactions(dataset: str, data: Path) -> pd.DataFrame:
    """A table whose times are integers."""
    frame = load(dataset, data)[["user_id", "item_id", "timestamp"]]
    return frame.astype({"timestamp": np.int64})


def our_preparation(frame: pd.DataFrame) -> object:
    from skmind.data.prepare import Schema, prepare

    return prepare(frame, Schema("user_id", "item_id", "timestamp"))


def prepare(dataset: str, data: Path, threads: int, n: int) -> list[Row]:
    """A table → what training starts from."""
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
        Row("prepare", "s", dataset, threads, ours, other, its, aim)
        for (other, aim), its in zip(others, theirs, strict=True)
    ]


def train(dataset: str, data: Path, threads: int, n: int) -> list[Row]:
    """Samples a second: of a whole `fit` of one epoch, and of batches of torch-rechub's epoch."""
    import rechub

    from skmind import MINDRecommender

    frame = interactions(dataset, data)
    if dataset == "ml-1m":
        frame = frame[frame["user_id"] % 3 == 0]
    known, _ = without_last(frame)
    x, asked, every, sizes = rechub.prepare(frame, 3)
    n_samples = len(x["movie_id"])
    rows = []
    for work, size, settings, aim in [
        ("train at its settings", 2048, SAME, 12),
        ("train at its settings", 256, {**SAME, "batch_size": 256}, None),
        ("train at our defaults", 256, {}, None),
    ]:
        training = rechub.Training(sizes, len(every["movie_id"]), dim=16)
        loader, *_ = rechub.loaders(x, asked, every, size)
        n_batches = min(N_BATCHED // size, n_samples // size)
        rec = MINDRecommender(max_epochs=1, random_state=0, **settings)

        def batches(training=training, loader=loader, n_batches=n_batches) -> None:
            training.trainer.train_one_epoch(islice(loader, n_batches))

        ours, theirs = in_turns(n, partial(rec.fit, known), batches)
        rates = [n_samples / s for s in ours], [n_batches * size / s for s in theirs]
        other = f"torch-rechub, batches of {size:,}"
        rows.append(Row(work, "samples/s", dataset, threads, rates[0], other, rates[1], aim))
    return rows


def reach(dataset: str, data: Path, threads: int, n: int) -> list[Row]:
    """Seconds of training until torch-rechub's best NDCG@10 on the test task.

    In each turn, another seed, torch-rechub is measured after every epoch; ours is the fit
    with `QUICK` and the fewest epochs that finds as much.
    """
    import rechub
    from log import Log

    from skmind import MINDRecommender

    task = make_task(dataset, data)
    log = Log(task)
    its_best, ours, theirs, epochs = [], [], [], []

    def ndcg(recommended: pd.DataFrame) -> float:
        return float(measure(task.test, recommended)["NDCG@10"].mean())

    for seed in range(n if dataset == "ml-100k" else 1):
        mind = rechub.Mind(log, seed, profile=profiles(dataset, data, task), **TUNED)
        seconds, found = [], []
        for _ in range(N_EPOCHS[dataset]):
            seconds.append(seconds_of(partial(mind.train, 1)))
            found.append(ndcg(mind.rank(*mind.vectors())))
        its_best.append(max(found))
        theirs.append(sum(seconds[: int(np.argmax(found)) + 1]))
        for n_epochs in OUR_EPOCHS:
            rec = MINDRecommender(max_epochs=n_epochs, random_state=seed, **QUICK)
            spent = seconds_of(partial(rec.fit, task.known))
            if ndcg(rec.recommend_from_history(task.history, k=10)) >= its_best[-1]:
                break
        else:
            spent = np.inf
        ours.append(spent)
        epochs.append(f"{n_epochs} to {int(np.argmax(found)) + 1}")
    best = statistics.median(its_best)
    work = f"train to NDCG@10 {best:.4f}, its best (epochs: {', '.join(epochs)})"
    return [Row(work, "s", dataset, threads, ours, "torch-rechub, tuned", theirs, 20)]


def recommend(where: str, data: Path, threads: int, n: int) -> list[Row]:
    """Users a second, 10 items each, none seen before."""
    from skmind import MINDRecommender

    frame, items = catalogue(where, data)
    cheap = {"max_epochs": 1, "batch_size": 16_384, "n_negatives": 4, "n_encoder_layers": 0}
    four, one = (
        MINDRecommender(n_interests=k, random_state=0, **cheap).fit(frame, items=items)
        for k in (4, 1)
    )
    by_implicit, by_rectools = searches(one, frame, threads)
    mine = one.recommend(k=10)["item_id"].to_numpy().reshape(-1, 10)
    if (one.items_[by_implicit()] == mine).mean() < 0.99:
        raise AssertionError("implicit recommends other items from the same vectors")
    found = in_turns(n, four.recommend, one.recommend, by_implicit, by_rectools)
    rates = [[len(mine) / s for s in part] for part in found]
    return [
        Row(f"recommend, {work}", "users/s", where, threads, ours, other, theirs)
        for work, ours in zip(("4 interests", "1 interest"), rates[:2], strict=True)
        for other, theirs in zip(("implicit", "RecTools"), rates[2:], strict=True)
    ]


def catalogue(where: str, data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Interactions, and a table of all items."""
    if where not in CATALOGUES:
        frame = interactions(where, data)
        return frame, frame[["item_id"]].drop_duplicates()
    n_items = CATALOGUES[where]
    users = np.repeat(np.arange(N_SCORES // n_items), 50)
    items = np.random.default_rng(0).integers(n_items, size=len(users))
    frame = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": 0})
    return frame, pd.DataFrame({"item_id": np.arange(n_items)})


def searches(
    rec: Any, frame: pd.DataFrame, threads: int
) -> tuple[Callable[[], np.ndarray], Callable[[], pd.DataFrame]]:
    """What implicit and RecTools do with the vectors of a recommender with one interest."""
    from implicit.als import AlternatingLeastSquares
    from rectools.dataset import Dataset, IdMap, Interactions
    from rectools.models import ImplicitALSWrapperModel

    als = AlternatingLeastSquares(factors=rec.embedding_dim, num_threads=threads)
    als.user_factors = rec.interests(rec.users_)[:, 0]
    als.item_factors = rec.item_embeddings_
    wrapped = ImplicitALSWrapperModel(als)
    wrapped.model, wrapped.is_fitted = als, True
    maps = IdMap(rec.users_), IdMap(rec.items_)
    named = frame.assign(weight=1.0, datetime=pd.Timestamp("2000-01-01"))
    dataset = Dataset(*maps, Interactions.from_raw(named, *maps))
    seen, users = dataset.get_user_item_matrix(), np.arange(len(rec.users_))
    return (
        lambda: als.recommend(users, seen, N=10, filter_already_liked_items=True)[0],
        lambda: wrapped.recommend(rec.users_, dataset, k=10, filter_viewed=True),
    )


def memory(dataset: str, data: Path, threads: int, n: int) -> list[Row]:
    """Peak of each stage above what the process has after its imports."""
    del n
    jobs = [(library, dataset, data, threads) for library in ("skmind", "torch-rechub")]
    ours, theirs = in_processes(peaks, jobs, 1)
    stages = "prepare", "train at its settings", "train at our defaults", "recommend"
    others = "", ", batches of 2,048", ", batches of 2,048", ", vectors only"
    return [
        Row(f"memory, {stage}", "MiB", dataset, threads, [mine], f"torch-rechub{other}", [its], 3)
        for stage, other, mine, its in zip(stages, others, ours, theirs, strict=True)
    ]


def peaks(library: str, dataset: str, data: Path, threads: int) -> list[float]:
    """Peaks of the stages that `memory` names, in MiB."""
    if library == "skmind":
        from skmind import MINDRecommender
    else:
        import rechub
    found = []

    def stage(work: Callable[[], object]) -> Any:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        result = work()
        found.append(status("VmHWM") - imported)
        return result

    with quiet(threads):
        imported = status("VmRSS")
        frame = interactions(dataset, data)
        if library == "skmind":
            known, _ = without_last(frame)
            stage(partial(our_preparation, frame))
            for settings in (SAME, {}):
                rec = MINDRecommender(max_epochs=1, random_state=0, **settings)
                stage(partial(rec.fit, known))
            stage(rec.recommend)
        else:
            x, asked, every, sizes = stage(partial(rechub.prepare, frame, 3))
            training = rechub.Training(sizes, len(every["movie_id"]), dim=16)
            samples, *rest = rechub.loaders(x, asked, every, 2048)
            stage(lambda: training.train(islice(samples, N_BATCHED // 2048), 1))
            found.append(found[-1])
            stage(partial(training.vectors, *rest))
    return found


def status(name: str) -> float:
    """A figure of this process in MiB; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[name].split()[0]) / 1024


@contextlib.contextmanager
def quiet(threads: int) -> Iterator[None]:
    """So many threads in every library, and no word from any."""
    import torch._dynamo  # the first step of any optimiser would: no library is charged with it
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore")
    sink = io.StringIO()
    with (
        threadpool_limits(threads),
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
    ):
        yield


SECTIONS = {  # what each is measured on, and with how many threads
    "prepare": (prepare, MOVIELENS, (1,)),
    "train": (train, MOVIELENS, (1, 2)),
    "reach": (reach, MOVIELENS, (1,)),
    "recommend": (recommend, (*MOVIELENS, *CATALOGUES), (1, 2)),
    "memory": (memory, MOVIELENS, (1,)),
}


def section(
    work: Callable[..., list[Row]], where: str, data: Path, threads: int, n: int
) -> list[Row]:
    """Rows of a section; in a process of its own."""
    import implicit  # noqa: F401 - its threads can be limited once it is there

    with quiet(threads):
        return work(where, data, threads, n)


def report(rows: list[str], command: str, start: float) -> str:
    libraries = ("torch-rechub", "implicit", "rectools", "torch", "numpy", "scipy", "pandas")
    versions = ", ".join(f"{library} {version(library)}" for library in libraries)
    minutes = (time.perf_counter() - start) / 60
    made = (
        f"`sh benchmarks/speed/peers.sh {command}`, {datetime.date.today()}, {minutes:.0f} min: "
        f"Python {platform.python_version()}, {versions}; {platform.machine()}, "
        f"{os.cpu_count()} cores."
    )
    return "\n".join([INTRODUCTION, made, "", HEAD, *rows, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data sets")
    parser.add_argument("--output", type=Path, help="file that the table is written to")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="one turn on the smallest data")
    arguments = parser.parse_args()
    start, rows = time.perf_counter(), []
    print(HEAD)
    for name in arguments.only:
        work, places, numbers = SECTIONS[name]
        for where in places[: 1 if arguments.quick else None]:
            for threads in numbers:
                job = work, where, arguments.data, threads, 1 if arguments.quick else TURNS
                found = [str(row) for row in in_processes(section, [job], 1)[0]]
                print(*found, sep="\n", flush=True)
                rows += found
    if arguments.output:
        words = ["--data DIR", "--quick" * arguments.quick]
        words += ["--only", *arguments.only] if arguments.only != list(SECTIONS) else []
        command = " ".join(filter(None, words))
        arguments.output.write_text(report(rows, command, start), encoding="utf-8")


if __name__ == "__main__":
    main()
