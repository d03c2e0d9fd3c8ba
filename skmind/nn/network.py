"""History codes (B, L) → K interest vectors (B, K, D): the MIND network.

Shapes: B batch, L history length, Q queries, K interests, D embedding dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from .device import to_device, torch_defaults
from .encoder import SelfAttention
from .optim import is_large
from .routing import interest_mask, route, squash, unit

TENSOR_ALIGNMENT = 64  # bytes; torch's own tensors begin at a multiple of it


@dataclass(frozen=True)
class NetConfig:
    """Sizes and fixed choices of a `MINDNet`; what its weights alone don't tell."""

    n_items: int
    n_interests: int
    embedding_dim: int
    max_history: int
    n_routing_iter: int
    adaptive_interests: bool
    n_encoder_layers: int


class Interests(NamedTuple):
    """What the network makes of a batch of histories.

    Attributes
    ----------
    capsules : Tensor of shape (B, Q, K, D)
        What points where the interests do; zero where not in use.
    mask : Tensor of shape (B, Q, K), bool
        Interests in use.
    weights : Tensor of shape (B, K, L)
        Weight of each history item in each interest of the first query, who sees them all.
    is_squashed : bool
        Whether the lengths of ``capsules`` are final; where nothing is added, only `norms` needs
        them.
    """

    capsules: Tensor
    mask: Tensor
    weights: Tensor
    is_squashed: bool

    @property
    def vectors(self) -> Tensor:
        """The interests (B, Q, K, D), of unit length; zero where not in use."""
        return unit(self.capsules)

    @property
    def used(self) -> Tensor:
        """Interests (B, Q, K) in use that are not zero, as without history and profile."""
        return self.mask & (self.capsules != 0).any(-1)

    @property
    def norms(self) -> Tensor:
        """Length (B, Q, K) of each interest before it was normalised."""
        capsules = self.capsules if self.is_squashed else squash(self.capsules)
        return capsules.norm(dim=-1)


