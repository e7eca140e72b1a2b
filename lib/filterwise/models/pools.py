"""Where a network pools: plans (which stages keep a 2x2 pool) and orders (the series next to the output).

Meir et al., Sci. Rep. 13, 13385 (2023). "MP" is max pooling, "AP" average pooling, a number the side of the
window; "AP2-MP4" averages 2x2 windows first and takes the maximum over 4x4 of the averages then.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from torch import nn

from filterwise.errors import ParameterError, check_choice, check_count, near_miss, refused

#: Plan -> number of lower stages that keep their 2x2 max pool; None: all of them (the conventional network).
PLANS: dict[str, int | None] = {"V": None, "L3": 3, "L2": 2, "L1": 1, "L0": 0}


class Pool(NamedTuple):
    """One pooling step: ``kind`` "MP" or "AP", ``size`` the side of the window and its stride.

    >>> parse_order("AP2-MP4") == (Pool("AP", 2), Pool("MP", 4))
    True
    """

    kind: str
    size: int


def parse_order(order: str) -> tuple[Pool, ...]:
    """The steps of an order such as ``"MP2-AP4"``; the papers' arrow, ``"MP2→AP4"``, is read too.

    Raises ParameterError if a step is not MP or AP with a size of at least 2; the near miss is named.

    >>> parse_order("MP2→AP4")
    (Pool(kind='MP', size=2), Pool(kind='AP', size=4))
    """
    steps = []
    for step in re.split(r"→|->|-", order) if isinstance(order, str) else [order]:
        match = re.fullmatch(r"\s*(MP|AP)([1-9][0-9]{0,3})\s*", step) if isinstance(step, str) else None
        if match is None or int(match[2]) < 2:
            sizes = [size for size in re.findall(r"[0-9]+", str(step)) or ["2", "4", "8"] if int(size) > 1]
            hint = near_miss(
                str(step).strip().upper(), [kind + size for kind in ("MP", "AP") for size in sizes]
            )
            raise ParameterError(
                f"order={order!r} is not known: its step {step!r} is not MP or AP and a size of at least 2, "
                f"as in 'AP2-MP4'{hint}"
            )
        steps.append(Pool(match[1], int(match[2])))
    return tuple(steps)


def order_name(steps: tuple[Pool, ...]) -> str:
    """The order's plain name, with hyphens."""
    return "-".join(f"{kind}{size}" for kind, size in steps)


def shrink(steps: tuple[Pool, ...]) -> int:
    """By how much a series divides the side of a map."""
    return math.prod(step.size for step in steps)


def orders(total: int) -> list[str]:
    """All orders of one or two steps that divide the side by ``total``, two steps being of different kinds.

    Two neighbouring steps of one kind are one step of the product of their sizes, hence not listed.

    >>> orders(8)
    ['MP8', 'AP8', 'MP2-AP4', 'AP2-MP4', 'MP4-AP2', 'AP4-MP2']
    """
    pairs = [(size, total // size) for size in range(2, total) if total % size == 0]
    return [f"MP{total}", f"AP{total}"] + [
        name for a, b in pairs for name in (f"MP{a}-AP{b}", f"AP{a}-MP{b}")
    ]


def pool_series(order: str | tuple[Pool, ...]) -> nn.Module:
    """The operators of an order, first step first; they have no weights. (N, F, s, s) -> (N, F, s/t, s/t).

    >>> import torch
    >>> pool_series("AP2-MP4")(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 3, 1, 1])
    """
    steps = parse_order(order) if isinstance(order, str) else order
    operators = [nn.MaxPool2d(size) if kind == "MP" else nn.AvgPool2d(size) for kind, size in steps]
    if len(operators) == 1:
        return operators[0]
    return nn.Sequential(*operators) if operators else nn.Identity()


def inner_stages(stages: int, plan: str | None, inner: tuple[int, ...] | None) -> tuple[int, ...]:
    """The stages (1-based) that keep a 2x2 max pool at their end, by plan or written out in ``inner``.

    Raises ParameterError on an unknown plan, one with more inner pools than the network has stages below the
    head, a stage that does not exist, or both a plan and ``inner``.

    >>> inner_stages(5, "L2", None), inner_stages(4, "V", None), inner_stages(4, None, (2,))
    ((1, 2), (1, 2, 3, 4), (2,))
    """
    if inner is not None:
        if plan is not None:
            raise ParameterError(f"plan={plan!r} and inner={inner!r} both place the pools; give one of them")
        if not isinstance(inner, (tuple, list)):
            raise refused("inner", inner, "give the stages in a tuple, such as (1, 2)")
        chosen = tuple(check_count("inner", stage) for stage in inner)
        if list(chosen) != sorted(set(chosen)) or any(stage > stages for stage in chosen):
            raise refused("inner", inner, f"it must rise and hold stages between 1 and {stages}")
        return chosen
    plan = "V" if plan is None else plan
    check_choice("plan", plan, PLANS)
    kept = PLANS[plan]
    if kept is None:
        return tuple(range(1, stages + 1))
    if kept >= stages:
        fitting = [name for name, count in PLANS.items() if count is None or count < stages]
        raise ParameterError(
            f"plan={plan!r} keeps pools after {kept} stages and leaves none for the head, but the network "
            f"has {stages} stages; choose from {', '.join(map(repr, fitting))}"
        )
    return tuple(range(1, kept + 1))


def head_steps(total: int, order: str | None) -> tuple[Pool, ...]:
    """The head's pooling series for what the inner pools leave to be divided, ``total``.

    Without an order: average 2x2 windows, then one maximum over the rest ("AP2-MP4" for a total of 8).
    Raises ParameterError if the order's total is another one, or there is an order and nothing left to pool.

    >>> order_name(head_steps(8, None)), head_steps(1, None)
    ('AP2-MP4', ())
    """
    if total == 1:
        if order is not None:
            allowed = "choose a plan from 'L3', 'L2', 'L1', 'L0' or order=None"
            raise refused("order", order, f"this plan leaves nothing for the head; {allowed}")
        return ()
    if order is None:
        return (Pool("AP", 2), Pool("MP", total // 2))[: 1 if total == 2 else 2]
    steps = parse_order(order)
    if shrink(steps) != total:
        fitting = orders(total)
        raise ParameterError(
            f"order={order!r} divides the map by {shrink(steps)}, but this plan leaves {total} for the head; "
            f"choose for instance from {', '.join(map(repr, fitting))}{near_miss(order_name(steps), fitting)}"
        )
    return steps
