"""The encoder of a compact convolutional transformer: attention and a feed-forward part, one after the other.

In the notation of Koresh et al., Physica A 666 (2025), with x the tokens (T, d)::

    o  = concat over heads h of softmax(Q_h K_h^T / sqrt(d_h)) V_h    of LN1(x)
    a  = o W_O + b_O
    y  = LN2(x + a)
    u  = GELU(y W_1 + b_1)
    x' = y + u W_2 + b_2

The second norm replaces the residual stream, other than in the usual pre-norm encoder. Each of these tensors
is the output of a module: o of ``attention.heads``, a of ``attention.projection``, y of ``norm2``, u of
``ff.gelu`` and x' of the encoder itself.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional


class StochasticDepth(nn.Module):
    """Leaves a branch out for single images while training, and enlarges it for the others to make up."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """(N, T, d) -> (N, T, d)"""
        if not self.training or self.rate == 0:
            return branch
        keep = 1 - self.rate
        drawn = torch.rand(len(branch), 1, 1, device=branch.device) < keep
        return branch * (drawn / keep).to(branch.dtype)

    def extra_repr(self) -> str:
        """Shown in a printed network."""
        return f"rate={self.rate:g}"


class Heads(nn.Module):
    """H heads of scaled dot-product attention side by side, in one fused kernel.

    Reads queries, keys and values in a row, (N, T, 3 H d_h), each ordered head by head; head h owns the nodes
    h d_h to (h + 1) d_h - 1 of what it gives, (N, T, H d_h). The scale is 1 / sqrt(d_h).
    """

    def __init__(self, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout

    def forward(self, qkv: Tensor) -> Tensor:
        """(N, T, 3 H d_h) -> (N, T, H d_h)"""
        count, tokens, width = qkv.shape
        query, key, value = qkv.view(count, tokens, 3, self.heads, width // (3 * self.heads)).permute(
            2, 0, 3, 1, 4
        )
        fused = functional.scaled_dot_product_attention
        dropout = self.dropout if self.training else 0.0
        if qkv.device.type == "cpu":
            # there the fused kernel's backward pass is five times slower in bfloat16 than in float32
            with torch.autocast("cpu", enabled=False):
                mixed = fused(query.float(), key.float(), value.float(), dropout_p=dropout)
        else:
            mixed = fused(query, key, value, dropout_p=dropout)
        return mixed.transpose(1, 2).reshape(count, tokens, width // 3).to(qkv.dtype)

    def extra_repr(self) -> str:
        """Shown in a printed network."""
        return f"heads={self.heads}, dropout={self.dropout:g}"


class Attention(nn.Module):
    """Queries, keys and values from one linear layer without a bias; the heads; and the projection back.

    ``inner``: H d_h, all heads' nodes; it need not be the tokens' width d.
    """

    def __init__(self, d: int, heads: int, inner: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.qkv = nn.Linear(d, 3 * inner, bias=False)
        self.heads = Heads(heads, dropout)
        self.projection = nn.Linear(inner, d)

    def forward(self, x: Tensor) -> Tensor:
        """a of tokens x that are normalised. (N, T, d) -> (N, T, d)"""
        return self.projection(self.heads(self.qkv(x)))


class Encoder(nn.Module):
    """One encoder, see the module's equations.

    ``hidden``: the nodes of u; ``attention_dropout``: of the attention's weights; ``depth_rate``: how often
    each of the two branches is left out while training.
    """

    def __init__(
        self,
        d: int,
        heads: int,
        inner: int,
        hidden: int,
        attention_dropout: float = 0.0,
        depth_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d)
        self.attention = Attention(d, heads, inner, attention_dropout)
        self.norm2 = nn.LayerNorm(d)
        layers = {"up": nn.Linear(d, hidden), "gelu": nn.GELU(), "down": nn.Linear(hidden, d)}
        self.ff = nn.Sequential(OrderedDict(layers))
        self.depth = StochasticDepth(depth_rate)

    def forward(self, x: Tensor) -> Tensor:
        """x' of tokens x. (N, T, d) -> (N, T, d)"""
        y = self.norm2(x + self.depth(self.attention(self.norm1(x))))
        return y + self.depth(self.ff(y))
