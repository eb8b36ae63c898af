"""The BERT encoder that VL-BERT and ViLBERT build on (Devlin et al. 2019, section 3).

Parameter names are those of Hugging Face's BERT, which the official checkpoints use. Knows nothing
of pictures.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYER_NORM_EPS = 1e-12


class BertSelfAttention(nn.Module):
    """Multi-head scaled dot-product attention over one sequence."""

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        if hidden_size % heads:
            raise ValueError(f"hidden size {hidden_size} is no multiple of {heads} heads")
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)

    def forward(self, states: Tensor, mask: Tensor, asking: Tensor | None = None) -> Tensor:
        """states (batch, tokens, hidden), mask (batch, tokens) True where a token is real; asking
        (batch, k, hidden), those of the states that ask, all of them where none are given ->
        (batch, k, hidden)."""
        asking = states if asking is None else asking

        def split(x: Tensor) -> Tensor:  # -> (batch, heads, positions, hidden / heads)
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        context = F.scaled_dot_product_attention(
            split(self.query(asking)),
            split(self.key(states)),
            split(self.value(states)),
            attn_mask=mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return context.transpose(1, 2).reshape(asking.shape)


class BertResidual(nn.Module):
    """Dense, dropout, then LayerNorm of the sum with the block's input."""

    def __init__(self, size: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(size, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, residual: Tensor) -> Tensor:
        out: Tensor = self.LayerNorm(self.dropout(self.dense(states)) + residual)
        return out


class BertAttention(nn.Module):
    """Self-attention with its residual; arguments as in BertSelfAttention."""

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self = BertSelfAttention(hidden_size, heads, dropout)
        self.output = BertResidual(hidden_size, hidden_size, dropout)

    def forward(self, states: Tensor, mask: Tensor, asking: Tensor | None = None) -> Tensor:
        asking = states if asking is None else asking
        out: Tensor = self.output(self.self(states, mask, asking=asking), asking)
        return out


class BertIntermediate(nn.Module):
    """The wide layer of a block: (batch, tokens, hidden) -> (batch, tokens, intermediate)."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, intermediate_size)

    def forward(self, states: Tensor) -> Tensor:
        return F.gelu(self.dense(states))  # the exact, erf form


class BertLayer(nn.Module):
    """One post-norm transformer block; arguments as in BertSelfAttention."""

    def __init__(self, hidden: int, heads: int, intermediate: int, dropout: float) -> None:
        super().__init__()
        self.attention = BertAttention(hidden, heads, dropout)
        self.intermediate = BertIntermediate(hidden, intermediate)
        self.output = BertResidual(intermediate, hidden, dropout)

    def forward(self, states: Tensor, mask: Tensor, asking: Tensor | None = None) -> Tensor:
        states = self.attention(states, mask, asking)
        out: Tensor = self.output(self.intermediate(states), states)
        return out


class BertEncoder(nn.Module):
    """A stack of post-norm transformer layers."""

    def __init__(
        self, layers: int, hidden: int, heads: int, intermediate: int, dropout: float
    ) -> None:
        super().__init__()
        self.layer = nn.ModuleList(
            BertLayer(hidden, heads, intermediate, dropout) for _ in range(layers)
        )

    def forward(self, states: Tensor, mask: Tensor, read: Tensor | None = None) -> list[Tensor]:
        """states (batch, tokens, hidden), mask (batch, tokens) True where real; read (batch, k),
        the places of which the last layer's states are read: it makes no others -> the states of
        every layer, last one last; that (batch, k, hidden) with `read`."""
        every = []
        for number, layer in enumerate(self.layer, start=1):
            asking = None
            if read is not None and number == len(self.layer):
                asking = at_places(states, read)
            states = layer(states, mask, asking)
            every.append(states)
        return every


class BertPredictionTransform(nn.Module):
    """BERT's masked-word head before its output matrix: dense, gelu, LayerNorm."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)

    def forward(self, states: Tensor) -> Tensor:
        out: Tensor = self.LayerNorm(F.gelu(self.dense(states)))
        return out


def initialise(module: nn.Module, std: float) -> None:
    """BERT's initial weights: N(0, std) for matrices, zero biases, unit LayerNorms."""
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


def at_places(states: Tensor, places: Tensor) -> Tensor:
    """states (batch, n, hidden), places (batch, k) -> (batch, k, hidden)."""
    return states.gather(1, places[:, :, None].expand(-1, -1, states.shape[2]))


def pack(parts: list[Tensor], masks: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Joins padded sequences into one without padding between them.

    parts: (batch, n_i, hidden) each, masks: (batch, n_i) each, True where real. Returns states
    (batch, n, hidden) and mask (batch, n) with n the longest row's number of real positions; real
    positions keep their order and come first.
    """
    states, mask = torch.cat(parts, dim=1), torch.cat(masks, dim=1)
    longest = int(mask.sum(dim=1).max())
    order = torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)[:, :longest]
    states = states.gather(1, order[:, :, None].expand(-1, -1, states.shape[2]))
    return states, mask.gather(1, order)
