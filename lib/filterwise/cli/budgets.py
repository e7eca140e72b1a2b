"""``filterwise record``: run and measure what is missing, inside a budget of time."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import click

from filterwise.cli.strictness import PROFILE, Strict, work
from filterwise.errors import ParameterError, check_choice
from filterwise.parameters import PROFILES


@click.command(cls=Strict)
@click.argument("chapter", required=False)
@click.option(
    "--all", "every", is_flag=True, help="All chapters, one after the other, inside the one budget."
)
@click.option("--profile", type=PROFILE)
@click.option("--budget", default="8m", show_default=True, help="Such as 90s, 8m, 1h30m.")
@click.option("--bundle", metavar="NAME", help="Only the jobs that decide these claims together.")
@click.option("--stale", is_flag=True, help="Also redo what was made by code that has changed since.")
@click.option("--out", metavar="DIR", help="Folder of records (default: data/records).")
@work(jobs=1)
def record(
    chapter: str | None, every: bool, profile: str | None, budget: str, bundle: str | None, jobs: int,
    dry_run: bool, **common: Any,
) -> int:  # fmt: skip
    """Run and measure what a chapter's claims still miss, inside a budget of time.

    CHAPTER is a name such as 4-sfp. Without it and without --all: what is recorded of each.
    """
    from filterwise.papers.chapter import folders
    from filterwise.papers.chapter import jobs as jobs_of
    from filterwise.runs.durations import parse_budget

    seconds = parse_budget(budget)  # at once; the chapter's list takes a second
    if chapter is not None and every:
        raise ParameterError(f"{chapter} and --all are two answers to one question; give one of them")
    if chapter is None and not every:
        if profile or bundle or dry_run:
            raise ParameterError("a CHAPTER is missing, such as 4-sfp; --all takes all of them")
        return _print_recorded(common["out"])
    if profile is None:
        raise ParameterError("--profile is missing; choose from " + ", ".join(map(repr, PROFILES)))
    if every and bundle:
        raise ParameterError(f"--bundle {bundle} is of one chapter; give its name in place of --all")
    queues = {}
    for name in folders() if chapter is None else (chapter,):
        queues[name] = jobs_of(name, profile, common["data_root"])
    if bundle is not None:
        (queue,) = queues.values()
        check_choice("bundle", bundle, sorted({job.bundle for job in queue if job.bundle}))
        queues = {name: [job for job in queue if job.bundle == bundle] for name in queues}
    if dry_run:
        del common["per_device"], common["together"]
        lists = partial(_print_pending, profile, jobs=jobs, common=common, shortly=every)
        return max(lists(name, queue) for name, queue in queues.items())
    end, status = time.monotonic() + seconds, 0
    for name, queue in queues.items():
        left = end - time.monotonic()
        if left <= 0:
            click.echo(f"{name}: not begun, the budget of {budget} is spent")
            continue
        if every:
            click.echo(f"{name}:")
        status |= _record(name, profile, queue, left, jobs=jobs, bundle=bundle, **common)
    return status


def _record(chapter: str, profile: str, queue: list[Any], budget: float, **common: Any) -> int:
    from filterwise.runs.recording import record

    report = record(chapter, profile, queue, budget, say=lambda line: click.echo(line), **common)
    for word, listed in (("blocked", report.blocked), ("failed", report.failed)):
        for name, error in listed.items():
            click.echo(f"filterwise: {word}: {name}: {error}", err=True)
    written = f" in {report.path}" if report.done else ""
    click.echo(
        f"{len(report.done)} recorded{written}, {len(report.paused) + len(report.left)} to do, "
        f"{len(report.failed)} failed, {len(report.blocked)} blocked"
    )
    return 1 if report.failed or (report.blocked and not report.done) else 0


def _print_recorded(out: str | None) -> int:
    """A line a chapter: rows of records by profile."""
    from filterwise.papers.chapter import folders
    from filterwise.runs.records import table_path
    from filterwise.runs.row_digests import rows_of_text

    click.echo("recorded" + "".join(f"{profile:>9}" for profile in ("", *PROFILES)))
    for chapter in folders():
        paths = [table_path(chapter, profile, out) for profile in PROFILES]
        counts = [len(rows_of_text(path.read_text("utf-8"))) if path.is_file() else 0 for path in paths]
        click.echo(f"{chapter:17}" + "".join(f"{count or '-':>9}" for count in counts))
    click.echo(
        "filterwise record CHAPTER --profile cifar --dry-run says what is missing, and how long it takes"
    )
    click.echo("filterwise record --all --profile cifar --budget 8h records what is missing of all chapters")
    return 0


def _print_pending(
    profile: str, chapter: str, queue: list[Any], *, jobs: int, common: dict[str, Any], shortly: bool
) -> int:
    from filterwise.runs import cost
    from filterwise.runs.queueing import pending, total_seconds
    from filterwise.runs.time_left import text

    listed = pending(chapter, profile, queue, **common)
    to_do = [each for each in listed if each.status not in ("done", "blocked", "failed")]
    for each in () if shortly else listed:
        took = text(each.seconds) if each in to_do else each.reason
        click.echo(f"{each.status:8} {each.job.name:40} {took}".rstrip())
    timed = all(each.timed for each in to_do)
    total = f", {cost.hope(total_seconds(to_do) / jobs, timed)}" if to_do else ""
    if not shortly:
        _print_bundles(chapter, profile, listed, to_do, jobs)
    click.echo((f"{chapter}: " if shortly else "") + f"{len(to_do)} of {len(listed)} jobs to do{total}")
    return 1 if any(each.status == "failed" for each in listed) else 0


def _print_bundles(chapter: str, profile: str, listed: list[Any], to_do: list[Any], jobs: int) -> None:
    """A line a bundle, in the order of the queue: what is left of it, here and on the machine that it is
    planned for, and the claims that it decides."""
    from filterwise.papers.chapter import decided_by
    from filterwise.runs.jobs import planned_for
    from filterwise.runs.queueing import total_seconds
    from filterwise.runs.time_left import text

    ordered = sorted(listed, key=lambda each: each.job.priority)
    for name in dict.fromkeys(each.job.bundle for each in ordered if each.job.bundle):
        own = [each for each in listed if each.job.bundle == name]
        left = [each for each in own if each in to_do]
        words = "about " if all(each.timed for each in left) else ""
        took = f", {words}{text(total_seconds(left) / jobs)} here" if left else ""
        planned = [each.job.cost_seconds for each in left if each.job.cost_seconds]
        if planned and planned_for(profile) == "cuda":
            took += f", {text(sum(planned))} foreseen on an H200"
        claims = decided_by(chapter, name, profile)
        decides = f"; decides {', '.join(claims)}" if claims else ""
        click.echo(f"bundle {name!r}: {len(left)} of {len(own)} jobs to do{took}{decides}")
