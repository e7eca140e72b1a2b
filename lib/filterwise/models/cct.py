"""Compact convolutional transformers (CCT): convolutions make tokens, encoders mix them, a pool weighs them.

Koresh et al. (2025) and Gross et al. (2025) measure this architecture; its numbers are those of the public
configurations, its encoder is in :mod:`filterwise.models.encoder`. "cct7_3x1" has seven encoders behind one
3x3 convolution, "cct7_7x2" seven behind two 7x7 convolutions, and "cct" any.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from filterwise.errors import ParameterError, check_choice, check_count, refused
from filterwise.models.building import models
from filterwise.models.encoder import Encoder
from filterwise.models.sizes import check_flag, check_positive, check_share, first_filters

STANDARD_D = 256
POSITIONS = ("learnable", "sine", "none")


class TokenizerLayer(nn.Module):
    """Convolution without a bias -> ReLU -> 3x3 max-pool with stride 2. (N, C, h, w) -> (N, F, h', w')"""

    def __init__(self, channels: int, filters: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=False)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The next map."""
        return self.pool(self.relu(self.conv(x)))


class TokenConvolution(nn.Module):
    """A convolution on the tokens' grid in place of an encoder: 3x3 -> batch norm -> GELU, added to x.

    Without ``residual`` it is not added. (N, d, h, w) -> (N, d, h, w)
    """

    def __init__(self, d: int, residual: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(d, d, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(d)
        self.gelu = nn.GELU()
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """The next map."""
        out = self.gelu(self.bn(self.conv(x)))
        return x + out if self.residual else out


def sine_positions(tokens: int, d: int) -> Tensor:
    """Fixed embedding of positions p and coordinates i, (1, T, d).

    sin of p / 10000^(2 floor(i/2) / d) at even i, cos of it at odd i.
    """
    pair = 2 * torch.div(torch.arange(d, dtype=torch.float64), 2, rounding_mode="floor")
    angle = torch.arange(tokens, dtype=torch.float64)[:, None] / 10000 ** (pair / d)
    even = torch.arange(d) % 2 == 0
    return torch.where(even, angle.sin(), angle.cos()).float()[None]


class Positions(nn.Module):
    """A map as a sequence of tokens, each with the embedding of its position. (N, d, h, w) -> (N, h w, d)"""

    embedding: Tensor

    def __init__(self, tokens: int, d: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        if kind == "learnable":
            self.embedding = nn.Parameter(torch.zeros(1, tokens, d))
        elif kind == "sine":
            self.register_buffer("embedding", torch.zeros(1, tokens, d))

    @torch.no_grad()
    def draw(self, generator: torch.Generator, init: str) -> None:
        """Learnable: N(0, 0.2^2), cut at +-2, as CCT's own; sine: nothing is drawn."""
        if self.kind == "learnable":
            nn.init.trunc_normal_(self.embedding, 0, 0.2, generator=generator)
        elif self.kind == "sine":
            self.embedding.copy_(sine_positions(*self.embedding.shape[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens, row by row of the map."""
        tokens = x.flatten(2).transpose(1, 2)
        return tokens if self.kind == "none" else tokens + self.embedding


class SequencePool(nn.Module):
    """z = sum_t alpha_t x_t, with alpha the softmax over the tokens of x_t . w + b. (N, T, d) -> (N, d)"""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.score = nn.Linear(d, 1)

    def forward(self, x: Tensor) -> Tensor:
        """z of normalised tokens."""
        alpha = functional.softmax(self.score(x).squeeze(2), dim=1)
        return torch.einsum("nt,ntd->nd", alpha.to(x.dtype), x)


class CCT(nn.Module):
    """Tokenizer, convolutions in place of the first encoders, positions, encoders, norm, pool, linear layer.

    Encoders keep their numbers when convolutions replace those below: with two replaced the first is
    "encoders.3". ``layer_names``: what the network has, bottom to top, the tokens with their positions
    ("positions") included.
    """

    def __init__(
        self,
        tokenizer: nn.Sequential,
        convolutions: nn.Sequential,
        positions: Positions,
        encoders: nn.Sequential,
        d: int,
        labels: int,
        linear_std: float,
    ) -> None:
        super().__init__()
        self.linear_std = linear_std
        self.tokenizer, self.convolutions = tokenizer, convolutions
        self.positions, self.encoders = positions, encoders
        self.norm = nn.LayerNorm(d)
        self.pool = SequencePool(d)
        self.fc = nn.Linear(d, labels)
        convolved = [f"convolutions.{name}" for name, _ in convolutions.named_children()]
        encoded = [f"encoders.{name}" for name, _ in encoders.named_children()]
        self.layer_names = (*convolved, "positions", *encoded)

    def forward(self, x: Tensor) -> Tensor:
        """Logits. (N, C, S, S) -> (N, labels)"""
        tokens = self.encoders(self.positions(self.convolutions(self.tokenizer(x))))
        return self.fc(self.pool(self.norm(tokens)))


def draw_as_published(net: CCT, generator: torch.Generator) -> None:
    """CCT's own initial weights: linear layers N(0, s^2) cut at +-2 and biases 0, with s = 0.02 unless the
    network's ``linear_std`` says another; convolutions He normal; norms 1 and 0; positions N(0, 0.2^2)."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, 0, net.linear_std, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, generator=generator)
            elif isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, Positions):
                module.draw(generator, "torch")


def convolutional_transformer(
    labels: int,
    width: float,
    channels: int,
    size: int,
    *,
    depth: int = 7,
    kernel: int = 3,
    stride: int = 1,
    tokenizer_layers: int = 1,
    filters: int | None = None,
    d: int | None = None,
    heads: int = 4,
    inner: int | None = None,
    mlp_ratio: float = 2.0,
    positions: str = "learnable",
    replaced: int = 0,
    convolutions: int | None = None,
    residual: bool = True,
    attention_dropout: float = 0.1,
    depth_rate: float = 0.1,
    linear_std: float = 0.02,
) -> CCT:
    """A CCT of any size; d = 256 * width, or ``d``.

    Parameters
    ----------
    depth : encoders N, those that are replaced included
    kernel, stride, tokenizer_layers : of the tokenizer's convolutions, padded by half the kernel; each is
        followed by a 3x3 max-pool with stride 2
    filters : of all the tokenizer's convolutions but the last, which has d. None: a quarter of d
    heads : H of every encoder; it divides ``inner``
    inner : all heads' nodes H d_h. None: d, so that more heads are smaller heads
    mlp_ratio : hidden nodes of the feed-forward part, as a multiple of d
    positions : "learnable", "sine" (fixed) or "none"
    replaced, convolutions : so many first encoders are left out, and so many convolutions on the tokens' grid
        stand in their place; None: as many as were left out
    residual : whether these convolutions are added to their inputs
    attention_dropout, depth_rate : of the attention's weights; how often a branch of the last encoder is left
        out while training (of the first: never; in between along a straight line)
    linear_std : standard deviation of the linear layers' initial weights, with ``init="torch"``

    Raises ParameterError on a value outside these choices, heads that do not divide ``inner``, or an image
    that gives fewer than 2x2 tokens.

    >>> from filterwise import models
    >>> models.parameter_count(models.build("cct7_3x1", labels=100))
    3783269
    """
    for name, value, least in (("depth", depth, 1), ("kernel", kernel, 1), ("stride", stride, 1)):
        check_count(name, value, least)
    check_count("tokenizer_layers", tokenizer_layers)
    if kernel % 2 == 0:
        raise refused("kernel", kernel, "it must be odd, so that its padding is the same on all sides")
    tokens_width = first_filters(d, STANDARD_D, width, "d")
    total = tokens_width if inner is None else check_count("inner", inner)
    check_heads(heads, total, "inner" if inner is not None else "d")
    check_choice("positions", positions, POSITIONS)
    check_flag("residual", residual)
    check_share("attention_dropout", attention_dropout)
    check_share("depth_rate", depth_rate)
    check_positive("linear_std", linear_std)
    hidden = round(check_positive("mlp_ratio", mlp_ratio) * tokens_width)
    if check_count("replaced", replaced, 0) >= depth:
        raise refused("replaced", replaced, f"at least one of depth={depth} encoders must be left")
    stood_in = replaced if convolutions is None else check_count("convolutions", convolutions, 0)
    side = tokens_side(size, kernel, stride, tokenizer_layers)
    inside = max(1, tokens_width // 4) if filters is None else check_count("filters", filters)
    maps = [channels, *[inside] * (tokenizer_layers - 1), tokens_width]
    tokenizer = _numbered(
        [TokenizerLayer(below, above, kernel, stride) for below, above in itertools.pairwise(maps)]
    )
    grid = _numbered([TokenConvolution(tokens_width, residual) for _ in range(stood_in)])
    rates = torch.linspace(0, depth_rate, depth, device="cpu").tolist()
    encoders = [
        Encoder(tokens_width, heads, total, hidden, attention_dropout, rates[m])
        for m in range(replaced, depth)
    ]
    places = Positions(side**2, tokens_width, positions)
    return CCT(
        tokenizer, grid, places, _numbered(encoders, replaced + 1), tokens_width, labels, float(linear_std)
    )


def check_heads(heads: int, inner: int, name: str = "inner") -> int:
    """``heads`` if it divides the ``inner`` nodes; the ParameterError names the nearest numbers that do."""
    check_count("heads", heads)
    if inner % heads:
        divisors = [number for number in range(1, inner + 1) if inner % number == 0]
        near = sorted(sorted(divisors, key=lambda number: abs(number - heads))[:3])
        raise ParameterError(
            f"heads={heads!r} does not divide {name}={inner}; near it are {', '.join(map(str, near))}"
        )
    return heads


def tokens_side(size: int, kernel: int, stride: int, layers: int) -> int:
    """Side of the tokens' grid of images of ``size`` x ``size``.

    Raises ParameterError: fewer than 2x2 tokens would be left; it says how large the images must be.

    >>> tokens_side(32, 3, 1, 1), tokens_side(224, 7, 2, 2)
    (16, 14)
    """

    def side(pixels: int) -> int:
        for _ in range(layers):
            pixels = (pixels + 2 * (kernel // 2) - kernel) // stride + 1
            pixels = (pixels - 1) // 2 + 1
        return pixels

    if side(size) < 2:
        least = next(
            pixels for pixels in range(size, size + 2 * (2 * stride) ** layers + 2) if side(pixels) > 1
        )
        raise refused(
            "size", size, f"the tokenizer leaves one token of such an image; it must be at least {least}"
        )
    return side(size)


def _numbered(modules: Sequence[nn.Module], first: int = 1) -> nn.Sequential:
    return nn.Sequential(OrderedDict((str(n), each) for n, each in enumerate(modules, start=first)))


models("cct", draw=draw_as_published)(convolutional_transformer)
_SEVEN = {"depth": 7, "mlp_ratio": 2.0}
models("cct7_3x1", draw=draw_as_published, fixed={**_SEVEN, "kernel": 3, "stride": 1, "tokenizer_layers": 1})(
    convolutional_transformer
)
models("cct7_7x2", draw=draw_as_published, fixed={**_SEVEN, "kernel": 7, "stride": 2, "tokenizer_layers": 2})(
    convolutional_transformer
)
