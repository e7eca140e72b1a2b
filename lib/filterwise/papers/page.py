"""What all pages show in the same way: headline, scale, numbered figures, tables, pictures, claims."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from filterwise import claims
from filterwise.claims.ledger_grid import SCALES
from filterwise.figures.book_figure import BookFigure
from filterwise.figures.captions import NotYet, Shown, captioned, marked_up
from filterwise.figures.pictures import picture_strip
from filterwise.figures.tables import NothingToShow, counted, seeds_named, shown
from filterwise.figures.twin import Twin
from filterwise.papers.chapter import Chapter, chapter_of
from filterwise.papers.headline import worded
from filterwise.runs.records import load_records

if TYPE_CHECKING:
    from filterwise.data.imageset import ImageSet

#: Rows of the at-a-glance table, as :attr:`Chapter.paper_scale` names them.
SCALE = ("network", "images", "epochs", "seeds", "hardware", "time")


class Page:
    """One chapter's page; its methods are the values of cells.

    Attributes
    ----------
    chapter : what the chapter says of its papers; may be given by its name.
    folders : ``claims_folder`` and ``records_folder`` for the ledger; empty for the repository's own.

    >>> page = Page("4-sfp")
    >>> page.show(shown, pd.DataFrame(), profile="cifar")
    Not recorded yet. Run `filterwise record 4-sfp --profile cifar`.
    """

    def __init__(self, about: Chapter | str, **folders: Any) -> None:
        self.chapter = chapter_of(about) if isinstance(about, str) else about
        self.folders = folders
        self._findings: list[claims.Finding] = []
        self._numbers: dict[str, int] = {}

    def records(self, profile: str) -> pd.DataFrame:
        """The chapter's records of a profile, one row a run, that remember the profile in ``attrs``."""
        table = load_records(self.chapter.name, profile, root=self.folders.get("records_folder"))
        table.attrs["profile"] = profile
        return table

    def findings(self) -> list[claims.Finding]:
        """The chapter's claims at every profile, judged once a page."""
        if not self._findings:
            self._findings = list(claims.findings(self.chapter.name, **self.folders))
        return self._findings

    def ledger(self) -> pd.DataFrame:
        """:meth:`findings` as a table, as :func:`filterwise.claims.ledger` gives it."""
        return claims.table_of(self.findings())

    def figure(
        self,
        drawn: BookFigure | Sequence[BookFigure] | Shown | Twin,
        caption: str,
        name: str,
        alt: str = "",
    ) -> Shown | Twin:
        """A figure with this page's next number; a name that was shown before keeps its number.

        Parameters
        ----------
        drawn, caption, name, alt : as :func:`filterwise.figures.captioned`.
        """
        number = self._numbers.setdefault(name, len(self._numbers) + 1)
        return captioned(drawn, caption, name, f"Figure {self.chapter.name.split('-')[0]}.{number}", alt)

    def show(
        self,
        make: Callable[..., Any] | pd.DataFrame,
        *given: Any,
        caption: str | Callable[..., str] = "",
        name: str = "",
        digits: int | Mapping[str, int] = 3,
        profile: str = "",
        needs: str = "",
        **options: Any,
    ) -> Any:
        """``make(*given, **options)`` as a numbered figure or a table; a line where nothing is recorded yet.

        Parameters
        ----------
        make : a function that returns a figure, an explorer or a table; or a table.
        given, options : its arguments. An empty table or mapping among ``given``, or a table without a
            column that ``make`` needs, is what has not been recorded; any other error is raised.
        caption, name : of a figure; a caption that takes numbers is a function of ``given``, or one without
            arguments, called only if there is something to show.
        digits : of a table, as :func:`filterwise.figures.shown`.
        profile : named in the line; by default that of the records in ``given``.
        needs : the line's own words instead.
        """
        tables = [part for part in (make, *given) if isinstance(part, (pd.DataFrame, pd.Series, Mapping))]
        attrs = [getattr(table, "attrs", {}) for table in tables]
        profile = profile or next((known["profile"] for known in attrs if "profile" in known), "")
        command = f"filterwise record {self.chapter.name}{f' --profile {profile}' if profile else ''}"
        needs = needs or f"Run `{command}`."
        if any(len(table) == 0 for table in tables):
            return NotYet(needs)
        try:
            made = make(*given, **options) if callable(make) else make
        except NothingToShow:
            return NotYet(needs)
        if isinstance(made, (pd.DataFrame, pd.Series)):
            made = made.to_frame() if isinstance(made, pd.Series) else made
            if made.empty:
                return NotYet(needs)
            made = shown(made, digits)
        if not caption:
            return made
        if callable(caption):
            caption = caption(*given) if inspect.signature(caption).parameters else caption()
        return self.figure(made, caption, name) if name else captioned(made, caption)

    def pictures(self, ds: ImageSet, count: int = 10, caption: str = "", name: str = "") -> Shown | Twin:
        """Pictures of a data set beside their labels, one of each label in turn, in the set's own order.

        Parameters
        ----------
        ds : a set with labels (N,).
        count : pictures to show.
        caption : by default what the set is.
        """
        turns: dict[int, int] = {}
        order = []
        for place, label in enumerate(ds.labels.tolist()):
            turns[label] = turns.get(label, -1) + 1
            order.append((turns[label], label, place))
            if len(turns) == ds.labels_count and min(turns.values()) * ds.labels_count > count:
                break
        places = [place for *_, place in sorted(order)[:count]]
        labels = [str(ds.label_names[int(ds.labels[place])]) for place in places]
        channels, height, width = ds.shape
        words = caption or (
            f"{ds.title}: {counted(len(ds), 'picture')} of {height} × {width} pixels, "
            f"{'grey' if channels == 1 else 'in colour'}, {counted(ds.labels_count, 'label')}."
        )
        return self.figure(picture_strip(ds.images[places], labels), words, name or f"fig-{_slug(ds)}")

    def claims(self) -> Shown:
        """The chapter's grid of verdicts, then its claims card by card; scales without records are folded."""
        parts = [claims.chapter_grid(self.findings())]
        for profile in dict.fromkeys(finding.profile for finding in self.findings()):
            own = [finding for finding in self.findings() if finding.profile == profile]
            table = claims.chapter_table(own)
            if any(finding.verdict != "not measured" for finding in own):
                parts.append(f'<h3 class="fw-scale">{profile} ({SCALES[profile]})</h3>\n{table}')
            else:
                line = f"{profile} ({SCALES[profile]}): none of the claims is measured yet"
                parts.append(f"<details><summary>{line}</summary>\n{table}</details>")
        return Shown("\n".join(parts), "The claims of this chapter.")

    def found(self) -> Shown:
        """The headline: the chapter's sentences with the verdicts and numbers of the ledger.

        A sentence whose claim is measured at none of its profiles is left out. These claims, and all that are
        measured nowhere, are named.

        Raises ParameterError: a sentence speaks of a claim that the chapter does not have.
        """
        table = self.ledger()
        worded_ones = [(each.claim, worded(each, table, self.chapter.name)) for each in self.chapter.found]
        said = [text for _, text in worded_ones if text]
        open_claims = {claim for claim, text in worded_ones if not text}
        nowhere = (table["verdict"] == "not measured").groupby(table["claim"]).all()
        open_claims |= set(nowhere.index[nowhere])
        if open_claims:
            named = {finding.claim.id: finding.claim.plain for finding in self.findings()}
            missing = ", ".join(
                f"{claim} ({plain})" for claim, plain in named.items() if claim in open_claims
            )
            said.append(f"Not measured yet: {missing}.")
        link = '<a href="#claims-of-this-chapter">claim by claim</a>'
        words = " ".join(said)
        return Shown(
            f'<p class="fw-found"><strong>Found here:</strong> {marked_up(words)} ({link})</p>', words
        )

    def glance(self) -> Shown:
        """The at-a-glance table: the question, the papers' scale beside ours, verdicts, what was not read."""
        ledger = self.ledger()
        planned = list(dict.fromkeys(ledger["profile"]))
        ours = {name: self.records(name) for name in planned}
        judged = set(ledger["profile"][ledger["verdict"] != "not measured"])
        profiles = [name for name in planned if len(ours[name]) or name in judged]
        waiting = [f"“{SCALES[name]}”" for name in planned if name not in profiles]
        scales = {name: _scale(records) for name, records in ours.items()}
        wide = len(profiles) + 1
        heads = "".join(f'<th scope="col">here, {name} ({SCALES[name]})</th>' for name in profiles)
        rows = [_row("question", escape(self.chapter.question), wide)]
        rows.append(f'<tr><td></td><th scope="col">the papers</th>{heads}</tr>')
        for what in SCALE:
            told = [self.chapter.paper_scale.get(what, "could not be read")]
            told += [scales[name].get(what, "not recorded yet") for name in profiles]
            rows.append(_row(what, *map(escape, told)))
        verdicts = [_verdicts(ledger[ledger["profile"] == name]) for name in profiles]
        rows.append(_row("claims", '<a href="#claims-of-this-chapter">as stated</a>', *verdicts))
        best = next((name for name in reversed(profiles) if len(ours[name])), None)
        scale = f"at most at the scale “{SCALES[best]}”" if best else "nothing is recorded yet"
        waits = f"; not recorded yet: {' and '.join(waiting)}" if best and waiting else ""
        rows.append(_row("kind", f"independent replication, {scale}{waits}", wide))
        if self.chapter.unread:
            rows.append(_row("could not be read", escape(self.chapter.unread), wide))
        body = "\n".join(rows)
        return Shown(
            '<div class="fw-table" role="region" tabindex="0" aria-label="at a glance">'
            f'<table class="dataframe fw-glance">\n<tbody>\n{body}\n</tbody></table></div>',
            f"{self.chapter.question} {scale}",
        )


