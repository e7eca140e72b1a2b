"""``filterwise run``, ``book`` and ``release``: chapters executed one by one, or all of them into pages."""

from __future__ import annotations

from pathlib import Path

import click

from filterwise.cli.strictness import PROFILE, Strict, name_and_value
from filterwise.errors import FilterwiseError, ParameterError, RunError


class _Run(Strict):
    """Reads ``-p NAME VALUE``, as papermill writes it, like ``-p NAME=VALUE``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        joined: list[str] = []
        rest = iter(args)
        for word in rest:
            joined.append(word)
            name = next(rest, None) if word in ("-p", "--parameter") else None
            if name is not None:
                value = None if "=" in name else next(rest, None)
                joined.append(name if value is None else f"{name}={value}")
        return super().parse_args(ctx, joined)


@click.command(cls=_Run)
@click.argument("chapter")
@click.option(
    "-p", "--parameter", multiple=True, metavar="NAME=VALUE", help="Any number of times; also -p NAME VALUE."
)
@click.option("-o", "--output", metavar="OUT", help="Notebook to write (default: below _build/runs).")
@click.option("--list", "only_list", is_flag=True, help="Print the chapter's parameters and stop.")
@click.option("--log", is_flag=True, help="Print what the cells print.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def run(
    chapter: str, parameter: tuple[str, ...], output: str | None, only_list: bool, log: bool, quiet: bool
) -> int:
    """Run a chapter with parameters that are checked before a kernel starts.

    CHAPTER is a name such as 4-sfp, or the path of a notebook.
    """
    from filterwise.book.launcher import ChapterFailed, chapter_path, default_output, launch
    from filterwise.parameters import from_texts, read

    notebook = chapter_path(chapter)
    schema = read(notebook)
    if only_list:
        if parameter or output:
            raise ParameterError("--list prints the parameters and runs nothing; leave out -p and -o")
        for each in schema.values():
            comment = f"  # {each.comment}" if each.comment else ""
            click.echo(f"{each.name}: {each.type} = {each.default!r}{comment}")
        return 0
    values = from_texts(schema, [name_and_value("-p", text) for text in parameter])
    if not chapter.endswith(".ipynb") and set(values) - {"profile", "seed", "device", "data_root"}:
        from filterwise.papers.chapter import check_page

        check_page(chapter, {**{name: each.default for name, each in schema.items()}, **values})
    target = Path(output) if output else default_output(notebook, values)
    try:
        launch(notebook, values, target, log=log, progress=not quiet)
    except ChapterFailed as error:
        click.echo(f"filterwise: error: {notebook.stem}: {error}", err=True)
        return error.status
    click.echo(target)
    return 0


@click.command(cls=Strict)
@click.argument("action", type=click.Choice(["build"]), default="build")
@click.option("--out", metavar="DIR", help="Folder for the pages (default: _build/html).")
@click.option("--profile", type=PROFILE, default="quick", show_default=True, help="Of all chapters.")
@click.option("--force", is_flag=True, help="Execute and render everything again.")
def book(action: str, out: str | None, profile: str, force: bool) -> int:
    """Execute the chapters that changed and build the book."""
    from filterwise.book.assembly import build

    try:
        build(out=out, parameters={"profile": profile}, force=force, say=click.echo)
    except (ParameterError, RunError):  # a wrong folder, or a full one
        raise
    except FilterwiseError as error:  # one of many lines: the cell, or every warning of Sphinx
        click.echo(f"filterwise: error: the book was not built: {error}", err=True)
        return 1
    return 0


@click.command(cls=Strict)
@click.argument("out", metavar="DIR")
def release(out: str) -> int:
    """Write pages, records, verdicts as JSON, environment and source into one new folder.

    For an archive: the book is built first where it changed; SHA256SUMS lists every file.
    """
    from filterwise.book.release import archive

    try:
        archive(out, say=click.echo)
    except (ParameterError, RunError):
        raise
    except FilterwiseError as error:
        click.echo(f"filterwise: error: the book was not built: {error}", err=True)
        return 1
    return 0
