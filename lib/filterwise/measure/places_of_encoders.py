"""Names of the places in a transformer's encoders whose nodes are measured."""

from __future__ import annotations

from torch import nn

from filterwise.errors import ParameterError, check_choice
from filterwise.models.cct import CCT

#: Kind of place -> module below the encoder; "ff" is the encoder's own output.
KINDS = {
    "qkv": ".attention.heads",
    "mha": ".attention.projection",
    "mid": ".norm2",
    "hid": ".ff.gelu",
    "ff": "",
}
#: The tokens with their positions, before the first encoder.
TOKENS = "positions"


def encoder_numbers(net: nn.Module) -> list[int]:
    """The numbers m of a network's encoders; where convolutions replace the first ones they begin later.

    Raises ParameterError: the network has no such encoders.

    >>> from filterwise import models
    >>> encoder_numbers(models.build("cct", labels=10, depth=3, d=32))
    [1, 2, 3]
    """
    if not isinstance(net, CCT):
        raise ParameterError(f"{type(net).__name__} has no encoders; a network such as 'cct7_3x1' has")
    return [int(name) for name, _ in net.encoders.named_children()]


def encoder_place(net: nn.Module, kind: str, m: int) -> str:
    """Module name of a place: ``kind`` of encoder m, counted from 1; the tokens themselves at m = 0.

    "qkv": the heads' outputs o; "mha": the projected sum a; "mid": y = LN2(x + a); "hid": the hidden nodes u;
    "ff": the encoder's output.
    Raises ParameterError: an unknown kind, or an encoder that the network does not have.

    >>> from filterwise import models
    >>> encoder_place(models.build("cct7_3x1"), "qkv", 7)
    'encoders.7.attention.heads'
    """
    known = encoder_numbers(net)
    check_choice("kind", kind, KINDS)
    if m == 0 and kind == "ff":
        return TOKENS
    if m not in known:
        raise ParameterError(f"m={m!r} is no encoder of this network; it has {known[0]} to {known[-1]}")
    return f"encoders.{m}{KINDS[kind]}"
