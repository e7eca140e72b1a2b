"""Errors that name the parameter, the value given and the choices, with the near miss."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral, Real


class FilterwiseError(Exception):
    """Base of every error that this library raises on purpose."""


class ParameterError(FilterwiseError, ValueError):
    """A parameter has a value, a name or a type that is not allowed."""


class DataError(FilterwiseError):
    """A data source is missing, broken or not what it says it is; the message names file and row."""


class TrainingDiverged(FilterwiseError, ArithmeticError):
    """The loss, or what a network answers, is no longer a finite number."""


class RunError(FilterwiseError):
    """A stored run or record is missing, broken or locked."""


class BookError(FilterwiseError):
    """The book cannot be built; the message names the chapter and cell, or the page."""


def near_miss(value: object, choices: Iterable[object]) -> str:
    """The most similar choice as a phrase for the end of a message, or an empty string.

    >>> near_miss("vgg61", ["vgg6", "vgg16", "lenet5"])
    "; did you mean 'vgg6'?"
    """
    close = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_choice(parameter: str, value: object, choices: Iterable[object]) -> None:
    """Raise unless ``value`` is one of ``choices``.

    Raises ParameterError: names the parameter, the value, the choices and the near miss.

    >>> check_choice("plan", "L4", ["V", "L3", "L2"])
    Traceback (most recent call last):
    filterwise.errors.ParameterError: plan='L4' is not known; choose from 'V', 'L3', 'L2'; did you mean 'L3'?
    """
    allowed = list(choices)
    if value not in allowed:
        listed = ", ".join(repr(choice) for choice in allowed)
        raise ParameterError(
            f"{parameter}={value!r} is not known; choose from {listed}{near_miss(value, allowed)}"
        )


def check_at_least(parameter: str, value: float, least: float) -> None:
    """Raise unless ``value >= least``.

    Raises ParameterError: names the parameter, the value and the bound; what is no number is refused as such.

    >>> check_at_least("epochs", 0, 1)
    Traceback (most recent call last):
    filterwise.errors.ParameterError: epochs=0 is too small; it must be at least 1
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise refused(parameter, value, f"it must be a number of at least {least!r}")
    if not value >= least:
        raise ParameterError(f"{parameter}={value!r} is too small; it must be at least {least!r}")


def refused(parameter: str, value: object, allowed: str) -> ParameterError:
    """The error to raise for a value, with what would be allowed."""
    return ParameterError(f"{parameter}={value!r} is not allowed; {allowed}")


def check_count(parameter: str, value: object, least: int = 1) -> int:
    """``value`` as an int; an integer of at least ``least``, never a rounded float or a bool."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise refused(parameter, value, f"it must be an integer of at least {least}")
    return int(value)
