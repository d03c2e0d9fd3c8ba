"""Effect of single changes to the defaults on accuracy, with four interests and with one.

    python benchmarks/quality/ladder.py beauty --data DIR [--users N] [--jobs 2] [--only RUNG ...]

Every rung is fitted on the validation task with one seed, K = 4 and K = 1, for a few epochs, and
compared with the defaults at the same K, and with the same rung with one interest, by tests paired
by user. The first rungs lead from the model of the paper to the defaults. Some rungs change the
network in a way that no parameter does; they name the functions of this file that they patch in.
Writes the table benchmarks/results/ladder_DATASET.md.
"""

from __future__ import annotations

import argparse
import datetime
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import DATASETS, Run, difference, metrics_of, ranking_metric
from processes import in_processes
from run import fit
from torch import Tensor, nn
from torch.nn import functional as F

from skmind.data.negatives import NegativeSampler
from skmind.nn import losses, network, routing
from skmind.retrieval.exact import ExactIndex
from skmind.training import trainer

SEED = 0
COMMON_SETTINGS = "max_epochs=6"
RESULTS = Path(__file__).parents[1] / "results"
REMI_PENALTY = 10.0  # weight of the variance of the routing weights
REMI_HARDNESS = 0.5  # exponent that weights the negatives
# The functions that patches replace.
route = routing.route
initialise = network.MINDNet.__init__
initialise_index = ExactIndex.__init__
states = network.MINDNet._encoder_states
sampled_softmax = losses.sampled_softmax
draw = NegativeSampler.draw
shared: list[Any] = []  # values that one patch hands to another


def no_recency(*a: Any) -> tuple[Tensor, Tensor]:
    """Give all history items the same weight, as in the paper."""
    projected, present, interests, logits, recency, n_iter = a
    return route(projected, present, interests, logits, torch.ones_like(recency), n_iter)


def half_life(*a: Any) -> tuple[Tensor, Tensor]:
    """Use fixed recency weights that halve every ten events."""
    projected, present, interests, logits, recency, n_iter = a
    places = torch.arange(recency.shape[2])
    age = (places - places[: recency.shape[0], None]).clamp(min=0)
    fixed = (-math.log(2) / 10 * age).exp()[:, None].expand_as(recency)
    return route(projected, present, interests, logits, fixed, n_iter)


def last_item_residual(*a: Any) -> tuple[Tensor, Tensor]:
    """Add the newest item to every capsule; used with `no_squash`, which keeps their lengths."""
    sums, weights = route(*a)
    newest = a[0][:, : sums.shape[1], None]
    return (routing.squash(sums) + newest) * a[2][..., None], weights


def no_squash(sums: Tensor) -> Tensor:
    """Return capsules without squashing them."""
    return sums


def through_routing(*a: Any) -> tuple[Tensor, Tensor]:
    """Compute the gradient through all routing iterations."""
    projected, present, interests, b, recency, n_iter = a
    B, L, D = projected.shape
    Q, K, _ = b.shape
    unused = torch.zeros_like(interests, dtype=b.dtype).masked_fill(~interests, -1e9)
    b = b + unused[..., None]
    scale = present[:, :, None, :] * recency
    for i in range(n_iter):
        weights = b.softmax(2) * scale
        sums = weights.view(B, Q * K, L) @ projected
        if i < n_iter - 1:
            b = b + (routing.squash(sums) @ projected.transpose(1, 2)).view(B, Q, K, L)
    return sums.view(B, Q, K, D) * interests[..., None], weights


def farthest_point(*a: Any) -> tuple[Tensor, Tensor]:
    """Start the routing from distant items: the newest, then the least similar to those so far."""
    projected, present, interests, logits, recency, n_iter = a
    unit = F.normalize(projected.detach(), dim=2)
    cosines = unit @ unit.transpose(1, 2)  # (B, L, L)
    Q, K, _ = logits.shape
    nearest = cosines[:, :Q].clone()  # (B, Q, L), highest cosine to a chosen item
    seeds = [nearest]
    for _ in range(K - 1):
        chosen = nearest.masked_fill(present == 0, math.inf).argmin(2)  # (B, Q)
        seeds.append(cosines.gather(1, chosen[..., None].expand(-1, -1, cosines.shape[2])))
        nearest = torch.maximum(nearest, seeds[-1])
    start = 5 * torch.stack(seeds, 2)  # (B, Q, K, L)
    unused = torch.zeros_like(interests, dtype=start.dtype).masked_fill(~interests, -math.inf)
    weights = (start + unused[..., None]).softmax(2) * present[:, :, None] * recency
    B, L, D = projected.shape
    if n_iter > 1:
        with torch.no_grad():
            capsules = routing.squash(weights.view(B, Q * K, L) @ projected)
            start = start + (capsules @ projected.transpose(1, 2)).view(B, Q, K, L)
        weights = (start + unused[..., None]).softmax(2) * present[:, :, None] * recency
    return (weights.view(B, Q * K, L) @ projected).view(B, Q, K, D), weights


