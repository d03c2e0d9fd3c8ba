"""History codes (B, L) → K interest vectors (B, K, D): the MIND network.

Shapes: B batch, L history length, Q queries, K interests, D embedding dimension, n items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from ..exceptions import InvalidInputError
from .device import to_device, torch_defaults
from .encoder import SelfAttention, max_heads
from .optim import is_large
from .routing import initial_logits, interest_mask, route, squash, unit

MAX_PAIRS = 2**28  # 1 GiB
TENSOR_ALIGNMENT = 64  # bytes; the memory of torch's own tensors starts at a multiple of it


@dataclass(frozen=True)
class NetConfig:
    """Sizes and options of a `MINDNet`; with the weights, they define the network.

    Attributes
    ----------
    n_items, n_interests, embedding_dim, max_history, n_routing_iter : int
        At least 1.
    adaptive_interests : bool
        Whether short histories have fewer interests; see `interest_mask`.
    n_encoder_layers : int
        Layers of the sequence encoder; 0 for none.
    repeats : bool
        Whether the items of the history score higher, by their age; see `repeat_masses`.
    """

    n_items: int
    n_interests: int
    embedding_dim: int
    max_history: int
    n_routing_iter: int
    adaptive_interests: bool
    n_encoder_layers: int
    repeats: bool = False


def check_sizes(config: NetConfig) -> None:
    """Check that the encoder does not compare more pairs of items than fit into the memory.

    Raises
    ------
    InvalidInputError
        If it has several layers, which compare all pairs of a history, and the history is long.
    """
    n_pairs = config.max_history**2 * max_heads(config.embedding_dim)
    if config.n_encoder_layers > 1 and n_pairs > MAX_PAIRS:
        raise InvalidInputError(
            f"n_encoder_layers={config.n_encoder_layers} compares all pairs of "
            f"max_history={config.max_history} items, {n_pairs:.0e} numbers per user at "
            f"embedding_dim={config.embedding_dim}; at most {MAX_PAIRS:.0e} are possible. Set a "
            "smaller max_history, or n_encoder_layers=1, which compares with the newest item only"
        )


class Interests(NamedTuple):
    """Interests of a batch of histories, as tensors.

    Attributes
    ----------
    capsules : Tensor of shape (B, Q, K, D)
        Vectors with the directions of the interests; zero where not in use.
    mask : Tensor of shape (B, Q, K), bool
        Interests in use.
    weights : Tensor of shape (B, K, L)
        Weight of each history item in each interest of the first query, which sees all items.
    is_squashed : bool
        Whether ``capsules`` are squashed. If nothing was added to the routed sums, only `norms`
        squashes them, because only it needs the lengths.
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
        """Interests (B, Q, K) in use and not zero; they are zero without history and profile."""
        return self.mask & (self.capsules != 0).any(-1)

    @property
    def norms(self) -> Tensor:
        """Length (B, Q, K) of each interest before it was normalised."""
        capsules = self.capsules if self.is_squashed else squash(self.capsules)
        return capsules.norm(dim=-1)


def _normal_parameter(
    shape: tuple[int, int], std: float, generator: torch.Generator
) -> nn.Parameter:
    values = torch.empty(shape, dtype=torch.float32)
    return nn.Parameter(values.normal_(std=std, generator=generator))


def _gather_rows(table: Tensor, rows: Tensor) -> Tensor:
    """Return rows of a table, shape (*rows.shape, D).

    The gradient of ``index_select`` costs less than that of ``F.embedding``.
    """
    return table.index_select(0, rows.reshape(-1)).view(*rows.shape, table.shape[1])


def _gather_by_age(values: Tensor, age: Tensor) -> Tensor:
    """Return values (K, L) per interest and age for items of the ages (Q, L); shape (Q, K, L)."""
    gathered = values.index_select(1, age.reshape(-1))  # (K, Q · L)
    return gathered.view(-1, *age.shape).transpose(0, 1)  # (Q, K, L)


def _visible_items(age: Tensor, in_history: Tensor, dropout_mask: Tensor | None) -> Tensor:
    """Return which history columns each query sees, for columns that hold an item.

    Parameters
    ----------
    age : Tensor of shape (Q, L), int64
        Age of each column for each query; below 0 for columns that are newer than the query.
    in_history : Tensor of shape (B, L), bool
        Columns that hold an item.
    dropout_mask : Tensor of shape (B, L, L), bool, or None
        Items that each query leaves out; a query that would lose all items keeps the newest.

    Returns
    -------
    Tensor of shape (B, Q, L), or (1, Q, L) for all histories, bool
    """
    not_newer = (age >= 0)[None]  # (1, Q, L)
    if dropout_mask is None:
        return not_newer
    seen = not_newer & in_history[:, None]  # (B, Q, L)
    kept = seen & ~dropout_mask[:, : len(age)]
    lost_all = ~kept.any(2, keepdim=True)  # (B, Q, 1)
    return kept | (seen & (age == 0) & lost_all)


