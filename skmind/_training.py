"""Interactions and a fresh network → a trained network and its history; discarded after fit."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from .data.batches import Batch, BatchSampler
from .data.interactions import Interactions
from .data.sampling import NegativeSampler
from .index.exact import ExactIndex
from .index.protocol import Excluded
from .metrics import _ndcg
from .nn.attention import label_aware
from .nn.encode import encode, unit_items
from .nn.losses import sampled_softmax
from .nn.model import MINDNet

logger = logging.getLogger("skmind")

VALIDATION_K = 10
ENCODE_BATCH = 2048


@dataclass(frozen=True)
class TrainingSettings:
    """The training parameters of `MINDRecommender`, by the same names."""

    max_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    temperature: float
    label_attention: str | float
    dropout: float
    n_negatives: int | str
    negative_sampling: str
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
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
    """

    def __init__(
        self,
        net: MINDNet,
        user_features: sparse.csr_matrix | None,
        settings: TrainingSettings,
        rng: np.random.Generator,
    ) -> None:
        self.net = net
        self.user_features = user_features
        self.settings = settings
        self.rng = rng
        self.device = net.item_embedding.device
        self.generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**31)))
        self.optimizer = torch.optim.Adam(
            net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    def fit(self, interactions: Interactions) -> list[dict[str, Any]]:
        """Train on every event that has a past; the best weights are kept if stopping early.

        Returns
        -------
        list of dict
            One an epoch: ``epoch``, ``loss``, ``validation_ndcg`` (if stopping early),
            ``seconds``, ``samples_per_second``.
        """
        s = self.settings
        held_out = np.empty(0, dtype=np.int64)
        if s.early_stopping:
            held_out = self._hold_out(interactions)
            users = np.searchsorted(interactions.offsets, held_out, side="right") - 1
            targets = interactions.items[held_out]
            interactions = interactions.without(held_out)
        L = self.net.config.max_history
        batches = BatchSampler(interactions, s.batch_size, L, self.rng)
        counts = np.bincount(interactions.items, minlength=self.net.config.n_items)
        groups = self.net.config.n_interests if s.label_attention == "mixture" else 1
        sampler = NegativeSampler(counts, s.n_negatives, s.negative_sampling, self.rng, groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, _decay(batches.n_batches * s.max_epochs)
        )
        history: list[dict[str, Any]] = []
        best: tuple[float, dict[str, Tensor]] | None = None
        for epoch in range(1, s.max_epochs + 1):
            record = self._epoch(epoch, batches, sampler, schedule)
            history.append(record)
            if not len(held_out):
                continue
            score = self._validate(interactions, users, targets)
            record["validation_ndcg"] = score
            logger.info("epoch %d: validation NDCG@%d %.4f", epoch, VALIDATION_K, score)
            if best is None or score > best[0]:
                best, best_epoch = (score, copy.deepcopy(self.net.state_dict())), epoch
            elif epoch - best_epoch >= s.n_iter_no_change:
                break
        if best is not None:
            self.net.load_state_dict(best[1])
        return history

    def _epoch(
        self, epoch: int, batches: BatchSampler, sampler: NegativeSampler, schedule: Any
    ) -> dict[str, Any]:
        self.net.train()
        start, total = time.perf_counter(), 0.0
        bar = tqdm(
            batches,
            total=batches.n_batches,
            desc=f"epoch {epoch}/{self.settings.max_epochs}",
            disable=not self.settings.verbose,
            leave=epoch == self.settings.max_epochs,
        )
        n_seen = 0
        for batch in bar:
            loss = self._step(batch, sampler)
            schedule.step()
            total += loss * len(batch.targets)
            n_seen += len(batch.targets)
            bar.set_postfix(loss=f"{total / n_seen:.4f}", refresh=False)
        seconds = time.perf_counter() - start
        return {
            "epoch": epoch,
            "loss": total / n_seen,
            "seconds": seconds,
            "samples_per_second": n_seen / seconds,
        }

    def _step(self, batch: Batch, sampler: NegativeSampler) -> float:
        s, net = self.settings, self.net
        drawn, log_expected = sampler.draw(batch.targets)
        rows, history, targets, negatives = self._compact(batch, drawn)
        items = net.item_vectors(rows)  # (n, D)
        unit = F.normalize(items, dim=1)
        dropped = None
        if s.dropout:
            chance = torch.rand(history.shape, generator=self.generator, device=self.device)
            dropped = chance < s.dropout
        features = None if self.user_features is None else self.user_features[batch.users]
        interests, mask, _ = net(
            history, self._tensor(batch.lengths), items, net.profiles(features), dropped
        )
        if s.label_attention != "mixture":
            positives = F.embedding(targets, unit)
            interests = label_aware(interests, mask, positives, s.label_attention)[:, None, :]
            mask = mask[:, :1]
        correction = self._tensor(log_expected)
        loss = sampled_softmax(interests, mask, unit, targets, negatives, correction, s.temperature)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def _compact(
        self, batch: Batch, negatives: np.ndarray
    ) -> tuple[np.ndarray | None, Tensor, Tensor, Tensor]:
        """Batch in terms of the item rows it needs: all of them, or its distinct ones.

        The bilinear map is linear, so it is applied to the item rows, once each. That pays while
        there are fewer rows than history slots; above, only the distinct items are looked up.
        """
        history = np.maximum(batch.history, 0)  # the mask comes from the lengths
        codes = np.concatenate([history.ravel(), batch.targets, negatives])
        rows: np.ndarray | None = None
        if self.net.config.n_items > len(codes):
            rows, codes = np.unique(codes, return_inverse=True)
        cuts = [history.size, len(batch.targets), len(negatives)]
        slots, targets, drawn = self._tensor(codes.astype(np.int64, copy=False)).split(cuts)
        return rows, slots.reshape(history.shape), targets, drawn

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    def _hold_out(self, interactions: Interactions) -> np.ndarray:
        """Positions of the last events of ``validation_fraction`` of the users with three."""
        users = np.flatnonzero(interactions.lengths >= 3)
        n = min(len(users), max(1, round(self.settings.validation_fraction * len(users))))
        return interactions.offsets[1:][np.sort(self.rng.choice(users, n, replace=False))] - 1

    def _validate(
        self, interactions: Interactions, users: np.ndarray, targets: np.ndarray
    ) -> float:
        """Mean NDCG of the held-out items, all items ranked, the history excluded."""
        index = ExactIndex(unit_items(self.net))
        L, scores = self.net.config.max_history, []
        for start in range(0, len(users), ENCODE_BATCH):
            block = users[start : start + ENCODE_BATCH]
            rows = None if self.user_features is None else self.user_features[block]
            code = encode(self.net, *interactions.last_windows(block, L), rows)
            seen = interactions.select(block)
            excluded = Excluded(seen.items, seen.offsets)
            hits = index.search(code.interests, code.mask, VALIDATION_K, excluded)
            relevant = hits.codes == targets[start : start + ENCODE_BATCH, None]
            scores.append(_ndcg(relevant, np.ones(len(block))))
        return float(np.concatenate(scores).mean())


def _decay(n_steps: int) -> Callable[[int], float]:
    """Linear decay of the learning rate to a tenth."""
    return lambda step: 1.0 - 0.9 * min(step / max(n_steps, 1), 1.0)
