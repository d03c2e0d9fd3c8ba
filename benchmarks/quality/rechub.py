"""Log → MIND of torch-rechub, trained with the optimiser of its example."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from log import Events, Log
from sklearn.preprocessing import LabelEncoder
from torch.utils.data import DataLoader
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import MIND
from torch_rechub.trainers import MatchTrainer
from torch_rechub.utils.data import MatchDataGenerator, df_to_dict
from torch_rechub.utils.match import gen_model_input, generate_seq_feature_match, negative_sample

MAX_HISTORY = 50


def seed_all(seed: int) -> None:
    """Seed all generators that torch-rechub draws from."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


class Sharpened(MIND):
    """MIND whose cosines are divided by a temperature, which the released model ignores."""

    divisor: float | None = None

    def forward(self, x: dict) -> torch.Tensor:
        """Return the logits, or those of the released model if the divisor is None."""
        y = super().forward(x)
        return y if self.mode or self.divisor is None else y / self.divisor


class Training:
    """The network and its trainer.

    Parameters
    ----------
    sizes : dict of str to int
        Largest code plus one of each user feature, "user_id" included.
    n_items : int
        Largest code of an item ("movie_id").
    dim : int
        Embedding dimension.
    temperature : float or None, default=None
        None: the released model, which ignores its temperature.
    learning_rate : float, default=1e-3
    """

    def __init__(
        self,
        sizes: dict[str, int],
        n_items: int,
        *,
        dim: int,
        temperature: float | None = None,
        learning_rate: float = 1e-3,
    ) -> None:
        table = {"vocab_size": n_items + 1, "embed_dim": dim}
        tied = {**table, "pooling": "concat", "shared_with": "movie_id"}
        self.model = Sharpened(
            [SparseFeature(name, size, embed_dim=dim) for name, size in sizes.items()],
            [SequenceFeature("hist_movie_id", **tied)],
            [SparseFeature("movie_id", **table)],
            [SequenceFeature("neg_items", **tied)],
            max_length=MAX_HISTORY,
            temperature=0.02,
        )
        self.model.divisor = temperature
        self.folder = tempfile.TemporaryDirectory()
        self.trainer = MatchTrainer(
            self.model,
            mode=2,
            optimizer_params={"lr": learning_rate, "weight_decay": 1e-6},
            model_path=self.folder.name,
        )

    def train(self, loader: DataLoader, epochs: int) -> None:
        """Continue training for this number of epochs."""
        self.model.mode = None
        self.trainer.n_epoch = epochs
        self.trainer.fit(loader)

    def vectors(self, users: DataLoader, items: DataLoader) -> tuple[np.ndarray, np.ndarray]:
        """Return interests (n_users, K, D) and item vectors (n_items, D)."""

        def infer(mode: str, loader: DataLoader) -> np.ndarray:
            return self.trainer.inference_embedding(
                self.model, mode, loader, self.folder.name
            ).numpy()

        return infer("user", users), infer("item", items)


def loaders(
    samples: dict, users: dict, items: dict, batch_size: int
) -> tuple[DataLoader, DataLoader, DataLoader]:
    """Return loaders of samples, users and items.

    They use no worker processes: the default of 8 workers is slower on few cores.
    """
    generator = MatchDataGenerator(samples, np.zeros(len(samples["movie_id"]), dtype=np.int64))
    return generator.generate_dataloader(users, items, batch_size=batch_size, num_workers=0)


def prepare(frame: pd.DataFrame, negatives: int) -> tuple[dict, dict, dict, dict[str, int]]:
    """Return samples, users and items for `loaders`, and sizes for `Training`.

    Uses the functions of torch-rechub as its tutorial does. The last event of each user is held
    out, and the newest ``MAX_HISTORY`` items of a history are kept.
    """
    data = frame.rename(columns={"item_id": "movie_id"})
    for column in ("user_id", "movie_id"):
        data[column] = LabelEncoder().fit_transform(data[column]) + 1
    users, items = (data[[column]].drop_duplicates() for column in ("user_id", "movie_id"))
    columns = "user_id", "movie_id", "timestamp"
    parts = generate_seq_feature_match(data, *columns, mode=2, neg_ratio=negatives)
    samples, test_users = (
        gen_model_input(part, users, "user_id", items, "movie_id", MAX_HISTORY, padding="post")
        for part in parts
    )
    return samples, test_users, df_to_dict(items), {"user_id": len(users) + 1}


class Mind:
    """MIND on a log.

    Parameters
    ----------
    log : Log
    seed : int
    profile : DataFrame
        One row per user with the user features.
    negatives : int
        Negatives per sample, drawn once.
    keep : {"first", "last"}
        End of a long history that is kept. "first" as in the example script, which truncates with
        ``"post"``.
    sampling : {"uniform", "popularity"}
        Distribution of the negatives: "uniform" as in the tutorial, or "popularity" to the power
        .75 as in the script.
    user_id : bool, default=True
        False: all users have the same id.
    batch_size : int, default=256
    **settings
        Parameters of `Training`.
    """

    def __init__(
        self,
        log: Log,
        seed: int,
        *,
        profile: pd.DataFrame,
        negatives: int,
        keep: str,
        sampling: str,
        user_id: bool = True,
        batch_size: int = 256,
        **settings: float | None,
    ) -> None:
        seed_all(seed)
        self.log = log
        known = log.known
        starts = known.bounds[:-1]
        targets = np.setdiff1d(np.arange(len(known.item_codes)), starts)
        sampled_users = known.user_codes[targets]
        counts = dict(Counter((known.item_codes + 1).tolist()).most_common())
        negative_items = negative_sample(
            counts, ratio=len(targets) * negatives, method_id=int(sampling == "popularity")
        )
        users = np.arange(1, log.shape[0] + 1)
        profiles = {"user_id": users if user_id else np.ones_like(users)}
        for name in profile.columns.drop("user_id"):
            values = profile.set_index("user_id")[name].reindex(log.users)
            profiles[name] = pd.factorize(values, sort=True)[0] + 1
        samples = {name: codes[sampled_users] for name, codes in profiles.items()}
        samples["movie_id"] = known.item_codes[targets] + 1
        spans = zip(starts[sampled_users], targets, strict=True)
        samples["hist_movie_id"] = np.stack([_window(known, *span, keep) for span in spans])
        samples["neg_items"] = negative_items.reshape(-1, negatives)
        spans = pairwise(log.history.bounds)
        histories = np.stack([_window(log.history, *span, keep) for span in spans])
        sizes = {name: int(codes.max()) + 1 for name, codes in profiles.items()}
        self.training = Training(sizes, log.shape[1], **settings)
        items = {"movie_id": np.arange(1, log.shape[1] + 1)}
        self.loaders = loaders(samples, {**profiles, "hist_movie_id": histories}, items, batch_size)

    def train(self, epochs: int) -> None:
        """Continue training for this number of epochs."""
        self.training.train(self.loaders[0], epochs)

    def vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return interests and item vectors."""
        return self.training.vectors(*self.loaders[1:])

    def rank(self, interests: np.ndarray, vectors: np.ndarray) -> pd.DataFrame:
        """Return the best items of each user."""
        return self.log.rank(lambda block: (interests[block] @ vectors.T).max(axis=1))


def _window(events: Events, start: int, stop: int, keep: str) -> np.ndarray:
    """Return a history as codes that start at 1, padded with 0."""
    codes = events.item_codes[start:stop] + 1
    codes = codes[:MAX_HISTORY] if keep == "first" else codes[-MAX_HISTORY:]
    return np.pad(codes, (0, MAX_HISTORY - len(codes)))