class FeatureBag(nn.Module):
    """Rows of a sparse feature matrix → the weighted sum of the embeddings of their values.

    Parameters
    ----------
    width : int
        Number of columns of the matrix.
    embedding_dim : int
    std : float
        Standard deviation of the initial embeddings.
    generator : torch.Generator
    """

    def __init__(
        self, width: int, embedding_dim: int, std: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.weight = _normal_parameter((width, embedding_dim), std, generator)

    def forward(self, rows: sparse.csr_matrix) -> Tensor:
        """Return the sums, shape (n, D), for a matrix of shape (n, width)."""
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

    Departures from the paper, with reasons:

    - No dense layer on the capsules: it lowers the accuracy on every data set tried.
    - User features are added to each capsule, through one linear map.
    - The state of a small sequence encoder is added to each capsule, through a linear map per
      interest. With one map for all, the capsules become similar; if only the first capsule has
      the state, the others retrieve items that are less accurate than one interest alone.
    - A learned recency weight enters the routing; see `route`.
    - Interests and item vectors are normalised, so that their product is a cosine.

    Parameters
    ----------
    config : NetConfig
    item_features : csr_matrix of shape (n_items, n_item_values)
        Item features, multiplied by their weight in the item vector, which is a mean.
    item_share : ndarray of shape (n_items,)
        Weight of the item's own embedding in the item vector, from 0 to 1.
    n_user_values : int
        Number of columns of the matrix of user features.
    seed : int
        Seed of the initial weights and of the routing logits; no global generator is used.
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
        K = config.n_interests
        D = config.embedding_dim
        L = config.max_history
        std = D**-0.5
        self.config = config
        self.item_features = item_features
        self.logits: Tensor
        self.item_share: Tensor
        self.item_embedding = _normal_parameter((config.n_items, D), std, generator)
        self.bilinear = nn.Parameter(torch.eye(D, dtype=torch.float32))
        self.recency = nn.Parameter(torch.zeros(K, L, dtype=torch.float32))
        self.register_buffer("logits", initial_logits(K, L, generator))
        if config.repeats:
            self.repeats = nn.Parameter(torch.zeros(L, dtype=torch.float32))
        self.layers = nn.ModuleList(
            SelfAttention(D, L, generator) for _ in range(config.n_encoder_layers)
        )
        if config.n_encoder_layers:
            self.layers_norm = nn.LayerNorm(D, dtype=torch.float32)
            # zero, so that the encoder adds nothing before it has learned something
            self.state = nn.Parameter(torch.zeros(D, D, dtype=torch.float32))
            if K > 1:
                others = torch.zeros((K - 1) * D, D, dtype=torch.float32)
                self.state_others = nn.Parameter(others)
        share = torch.from_numpy(item_share.astype(np.float32))[:, None]
        self.register_buffer("item_share", share, persistent=False)
        self.item_values = None
        if item_features.shape[1]:
            self.item_values = FeatureBag(item_features.shape[1], D, std, generator)
        self.user_values = None
        self.profile = None
        if n_user_values:
            # small, so that values that are rare in training add little noise
            self.user_values = FeatureBag(n_user_values, D, 1 / D, generator)
            self.profile = _normal_parameter((D, D), std, generator)

    def get_weights(self) -> dict[str, np.ndarray]:
        """Return a copy of all weights and of the routing logits, by name."""
        return {name: value.cpu().numpy().copy() for name, value in self.state_dict().items()}

    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Copy weights that `get_weights` returned into the network; they may be read-only."""
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
        """Return a network for inference that shares the memory of ``weights`` where possible.

        Two kinds of arrays are copied: read-only arrays, because torch may write to its tensors,
        and arrays with another alignment than torch's own, because the last bits of a product may
        depend on the alignment.
        """
        with torch.device("meta"):  # without memory for initial weights
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
        """Return the shapes of the arrays of `get_weights`, without allocating such arrays."""
        no_features = sparse.csr_matrix((0, n_item_values))
        no_share = np.empty(0)
        with torch.device("meta"):
            net = cls(config, no_features, no_share, n_user_values, 0)
        return {name: tuple(value.shape) for name, value in net.state_dict().items()}

    def dense_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the sequence encoder; every sample uses each of them."""
        if self.layers:
            yield from (*self.layers.parameters(), *self.layers_norm.parameters(), self.state)
            if self.config.n_interests > 1:
                yield self.state_others

    def large_tables(self) -> Iterator[nn.Parameter]:
        """Yield the parameters with a sparse gradient, which need `RowAdam`."""
        bags = (bag.weight for bag in (self.item_values, self.user_values) if bag is not None)
        yield from (table for table in (self.item_embedding, *bags) if is_large(table))

    def item_vectors(
        self, codes: np.ndarray | None = None, features_only: Tensor | None = None
    ) -> Tensor:
        """Return the vectors of items, not normalised.

        The vector of an item is the mean of its own embedding and the embeddings of its features.
        If the item has no events, its vector is the mean of the features only.

        Parameters
        ----------
        codes : ndarray of shape (n,), int64, or None, default=None
            Item codes; None: all items.
        features_only : Tensor of shape (n,), bool, or None, default=None
            Items whose own embedding is left out (in training); items without features keep it.

        Returns
        -------
        Tensor of shape (n, D)
        """
        own: Tensor = self.item_embedding
        share = self.item_share
        features = self.item_features
        if codes is not None:
            index = to_device(codes, own.device)
            own = F.embedding(index, own, sparse=is_large(own))
            share = share[index]
            features = features[codes]
        if self.item_values is None:
            return own
        values = self.item_values(features)  # (n, D)
        if features_only is not None:
            left_out = features_only[:, None] & (share < 1)  # (n, 1)
            values = torch.where(left_out, values / (1 - share).clamp(min=0.5), values)
            share = share.masked_fill(left_out, 0)
        return own * share + values

    def profiles(self, user_features: sparse.csr_matrix | None) -> Tensor | None:
        """Return the vectors that are added to each user's capsules, shape (B, D).

        Parameters
        ----------
        user_features : csr_matrix of shape (B, n_user_values) or None

        Returns
        -------
        Tensor of shape (B, D), or None without user features
        """
        if self.user_values is None or self.profile is None or user_features is None:
            return None
        return self.user_values(user_features) @ self.profile.T

    def forward(
        self,
        history: Tensor,
        lengths: Tensor,
        items: Tensor,
        profile: Tensor | None = None,
        dropout_mask: Tensor | None = None,
        profile_only: Tensor | None = None,
        all_queries: bool = False,
        encoder_dropout: Callable[[Tensor], Tensor] | None = None,
    ) -> Interests:
        """Compute the interests of a batch of histories.

        Parameters
        ----------
        history : Tensor of shape (B, L), int64
            Rows of ``items``, newest first; values in the padding do not matter.
        lengths : Tensor of shape (B,), int64
            Number of items of each history.
        items : Tensor of shape (n, D)
            Item vectors.
        profile : Tensor of shape (B, D) or None, default=None
            Result of `profiles`.
        dropout_mask : Tensor of shape (B, L, L), bool, or None, default=None
            History items that each query leaves out (in training). A query that would lose all its
            items keeps the newest, and the encoder always knows the newest.
        profile_only : Tensor of shape (B, Q), bool, or None, default=None
            Queries that use the profile alone (in training).
        all_queries : bool, default=False
            If True, compute one query per history item, Q = L; query ``q`` sees the items from
            column ``q`` on. If False, compute only the query that sees all items; the capsules and
            the mask have no axis for Q then.
        encoder_dropout : callable or None, default=None
            Dropout of the encoder (in training): a Tensor → a Tensor of the same shape.

        Returns
        -------
        Interests
        """
        L = history.shape[1]
        Q = L if all_queries else 1
        columns = torch.arange(L, device=lengths.device)
        in_history = columns < lengths[:, None]  # (B, L)

        # A layer of the encoder that is not the last one computes the states of all items.
        n_rows = L if len(self.layers) > 1 else Q
        age = columns - columns[:n_rows, None]  # (n_rows, L)
        visible = _visible_items(age, in_history, dropout_mask)  # (B or 1, n_rows, L)
        age = age.clamp(min=0)

        states = None
        if self.layers:
            seen = visible & in_history[:, None]  # (B, n_rows, L)
            x = _gather_rows(items, history)  # (B, L, D)
            states = self._encoder_states(x, seen, age, Q, encoder_dropout)  # (B, Q, K, D)

        n_left = lengths[:, None] - columns[:Q]  # (B, Q) items per query; below 1 in padding
        adaptive = self.config.adaptive_interests
        mask = interest_mask(n_left, self.config.n_interests, adaptive)  # (B, Q, K)
        # All rows are ones if not adaptive; the batch may be empty.
        routing_mask = mask if adaptive else mask.new_ones(1, *mask.shape[1:])
        projected = self._project(history, items) * in_history[..., None]  # (B, L, D)
        sums, weights = self._route_queries(projected, visible[:, :Q], routing_mask, age[:Q])
        weights = weights * in_history[:, None]  # (B, K, L)

        is_squashed = states is not None or profile is not None
        capsules = squash(sums) if is_squashed else sums  # (B, Q, K, D)
        if states is not None:
            capsules = (capsules + states) * mask[..., None]
        if profile_only is not None:
            capsules = capsules.masked_fill(profile_only[..., None, None], 0)
        if profile is not None:
            capsules = (capsules + profile[:, None, None]) * mask[..., None]

        if not all_queries:
            capsules = capsules[:, 0]  # (B, K, D)
            mask = mask[:, 0]  # (B, K)
        return Interests(capsules, mask, weights, is_squashed)

    def _encoder_states(
        self,
        x: Tensor,
        seen: Tensor,
        age: Tensor,
        n_queries: int,
        dropout: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        """Return what the encoder adds to the capsules; zero for queries that see no item.

        Parameters
        ----------
        x : Tensor of shape (B, L, D)
            Item vectors of the history.
        seen : Tensor of shape (B, n_rows, L), bool
            Items that each row sees: L rows if there are several layers, else Q.
        age : Tensor of shape (n_rows, L), int64
        n_queries : int
            Q.
        dropout : callable or None
            Applied to the input and to the branches of the layers.

        Returns
        -------
        Tensor of shape (B, Q, K, D)
        """
        Q = n_queries
        x = x * self.config.embedding_dim**0.5
        if dropout is not None:
            x = dropout(x)
        for layer in self.layers[:-1]:
            x = layer(x, ~seen, age, dropout)  # (B, L, D)
        x = self.layers[-1](x, ~seen[:, :Q], age[:Q], dropout)  # (B, Q, D)
        maps: Tensor = self.state  # (D, D)
        if self.config.n_interests > 1:
            maps = torch.cat([self.state, self.state_others])  # (K · D, D)
        states = F.linear(self.layers_norm(x), maps)  # (B, Q, K · D)
        states = states.view(*x.shape[:2], -1, x.shape[2])  # (B, Q, K, D)
        return states * seen[:, :Q].any(2)[..., None, None]

    def _project(self, history: Tensor, items: Tensor) -> Tensor:
        """Return ``S e`` of each history item, shape (B, L, D).

        It computes the products per history column or per item, depending on which are fewer.
        """
        if history.numel() < len(items):
            return _gather_rows(items, history) @ self.bilinear.T
        return _gather_rows(items @ self.bilinear.T, history)

    def _route_queries(
        self, projected: Tensor, visible: Tensor, mask: Tensor, age: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Apply `route` to all queries, in two halves.

        Query ``q`` sees no item before column ``q``, so the second half of the queries is routed
        over the second half of the columns only.

        Returns
        -------
        sums : Tensor of shape (B, Q, K, D)
        weights : Tensor of shape (B, K, L), or (1, K, L) if the same for all histories
            Of the first query.
        """
        Q, L = age.shape
        middle = (Q + 1) // 2
        logits = _gather_by_age(self.logits, age[:middle])  # (middle, K, L)
        recency = _gather_by_age(self.recency.exp(), age[:middle])  # (middle, K, L)
        # The ages of the columns from ``middle`` on for query ``middle`` are those of the first
        # columns for query 0, so both halves use the same logits and recency, cut to their size.
        sums, weights = route(
            projected,
            visible[:, :middle].to(recency.dtype),
            mask[:, :middle],
            logits,
            recency,
            self.config.n_routing_iter,
        )
        if middle == Q:
            return sums, weights[:, 0]
        n_rest = Q - middle
        rest_sums, _ = route(
            projected[:, middle:],
            visible[:, middle:, middle:].to(recency.dtype),
            mask[:, middle:],
            logits[:n_rest, :, : L - middle],
            recency[:n_rest, :, : L - middle],
            self.config.n_routing_iter,
        )
        return torch.cat([sums, rest_sums], 1), weights[:, 0]
