"""The numbers that describe a network; every refusal says what is allowed."""

from __future__ import annotations

import math
from numbers import Integral, Real

from filterwise.errors import ParameterError


def check_count(parameter: str, value: object, least: int = 1) -> int:
    """``value`` as an int; an integer of at least ``least``, never a rounded float or a bool.

    Raises
    ------
    ParameterError
        Names the parameter, the value and the bound.

    >>> check_count("d1", 0)
    Traceback (most recent call last):
    filterwise.errors.ParameterError: d1=0 is not allowed; it must be an integer of at least 1
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ParameterError(
            f"{parameter}={value!r} is not allowed; it must be an integer of at least {least}"
        )
    return int(value)


def check_positive(parameter: str, value: object) -> float:
    """``value`` as a float; a finite number above 0.

    Raises
    ------
    ParameterError
        Names the parameter and the value.

    >>> check_positive("width", -1.0)
    Traceback (most recent call last):
    filterwise.errors.ParameterError: width=-1.0 is not allowed; it must be a finite number above 0
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < math.inf:
        raise ParameterError(f"{parameter}={value!r} is not allowed; it must be a finite number above 0")
    return float(value)


def check_share(parameter: str, value: object) -> float:
    """``value`` as a float; a number of at least 0 and below 1, such as a dropout.

    Raises
    ------
    ParameterError
        Names the parameter and the value.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) < 1:
        raise ParameterError(f"{parameter}={value!r} is not allowed; it must be at least 0 and below 1")
    return float(value)


def check_flag(parameter: str, value: object) -> bool:
    """``value`` if it is True or False.

    Raises
    ------
    ParameterError
        Names the parameter and the value.
    """
    if not isinstance(value, bool):
        raise ParameterError(f"{parameter}={value!r} is not allowed; choose from True, False")
    return value


def scaled_filters(parameter: str, standard: int, factor: float) -> int:
    """``standard * factor`` rounded to the nearest integer (a half upwards): a scaled number of filters.

    Raises
    ------
    ParameterError
        If no filter is left; the message says the smallest factor that leaves one.

    >>> scaled_filters("width", 64, 0.25)
    16
    >>> scaled_filters("width", 64, 0.001)
    Traceback (most recent call last):
    filterwise.errors.ParameterError: width=0.001 leaves 0 of 64 filters; it must be at least 0.0078125
    """
    count = math.floor(standard * factor + 0.5)
    if count < 1:
        raise ParameterError(
            f"{parameter}={factor!r} leaves 0 of {standard} filters; it must be at least {0.5 / standard!r}"
        )
    return count
