"""``filterwise data`` and ``filterwise claims``: what there is, and what held."""

from __future__ import annotations

import json
import sys
import warnings

import click

from filterwise.cli.strictness import PROFILE, Strict
from filterwise.errors import ParameterError


@click.group(invoke_without_command=True)
@click.pass_context
def data(context: click.Context) -> None:
    """Image sets: list them, look at one, fetch one."""
    if context.invoked_subcommand is None:
        context.invoke(list_sets)
        click.echo("filterwise data info NAME says where one is; filterwise doctor, which are here")


@data.command("list", cls=Strict)
def list_sets() -> None:
    """All sets."""
    from filterwise import data

    for name in data.names():
        click.echo(data.describe(name))


@data.command(cls=Strict)
@click.argument("name")
@click.option("--root", metavar="DIR", help="Where the image sets are.")
def info(name: str, root: str | None) -> None:
    """One set: its source, size and digest."""
    _look(name, root, download=False)


@data.command(cls=Strict)
@click.argument("name")
@click.option("--root", metavar="DIR", help="Where the image sets are.")
def fetch(name: str, root: str | None) -> None:
    """Download a set."""
    from filterwise import data

    info = data.describe(name)
    if not info.downloadable:
        how = {"embedded": "it is embedded", "averaged": f"it is made from {info.base}"}
        why = how.get(info.kind, "give its folder by --root to the other commands")
        raise ParameterError(f"{info.name} cannot be downloaded: {why}")
    _look(name, root, download=True)


def _look(name: str, root: str | None, download: bool) -> None:
    from filterwise import data

    for split in data.describe(name).splits:
        found = data.load(name, split=split, root=root, download=download)
        click.echo(
            f"{found.title}, {split}: {len(found):,} images, {len(found.label_names)} labels, "
            f"{found.source}, digest {found.digest[:16]}"
        )


@click.command(cls=Strict)
@click.argument("chapter", required=False)
@click.option("--profile", type=PROFILE, help="Of one profile only.")
@click.option("--csv", is_flag=True, help="The whole table as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Verdicts, intervals and their sources as JSON.")
def claims(chapter: str | None, profile: str | None, csv: bool, as_json: bool) -> int:
    """What the papers claim and what was measured here.

    CHAPTER is a name such as 4-sfp; all chapters if it is left out. Rows of records that were changed after
    they were written are named, and not used.
    """
    if csv and as_json:
        raise ParameterError("--csv and --json are two formats; give one of them")
    from filterwise import claims
    from filterwise.runs.row_digests import EditedRow

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        found = list(claims.findings(chapter, profile))
    table = claims.table_of(found)
    for words in dict.fromkeys(str(each.message) for each in said):
        click.echo(f"filterwise: {words}", err=True)
    status = int(any(issubclass(each.category, EditedRow) for each in said))
    if as_json:
        json.dump(claims.entries(found), sys.stdout, indent=1, ensure_ascii=False, allow_nan=False)
        click.echo()
        return status
    if csv:
        table.to_csv(sys.stdout, index=False)
        return status
    wanted = ("chapter", "claim", "profile", "n", "verdict", "paper", "ours")
    shown = [column for column in wanted if column in table]
    click.echo(table[shown].to_string(index=False, max_colwidth=60, na_rep=""))
    click.echo(
        '"ours" is the claim\'s own quantity; what decided, which may be a control, is in --csv and --json'
    )
    verdicts = table["verdict"].value_counts()
    click.echo(", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()))
    return status
