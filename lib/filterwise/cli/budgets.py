"""``filterwise record``: run and measure what is missing, inside a budget of time."""

from __future__ import annotations

from typing import Any

import click

from filterwise.cli.strictness import PROFILE, Strict, work
from filterwise.errors import check_choice


@click.command(cls=Strict)
@click.argument("chapter")
@click.option("--profile", type=PROFILE, required=True)
@click.option("--budget", default="8m", show_default=True, help="Such as 90s, 8m, 1h30m.")
@click.option("--bundle", metavar="NAME", help="Only the jobs that decide these claims together.")
@click.option("--stale", is_flag=True, help="Also redo what was made by code that has changed since.")
@click.option("--out", metavar="DIR", help="Folder of records (default: data/records).")
@work(jobs=1)
def record(
    chapter: str, profile: str, budget: str, bundle: str | None, jobs: int, per_device: int, together: int,
    dry_run: bool, **common: Any,
) -> int:  # fmt: skip
    """Run and measure what a chapter's claims still miss, inside a budget of time.

    CHAPTER is a name such as 4-sfp.
    """
    from filterwise.papers.chapter import jobs as jobs_of
    from filterwise.runs.durations import parse_budget

    parse_budget(budget)  # at once; the chapter's list takes a second

    queue = jobs_of(chapter, profile, common["data_root"])
    if bundle is not None:
        check_choice("bundle", bundle, sorted({job.bundle for job in queue if job.bundle}))
        queue = [job for job in queue if job.bundle == bundle]
    if dry_run:
        return _print_pending(chapter, profile, queue, jobs, common)
    from filterwise.runs.recording import record

    report = record(
        chapter, profile, queue, budget, jobs=jobs, per_device=per_device, together=together, bundle=bundle,
        say=lambda line: click.echo(line), **common,
    )  # fmt: skip
    for word, listed in (("blocked", report.blocked), ("failed", report.failed)):
        for name, error in listed.items():
            click.echo(f"filterwise: {word}: {name}: {error}", err=True)
    written = f" in {report.path}" if report.done else ""
    click.echo(
        f"{len(report.done)} recorded{written}, {len(report.paused) + len(report.left)} to do, "
        f"{len(report.failed)} failed, {len(report.blocked)} blocked"
    )
    return 1 if report.failed or (report.blocked and not report.done) else 0


def _print_pending(chapter: str, profile: str, queue: list[Any], jobs: int, common: dict[str, Any]) -> int:
    from filterwise.runs import cost
    from filterwise.runs.queueing import pending

    listed = pending(chapter, profile, queue, **common)
    to_do = [each for each in listed if each.status not in ("done", "blocked", "failed")]
    for each in listed:
        took = cost.text(each.seconds) if each in to_do else each.reason
        click.echo(f"{each.status:8} {each.job.name:40} {took}".rstrip())
    total = f", about {cost.text(sum(each.seconds for each in to_do) / jobs)}" if to_do else ""
    _print_bundles(chapter, profile, listed, to_do, jobs)
    click.echo(f"{len(to_do)} of {len(listed)} jobs to do{total}")
    return 1 if any(each.status == "failed" for each in listed) else 0


def _print_bundles(chapter: str, profile: str, listed: list[Any], to_do: list[Any], jobs: int) -> None:
    """A line a bundle, in the order of the queue: what is left of it, here and on the machine that it is
    planned for, and the claims that it decides."""
    from filterwise.papers.chapter import decided_by
    from filterwise.runs import cost
    from filterwise.runs.jobs import planned_for

    ordered = sorted(listed, key=lambda each: each.job.priority)
    for name in dict.fromkeys(each.job.bundle for each in ordered if each.job.bundle):
        own = [each for each in listed if each.job.bundle == name]
        left = [each for each in own if each in to_do]
        took = f", about {cost.text(sum(each.seconds for each in left) / jobs)} here" if left else ""
        planned = [each.job.cost_seconds for each in left if each.job.cost_seconds]
        if planned and planned_for(profile) == "cuda":
            took += f", {cost.text(sum(planned))} foreseen on an H200"
        claims = decided_by(chapter, name, profile)
        decides = f"; decides {', '.join(claims)}" if claims else ""
        click.echo(f"bundle {name!r}: {len(left)} of {len(own)} jobs to do{took}{decides}")