def learned_logits(self: network.MINDNet, *a: Any) -> None:
    """Learn the initial routing logits; needs `through_routing`, which gives them a gradient."""
    initialise(self, *a)
    start = self.logits.clone()
    del self.logits
    self.logits = nn.Parameter(start)


def random_logits(self: network.MINDNet, *a: Any) -> None:
    """Start the routing from random logits, as the paper does, instead of from ages."""
    initialise(self, *a)
    generator = torch.Generator().manual_seed(SEED)
    self.logits.normal_(generator=generator)


def random_start(self: network.MINDNet, *a: Any) -> None:
    """Start the bilinear map and the routing logits from random values, as the paper does."""
    random_logits(self, *a)
    with torch.no_grad():
        self.bilinear.normal_(std=len(self.bilinear) ** -0.5)


def with_positions(self: network.MINDNet, *a: Any) -> None:
    """Add a learned vector for each age, used by `positions`."""
    initialise(self, *a)
    self.positions = nn.Parameter(torch.zeros(self.config.max_history, self.config.embedding_dim))
    shared.append(self)


def positions(*a: Any) -> tuple[Tensor, Tensor]:
    """Add the vector of its age to each item before the bilinear map S."""
    projected, present, interests, b, recency, n_iter = a
    B, L, D = projected.shape
    Q, K, _ = b.shape
    net = shared[-1]
    places = torch.arange(L)
    age = (places - places[:Q, None]).clamp(min=0)
    added = (net.positions @ net.bilinear.T)[age]  # (Q, L, D)
    unused = torch.zeros_like(interests, dtype=b.dtype).masked_fill(~interests, -math.inf)
    b = b + unused[..., None]
    scale = present[:, :, None, :] * recency
    for i in range(n_iter):
        is_last = i == n_iter - 1
        e = projected if is_last else projected.detach()
        p = added if is_last else added.detach()
        weights = b.softmax(2) * scale
        z = (weights.view(B, Q * K, L) @ e).view(B, Q, K, D)
        sums = z + torch.einsum("bqkl,qld->bqkd", weights, p)
        if not is_last:
            capsules = routing.squash(sums).detach()
            b = b + (capsules.view(B, Q * K, D) @ e.transpose(1, 2)).view(B, Q, K, L)
            b = b + torch.einsum("bqkd,qld->bqkl", capsules, p)
    return sums, weights


def balanced_routing(*a: Any) -> tuple[Tensor, Tensor]:
    """Compute REMI's penalty of the variance of an interest's routing weights over the history."""
    sums, weights = through_routing(*a)
    n = a[1].sum(2).clamp(min=1)[:, :, None]  # (B, Q, 1) items
    mean = weights.sum(3) / n  # (B, Q, K)
    deviation = (weights - mean[..., None]).square() * a[1][:, :, None]
    shared.append((deviation.sum(3) / n).square().sum(2).add(1e-12).sqrt().mean())
    return sums, weights


def regularised(*a: Any) -> Tensor:
    """Add the penalties of `balanced_routing`, which runs twice per step, to the loss."""
    penalty = torch.stack(shared).mean()
    shared.clear()
    return sampled_softmax(*a) + REMI_PENALTY * penalty


