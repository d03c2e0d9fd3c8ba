"""One change at a time from the defaults, with several interests and with one: see what pays.

    python benchmarks/quality/ladder.py beauty --data DIR [--users N] [--jobs 2] [--only RUNG ...]

Every rung is fitted on the validation task with one seed, K = 4 and K = 1, for a few epochs, and
compared with the defaults at the same K by a test paired by user. The first rungs lead from the
paper's model to the defaults; those named by a function of this file change the network in a way
that is no parameter. The table goes to benchmarks/results/ladder_DATASET.md.
"""

from __future__ import annotations

import argparse
import datetime
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import DATASETS, METRICS, Run, difference, in_processes
from run import fit
from scipy import special
from torch import Tensor, nn
from torch.nn import functional as F

from skmind.data.negatives import NegativeSampler
from skmind.nn import losses, network, routing
from skmind.retrieval.exact import ExactIndex
from skmind.training import trainer

SEED = 0
COMMON = "max_epochs=6"
RESULTS = Path(__file__).parents[1] / "results"
TEMPERATURE = 0.1  # the default
PENALTY, HARDNESS = 10.0, 0.5  # of REMI: of its routing's variance, and of its negatives
route, initialise, states = routing.route, network.MINDNet.__init__, network.MINDNet._encoder_states
sampled_softmax, draw = losses.sampled_softmax, NegativeSampler.draw
shared: list[Any] = []  # what one patch leaves to another


def no_recency(*a: Any) -> tuple[Tensor, Tensor]:
    """Every history item counts the same, as in the paper."""
    projected, present, interests, logits, recency, n_iter = a
    return route(projected, present, interests, logits, torch.ones_like(recency), n_iter)


def half_life(*a: Any) -> tuple[Tensor, Tensor]:
    """Fixed recency: each of ten events halves the weight."""
    projected, present, interests, logits, recency, n_iter = a
    places = torch.arange(recency.shape[2])
    age = (places - places[: recency.shape[0], None]).clamp(min=0)
    fixed = (-math.log(2) / 10 * age).exp()[:, None].expand_as(recency)
    return route(projected, present, interests, logits, fixed, n_iter)


def last_item_residual(*a: Any) -> tuple[Tensor, Tensor]:
    """The newest item is added to every capsule; `as_it_is` then keeps their lengths."""
    sums, weights = route(*a)
    newest = a[0][:, : sums.shape[1], None]
    return (routing.squash(sums) + newest) * a[2][..., None], weights


def as_it_is(sums: Tensor) -> Tensor:
    """No squash."""
    return sums


def through_routing(*a: Any) -> tuple[Tensor, Tensor]:
    """The gradient passes all iterations."""
    projected, present, interests, b, recency, n_iter = a
    (B, L, D), (Q, K, _) = projected.shape, b.shape
    off = torch.zeros_like(interests, dtype=b.dtype).masked_fill(~interests, -1e9)
    b, scale = b + off[..., None], present[:, :, None, :] * recency
    for i in range(n_iter):
        weights = b.softmax(2) * scale
        sums = weights.view(B, Q * K, L) @ projected
        if i < n_iter - 1:
            b = b + (routing.squash(sums) @ projected.transpose(1, 2)).view(B, Q, K, L)
    return sums.view(B, Q, K, D) * interests[..., None], weights


def farthest_point(*a: Any) -> tuple[Tensor, Tensor]:
    """Routing starts from items far from each other: the newest, then the least alike so far."""
    projected, present, interests, logits, recency, n_iter = a
    unit = F.normalize(projected.detach(), dim=2)
    alike = unit @ unit.transpose(1, 2)  # (B, L, L)
    Q, K, _ = logits.shape
    nearest = alike[:, :Q].clone()  # (B, Q, L): to the newest
    seeds = [nearest]
    for _ in range(K - 1):
        chosen = nearest.masked_fill(present == 0, math.inf).argmin(2)  # (B, Q)
        seeds.append(alike.gather(1, chosen[..., None].expand(-1, -1, alike.shape[2])))
        nearest = torch.maximum(nearest, seeds[-1])
    start = 5 * torch.stack(seeds, 2)  # (B, Q, K, L)
    off = torch.zeros_like(interests, dtype=start.dtype).masked_fill(~interests, -math.inf)
    weights = (start + off[..., None]).softmax(2) * present[:, :, None] * recency
    B, L, D = projected.shape
    if n_iter > 1:
        with torch.no_grad():
            found = routing.squash(weights.view(B, Q * K, L) @ projected)
            start = start + (found @ projected.transpose(1, 2)).view(B, Q, K, L)
        weights = (start + off[..., None]).softmax(2) * present[:, :, None] * recency
    return (weights.view(B, Q * K, L) @ projected).view(B, Q, K, D), weights


