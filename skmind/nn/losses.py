"""User vectors, targets and shared negatives → softmax loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MASKED = -1e9  # finite: a row whose negatives are all masked still has a gradient (of zero)


def sampled_softmax(
    users: Tensor,
    positives: Tensor,
    negatives: Tensor,
    hits: Tensor,
    log_expected: Tensor,
    temperature: float,
) -> Tensor:
    """Mean cross-entropy of the target against the negatives.

    With the log-Q correction the sum over the negatives estimates that over all other items
    without bias, whatever they were drawn from; the target itself was not drawn, so it is not
    corrected. With every item as a negative this is the full softmax.

    Parameters
    ----------
    users, positives : Tensor of shape (B, D), unit length
    negatives : Tensor of shape (N, D), unit length
    hits : Tensor of shape (B, N), bool
        Negatives that are the row's own target; they are left out.
    log_expected : Tensor of shape (N,)
        Logarithm of each negative's expected count.
    temperature : float
        Positive; the similarity is divided by it.

    Returns
    -------
    Tensor, a scalar
    """
    positive = (users * positives).sum(1) / temperature  # (B,)
    negative = torch.addmm(-log_expected, users / temperature, negatives.T)  # (B, N)
    total = negative.masked_fill_(hits, MASKED).logsumexp(1)  # (B,)
    return F.softplus(total - positive).mean()
