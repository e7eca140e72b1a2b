"""Delays between layers: the instants at which a timed network emits, and the three kinds of delay set.

Meir et al. (2024). Layer l has M delays tau^l_1 < ... < tau^l_M. An input at time 0 makes layer l emit at

    T_0 = {0},        T_l = { s + tau^l_m : s in T_(l-1), m = 1..M },

so that the number of outputs follows from which sums of delays coincide, and from nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import pairwise
from numbers import Real

import torch

from filterwise.errors import ParameterError, check_choice, check_count, refused

#: Two instants that differ by less are one.
TOLERANCE = 1e-9
#: ``generic``: drawn for every layer, all sums of delays differ; ``shared``: one such set in every layer, so
#: that sums commute; ``equal``: 0, 1, ..., M - 1 in every layer, a convolution in time.
KINDS = ("generic", "shared", "equal")
_DRAWS = 100


def output_times(delays: Sequence[Sequence[float]]) -> list[float]:
    """The instants T_L at which the last layer emits, ascending; sums that differ by less than 1e-9 are one.

    Parameters
    ----------
    delays : one list of delays a layer, each at least 0.

    Raises ParameterError: no layer, a layer without delays, or a delay that is negative or no finite number.

    >>> output_times([[0, 1, 2], [0, 1, 2]])
    [0.0, 1.0, 2.0, 3.0, 4.0]
    >>> len(output_times([[0.11, 0.5, 0.83], [0.24, 0.65, 0.97]]))
    9
    """
    times = [0.0]
    for layer in check_delays(delays):
        times, _ = arrivals(times, layer)
    return times


def arrivals(before: Sequence[float], delays: Sequence[float]) -> tuple[list[float], list[list[int]]]:
    """When a layer emits, and what reaches it at each of these instants.

    Parameters
    ----------
    before : instants T_(l-1) of the layer below.
    delays : the layer's M delays.

    Returns T_l, ascending, and for each of its instants the places j M + m of what arrives: line m carries
    what was emitted at ``before[j]``.

    >>> arrivals([0.0, 1.0], [0.0, 1.0])
    ([0.0, 1.0, 2.0], [[0], [1, 2], [3]])
    """
    sums = [time + delay for time in before for delay in delays]
    order = sorted(range(len(sums)), key=sums.__getitem__)
    times, table = [sums[order[0]]], [[order[0]]]
    for first, second in pairwise(order):
        if sums[second] - sums[first] < TOLERANCE:
            table[-1].append(second)
        else:
            times.append(sums[second])
            table.append([second])
    return times, [sorted(places) for places in table]


def check_delays(delays: Sequence[Sequence[float]]) -> list[list[float]]:
    """The delays as floats, if every layer has at least one and all are finite and at least 0.

    Raises ParameterError: names the layer and the delay.
    """
    if not isinstance(delays, Collection) or isinstance(delays, str) or len(delays) == 0:
        raise refused("delays", delays, "give one list of delays a layer, such as [[0, 1], [0, 1]]")
    for layer, given in enumerate(delays, start=1):
        if not isinstance(given, Collection) or isinstance(given, str) or len(given) == 0:
            raise refused("delays", given, f"layer {layer} needs a list of at least one delay")
        for delay in given:
            if not isinstance(delay, Real) or not 0 <= float(delay) < math.inf:
                raise refused("delays", delay, f"layer {layer} needs finite delays of at least 0")
    return [[float(delay) for delay in given] for given in delays]


def check_generic(delays: Sequence[Sequence[float]]) -> None:
    """Refuse delays of which two sums coincide: different paths would then share an instant.

    Raises ParameterError: names the layer, the instant and the paths, line by line from the input.

    >>> check_generic([[0, 1], [0, 1]])
    Traceback (most recent call last):
    filterwise.errors.ParameterError: delays are not generic: at layer 2 the paths (0, 1) and (1, 0) both ...
    """
    paths: list[tuple[int, ...]] = [()]
    times = [0.0]
    for layer, own in enumerate(check_delays(delays), start=1):
        paths = [(*path, line) for path in paths for line in range(len(own))]
        times, table = arrivals(times, own)
        for time, places in zip(times, table, strict=True):
            if len(places) > 1:
                one, two = (paths[place] for place in places[:2])
                raise ParameterError(
                    f"delays are not generic: at layer {layer} the paths {one} and {two} both arrive at "
                    f"{time:g}; all sums must differ by at least {TOLERANCE:g}"
                )
        paths = [paths[places[0]] for places in table]


def draw_delays(
    kind: str, count: int, layers: int, generator: torch.Generator | None = None
) -> list[list[float]]:
    """A delay set of one of the three kinds, one ascending list a layer.

    Parameters
    ----------
    kind : one of :data:`KINDS`.
    count : M, delays a layer.
    layers : L.
    generator : on the CPU; draws the delays of "generic" and "shared", uniform on (0, 1).

    Raises ParameterError: an unknown kind, M or L below 1, no generator where one is needed, or so many
    delays that no draw keeps all sums apart.

    >>> draw_delays("equal", 3, 2)
    [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]
    """
    check_choice("kind", kind, KINDS)
    count, layers = check_count("delays", count), check_count("layers", layers)
    if kind == "equal":
        return [[float(delay) for delay in range(count)] for _ in range(layers)]
    if generator is None:
        raise ParameterError(f"kind={kind!r} draws its delays; give a generator")
    # sums of one shared set commute, which leaves as many as there are multisets of lines
    expected = count**layers if kind == "generic" else math.comb(count + layers - 1, layers)
    for _ in range(_DRAWS):
        sets = 1 if kind == "shared" else layers
        drawn = torch.rand(sets, count, generator=generator, dtype=torch.float64, device="cpu")
        delays = (drawn.sort(1).values.tolist() * layers)[:layers]
        if len(output_times(delays)) == expected:
            return delays
    raise ParameterError(
        f"delays={count!r} with layers={layers!r}: no draw of {_DRAWS} kept all sums {TOLERANCE:g} apart"
    )