def learned_logits(self: network.MINDNet, *a: Any) -> None:
    """The initial routing logits are learned; only `through_routing` brings them a gradient."""
    initialise(self, *a)
    start = self.logits.clone()
    del self.logits
    self.logits = nn.Parameter(start)


def with_positions(self: network.MINDNet, *a: Any) -> None:
    """A learned vector for each age, for `positions`."""
    initialise(self, *a)
    self.positions = nn.Parameter(torch.zeros(self.config.max_history, self.config.embedding_dim))
    shared.append(self)


def positions(*a: Any) -> tuple[Tensor, Tensor]:
    """The vector of its age is added to an item before S."""
    projected, present, interests, b, recency, n_iter = a
    (B, L, D), (Q, K, _), net = projected.shape, b.shape, shared[-1]
    places = torch.arange(L)
    age = (places - places[:Q, None]).clamp(min=0)
    added = (net.positions @ net.bilinear.T)[age]  # (Q, L, D)
    off = torch.zeros_like(interests, dtype=b.dtype).masked_fill(~interests, -math.inf)
    b, scale = b + off[..., None], present[:, :, None, :] * recency
    for i in range(n_iter):
        last = i == n_iter - 1
        e, p = (projected, added) if last else (projected.detach(), added.detach())
        weights = b.softmax(2) * scale
        z = (weights.view(B, Q * K, L) @ e).view(B, Q, K, D)
        sums = z + torch.einsum("bqkl,qld->bqkd", weights, p)
        if not last:
            found = routing.squash(sums).detach()
            b = b + (found.view(B, Q * K, D) @ e.transpose(1, 2)).view(B, Q, K, L)
            b = b + torch.einsum("bqkd,qld->bqkl", found, p)
    return sums, weights


def balanced_routing(*a: Any) -> tuple[Tensor, Tensor]:
    """REMI's regularised routing: how much an interest's weights vary over the history costs."""
    sums, weights = through_routing(*a)
    n = a[1].sum(2).clamp(min=1)[:, :, None]  # (B, Q, 1) items
    mean = weights.sum(3) / n  # (B, Q, K)
    spread = (weights - mean[..., None]).square() * a[1][:, :, None]
    shared.append((spread.sum(3) / n).square().sum(2).add(1e-12).sqrt().mean())
    return sums, weights


