"""What all chapters share: which there are, their jobs, and the one table of a profile's runs or records."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filterwise.errors import check_choice
from filterwise.parameters import PROFILES

if TYPE_CHECKING:
    import pandas as pd

    from filterwise.runs.jobs import Job
    from filterwise.runs.measuring import Measured
    from filterwise.runs.store import Result


@dataclass(frozen=True)
class Sentence:
    """A sentence of the headline, whose words and numbers follow the ledger.

    Attributes
    ----------
    claim : id of the claim that decides which words are used.
    text : the sentence; or verdict (``holds``, ``fails``, ``undecided``) -> sentence. In it may stand
        ``{scale}``, and of a claim ``{S1.verdict}`` (such as "is undecided"), ``{S1.ours}``,
        ``{S1.control}``, both also as numbers without their names, ``{S1.values}`` and
        ``{S1.control_value}``, and of several arms from the least to the greatest, ``{S1.span}`` and
        ``{S1.control_span}``; ``{S1.by[vgg6]}``, the number of the arm that begins so, and ``{S1.arms}``,
        these first words; ``{S1.why}``, what decided; ``{S1.met}``, the arms of a failure in which
        all is met; ``{S1.paper}``, ``{S1.seeds}`` (such as "3 seeds").
    profiles : where to look, best first; the first at which the claim is measured is used.
    """

    claim: str
    text: str | Mapping[str, str]
    profiles: tuple[str, ...] = ("paper", "short", "cifar", "quick")


@dataclass(frozen=True)
class Chapter:
    """One chapter: what was asked, by whom, and at which scale.

    Attributes
    ----------
    name : of notebook, claims file and records, such as ``4-sfp``.
    title, question : as a reader meets them; the question ends with a question mark.
    papers : citation key -> how the paper is named in prose, such as ``Tzach et al. (2023)``.
    paper_scale : of the papers' experiments: ``network``, ``images``, ``epochs``, ``seeds``, ``hardware``,
        ``time``; a row that is missing could not be read.
    unread : what could not be read, as a sentence.
    found : the headline.
    card : the one sentence, with a number, that stands on the first page of the book.
    main_figure : anchor of the figure that stands there, such as ``fig-noise``.
    played : makes the HTML of a figure for the first page; one chapter has one.
    bundles : name of a bundle of jobs at the papers' full width -> ids of the claims that it decides.
    undecided : id of a claim that no bundle of ``short`` decides -> why.
    """

    name: str
    title: str = ""
    question: str = ""
    papers: Mapping[str, str] = field(default_factory=dict)
    paper_scale: Mapping[str, str] = field(default_factory=dict)
    unread: str = ""
    found: tuple[Sentence, ...] = ()
    card: Sentence | None = None
    main_figure: str = ""
    played: Callable[[], str] | None = None
    bundles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    undecided: Mapping[str, str] = field(default_factory=dict)


def folders() -> dict[str, str]:
    """Chapter -> folder below ``papers``, by the chapters' numbers.

    >>> folders()["4-sfp"]
    'sfp'
    """
    papers = importlib.import_module("filterwise.papers")
    found = {}
    for module in pkgutil.iter_modules(papers.__path__):
        if module.ispkg:
            about = importlib.import_module(f"filterwise.papers.{module.name}").CHAPTER
            found[about.name] = module.name
    return dict(sorted(found.items()))


def chapter_of(name: str) -> Chapter:
    """What the folder of a chapter says of itself.

    Raises ParameterError: with the near miss, if there is no such chapter.
    """
    check_choice("chapter", name, folders())
    about: Chapter = importlib.import_module(f"filterwise.papers.{folders()[name]}").CHAPTER
    return about


def jobs(name: str, profile: str, data_root: str | Path | None = None) -> list[Job]:
    """What a chapter records at a profile, the most wanted first.

    Raises ParameterError: unknown chapter or profile, or one that the chapter has no plan for.

    >>> [job.name for job in jobs("4-sfp", "cifar")][:1]
    ['vgg6, cifar10, seed 0']
    """
    check_choice("chapter", name, folders())
    check_choice("profile", profile, PROFILES)
    plan = importlib.import_module(f"filterwise.papers.{folders()[name]}.plan")
    listed: list[Job] = plan.jobs(profile, data_root)
    if profile == "cifar":
        from filterwise.papers.told_apart import varied  # here, since it brings PyTorch, as a plan does

        return [*listed, *varied(name, listed)]
    return listed


@cache  # a queue asks for each of its jobs, and reading claims is slow
def decided_by(name: str, bundle: str, profile: str) -> tuple[str, ...]:
    """The claims of a chapter that the records of a bundle decide at a profile; none where the profile's
    networks are not the papers'.

    >>> decided_by("3-power-law", "variants", "short"), decided_by("3-power-law", "variants", "cifar")
    (('L5',), ())
    """
    from filterwise.claims.claim_files import load

    if profile not in ("short", "paper"):
        return ()
    here = {claim.id for claim in load(name) if profile in claim.profiles}
    return tuple(claim for claim in chapter_of(name).bundles.get(bundle, ()) if claim in here)


def check_page(name: str, values: Mapping[str, Any]) -> None:
    """Refuse parameters of a page for which its plan has no jobs, before anything is trained.

    Raises ParameterError: as the plan's ``page_jobs``, which is given those of ``values`` that it takes.
    """
    plan = importlib.import_module(f"filterwise.papers.{folders()[name]}.plan")
    taken = inspect.signature(plan.page_jobs).parameters
    plan.page_jobs(**{parameter: value for parameter, value in values.items() if parameter in taken})


@dataclass(frozen=True)
class Trained:
    """What a page trained: a row a job as in the records, with the results and the measurements."""

    table: pd.DataFrame
    results: tuple[Result, ...]
    measured: tuple[Measured, ...]


def train(
    listed: Sequence[Job],
    device: str = "auto",
    data_root: str | Path | None = None,
    at_a_time: int = 2,
) -> Trained:
    """Train and measure jobs, or read back what was trained and measured before.

    Parameters
    ----------
    listed
        Jobs of one run each.
    device, data_root
        As for :func:`filterwise.runs.result`.
    at_a_time
        Networks that train side by side on the CPU, each with one thread.

    Raises RunError if one of them fails; all are named.
    """
    import pandas as pd

    from filterwise.runs import finding, rows, store, workers
    from filterwise.runs.measuring import measured

    where = str(data_root) if data_root else None
    folder = store.runs_root()
    missing = [job for job in listed if finding.stored(job.run, folder, where, device)[0] is None]
    if len(missing) > 1 and at_a_time > 1 and finding.device_type(device) == "cpu":
        folder.mkdir(parents=True, exist_ok=True)
        count, place = workers.plan(min(at_a_time, len(missing)), device, 1)
        tasks = [(job, where) for job in missing]
        for _ in workers.outcomes(_train_one, tasks, count, place, folder):
            pass  # what fails is trained again below, and says there what is wrong
    results = [finding.result(job.run, folder, data_root=where, device=device) for job in listed]
    found = [measured((one,), job.measure, job.options) for job, one in zip(listed, results, strict=True)]
    table = [rows.row(job, (one,), each) for job, one, each in zip(listed, results, found, strict=True)]
    return Trained(pd.DataFrame(table), tuple(results), tuple(found))


def _train_one(task: tuple[Job, str | None], device: str) -> None:
    from filterwise.runs import finding
    from filterwise.runs.measuring import measured

    job, where = task
    measured((finding.result(job.run, data_root=where, device=device),), job.measure, job.options)