def _normal(shape: tuple[int, int], std: float, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(
        torch.empty(shape, dtype=torch.float32).normal_(std=std, generator=generator)
    )


def _views(there: Tensor, Q: int, dropped: Tensor | None) -> tuple[Tensor, Tensor]:
    """What the first ``Q`` queries see of histories whose items are at the places ``there``.

    Returns
    -------
    age : Tensor of shape (Q, L), int64
        Of each item for each query; 0 for newer ones, which it does not see.
    present : Tensor of shape (B, Q, L), or (1, Q, L) for all histories, bool
        Whether the query sees the item, if one is there.
    """
    places = torch.arange(there.shape[1], device=there.device)
    age = places - places[:Q, None]  # (Q, L)
    present = (age >= 0)[None]
    if dropped is not None:
        seen = present & there[:, None]
        kept = seen & ~dropped[:, :Q]
        newest = seen & (age == 0) & ~kept.any(2, keepdim=True)
        present = kept | newest
    return age.clamp(min=0), present


def _by_age(values: Tensor, age: Tensor) -> Tensor:
    """Values (K, L) of interests by age, for items of these ages (Q, L): (Q, K, L)."""
    return values.index_select(1, age.reshape(-1)).view(-1, *age.shape).transpose(0, 1)


def _at(rows: Tensor, table: Tensor) -> Tensor:
    """Rows of a table, shape (*rows.shape, D); the gradient is cheaper than an embedding's."""
    return table.index_select(0, rows.reshape(-1)).view(*rows.shape, table.shape[1])


class FeatureBag(nn.Module):
    """Rows of a sparse feature matrix → the weighted sum of the embeddings of their values.

    Parameters
    ----------
    width : int
        Columns of the matrix.
    embedding_dim : int
    std : float
        Standard deviation of the initial embeddings.
    generator : torch.Generator
    """

    def __init__(
        self, width: int, embedding_dim: int, std: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.weight = _normal((width, embedding_dim), std, generator)

    def forward(self, rows: sparse.csr_matrix) -> Tensor:
        """Sums of ``rows``, a matrix of shape (n, width); shape (n, D)."""
        device = self.weight.device
        return F.embedding_bag(
            to_device(rows.indices.astype(np.int64), device),
            self.weight,
            to_device(rows.indptr.astype(np.int64), device),
            mode="sum",
            per_sample_weights=to_device(rows.data.astype(np.float32), device),
            include_last_offset=True,
            sparse=is_large(self.weight),
        )


class MINDNet(nn.Module):
    """Multi-Interest Network with Dynamic routing (Li et al., CIKM 2019, arXiv 1904.08030).

    Departures: no dense layer on the capsules (it costs accuracy on every data set tried); user
    features are added to each capsule through one linear map; the state of a small sequence
    encoder is added to the first one, which so follows what comes next while the others hold on
    to the tastes (added to all, it makes them alike; routing what it returns finds less); a
    learned recency weight enters the routing; interests and item vectors are normalised, so that
    their product is a cosine.

    Parameters
    ----------
    config : NetConfig
    item_features : csr_matrix of shape (n_items, n_item_values)
        Scaled to their part of the mean that an item's vector is.
    item_share : ndarray of shape (n_items,)
        Weight of the item's own embedding in that mean.
    n_user_values : int
        Columns of the users' feature matrix.
    seed : int
        Draws the initial weights and the routing logits; no global generator is touched.
    """

    def __init__(
        self,
        config: NetConfig,
        item_features: sparse.csr_matrix,
        item_share: np.ndarray,
        n_user_values: int,
        seed: int,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        K, D, L = config.n_interests, config.embedding_dim, config.max_history
        self.logits: Tensor
        self.item_share: Tensor
        self.config = config
        self.item_features = item_features
        std = D**-0.5
        self.item_embedding = _normal((config.n_items, D), std, generator)
        self.bilinear = _normal((D, D), std, generator)
        self.recency = nn.Parameter(torch.zeros(K, L, dtype=torch.float32))
        logits = torch.randn(K, L, dtype=torch.float32, generator=generator)
        self.register_buffer("logits", logits)
        self.layers = nn.ModuleList(
            SelfAttention(D, L, generator) for _ in range(config.n_encoder_layers)
        )
        if config.n_encoder_layers:
            self.layers_norm = nn.LayerNorm(D, dtype=torch.float32)
            self.state = _normal((D, D), 1 / D, generator)  # states of length √D
        share = torch.from_numpy(item_share.astype(np.float32))[:, None]
        self.register_buffer("item_share", share, persistent=False)
        self.item_values = None
        if item_features.shape[1]:
            self.item_values = FeatureBag(item_features.shape[1], D, std, generator)
        self.user_values, self.profile = None, None
        if n_user_values:
            self.user_values = FeatureBag(n_user_values, D, 1 / D, generator)  # rare ones: no noise
            self.profile = _normal((D, D), std, generator)

    def get_weights(self) -> dict[str, np.ndarray]:
        """A copy of all weights and of the routing logits."""
        return {name: value.cpu().numpy().copy() for name, value in self.state_dict().items()}

    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Take over what `get_weights` returned; arrays may be read-only."""
        tensors = {name: torch.tensor(value, device="cpu") for name, value in weights.items()}
        self.load_state_dict(tensors)

    @classmethod
    @torch_defaults()
    def of_weights(
        cls,
        weights: dict[str, np.ndarray],
        config: NetConfig,
        item_features: sparse.csr_matrix,
        item_share: np.ndarray,
        n_user_values: int,
    ) -> MINDNet:
        """A network that shares the memory of its weights, where it can: to ask, not to train.

        Read-only arrays are copied, as torch can't promise not to write; so are those that don't
        begin where torch's own would, since the last bits of a product may depend on that.
        """
        with torch.device("meta"):  # no initial weights, which would need memory of their own
            net = cls(config, item_features, item_share, n_user_values, 0)
        shared = {
            name: torch.from_numpy(value)
            if value.flags.writeable and value.ctypes.data % TENSOR_ALIGNMENT == 0
            else torch.tensor(value, device="cpu")
            for name, value in weights.items()
        }
        net.load_state_dict(shared, assign=True)
        return net

    @classmethod
    def weight_shapes(
        cls, config: NetConfig, n_item_values: int, n_user_values: int
    ) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays that `get_weights` returns; nothing of their size is allocated."""
        nothing = sparse.csr_matrix((0, n_item_values)), np.empty(0)
        with torch.device("meta"):
            net = cls(config, *nothing, n_user_values, 0)
        return {name: tuple(value.shape) for name, value in net.state_dict().items()}

    def dense_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the sequence encoder, each of which every sample uses."""
        if self.layers:
            yield from (*self.layers.parameters(), *self.layers_norm.parameters(), self.state)

    def large_tables(self) -> Iterator[nn.Parameter]:
        """Those whose gradient is sparse, and that need `RowAdam`."""
        bags = (bag.weight for bag in (self.item_values, self.user_values) if bag is not None)
        yield from (table for table in (self.item_embedding, *bags) if is_large(table))

    def item_vectors(self, codes: np.ndarray | None = None, bare: Tensor | None = None) -> Tensor:
        """Vectors of the items ``codes`` (None: all), not normalised, shape (n, D).

        The mean of the item's embedding and the embeddings of the features it has; of the latter
        alone where ``bare``, bool of shape (n,), and where the item has no events.
        """
        own: Tensor = self.item_embedding
        share, features = self.item_share, self.item_features
        if codes is not None:
            index = to_device(codes, own.device)
            own = F.embedding(index, own, sparse=is_large(own))
            share, features = share[index], features[codes]
        if self.item_values is None:
            return own
        values = self.item_values(features)
        if bare is not None:
            left_out = bare[:, None] & (share < 1)  # who has no feature keeps its embedding
            values = torch.where(left_out, values / (1 - share).clamp(min=0.5), values)
            share = share.masked_fill(left_out, 0)
        return own * share + values

    def profiles(self, rows: sparse.csr_matrix | None) -> Tensor | None:
        """What these rows of user features add to each capsule, shape (B, D)."""
        if self.user_values is None or self.profile is None or rows is None:
            return None
        return self.user_values(rows) @ self.profile.T

    def forward(
        self,
        history: Tensor,
        lengths: Tensor,
        items: Tensor,
        profile: Tensor | None = None,
        dropped: Tensor | None = None,
        unknown: Tensor | None = None,
        every: bool = False,
    ) -> Interests:
        """Interests of a batch of histories.

        Parameters
        ----------
        history : Tensor of shape (B, L), int64
            Rows of ``items``, newest first; what stands in the padding does not matter.
        lengths : Tensor of shape (B,), int64
        items : Tensor of shape (n, D)
            Vectors that ``history`` points into.
        profile : Tensor of shape (B, D) or None
        dropped : Tensor of shape (B, L, L), bool, or None
            History items that each query leaves out (in training); a query never loses all, and
            the encoder always knows its newest.
        unknown : Tensor of shape (B, Q), bool, or None
            Queries that are answered from the profile alone (in training).
        every : bool, default=False
            Ask after every item, Q = L: query ``q`` sees the items from column ``q`` on. Else
            only after the newest, Q = 1, and the results have no axis for it.

        Returns
        -------
        Interests
        """
        L, config = history.shape[1], self.config
        places = torch.arange(L, device=lengths.device)
        there = places < lengths[:, None]  # (B, L)
        Q = L if every else 1
        age, present = _views(there, Q if len(self.layers) < 2 else L, dropped)
        state = None
        if self.layers:
            seen = present & there[:, None]
            state = self._states(_at(history, items), seen, age, Q)  # (B, Q, D)
        age, present = age[:Q], present[:, :Q]
        left = lengths[:, None] - places[:Q]  # (B, Q): not positive in the padding
        mask = interest_mask(left, config.n_interests, config.adaptive_interests)
        projected = self._projected(history, items) * there[..., None]
        some = mask if config.adaptive_interests else mask.new_ones(1, *mask.shape[1:])
        sums, weights = self._routed(projected, present, some, age)
        is_plain = state is None and profile is None
        capsules = sums if is_plain else squash(sums)
        if state is not None:
            first = capsules[:, :, :1] + state[:, :, None]
            capsules = torch.cat([first, capsules[:, :, 1:]], 2)
        if unknown is not None:
            capsules = capsules.masked_fill(unknown[..., None, None], 0)
        if profile is not None:
            capsules = (capsules + profile[:, None, None]) * mask[..., None]
        if not every:
            capsules, mask = capsules[:, 0], mask[:, 0]
        return Interests(capsules, mask, weights * there[:, None], not is_plain)

    def _routed(
        self, projected: Tensor, present: Tensor, mask: Tensor, age: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`route` all queries: sums (B, Q, K, D), and the weights behind the first, (B, K, L).

        In two halves, as a query sees no item before its column: the older half of the queries is
        not compared with the newer half of the items.
        """
        (Q, L), middle = age.shape, (len(age) + 1) // 2
        logits, recency = (_by_age(v, age[:middle]) for v in (self.logits, self.recency.exp()))
        parts = [
            route(
                projected[:, start:],
                present[:, start:stop, start:].to(recency.dtype),
                mask[:, start:stop],
                logits[: stop - start, :, : L - start],  # by age: as from the first place on
                recency[: stop - start, :, : L - start],
                self.config.n_routing_iter,
            )
            for start, stop in ((0, middle), (middle, Q))
            if start < stop
        ]
        sums, weights = zip(*parts, strict=True)
        return torch.cat(sums, 1), weights[0][:, 0]

    def _projected(self, history: Tensor, items: Tensor) -> Tensor:
        """``S e`` of each history item, shape (B, L, D); once an item if these are fewer."""
        if history.numel() < len(items):
            return _at(history, items) @ self.bilinear.T
        return _at(history, items @ self.bilinear.T)

    def _states(self, x: Tensor, present: Tensor, age: Tensor, Q: int) -> Tensor:
        """What the encoder adds to the first capsule, shape (B, Q, D); nothing without items."""
        x = x * self.config.embedding_dim**0.5
        for layer in self.layers[:-1]:
            x = layer(x, ~present, age)
        x = self.layers[-1](x, ~present[:, :Q], age[:Q])
        states = self.layers_norm(x) @ self.state.T
        return states * present[:, :Q].any(2, keepdim=True)