def hard_negatives(
    interests: Tensor,
    mask: Tensor,
    places: np.ndarray,
    items: Tensor,
    targets: np.ndarray,
    negatives: np.ndarray,
    log_expected: np.ndarray,
    groups: losses.GroupAssignment,
    temperature: float,
    weights: None,
    repeats: None,
) -> Tensor:
    """Weight negatives by exp(hardness * logit), as REMI's interest-aware hard negatives."""
    K, D = interests.shape[1:]
    rows = torch.from_numpy(places)
    keys = items[torch.from_numpy(negatives)].view(K, -1, D)
    scaled = interests[rows] / temperature  # (B, K, D)
    mask = mask[rows]  # (B, K)
    positive = (scaled @ items[torch.from_numpy(targets)][:, :, None]).squeeze(2)
    positive = positive.masked_fill(~mask, -1e9).logsumexp(1)
    n_used = mask.sum(1, keepdim=True)
    group = torch.arange(K) % n_used
    queries = scaled.gather(1, group[:, :, None].expand(-1, K, D)).transpose(0, 1)
    logits = queries @ keys.transpose(1, 2) - torch.from_numpy(log_expected).view(K, 1, -1)
    logits = logits.flatten().index_fill(
        0, torch.from_numpy(losses._accidental_hits(targets, negatives, K)), -1e9
    )
    logits = logits.view(K, len(places), -1)  # (K, B, N / K)
    hardness = (logits.detach() * REMI_HARDNESS).log_softmax(2) + math.log(logits.shape[2])
    scale = (K / ((K - group + n_used - 1) // n_used)).log().T[..., None]  # (K, B, 1)
    total = (logits + hardness + scale).logsumexp(2).logsumexp(0)
    return F.softplus(total - positive).mean()


def uncorrected(self: NegativeSampler, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw negatives without the log-Q correction, so that frequent negatives count more."""
    negatives, log_expected = draw(self, targets)
    return negatives, np.zeros_like(log_expected)


def score_by_maximum(self: ExactIndex, vectors: np.ndarray, _: float | None = None) -> None:
    """Score items by the highest cosine instead of the soft maximum."""
    initialise_index(self, vectors)


def newest_only(
    self: network.MINDNet, x: Tensor, present: Tensor, age: Tensor, Q: int, dropout: Any
) -> Tensor:
    """Compute the state from the newest item only, so that the encoder sees no order."""
    return states(self, x, present & (age == 0), age, Q, dropout)


PATCHES = {
    "no_recency": (network, "route", no_recency),
    "half_life": (network, "route", half_life),
    "last_item_residual": (network, "route", last_item_residual),
    "no_squash": (network, "squash", no_squash),
    "through_routing": (network, "route", through_routing),
    "farthest_point": (network, "route", farthest_point),
    "learned_logits": (network.MINDNet, "__init__", learned_logits),
    "random_start": (network.MINDNet, "__init__", random_start),
    "random_logits": (network.MINDNet, "__init__", random_logits),
    "newest_only": (network.MINDNet, "_encoder_states", newest_only),
    "with_positions": (network.MINDNet, "__init__", with_positions),
    "positions": (network, "route", positions),
    "balanced_routing": (network, "route", balanced_routing),
    "regularised": (trainer, "sampled_softmax", regularised),
    "hard_negatives": (trainer, "sampled_softmax", hard_negatives),
    "uncorrected": (NegativeSampler, "draw", uncorrected),
    "score_by_maximum": (ExactIndex, "__init__", score_by_maximum),
}
NETWORK_SETTINGS = "init=random n_encoder_layers=0 negative_sampling=uniform"
PAPER_SETTINGS = f"{NETWORK_SETTINGS} label_attention=hard item_dropout=0.0"
# label, parameters, patches
RUNGS: list[tuple[str, str, tuple[str, ...]]] = [
    ("defaults", "", ()),
    (
        "paper's network and loss, 20 negatives",
        f"{PAPER_SETTINGS} n_negatives=20",
        ("no_recency", "random_start"),
    ),
    ("+ 1,024 negatives", PAPER_SETTINGS, ("no_recency", "random_start")),
    ("+ recency weights", PAPER_SETTINGS, ("random_start",)),
    ("+ item dropout", f"{NETWORK_SETTINGS} label_attention=hard", ("random_start",)),
    ("+ mixture", NETWORK_SETTINGS, ("random_start",)),
    ("+ bilinear map from the identity", NETWORK_SETTINGS, ("random_logits",)),
    ("+ routing logits by age", NETWORK_SETTINGS, ()),
    ("+ items from co-occurrence", "n_encoder_layers=0 negative_sampling=uniform", ()),
    ("+ negatives by popularity", "n_encoder_layers=0", ()),
    ("soft label attention, power 5", "label_attention=5.0", ()),
    ("hard label attention", "label_attention=hard", ()),
    ("negatives 256", "n_negatives=256", ()),
    ("negatives 4,096", "n_negatives=4096", ()),
    ("full softmax", "n_negatives=all", ()),
    ("uniform negatives", "negative_sampling=uniform", ()),
    ("negatives by popularity without log-Q", "", ("uncorrected",)),
    ("random item vectors", "init=random", ()),
    ("random routing logits", "", ("random_logits",)),
    ("REMI's hard negatives", "", ("hard_negatives",)),
    ("mixed negatives", "negative_sampling=mixed", ()),
    ("in-batch negatives", "negative_sampling=in_batch", ()),
    ("temperature .05", "temperature=0.05", ()),
    ("temperature .2", "temperature=0.2", ()),
    ("32 dimensions", "embedding_dim=32", ()),
    ("128 dimensions", "embedding_dim=128", ()),
    ("no item dropout", "item_dropout=0.0", ()),
    ("item dropout .4", "item_dropout=0.4", ()),
    ("no recency weights", "", ("no_recency",)),
    ("fixed half-life of ten events", "", ("half_life",)),
    ("newest item added", "", ("last_item_residual", "no_squash")),
    ("one routing iteration", "n_routing_iter=1", ()),
    ("gradient through the routing", "", ("through_routing",)),
    ("learned routing logits", "", ("learned_logits", "through_routing")),
    ("routing from farthest points", "", ("farthest_point",)),
    ("positions before S", "", ("with_positions", "positions")),
    ("REMI's regularised routing", "", ("balanced_routing", "regularised")),
    ("scored by the highest cosine", "", ("score_by_maximum",)),
    ("all interests for all users", "adaptive_interests=False", ()),
    ("one encoder layer", "n_encoder_layers=1", ()),
    ("two encoder layers", "n_encoder_layers=2", ()),
    ("encoder sees the newest item only", "n_encoder_layers=1", ("newest_only",)),
    ("attributes of the items", "attributes=True", ()),
    ("history of 20", "max_history=20", ()),
    ("history of 100", "max_history=100", ()),
]


def climb(
    dataset: str,
    data: Path,
    settings: str,
    patches: tuple[str, ...],
    n_interests: int,
    n_users: int | None,
) -> Run:
    """Fit one rung; runs in its own process, which the patches change for good."""
    for patch in patches:
        owner, name, new = PATCHES[patch]
        setattr(owner, name, new)
    model = f"{COMMON_SETTINGS} n_interests={n_interests} {settings}"
    return fit(dataset, data, True, 1, model, SEED, n_users)


def report(arguments: argparse.Namespace) -> str:
    """Fit all rungs and return the document."""
    a = arguments
    rungs = [r for r in RUNGS if not a.only or r[0] == "defaults" or r[0] in a.only]
    if a.dataset != "beauty":
        rungs = [r for r in rungs if "attributes" not in r[1]]
    jobs = [
        (a.dataset, a.data, settings, patches, K, a.users)
        for _, settings, patches in rungs
        for K in (4, 1)
    ]
    runs = in_processes(climb, jobs, a.jobs)
    metrics = metrics_of(a.dataset)
    ranking = ranking_metric(a.dataset)
    lines = [
        f"# Effect of single changes on {a.dataset}",
        "",
        f"`python benchmarks/quality/ladder.py {a.dataset} --data DIR"
        f"{f' --users {a.users}' if a.users else ''}`, {datetime.date.today()}. "
        f"Validation task, seed {SEED}, {COMMON_SETTINGS}. The last columns are differences in "
        f"{ranking} to the defaults at the same K, and to the same rung with one interest, with "
        "95 % intervals, paired by user. The intervals do not include the variation between seeds.",
        "",
        f"| rung | K | {' | '.join(metrics)} | fit, processor s | minus the defaults | minus K=1 |",
        f"|---|---:|{'---:|' * (len(metrics) + 3)}",
    ]
    for i, (label, settings, patches) in enumerate(rungs):
        if i > 0:
            label += f" (`{' '.join([*settings.split(), *patches])}`)"
        for j, K in enumerate((4, 1)):
            run = runs[2 * i + j]
            defaults = runs[j]
            means = " | ".join(f"{run.user_metrics[name].mean():.4f}" for name in metrics)
            change = difference([run], [defaults], ranking) if i > 0 else ""
            lead = difference([run], [runs[2 * i + 1]], ranking) if K > 1 else ""
            lines.append(f"| {label} | {K} | {means} | {run.seconds[1]:.0f} | {change} | {lead} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--data", type=Path, help="folder that holds the data sets")
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="RUNG", help="fit only these rungs"
    )
    parser.add_argument("--users", type=int, help="number of users or sessions, drawn at random")
    parser.add_argument("--jobs", type=int, default=1, help="fits at the same time")
    arguments = parser.parse_args()
    text = report(arguments)
    print(text)
    if not arguments.only:
        path = RESULTS / f"ladder_{arguments.dataset.replace('-', '_')}.md"
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
