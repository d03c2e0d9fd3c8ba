"""Interactions and a network → the trained network, and a record of each epoch.

Shapes: B chunks of history, L places per chunk, n samples (places with a target), N negatives,
K interests, D embedding dimension.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .._checks import warn
from ..data.batches import Batch, BatchSampler
from ..data.cooccurrence import cooccurrence_vectors, feature_vectors
from ..data.interactions import Interactions
from ..data.negatives import NegativeSampler
from ..data.ragged import count
from ..data.shard import Shard
from ..data.ties import draw_tie_order, find_ties, hash_codes
from ..exceptions import NothingToScoreWarning, TrainingDivergedError
from ..metrics._core import ndcg
from ..nn.device import to_device
from ..nn.inference import blocks, encode, repeat_weights, unit_items
from ..nn.label_attention import label_aware
from ..nn.losses import assign_groups, repeat_masses, sampled_softmax
from ..nn.network import MINDNet
from ..nn.optim import RowAdam, get_moments, is_large, set_moments
from ..nn.processes import Processes
from ..nn.routing import unit
from ..retrieval.exact import ExactIndex
from ..retrieval.repeats import Repeats
from .checkpoint import Checkpoint, State, share_state
from .progress import Progress

logger = logging.getLogger("skmind")

VALIDATION_K = 10
MIN_VALIDATION_EVENTS = 3  # per user: one to hold out, and two for a training sample
FINAL_LEARNING_RATE_SHARE = 0.1  # of the initial learning rate, at the end of a fit
ENCODER_LEARNING_RATE_SHARE = 0.1  # of the learning rate; every step updates all encoder weights
# Cold start as missing data (Volkovs, Yu and Poutanen, "DropoutNet", NeurIPS 2017):
FEATURES_ONLY_ITEM_SHARE = 0.2  # share of items that a step trains without own embedding
NOISE_SHARE = 0.3  # of the random embeddings, added to the vectors of co-occurrence
AUTO_STEPS_PER_EPOCH = 100  # target of batch_size="auto"
AUTO_BATCH_SAMPLES = (32, 1024)  # lower and upper bound of batch_size="auto"


@dataclass(frozen=True)
class TrainingSettings:
    """The training parameters of `MINDRecommender`, by the same names."""

    max_epochs: int
    batch_size: int | str
    samples_per_epoch: int | None
    horizon: int
    init: str
    learning_rate: float
    weight_decay: float
    temperature: float
    label_attention: str | float | None  # None: the mixture loss
    item_dropout: float
    encoder_dropout: float
    n_negatives: int | str
    negative_sampling: str
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    exclude_seen: bool
    precision: str
    verbose: int
    has_row_order: bool = True  # False: the order of events of equal time is drawn per epoch

    @property
    def score_temperature(self) -> float | None:
        """Temperature of `soft_maximum`, so that retrieval ranks by what training maximises.

        The mixture loss maximises the share of the target in the sum over interests, label-aware
        attention the product with the nearest interest.
        """
        return self.temperature if self.label_attention is None else None


class Trainer:
    """Train a network: fit → epoch → batch → step → loss.

    Parameters
    ----------
    net : MINDNet
        Changed in place.
    user_features : csr_matrix of shape (n_users, n_user_values) or None
    settings : TrainingSettings
    rng : numpy.random.Generator
        The only source of randomness: batches, negatives, dropout, validation users.
    checkpoint : Checkpoint or None, default=None
        `fit` continues after its newest epoch and keeps each epoch in it.
    moments : dict or None, default=None
        The result of `moments` after an earlier `fit`, to continue that fit: the learning rate
        stays at its final value. None: the optimisers start afresh, and the rate falls linearly.
    begin_epoch : callable or None, default=None
        Called with the number of an epoch when it begins. What it returns is called with the
        `State` at the end of the epoch, and returns whether to stop.
    processes : Processes or None, default=None
        The processes of the fit, each of which calls `fit` with its own users. All train the same
        weights: they draw the same batches, compute their share of the loss, and add up the
        gradients. None: one process.
    shard : Shard or None, default=None
        The users of this process among those of all.

    Attributes
    ----------
    optimizers : list of Optimizer
        See `make_optimizers`.
    first_learning_rate_share : float
        Learning rate of the first step, as a share of ``settings.learning_rate``.
    cooldown : Cooldown or None
        The cooldown of this fit, from its start on.
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
        processes: Processes | None = None,
        shard: Shard | None = None,
    ) -> None:
        self.begin_epoch = begin_epoch
        self.processes = Processes() if processes is None else processes
        self.shard = shard
        self.net = net
        self.user_features = user_features
        self.settings = settings
        self.rng = rng
        self.checkpoint = checkpoint
        self.device = net.item_embedding.device
        self.generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**31)))
        self.n_groups = net.config.n_interests if settings.label_attention is None else 1
        self.groups = assign_groups(self.n_groups, self.device)
        self.optimizers = make_optimizers(net, settings.learning_rate, settings.weight_decay)
        self.first_learning_rate_share = 1.0 if moments is None else FINAL_LEARNING_RATE_SHARE
        self.cooldown: Cooldown | None = None
        set_moments(net, self.optimizers, moments or {})
        tables = list(net.large_tables())
        is_table = {id(table) for table in tables}
        dense = [parameter for parameter in net.parameters() if id(parameter) not in is_table]
        self._parameters = dense, tables

    def moments(self) -> dict[str, dict[str, Any]]:
        """Return the state of the optimisers by parameter name."""
        return get_moments(self.net, self.optimizers)

    # ------------------------------------------------------ fit → epoch → batch → step → loss

    def fit(self, interactions: Interactions) -> list[dict[str, Any]]:
        """Train on all events but the first per user.

        Early stopping ends the fit by a `Cooldown`, which starts from the best weights so far.

        Parameters
        ----------
        interactions : Interactions

        Returns
        -------
        list of dict
            One record per epoch: ``epoch``, ``loss``, ``seconds``, ``samples_per_second``, and
            ``validation_ndcg`` with early stopping.

        Raises
        ------
        TrainingDivergedError
            If the loss or a weight is not finite.
        ModelFileError, ModelWriteError
            If the checkpoint can't be read or written.

        Warns
        -----
        NothingToScoreWarning
            If early stopping has no event to hold out; all epochs run.
        """
        settings = self.settings
        if self.shard is None:
            self.shard = Shard.whole(interactions.n_users)
        held_out = None
        if settings.early_stopping:
            held_out, interactions = hold_out(
                interactions, settings.validation_fraction, self.rng, self.shard
            )
        if settings.init == "cooccurrence":
            self._start_from_cooccurrence(interactions)
        batches = self.batch_sampler(interactions)
        sampler = self.negative_sampler(interactions)
        state = State(self.net, self.optimizers, self.rng, self.generator)
        if self.checkpoint is not None:
            self.checkpoint.read(state)
        share_state(state, self.processes)
        n_done = len(state.history)
        is_stopped = False
        verbose = settings.verbose if self.processes.is_first else 0
        with Progress(batches.n_samples, settings.max_epochs, n_done, verbose) as progress:
            while not is_stopped and self._prepare_epoch(state):
                epoch = len(state.history) + 1
                end_epoch = None if self.begin_epoch is None else self.begin_epoch(epoch)
                progress.start_epoch(epoch)
                record = self._run_epoch(epoch, batches, sampler, progress)
                state.history.append(record)
                if held_out is not None:
                    ndcg = validation_ndcg(
                        self.net,
                        interactions,
                        *held_out,
                        self.user_features,
                        settings.exclude_seen,
                        self.shard,
                        settings.score_temperature,
                    )
                    record["validation_ndcg"] = ndcg
                    progress.show({f"NDCG@{VALIDATION_K}": ndcg})
                    logger.info("epoch %d: validation NDCG@%d %.4f", epoch, VALIDATION_K, ndcg)
                    if self.cooldown is None and _n_epochs_since_best(state.history) == 0:
                        state.best = self.net.get_weights()
                progress.end_epoch(record["samples_per_second"])
                if self.checkpoint is not None:
                    self.checkpoint.write(state)
                is_stopped = self.processes.any(end_epoch is not None and end_epoch(state))
        return state.history

    def _prepare_epoch(self, state: State) -> bool:
        """Return whether another epoch follows; before the first of a cooldown, go back."""
        n_done = len(state.history)
        self.cooldown = find_cooldown(state.history, self.settings)
        if self.cooldown is None:
            return n_done < self.settings.max_epochs
        if n_done == self.cooldown.start:
            self.net.set_weights(state.best)
        return n_done < self.cooldown.end

    def _run_epoch(
        self, epoch: int, batches: BatchSampler, sampler: NegativeSampler, progress: Progress
    ) -> dict[str, Any]:
        """Train on all batches once; return the record of the epoch."""
        self.net.train()
        start = time.perf_counter()
        n_seen = 0
        # The sum stays on the device and is read rarely, because reading it waits for a GPU.
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        for batch in batches:
            n_epochs_done = epoch - 1 + min(n_seen / batches.n_samples, 1)
            loss_sum += self._run_batch(batch, sampler, n_epochs_done) * batch.n_samples
            n_seen += batch.n_samples
            if progress.advance(batch.n_samples) and self.processes.size == 1:
                progress.show({"loss": self._check_loss(loss_sum.item() / n_seen, epoch)})
        total = self.processes.sum(np.array(loss_sum.item()))
        loss = self._check_loss(float(total) / n_seen, epoch)
        seconds = time.perf_counter() - start
        if not all(parameter.isfinite().all() for parameter in self.net.parameters()):
            self._check_loss(math.nan, epoch)  # no later loss shows what the last step did
        progress.show({"loss": loss})
        return {
            "epoch": epoch,
            "loss": loss,
            "seconds": seconds,
            "samples_per_second": n_seen / seconds,
        }

    def _run_batch(self, batch: Batch, sampler: NegativeSampler, n_epochs_done: float) -> Tensor:
        """Take a step at the learning rate that applies now; return the mean loss."""
        self.set_learning_rate(n_epochs_done)
        return self.step(batch, sampler)

    def set_learning_rate(self, n_epochs_done: float) -> None:
        """Set the learning rate of the next step; it falls linearly, in a cooldown more steeply.

        Parameters
        ----------
        n_epochs_done : float
            From 0 to ``settings.max_epochs``; a fraction counts the current epoch.
        """
        first = self.first_learning_rate_share
        start, end = 0, self.settings.max_epochs
        if self.cooldown is not None:
            first += (FINAL_LEARNING_RATE_SHARE - first) * self.cooldown.n_best / end
            _, start, end = self.cooldown
        decay = FINAL_LEARNING_RATE_SHARE - first
        share = first + decay * (n_epochs_done - start) / (end - start)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["share"] * self.settings.learning_rate * share

    def step(self, batch: Batch, sampler: NegativeSampler) -> Tensor:
        """Take one step of the optimisers.

        Parameters
        ----------
        batch : Batch
        sampler : NegativeSampler

        Returns
        -------
        Tensor, a scalar, float32
            Sum of the loss of this process's samples before the step, divided by the number of
            samples of all processes; without a target, 0, and no step is taken.
        """
        negatives = sampler.draw(self._all_targets(batch))
        seed = int(self.rng.integers(2**63))
        loss = torch.zeros((), device=self.device)
        self.net.zero_grad()
        if (batch.targets >= 0).any():  # else all weights are 0, or all users are elsewhere
            self.generator.manual_seed(seed)
            is_bfloat16 = self.settings.precision == "bfloat16"
            # A block inside of another one would keep its copies of the weights, which a step
            # changes.
            with torch.autocast(
                self.device.type, torch.bfloat16, enabled=is_bfloat16, cache_enabled=False
            ):
                share = float(batch.lengths.sum() / batch.n_samples)
                loss = self._loss(batch, *negatives, seed) * share
            loss.backward()
        dense, tables = self._parameters
        self.processes.sum_gradients(dense, tables)
        if any(parameter.grad is not None for parameter in (*dense, *tables)):
            for optimizer in self.optimizers:
                optimizer.step()
        return loss.detach()

    def _all_targets(self, batch: Batch) -> np.ndarray:
        """Return the targets of the batch of all processes, if the negatives depend on them."""
        targets = batch.targets
        if self.processes.size > 1 and self.settings.negative_sampling in ("in_batch", "mixed"):
            shifted = np.zeros((batch.n_chunks, targets.shape[1]), dtype=targets.dtype)
            shifted[batch.rows] = targets + 1  # 0 for padding, and for chunks of other processes
            targets = self.processes.sum(shifted) - 1
        return targets[targets >= 0]

    def _loss(
        self,
        batch: Batch,
        negatives: np.ndarray,
        log_expected: np.ndarray,
        seed: int,
    ) -> Tensor:
        """Return the mean loss of this process's samples of a batch, a scalar.

        With weights, it is the sum of weight times loss, divided by the number of samples. Weights
        have the mean 1 over all samples, so that steps stay as large as without weights, and
        batches of light events move the network less.

        Random numbers are drawn for the batch of all processes, so that each sample gets the same
        ones whichever process has it.
        """
        settings = self.settings
        net = self.net
        B, L = batch.history.shape
        is_sample = batch.targets >= 0  # (B, L)
        places = np.flatnonzero(is_sample)  # (n,)
        targets = batch.targets[is_sample]  # (n,)
        weights = None
        if batch.weights is not None:  # samples without a target count in the mean, too
            share = np.float32(len(targets) / batch.lengths.sum())
            weights = batch.weights[is_sample] * share  # (n,)

        repeats = None
        if net.config.repeats and settings.label_attention is None:
            repeats = repeat_masses(
                net.repeats / settings.temperature,
                batch.history,
                batch.targets,
                places,
                batch.lengths,
            )

        # Below, items are rows of `items`, which may hold only the items of the batch.
        codes, history, targets, negatives = needed_rows(
            net.item_embedding, batch.history, targets, negatives
        )
        features_only = None
        if net.item_values is not None:
            hashes = hash_codes((np.arange(net.config.n_items) if codes is None else codes) ^ seed)
            features_only = self._to_device(hashes < np.uint64(FEATURES_ONLY_ITEM_SHARE * 2**64))
        items = net.item_vectors(codes, features_only)  # (n_rows, D)
        unit_vectors = unit(items)

        dropped = None
        if settings.item_dropout:
            dropped = self._random_mask(batch, settings.item_dropout, L, L)  # for each sample
        profile = None
        profile_only = None
        if self.user_features is not None:
            features = self.user_features[batch.users]
            profile = net.profiles(features)  # (B, D)
            probability = profile_only_probability(batch, features)
            drawn = torch.rand(
                (batch.n_chunks, L),
                dtype=torch.float64,
                generator=self.generator,
                device=self.device,
            )
            profile_only = self._own(batch, drawn) < self._to_device(probability)

        lengths = self._to_device(batch.lengths)
        interests = net(
            self._to_device(history),
            lengths,
            items,
            profile,
            dropped,
            profile_only,
            all_queries=True,
            encoder_dropout=partial(self._dropout, batch) if settings.encoder_dropout else None,
        )
        mask = interests.mask.flatten(0, 1)  # (B · L, K)
        if settings.label_attention is None:
            vectors = interests.vectors.flatten(0, 1)  # (B · L, K, D)
        else:
            target_rows = np.zeros(B * L, dtype=np.int64)  # the padding uses row 0
            target_rows[places] = targets
            rows = self._to_device(target_rows)
            target_vectors = unit_vectors.index_select(0, rows)  # (B · L, D)
            capsules = interests.capsules.flatten(0, 1)  # (B · L, K, D)
            attended = label_aware(capsules, mask, target_vectors, settings.label_attention)
            vectors = attended[:, None]  # (B · L, 1, D)
            mask = mask[:, :1]  # (B · L, 1)
        return sampled_softmax(
            vectors,
            mask,
            places,
            unit_vectors,
            targets,
            negatives,
            log_expected,
            self.groups,
            settings.temperature,
            weights,
            repeats,
        )

    # ------------------------------------------------------------------------------- parts

    def _start_from_cooccurrence(self, interactions: Interactions) -> None:
        """Add the vectors of `cooccurrence_vectors` to the weakened random embeddings.

        Items that occur near no other item keep their random embedding. Features start from the
        vectors of the items that have them, so that items with features alone share their space.
        """
        assert self.shard is not None
        if not self.settings.has_row_order:  # the order of the rows must not be learned
            interactions = draw_tie_order(
                interactions, find_ties(interactions), self.rng, self.shard.numbers
            )
        net = self.net
        table = net.item_embedding.data
        n_items, D = table.shape
        vectors = cooccurrence_vectors(interactions, n_items, D, self.rng, self.shard)
        vectors = self.processes.broadcast(vectors)  # of another machine they may differ a little
        is_placed = np.count_nonzero(vectors, axis=1) > 0
        if net.item_values is not None and is_placed.any():
            share = net.item_share.cpu().numpy()[:, 0]
            values = net.item_values.weight.data
            start = feature_vectors(net.item_features, share, vectors, is_placed)
            values.mul_(NOISE_SHARE).add_(self._to_device(start))
        placed = self._to_device(is_placed)[:, None]  # (n_items, 1)
        table.copy_(torch.where(placed, self._to_device(vectors) + NOISE_SHARE * table, table))

    def _dropout(self, batch: Batch, x: Tensor) -> Tensor:
        """Set random entries to zero and scale the others up, for the encoder."""
        probability = self.settings.encoder_dropout
        dropped = self._random_mask(batch, probability, *x.shape[1:])
        # To multiply takes a tenth of the time of `masked_fill`.
        return x * ((~dropped).to(x.dtype) / (1 - probability))

    def batch_sampler(self, interactions: Interactions) -> BatchSampler:
        """Return an iterable of the batches of an epoch; each iteration draws new batches."""
        settings = self.settings
        n_samples = count_samples(interactions, self.processes)
        if settings.samples_per_epoch is not None:
            n_samples = min(n_samples, settings.samples_per_epoch)
        return BatchSampler(
            interactions,
            choose_batch_size(settings.batch_size, n_samples),
            self.net.config.max_history,
            self.rng,
            settings.samples_per_epoch,
            settings.horizon,
            None if settings.has_row_order else find_ties(interactions),
            self.shard,
        )

    def negative_sampler(self, interactions: Interactions) -> NegativeSampler:
        """Return the sampler of negatives.

        Items count as often as they are targets, so neither the first event of each user nor events
        of weight 0 count. Items that are known by their features alone are never drawn uniformly.
        They are never targets, so as negatives they would only teach the network to avoid them.
        """
        settings = self.settings
        config = self.net.config
        counts = count(interactions.items, config.n_items)
        counts -= count(interactions.items[~interactions.is_target], config.n_items)
        counts = self.processes.sum(counts)
        items = np.flatnonzero(self.net.item_share.cpu().numpy()[:, 0])
        return NegativeSampler(
            counts, settings.n_negatives, settings.negative_sampling, self.rng, self.n_groups, items
        )

    def _check_loss(self, loss: float, epoch: int) -> float:
        """Return the loss after checking that it is finite.

        Raises
        ------
        TrainingDivergedError
            If the loss is not finite.
        """
        if math.isfinite(loss):
            return loss
        settings = self.settings
        if self.checkpoint is None:
            advice = "To keep the weights of the last good epoch, set checkpoint_dir."
        elif epoch == 1:
            advice = "No epoch was completed before."
        else:
            folder = str(self.checkpoint.folder(epoch - 1))
            advice = f"The weights of epoch {epoch - 1} are in {folder!r}."
        raise TrainingDivergedError(
            f"training diverged in epoch {epoch}: the loss is {loss} with learning_rate="
            f"{settings.learning_rate:g} and temperature={settings.temperature:g}; lower "
            f"learning_rate or raise temperature. {advice}"
        )

    def _random_mask(self, batch: Batch, probability: float, *shape: int) -> Tensor:
        """Return a bool Tensor (B, *shape) that is true with this probability, up to 2^-16."""
        n = batch.n_chunks * math.prod(shape)
        # Four numbers from each draw of 64 bits: a third of the time of `torch.rand`.
        bits = torch.empty((n + 3) // 4, dtype=torch.int64, device=self.device)
        bits.random_(-(2**63), None, generator=self.generator)
        numbers = bits.view(torch.int16)[:n].view(batch.n_chunks, *shape)
        limit = min(round(probability * 2**16) - 2**15, 2**15 - 1)
        return self._own(batch, numbers) < limit

    def _own(self, batch: Batch, drawn: Tensor) -> Tensor:
        """Return what was drawn for the chunks of this process."""
        if len(batch.rows) == batch.n_chunks:
            return drawn
        return drawn[self._to_device(batch.rows)]

    def _to_device(self, values: np.ndarray) -> Tensor:
        return to_device(values, self.device)


def count_samples(interactions: Interactions, processes: Processes) -> int:
    """Return the number of training samples of all processes."""
    return int(processes.sum(interactions.n_samples.sum(keepdims=True))[0])


def make_optimizers(
    net: MINDNet, learning_rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Return Adam and, if there are large tables, `RowAdam`, which moves their used rows only.

    Each parameter group has an entry ``share``: its learning rate is that share of the learning
    rate of the fit.
    """
    encoder = list(net.dense_parameters())
    large_tables = list(net.large_tables())
    separate = {id(parameter) for parameter in (*encoder, *large_tables)}
    others = [parameter for parameter in net.parameters() if id(parameter) not in separate]
    groups: list[Any] = [{"params": others, "share": 1.0}]
    if encoder:  # an empty group would cost time in every step
        groups.append({"params": encoder, "share": ENCODER_LEARNING_RATE_SHARE})
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Adam(groups, learning_rate, weight_decay=weight_decay, fused=True)
    ]
    if large_tables:
        tables: list[Any] = [{"params": large_tables, "share": 1.0}]
        optimizers.append(RowAdam(tables, learning_rate, weight_decay))
    return optimizers


def choose_batch_size(batch_size: int | str, n_samples: int) -> int:
    """Return the number of samples per step.

    Parameters
    ----------
    batch_size : int or "auto"
        "auto": `AUTO_STEPS_PER_EPOCH` steps per epoch, within `AUTO_BATCH_SAMPLES`.
    n_samples : int
        Samples per epoch.
    """
    if not isinstance(batch_size, str):
        return batch_size
    return int(np.clip(n_samples // AUTO_STEPS_PER_EPOCH, *AUTO_BATCH_SAMPLES))


def needed_rows(
    table: Tensor, history: np.ndarray, targets: np.ndarray, negatives: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray, np.ndarray]:
    """Return the items whose vectors a batch needs, and the batch as rows of these vectors.

    All items are taken if the batch has at least as many codes as the table has rows, unless the
    table is large (see `is_large`).

    Parameters
    ----------
    table : Tensor of shape (n_items, D)
        Embeddings of all items.
    history : ndarray of shape (B, L), int
        Item codes, padded with -1.
    targets : ndarray of shape (n,), int
    negatives : ndarray of shape (N,), int

    Returns
    -------
    codes : ndarray of shape (n_rows,), int64, or None
        The distinct items of the batch, ascending. None: all items, each in the row of its code.
    history, targets, negatives : ndarray of int64
        Rows instead of codes, in the shapes of the parameters; padding has an arbitrary row.
    """
    parts = [np.maximum(history, 0).ravel(), targets, negatives]
    all_codes = np.concatenate(parts, dtype=np.int64)
    codes: np.ndarray | None = None
    rows = all_codes
    if is_large(table) or len(table) > len(all_codes):
        codes, rows = np.unique(all_codes, return_inverse=True)
    ends = np.cumsum([history.size, len(targets)])
    history_rows, target_rows, negative_rows = np.split(rows, ends)
    return codes, history_rows.reshape(history.shape), target_rows, negative_rows


def profile_only_probability(batch: Batch, user_features: sparse.csr_matrix) -> np.ndarray:
    """Return how likely each sample is to be trained without its history.

    A sample with n events before it gets 1 / (1 + n), because the network uses the profile alone
    for users without a history, and their first events differ from later events.

    Parameters
    ----------
    batch : Batch
    user_features : csr_matrix of shape (B, n_user_values)
        Features of the users of the batch.

    Returns
    -------
    ndarray of shape (B, L), float64
        0 for users without a feature.
    """
    L = batch.history.shape[1]
    n_events = (batch.n_before + batch.lengths)[:, None] - np.arange(L)  # (B, L)
    probability = 1 / (1 + np.maximum(n_events, 1))  # n is below 1 in the padding
    has_features = np.diff(user_features.indptr) > 0  # (B,)
    probability[~has_features] = 0
    return probability


# ------------------------------------------------------------------------- early stopping


def hold_out(
    interactions: Interactions,
    fraction: float,
    rng: np.random.Generator,
    shard: Shard | None = None,
) -> tuple[tuple[np.ndarray, np.ndarray] | None, Interactions]:
    """Hold out the last event of users with at least three events, who are drawn at random.

    Events of weight 0 are not held out.

    Parameters
    ----------
    interactions : Interactions
    fraction : float in (0, 1)
        Share of the users with at least three events; at least one user is drawn.
    rng : numpy.random.Generator
    shard : Shard or None, default=None
        The users of ``interactions`` among those of all processes, who are drawn together. None:
        one process.

    Returns
    -------
    held_out : tuple of two ndarrays of shape (n,), int, or None
        Own users, ascending, and their last items; None if no user of any process has three
        events.
    rest : Interactions
        The other events.

    Warns
    -----
    NothingToScoreWarning
        If no user has three events.
    """
    shard = Shard.whole(interactions.n_users) if shard is None else shard
    users = np.flatnonzero(interactions.lengths >= MIN_VALIDATION_EVENTS)
    users = users[interactions.is_target[interactions.offsets[users + 1] - 1]]
    is_possible = np.zeros(interactions.n_users, dtype=np.int32)
    is_possible[users] = 1
    numbers = np.flatnonzero(shard.of_all(is_possible))
    if not len(numbers):
        warn(
            "early_stopping=True holds out the last interaction of users with at least three "
            "interactions, but there are none; training runs for all max_epochs epochs",
            NothingToScoreWarning,
        )
        return None, interactions
    n_drawn = max(1, round(fraction * len(numbers)))
    users = shard.own(rng.choice(numbers, n_drawn, replace=False))
    users = np.sort(users[users >= 0])
    last_places = interactions.offsets[users + 1] - 1
    return (users, interactions.items[last_places]), interactions.drop(last_places)


def validation_ndcg(
    net: MINDNet,
    interactions: Interactions,
    users: np.ndarray,
    targets: np.ndarray,
    user_features: sparse.csr_matrix | None,
    exclude_seen: bool = True,
    shard: Shard | None = None,
    temperature: float | None = None,
) -> float:
    """Return the mean NDCG@`VALIDATION_K` of held-out items, as `MINDRecommender.score` does.

    Parameters
    ----------
    net : MINDNet
    interactions : Interactions
        Histories without the held-out events.
    users, targets : ndarray of shape (n,), int
        The held-out item of each of these users.
    user_features : csr_matrix of shape (n_users, n_user_values) or None
    exclude_seen : bool, default=True
        Whether each item is ranked among all items except the other items of the history.
    shard : Shard or None, default=None
        The users of ``interactions`` among those of all processes; None: one process.
    temperature : float or None, default=None
        See `soft_maximum`.
    """
    shard = Shard.whole(interactions.n_users) if shard is None else shard
    index = ExactIndex(unit_items(net), temperature)
    scores_repeats = net.config.repeats and not exclude_seen
    max_history = net.config.max_history
    scores = [np.empty(0)]
    for rows in blocks(len(users), max_history):
        block_users = users[rows]
        block_targets = targets[rows]
        features = None if user_features is None else user_features[block_users]
        windows = interactions.last_windows(block_users, max_history)
        encoded = encode(net, *windows, features)
        seen = interactions.take(block_users)
        is_target = seen.items == np.repeat(block_targets, seen.lengths)
        excluded = seen.where(~is_target & exclude_seen)
        top = index.search(encoded.interests, encoded.mask, VALIDATION_K, excluded)
        if scores_repeats and temperature is not None:
            repeats = Repeats.of_histories(seen, repeat_weights(net), temperature)
            top = repeats.merge(top, index.vectors, encoded.interests, encoded.mask)
        is_target = top.codes == block_targets[:, None]  # (b, VALIDATION_K)
        scores.append(ndcg(is_target, np.ones(len(block_users))))
    gathered = shard.processes.gather((shard.numbers[users], np.concatenate(scores)))
    numbers, all_scores = map(np.concatenate, zip(*gathered, strict=True))
    return float(all_scores[np.argsort(numbers)].mean())


class Cooldown(NamedTuple):
    """The last epochs of a fit that stops early, as numbers of epochs done.

    At a high learning rate the validation metric stops rising before the model is as good as it
    gets, and the metric of few users is too rough to choose among epochs. So the fit goes back to
    the best weights, and lets the learning rate fall from there to its final value; it keeps the
    weights of the last epoch.
    """

    n_best: int
    start: int
    end: int


def find_cooldown(history: list[dict[str, Any]], settings: TrainingSettings) -> Cooldown | None:
    """Return the cooldown, as long as the wait for an improvement; None if it has not begun.

    There is none that would not end before ``max_epochs``, where the learning rate falls anyway.
    """
    patience = settings.n_iter_no_change
    for n_done in range(1, min(len(history) + 1, settings.max_epochs - patience)):
        if _n_epochs_since_best(history[:n_done]) == patience:
            return Cooldown(n_done - patience, n_done, n_done + patience)
    return None


def _n_epochs_since_best(history: list[dict[str, Any]]) -> int:
    """Return the epochs since the first best validation metric; 0 if there is no metric."""
    scores = [record["validation_ndcg"] for record in history if "validation_ndcg" in record]
    return len(scores) - 1 - int(np.argmax(scores)) if scores else 0
