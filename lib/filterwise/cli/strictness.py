"""What Click leaves open: options given twice, near misses among values, options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from filterwise.errors import ParameterError, near_miss
from filterwise.parameters import PROFILES, check_meaning


class OneOf(click.Choice[str]):
    """A choice that names the near miss."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        known = f"{value!r} is not known; choose from {', '.join(map(repr, self.choices))}"
        return known + near_miss(value, self.choices)


PROFILE = OneOf(PROFILES)


class Strict(click.Command):
    """A command that refuses an option given twice, where Click takes the last."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = self.make_parser(ctx).parse_args(list(args))[2]
        for option in given:
            if isinstance(option, click.Option) and not option.multiple and given.count(option) > 1:
                raise click.UsageError(f"{option.opts[-1]} is given twice", ctx)
        return super().parse_args(ctx, args)


def name_and_value(option: str, text: str) -> tuple[str, str]:
    """The two sides of ``NAME=VALUE``; a :class:`ParameterError` if one of them is missing."""
    name, _, value = text.partition("=")
    if not name or "=" not in text:
        raise ParameterError(f"{option} {text} has no value; write {option} {name or 'NAME'}=VALUE")
    return name, value


def _checked(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """An option with the meaning of a chapter's parameter, refused before anything heavy is imported."""
    if value is not None:
        check_meaning(str(option.name), value)
    return value


def work(jobs: int | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of commands that train: how many at a time, where, and where things are kept."""
    at_least_1 = click.IntRange(min=1)
    listed = [
        click.option("--jobs", type=at_least_1, default=jobs, metavar="N", help="How many at a time."),
        click.option(
            "--device", default="auto", show_default=True, callback=_checked,
            help="auto, cpu, cuda, cuda:1, mps.",
        ),
        click.option("--per-device", type=at_least_1, default=1, metavar="N", help="Runs on one GPU."),
        click.option(
            "--together", type=at_least_1, default=1, metavar="N",
            help="Train N runs that differ in seed or rate alone as one stack, on one CUDA device.",
        ),
        click.option("--data-root", metavar="DIR", callback=_checked, help="Where the image sets are."),
        click.option("--runs", "root", metavar="DIR", help="Where runs are stored (default: data/runs)."),
        click.option("--dry-run", is_flag=True, help="Print what would run and how long it would take."),
    ]  # fmt: skip

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(listed):
            command = option(command)
        return command

    return add