def _slug(ds: ImageSet) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in f"{ds.name}-{ds.split}".lower())


def _scale(records: pd.DataFrame) -> dict[str, str]:
    """What :data:`SCALE` asks for, from the columns of records; empty without any."""
    if records.empty:
        return {}

    def numbers(column: str) -> str:
        found = sorted(records[column].dropna().unique()) if column in records else []
        if not found:
            return "a number not recorded"
        return f"{found[0]:,.0f}" + (f" to {found[-1]:,.0f}" if len(found) > 1 else "")

    def words(column: str) -> str:
        return ", ".join(map(str, records[column].dropna().unique()))

    named = records["network"].astype(str).str.removeprefix("ten ")  # ten trees are trees
    trained = records.drop_duplicates("spec_key") if "spec_key" in records else records
    total = float(trained["seconds"].sum()) + sum(records.get("measure_seconds", ()))
    time = f"{total:.0f} s" if total < 120 else f"{total / 60:,.0f} min"
    time = f"{total / 3600:,.1f} h" if total >= 7200 else time
    return {
        "network": ", ".join(dict.fromkeys(named.str.split().str[0])),
        "images": f"{numbers('train_images')} of {words('data')}",
        "epochs": numbers("epochs"),
        "seeds": seeds_named(records["seed"].dropna().tolist()),
        "hardware": words("device"),
        "time": f"{time} of training and measuring, for {counted(len(records), 'record')}",
    }


def _verdicts(table: pd.DataFrame) -> str:
    found = table["verdict"].value_counts()
    return ", ".join(f"{claims.badge(name)} {found[name]}" for name in claims.VERDICTS if name in found)


def _row(head: str, *cells: Any) -> str:
    """A row of HTML cells; a number at the end is how many columns the one cell spans."""
    *texts, last = cells
    if isinstance(last, int):
        return f'<tr><th scope="row">{head}</th><td class="fw-text" colspan="{last}">{texts[0]}</td></tr>'
    inside = "".join(f'<td class="fw-text">{text}</td>' for text in cells)
    return f'<tr><th scope="row">{head}</th>{inside}</tr>'
