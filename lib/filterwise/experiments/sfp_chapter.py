"""What the page of chapter 4 trains and shows: one profile's first network, with the records' own recipes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from filterwise import measure
from filterwise.data import ImageSet
from filterwise.errors import ParameterError, check_at_least
from filterwise.experiments import sfp
from filterwise.runs.job import Job
from filterwise.training import Recipe

#: Numbers of labels K that the page trains heads for, those up to the labels of the set.
COUNTS = (3, 5, 10, 20, 50, 100)
READINGS = {
    "error": "mean",
    "largest_error": "largest subset",
    "largest_label_error": "largest label",
}


def chapter_jobs(
    profile: str, seed: int = 0, seeds: int = 1, data_root: str | Path | None = None
) -> list[Job]:
    """The first network of a profile's records, with ``seeds`` seeds from ``seed`` on.

    Raises
    ------
    ParameterError
        Unknown profile, a negative seed, fewer than one seed.

    >>> [job.run.seed for job in chapter_jobs("quick", seed=3, seeds=2)]
    [3, 4]
    """
    check_at_least("seed", seed, 0)
    check_at_least("seeds", seeds, 1)
    first = sfp.jobs(profile, data_root)[0]
    stem = first.name.rpartition(", seed ")[0]
    return [
        replace(first, name=f"{stem}, seed {one}", run=first.run.replace(seed=one))
        for one in range(seed, seed + seeds)
    ]


def network_of(job: Job) -> str:
    """The name under which records, claims and figures know the job's network.

    >>> network_of(chapter_jobs("cifar")[0])
    'vgg6'
    """
    return str(_keywords(job)["network"])


def heads_of(job: Job) -> Recipe:
    """The recipe of the probe heads in the job's record.

    >>> heads_of(chapter_jobs("quick")[0]).momentum
    0.975
    """
    recipe = _keywords(job)["heads"]
    assert isinstance(recipe, Recipe)
    return recipe


def _keywords(job: Job) -> dict[str, object]:
    keywords = getattr(job.measure, "keywords", None)
    if not keywords:
        raise ParameterError(f"job {job.name!r} is none of chapter 4's")
    return dict(keywords)


def errors_by_labels(
    net: nn.Module,
    layer: str,
    train: ImageSet,
    test: ImageSet,
    heads: Recipe,
    draws: int = 2,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> pd.DataFrame:
    """Error of heads trained on K labels at a time, in three readings, for the figure "error against K".

    Returns
    -------
    DataFrame
        ``labels`` (K), ``reading`` and ``error``; one row a reading and K.

    >>> import filterwise as fw
    >>> train, test = (fw.data.load("parts", split, labels=10, n=100) for split in ("train", "test"))
    >>> net = fw.models.build("vgg", labels=10, channels=1, size=16, stages=((4, 1), (8, 1)))
    >>> recipe = measure.HEAD_RECIPE.replace(epochs=1, flip=False, shift=0)
    >>> errors_by_labels(net, "features.2", train, test, recipe)["labels"].unique().tolist()
    [3, 5, 10]
    """
    counts = [count for count in COUNTS if count < train.labels_count] + [train.labels_count]
    recipe = heads.replace(flip=False, shift=0)
    table = measure.error_against_labels(
        net, layer, train, test, counts, draws, recipe, seed, device, equal="steps"
    )
    wide = measure.maximal_errors(table).rename(columns={"mean_error": "error"})[list(READINGS)]
    return wide.rename(columns=READINGS).reset_index().melt("labels", var_name="reading", value_name="error")
