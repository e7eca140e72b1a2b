"""Plan, order and learning rate as chosen on training images kept back, for both sides alike.

Looks at rates are trainings of kind ``tuning``: on four fifths of the training images, judged on the others.
The test images have no say in the choice, so an accuracy of the chosen arms is not the largest of several.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, rows_of

#: plan, order, rate
Candidate = tuple[str, str, float]
_COLUMNS = ("network", "arm_kind", "plan", "order", "lr", "seed", "data", "macs", "accuracy")


@dataclass(frozen=True)
class Choice:
    """The best of one side, V or late, of one network.

    Attributes
    ----------
    base, data : the network without its plan, and the images.
    plan, order : where it pools; ``order`` is empty in plan V.
    lr : the learning rate.
    accuracy : mean on the images kept back, over ``seeds`` seeds.
    among : how many it was chosen from.
    """

    base: str
    data: str
    plan: str
    order: str
    lr: float
    accuracy: float
    seeds: int
    among: int


#: (base, data) -> the best of plan V and of the late plans, None where none of these was tried
Chosen = dict[tuple[str, str], tuple[Choice, Choice | None]]


def looks(records: pd.DataFrame) -> pd.DataFrame:
    """The trainings that were judged on images kept back, with their ``base``; empty without any.

    >>> columns = ["network", "arm_kind", "plan", "order", "lr", "seed", "data", "macs", "accuracy"]
    >>> rows = [["avgg6 tuning", "tuning", "L2", "MP8", 0.1, 0, "d", 1.0, 0.5]]
    >>> looks(pd.DataFrame(rows, columns=columns))[["base", "order"]].values.tolist()
    [['vgg6', 'MP8']]
    """
    if not has(records, *_COLUMNS):
        return pd.DataFrame(columns=[*_COLUMNS, "base"])
    found = records.loc[records["arm_kind"] == "tuning", list(_COLUMNS)]
    networks = found["network"].astype(str).str.removesuffix(" tuning")
    late = found["plan"] != "V"
    bases = networks.where(~late, networks.str.removeprefix("a"))
    return found.assign(base=bases, order=found["order"].astype(object).where(late, ""))


def choices(records: pd.DataFrame) -> Chosen:
    """The best of plan V and the best of the late plans, of each base and set of images.

    Candidates are all plans and orders at the rates that every one of them was tried with, so both sides have
    one grid. The best has the highest mean accuracy over the seeds that all candidates share; of equal ones
    the one of the fewest operations, then of the lowest rate. Without a common rate and seed, or without plan
    V, nothing is chosen.
    """
    found = {}
    for _, runs in looks(records).groupby(["base", "data"], sort=False):
        base, data = str(runs["base"].iloc[0]), str(runs["data"].iloc[0])
        means, macs, seeds = _means(runs)
        sides: list[Choice | None] = []
        for late in (False, True):
            side = sorted((arm for arm in means if (arm[0] != "V") == late), key=lambda a: (macs[a], a[2], a))
            best = max(side, key=means.__getitem__) if side else None
            sides.append(Choice(base, data, *best, means[best], seeds, len(side)) if best else None)
        if sides[0] is not None:
            found[base, data] = (sides[0], sides[1])
    return found


def _means(runs: pd.DataFrame) -> tuple[dict[Candidate, float], dict[Candidate, float], int]:
    """Mean accuracy and operations of each candidate of one base, and over how many seeds."""
    tried: dict[Candidate, dict[int, float]] = defaultdict(dict)
    macs: dict[Candidate, float] = {}
    for run in rows_of(runs, "plan", "order", "lr", "seed", "accuracy", "macs"):
        tried[run.plan, run.order, run.lr][int(run.seed)] = run.accuracy
        macs[run.plan, run.order, run.lr] = run.macs
    grids: dict[tuple[str, str], set[float]] = defaultdict(set)
    for plan, order, rate in tried:
        grids[plan, order].add(rate)
    common = set.intersection(*grids.values())
    kept = {arm: each for arm, each in tried.items() if arm[2] in common}
    seeds = set.intersection(*map(set, kept.values())) if kept else set()
    if not seeds:
        return {}, macs, 0
    # rounded, because a mean's last bit depends on the order of its terms and would break a tie
    means = {arm: round(float(np.mean([each[s] for s in seeds])), 6) for arm, each in kept.items()}
    return means, macs, len(seeds)
