"""Item vectors of a history (B, L, D) → the state of the sequence after each item (B, L, D).

Shapes: B batch, L history length, H heads, D embedding dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEAD_SIZE = 32  # dimensions of a head, at least
UNSEEN = -1e9  # finite: a padded item sees nothing, and must not become nan


class SelfAttention(nn.Module):
    """Self-attention with a learned bias for the age of an item, then a two-layer network.

    A pre-norm transformer block (Kang and McAuley, "Self-Attentive Sequential Recommendation",
    ICDM 2018) with relative positions, as the recency weights of the routing have them: what counts
    is how old an item is, not its place in a history that may have been cut. Both branches start
    at zero, so that an untrained block passes on what it gets.

    Parameters
    ----------
    embedding_dim, max_history : int
    generator : torch.Generator
        Draws the initial weights.
    """

    def __init__(self, embedding_dim: int, max_history: int, generator: torch.Generator) -> None:
        super().__init__()
        D = embedding_dim
        self.n_heads = next(h for h in range(max(1, D // HEAD_SIZE), 0, -1) if D % h == 0)
        dtype = torch.float32  # whatever torch.set_default_dtype was given
        self.norms = nn.ModuleList([nn.LayerNorm(D, dtype=dtype), nn.LayerNorm(D, dtype=dtype)])
        drawn = [
            torch.empty(n * D, D, dtype=dtype).normal_(std=D**-0.5, generator=generator)
            for n in (3, 1)
        ]
        self.queries_keys_values, self.inner = map(nn.Parameter, drawn)
        self.merge, self.outer = (nn.Parameter(torch.zeros(D, D, dtype=dtype)) for _ in range(2))
        self.age_bias = nn.Parameter(torch.zeros(self.n_heads, max_history, dtype=dtype))

    @staticmethod
    def n_weights(embedding_dim: int) -> int:
        """Weights of the matrices of a block."""
        return 6 * embedding_dim**2

    def forward(self, x: Tensor, unseen: Tensor, age: Tensor) -> Tensor:
        """One block, for the first Q rows of ``x``; shape (B, Q, D).

        Parameters
        ----------
        x : Tensor of shape (B, L, D)
        unseen : Tensor of shape (B, Q, L), bool
            Whether row ``q`` does not see item ``i``.
        age : Tensor of shape (Q, L), int64
            Of item ``i`` for row ``q``; at least 0.
        """
        (B, L, D), Q, H = x.shape, len(age), self.n_heads
        normal = self.norms[0](x)
        q = F.linear(normal[:, :Q], self.queries_keys_values[:D])
        q = q.view(B, Q, H, D // H).transpose(1, 2)  # (B, H, Q, D / H)
        parts = F.linear(normal, self.queries_keys_values[D:])
        k, v = parts.view(B, L, 2, H, D // H).permute(2, 0, 3, 1, 4)  # (B, H, L, D / H)
        logits = q @ k.transpose(2, 3) * (D // H) ** -0.5 + self.age_bias[:, age]
        attention = logits.masked_fill(unseen[:, None], UNSEEN).softmax(3)  # (B, H, Q, L)
        x = x[:, :Q] + F.linear((attention @ v).transpose(1, 2).reshape(B, Q, D), self.merge)
        return x + F.linear(F.gelu(F.linear(self.norms[1](x), self.inner)), self.outer)