def regularised(*a: Any) -> Tensor:
    """The loss with the penalty that `balanced_routing` left, which is called twice."""
    penalty = torch.stack(shared).mean()
    shared.clear()
    return sampled_softmax(*a) + PENALTY * penalty


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
) -> Tensor:
    """REMI's interest-aware hard negatives: in proportion to exp(similarity / temperature)."""
    K, D = interests.shape[1:]
    at, keys = torch.from_numpy(places), items[torch.from_numpy(negatives)].view(K, -1, D)
    scaled, mask = interests[at] / temperature, mask[at]  # (B, K, D), (B, K)
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
    weights = (logits.detach() * HARDNESS).log_softmax(2) + math.log(logits.shape[2])
    scale = (K / ((K - group + n_used - 1) // n_used)).log().T[..., None]  # (K, B, 1)
    total = (logits + weights + scale).logsumexp(2).logsumexp(0)
    return F.softplus(total - positive).mean()


def uncorrected(self: NegativeSampler, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """No log-Q correction: what is drawn more often counts more."""
    drawn, log_expected = draw(self, targets)
    return drawn, np.zeros_like(log_expected)


def score_by_sum(self: ExactIndex, queries: np.ndarray, start: int, out: np.ndarray) -> None:
    """An item's score is the log-sum-exp over the interests rather than the maximum."""
    cosines = queries @ self.vectors[start : start + out.shape[1]].T  # (b, K, n)
    out[:] = special.logsumexp(cosines / TEMPERATURE, axis=1)


def newest_only(self: network.MINDNet, x: Tensor, seen: Tensor, age: Tensor, Q: int) -> Tensor:
    """Nothing but the newest item goes into the state: the encoder sees no order."""
    return states(self, x, seen & (age == 0), age, Q)


PATCHES = {
    "no_recency": (network, "route", no_recency),
    "half_life": (network, "route", half_life),
    "last_item_residual": (network, "route", last_item_residual),
    "as_it_is": (network, "squash", as_it_is),
    "through_routing": (network, "route", through_routing),
    "farthest_point": (network, "route", farthest_point),
    "learned_logits": (network.MINDNet, "__init__", learned_logits),
    "newest_only": (network.MINDNet, "_encoder_states", newest_only),
    "with_positions": (network.MINDNet, "__init__", with_positions),
    "positions": (network, "route", positions),
    "balanced_routing": (network, "route", balanced_routing),
    "regularised": (trainer, "sampled_softmax", regularised),
    "hard_negatives": (trainer, "sampled_softmax", hard_negatives),
    "uncorrected": (NegativeSampler, "draw", uncorrected),
    "score_by_sum": (ExactIndex, "_score", score_by_sum),
}
PAPER = "label_attention=hard n_encoder_layers=0 item_dropout=0.0"
# what it is: parameters, patches
RUNGS: list[tuple[str, str, tuple[str, ...]]] = [
    ("defaults", "", ()),
    ("paper's network and loss, 20 negatives", f"{PAPER} n_negatives=20", ("no_recency",)),
    ("+ 1,024 negatives", PAPER, ("no_recency",)),
    ("+ recency weights", PAPER, ()),
    ("+ item dropout", "label_attention=hard n_encoder_layers=0", ()),
    ("+ mixture", "n_encoder_layers=0", ()),
    ("soft label attention, power 5", "label_attention=5.0", ()),
    ("hard label attention", "label_attention=hard", ()),
    ("negatives 256", "n_negatives=256", ()),
    ("negatives 4,096", "n_negatives=4096", ()),
    ("full softmax", "n_negatives=all", ()),
    ("negatives by popularity", "negative_sampling=popularity", ()),
    ("the same without log-Q", "negative_sampling=popularity", ("uncorrected",)),
    ("REMI's hard negatives", "", ("hard_negatives",)),
    ("negatives mixed", "negative_sampling=mixed", ()),
    ("negatives of the batch", "negative_sampling=in_batch", ()),
    ("temperature .05", "temperature=0.05", ()),
    ("temperature .2", "temperature=0.2", ()),
    ("32 dimensions", "embedding_dim=32", ()),
    ("128 dimensions", "embedding_dim=128", ()),
    ("no item dropout", "item_dropout=0.0", ()),
    ("item dropout .4", "item_dropout=0.4", ()),
    ("no recency weights", "", ("no_recency",)),
    ("fixed half-life of ten events", "", ("half_life",)),
    ("last item added", "", ("last_item_residual", "as_it_is")),
    ("one routing iteration", "n_routing_iter=1", ()),
    ("gradient through the routing", "", ("through_routing",)),
    ("learned routing logits", "", ("learned_logits", "through_routing")),
    ("routing from farthest points", "", ("farthest_point",)),
    ("positions before S", "", ("with_positions", "positions")),
    ("REMI's regularised routing", "", ("balanced_routing", "regularised")),
    ("scored by log-sum-exp", "", ("score_by_sum",)),
    ("all interests for everybody", "adaptive_interests=False", ()),
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
    """Fit one rung in a process of its own."""
    for patch in patches:
        owner, name, new = PATCHES[patch]
        setattr(owner, name, new)
    words = f"{COMMON} n_interests={n_interests} {settings}"
    return fit(dataset, data, True, 1, words, SEED, n_users)


def report(arguments: argparse.Namespace) -> str:
    """All rungs."""
    a = arguments
    rungs = [r for r in RUNGS if not a.only or r[0] == "defaults" or r[0] in a.only]
    if a.dataset != "beauty":
        rungs = [r for r in rungs if "attributes" not in r[1]]
    common = a.dataset, a.data
    jobs = [(*common, *rung[1:], K, a.users) for rung in rungs for K in (4, 1)]
    found = in_processes(climb, jobs, a.jobs)
    lines = [
        f"# What pays on {a.dataset}",
        "",
        f"`python benchmarks/quality/ladder.py {a.dataset} --data DIR"
        f"{f' --users {a.users}' if a.users else ''}`, {datetime.date.today()}. "
        f"Validation task, seed {SEED}, {COMMON}; the differences of NDCG@10 are to the defaults "
        "at the same K, with 95 % intervals, paired by user. One seed: a difference near the "
        "interval's edge says nothing.",
        "",
        f"| rung | K | {' | '.join(METRICS)} | fit, processor s | NDCG@10 against the defaults |",
        f"|---|---:|{'---:|' * (len(METRICS) + 2)}",
    ]
    for i, (label, words, patches) in enumerate(rungs):
        for j, K in enumerate((4, 1)):
            run = found[2 * i + j]
            means = " | ".join(f"{run.users[name].mean():.4f}" for name in METRICS)
            against = difference([run], [found[j]], "NDCG@10") if i else ""
            what = f"{label} (`{' '.join([*words.split(), *patches])}`)" if i else label
            lines.append(f"| {what} | {K} | {means} | {run.seconds[1]:.0f} | {against} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--data", type=Path, help="folder that holds the data sets")
    parser.add_argument("--only", nargs="*", default=[], metavar="RUNG", help="these rungs only")
    parser.add_argument("--users", type=int, help="so many users only, drawn at random")
    parser.add_argument("--jobs", type=int, default=1, help="fits at once")
    arguments = parser.parse_args()
    text = report(arguments)
    print(text)
    if not arguments.only:
        path = RESULTS / f"ladder_{arguments.dataset.replace('-', '_')}.md"
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
