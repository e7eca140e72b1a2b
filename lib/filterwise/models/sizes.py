"""The numbers that describe a network. Every check raises ParameterError, which says what is allowed."""

from __future__ import annotations

import math
from numbers import Real

from filterwise.errors import ParameterError, check_count, refused


def check_positive(parameter: str, value: object) -> float:
    """``value`` as a float; a finite number above 0."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < math.inf:
        raise refused(parameter, value, "it must be a finite number above 0")
    return float(value)


def check_share(parameter: str, value: object) -> float:
    """``value`` as a float; a number of at least 0 and below 1, such as a dropout."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) < 1:
        raise refused(parameter, value, "it must be at least 0 and below 1")
    return float(value)


def check_flag(parameter: str, value: object) -> bool:
    """``value`` if it is True or False."""
    if not isinstance(value, bool):
        raise refused(parameter, value, "choose from True, False")
    return value


def scaled_filters(parameter: str, standard: int, factor: float) -> int:
    """``standard * factor`` rounded to the nearest integer (a half upwards): a scaled number of filters.

    Raises ParameterError if none is left; it says how large the factor must be.
    """
    count, least = math.floor(standard * factor + 0.5), 0.5 / standard
    if count < 1:
        raise ParameterError(
            f"{parameter}={factor!r} leaves 0 of {standard} filters; it must be at least {least}"
        )
    return count


def first_filters(given: int | None, standard: int, width: float, name: str = "d1") -> int:
    """The first layer's filters: ``given`` itself, or else ``standard * width``, rounded; never both.

    ``name`` is what the network calls them.
    """
    if given is None:
        return scaled_filters("width", standard, width)
    if width != 1.0:
        raise ParameterError(f"{name}={given!r} and width={width!r} both set the filters; give one of them")
    return check_count(name, given)
