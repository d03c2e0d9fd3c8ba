"""Interactions and a fresh network → a trained network and its history; discarded after fit."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from tqdm.auto import tqdm

from .._checks import warn
from ..data.batches import Batch, BatchSampler
from ..data.interactions import Interactions
from ..data.negatives import NegativeSampler
from ..data.ragged import Ragged, count
from ..exceptions import NothingToScoreWarning, TrainingDivergedError
from ..metrics._core import ndcg
from ..nn.device import to_device
from ..nn.inference import blocks, encode, unit_items
from ..nn.label_attention import label_aware
from ..nn.losses import sampled_softmax
from ..nn.network import MINDNet
from ..nn.optim import RowAdam, get_moments, is_large, set_moments
from ..nn.routing import unit
from ..retrieval.exact import ExactIndex
from .checkpoint import Checkpoint, State

logger = logging.getLogger("skmind")

VALIDATION_K = 10
LAST_RATE = 0.1  # of the learning rate, at the end of a fit
DENSE_SHARE = 0.1  # of the learning rate, for the encoder: its weights move at every step
# Cold start as missing data (Volkovs, Yu and Poutanen, "DropoutNet", NeurIPS 2017):
BARE_ITEMS = 0.2  # share of the items with features that a step knows by these alone
AUTO_STEPS = 100  # steps an epoch that a batch size of "auto" aims at ...
AUTO_BATCH = 32, 1024  # ... within these limits


@dataclass(frozen=True)
class TrainingSettings:
    """The training parameters of `MINDRecommender`, by the same names."""

    max_epochs: int
    batch_size: int | str
    samples_per_epoch: int | None
    horizon: int
    learning_rate: float
    weight_decay: float
    temperature: float
    label_attention: str | float | None  # None: the mixture loss
    item_dropout: float
    n_negatives: int | str
    negative_sampling: str
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    precision: str
    verbose: int


class Trainer:
    """Trains a network: `fit` → epoch → step.

    Parameters
    ----------
    net : MINDNet
        Changed in place.
    user_features : csr_matrix of shape (n_users, n_user_values) or None
    settings : TrainingSettings
    rng : numpy.random.Generator
        The one source of randomness: batches, negatives, dropout, validation users.
    checkpoint : Checkpoint or None, default=None
        `fit` starts from its newest epoch, and keeps each epoch there.
    moments : dict or None, default=None
        What `moments` returned after an earlier `fit`, to continue it: the learning rate stays
        where it ended. None: a fresh optimiser, and a rate that falls linearly.
    begin_epoch : callable or None, default=None
        Called with the number of an epoch when it begins. What it returns is called with the
        `State` at the end of the epoch, and returns whether to stop.
    """

    def __init__(
        self,
        net: MINDNet,
        user_features: sparse.csr_matrix | None,
        settings: TrainingSettings,
        rng: np.random.Generator,
        checkpoint: Checkpoint | None = None,
        moments: dict[str, dict[str, Any]] | None = None,
        begin_epoch: Callable[[int], Callable[[State], bool]] | None = None,
    ) -> None:
        self.begin_epoch = begin_epoch
        self.net = net
        self.user_features = user_features
        self.settings = settings
        self.rng = rng
        self.checkpoint = checkpoint
        self.device = net.item_embedding.device
        self.generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**31)))
        self.optimizers = _optimizers(net, settings)
        self.first_rate = 1.0 if moments is None else LAST_RATE  # of the learning rate
        set_moments(net, self.optimizers, moments or {})

    def moments(self) -> dict[str, dict[str, Any]]:
        """The state of the optimisers by the names of the parameters."""
        return get_moments(self.net, self.optimizers)

    def fit(self, interactions: Interactions) -> list[dict[str, Any]]:
        """Train on every event that has a past; the best weights are kept if stopping early.

        Returns
        -------
        list of dict
            One an epoch: ``epoch``, ``loss``, ``seconds``, ``samples_per_second``, and
            ``validation_ndcg`` if stopping early.

        Raises
        ------
        TrainingDivergedError
            If the loss or a weight is not finite.
        ModelFileError, ModelWriteError
            If the checkpoint can't be used.

        Warns
        -----
        NothingToScoreWarning
            If no event can be held out for early stopping; all epochs are run then.
        """
        s, held_out = self.settings, None
        if s.early_stopping:
            held_out, interactions = self._hold_out(interactions)
        batches = self._batches(interactions)
        sampler = self._negatives(interactions)
        state = State(self.net, self.optimizers, self.rng, self.generator)
        if self.checkpoint is not None:
            self.checkpoint.read(state)
        n_done, n_all = (n * batches.n_samples for n in (len(state.history), s.max_epochs))
        with _ProgressBar(n_done, n_all, s.verbose) as bar:
            is_stopped = False
            while not is_stopped and not self._is_over(state.history):
                epoch = len(state.history) + 1
                end_epoch = self.begin_epoch(epoch) if self.begin_epoch is not None else None
                bar.name(f"epoch {epoch}/{s.max_epochs}")
                record = {"epoch": epoch, **self._epoch(epoch, batches, sampler, bar)}
                state.history.append(record)
                if held_out is not None:
                    score = record["validation_ndcg"] = self._validate(interactions, *held_out)
                    bar.show({f"NDCG@{VALIDATION_K}": score})
                    logger.info("epoch %d: validation NDCG@%d %.4f", epoch, VALIDATION_K, score)
                    if not _n_since_best(state.history):
                        state.best = self.net.get_weights()
                if self.checkpoint is not None:
                    self.checkpoint.write(state)
                is_stopped = end_epoch is not None and end_epoch(state)
        if state.best:
            self.net.set_weights(state.best)
        return state.history

    def _is_over(self, history: list[dict[str, Any]]) -> bool:
        s = self.settings
        return len(history) >= s.max_epochs or _n_since_best(history) >= s.n_iter_no_change

    def _epoch(
        self, epoch: int, batches: BatchSampler, sampler: NegativeSampler, bar: _ProgressBar
    ) -> dict[str, float]:
        self.net.train()
        start, n_seen = time.perf_counter(), 0
        total = torch.zeros((), dtype=torch.float64, device=self.device)  # read now and then
        for batch in batches:
            self._set_learning_rate(epoch - 1 + min(n_seen / batches.n_samples, 1))
            n = int(batch.lengths.sum())
            total += self._step(batch, sampler) * n
            n_seen += n
            if bar.move(n):
                bar.show({"loss": self._checked(total.item() / n_seen, epoch)})
        loss, seconds = self._checked(total.item() / n_seen, epoch), time.perf_counter() - start
        if not all(parameter.isfinite().all() for parameter in self.net.parameters()):
            self._checked(math.nan, epoch)  # the last step has no loss after it
        bar.show({"loss": loss})
        return {"loss": loss, "seconds": seconds, "samples_per_second": n_seen / seconds}

    def _checked(self, loss: float, epoch: int) -> float:
        """The loss, if it is finite."""
        if math.isfinite(loss):
            return loss
        s, kept = self.settings, "to keep the weights of the last good one, set checkpoint_dir"
        if self.checkpoint is not None:
            folder = str(self.checkpoint.folder(epoch - 1))
            kept = f"the weights before it are in {folder!r}" if epoch > 1 else "none was good"
        raise TrainingDivergedError(
            f"training diverged in epoch {epoch}: the loss is {loss} with learning_rate="
            f"{s.learning_rate:g} and temperature={s.temperature:g}; lower the one or raise the "
            f"other. Of the epochs, {kept}"
        )

    def _set_learning_rate(self, n_epochs: float) -> None:
        """Linear decay."""
        first = self.first_rate
        factor = first + (LAST_RATE - first) * n_epochs / self.settings.max_epochs
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["share"] * self.settings.learning_rate * factor

    def _step(self, batch: Batch, sampler: NegativeSampler) -> Tensor:
        low = self.settings.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            loss = self._loss(batch, sampler)
        self.net.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.detach()

    def _loss(self, batch: Batch, sampler: NegativeSampler) -> Tensor:
        s, net = self.settings, self.net
        sampled = batch.targets >= 0  # (B, L)
        targets = batch.targets[sampled]  # (n,)
        drawn, log_expected = sampler.draw(targets)
        rows, history, targets, negatives = self._compact(batch.history, targets, drawn)
        B, L = history.shape
        bare = dropped = unknown = features = None
        if net.item_values is not None:
            n = net.config.n_items if rows is None else len(rows)
            bare = self._at_random(BARE_ITEMS, n)
        items = net.item_vectors(rows, bare)
        units = unit(items)
        if s.item_dropout:
            dropped = self._at_random(s.item_dropout, B, L, L)  # each sample leaves out others
        if self.user_features is not None:
            features = self.user_features[batch.users]
            unknown = self._unknown(batch, features)
        lengths, profile = self._tensor(batch.lengths), net.profiles(features)
        found = net(self._tensor(history), lengths, items, profile, dropped, unknown, every=True)
        mask, places = found.mask.flatten(0, 1), np.flatnonzero(sampled)  # (B · L, K)
        if s.label_attention is None:
            interests = found.vectors.flatten(0, 1)  # (B · L, K, D)
        else:
            rows_wanted = np.zeros(sampled.size, dtype=np.int64)
            rows_wanted[places] = targets
            wanted = units.index_select(0, self._tensor(rows_wanted))  # (B · L, D)
            capsules = found.capsules.flatten(0, 1)
            interests = label_aware(capsules, mask, wanted, s.label_attention)[:, None]
            mask = mask[:, :1]
        return sampled_softmax(
            interests, mask, places, units, targets, negatives, log_expected, s.temperature
        )

    def _unknown(self, batch: Batch, features: sparse.csr_matrix) -> Tensor:
        """Samples (B, L) that are answered from the user's features alone.

        Of those that n events precede, a share of 1 / (1 + n): a user without history is at the
        beginning of it, and what comes there is not what comes later.
        """
        B, L = batch.history.shape
        n_events = (batch.n_before + batch.lengths)[:, None] - np.arange(L)  # (B, L)
        share = 1 / (1 + np.maximum(n_events, 1))  # fewer are those of the padding
        share[np.diff(features.indptr) == 0] = 0
        return self._at_random(self._tensor(share), B, L)

    def _compact(
        self, history: np.ndarray, targets: np.ndarray, negatives: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray, np.ndarray, np.ndarray]:
        """Batch in terms of the item rows it needs: all of them, or its distinct ones."""
        shape = history.shape
        history = np.maximum(history, 0)  # the mask comes from the lengths
        codes = np.concatenate([history.ravel(), targets, negatives], dtype=np.int64)
        rows: np.ndarray | None = None
        if is_large(self.net.item_embedding) or self.net.config.n_items > len(codes):
            rows, codes = np.unique(codes, return_inverse=True)
        history, targets, negatives = np.split(codes, np.cumsum([history.size, len(targets)]))
        return rows, history.reshape(shape), targets, negatives

    def _at_random(self, share: float | Tensor, *shape: int) -> Tensor:
        """True with the probability ``share``."""
        drawn = torch.rand(shape, dtype=torch.float32, generator=self.generator, device=self.device)
        return drawn < share

    def _tensor(self, values: np.ndarray) -> Tensor:
        return to_device(values, self.device)

    def _batches(self, interactions: Interactions) -> BatchSampler:
        s, size = self.settings, self.settings.batch_size
        if isinstance(size, str):
            n_samples = int(interactions.n_samples.sum())
            n_samples = min(n_samples, s.samples_per_epoch or n_samples)
            size = int(np.clip(n_samples // AUTO_STEPS, *AUTO_BATCH))
        L = self.net.config.max_history
        return BatchSampler(interactions, size, L, self.rng, s.samples_per_epoch, s.horizon)

    def _negatives(self, interactions: Interactions) -> NegativeSampler:
        """Draws negatives; the first event of a user is no target, so it does not count.

        Items that are known by their features alone are never targets, so as negatives they would
        only teach that such items are to be avoided.
        """
        s, config = self.settings, self.net.config
        first = interactions.offsets[:-1][interactions.lengths > 0]
        counts = count(interactions.items, config.n_items)
        counts -= count(interactions.items[first], config.n_items)
        groups = config.n_interests if s.label_attention is None else 1
        items = np.flatnonzero(self.net.item_share.cpu().numpy()[:, 0])
        return NegativeSampler(counts, s.n_negatives, s.negative_sampling, self.rng, groups, items)

    def _hold_out(
        self, interactions: Interactions
    ) -> tuple[tuple[np.ndarray, np.ndarray] | None, Interactions]:
        """Users and last items of ``validation_fraction`` of the users with three; what is left."""
        users = np.flatnonzero(interactions.lengths >= 3)
        if not len(users):
            warn(
                "early_stopping=True holds out the last interaction of users with at least three, "
                "but there are none: all max_epochs epochs are run",
                NothingToScoreWarning,
            )
            return None, interactions
        n = max(1, round(self.settings.validation_fraction * len(users)))
        users = np.sort(self.rng.choice(users, n, replace=False))
        last = interactions.offsets[users + 1] - 1
        rest = Interactions(interactions.items, interactions.offsets).drop(last)
        return (users, interactions.items[last]), rest

    def _validate(
        self, interactions: Interactions, users: np.ndarray, targets: np.ndarray
    ) -> float:
        """Mean NDCG of the held-out items among all items but the rest of the history."""
        index = ExactIndex(unit_items(self.net))
        L, scores = self.net.config.max_history, []
        for here in blocks(len(users), L):
            block, wanted = users[here], targets[here]
            rows = None if self.user_features is None else self.user_features[block]
            code = encode(self.net, *interactions.last_windows(block, L), rows)
            seen = interactions.take(block)
            again = np.flatnonzero(seen.items == np.repeat(wanted, seen.lengths))
            seen = seen.drop(again)  # as in `score`: what is to be found may be an old item
            excluded = Ragged(seen.items, seen.offsets)
            hits = index.search(code.interests, code.mask, VALIDATION_K, excluded)
            scores.append(ndcg(hits.codes == wanted[:, None], np.ones(len(block))))
        return float(np.concatenate(scores).mean())


def _optimizers(net: MINDNet, settings: TrainingSettings) -> list[torch.optim.Optimizer]:
    """Adam for all parameters but the large tables; of these a step moves a few rows."""
    dense, large = list(net.dense_parameters()), list(net.large_tables())
    known = {id(parameter) for parameter in (*dense, *large)}
    rest = [parameter for parameter in net.parameters() if id(parameter) not in known]
    rate, decay = settings.learning_rate, settings.weight_decay
    groups: list[Any] = [{"params": rest, "share": 1.0}]
    if dense:
        groups.append({"params": dense, "share": DENSE_SHARE})
    found: list[torch.optim.Optimizer] = [
        torch.optim.Adam(groups, rate, weight_decay=decay, fused=True)
    ]
    if large:
        rows: list[Any] = [{"params": large, "share": 1.0}]
        found.append(RowAdam(rows, rate, decay))
    return found


def _n_since_best(history: list[dict[str, Any]]) -> int:
    """Epochs since the first of the highest validation metric; 0 if there is none."""
    scores = [record["validation_ndcg"] for record in history if "validation_ndcg" in record]
    return len(scores) - 1 - int(np.argmax(scores)) if scores else 0


class _ProgressBar:
    """One bar over the samples of all epochs, with their rate, the loss and the validation metric.

    Parameters
    ----------
    n_done, n_all : int
        Samples, before the first epoch that is run and of all epochs.
    verbose : int
        0: nothing is shown.
    """

    def __init__(self, n_done: int, n_all: int, verbose: int) -> None:
        self.bar = tqdm(
            initial=n_done, total=n_all, unit=" samples", unit_scale=True, disable=not verbose
        )
        self.values: dict[str, str] = {}

    def __enter__(self) -> _ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def name(self, text: str) -> None:
        """Put ``text`` in front of the bar."""
        self.bar.set_description(text, refresh=False)

    def move(self, n_done: int) -> bool:
        """Move by ``n_done`` samples; whether it was drawn, which it is ten times a second."""
        return bool(self.bar.update(n_done))

    def show(self, values: dict[str, float]) -> None:
        """Each value is shown until there is a new one."""
        self.values |= {name: f"{value:.4f}" for name, value in values.items()}
        self.bar.set_postfix(self.values, refresh=False)
