"""Runs of one network trained as one stack of weights, where a CUDA device is the target.

A group is fixed by the list of runs and the number that was asked for. Its members are stored one by one,
each under its own key, which says how many trained together (``engine``): stacked arithmetic differs in the
last bits from a network's alone.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from filterwise.errors import RunError, check_at_least
from filterwise.runs import finding, store
from filterwise.runs.networks import beginning
from filterwise.runs.plain_values import canonical
from filterwise.runs.specification import Run
from filterwise.training import ensemble


def groups(runs: Sequence[Run], together: int, apart: Sequence[Hashable] = ()) -> list[list[int]]:
    """The runs that train together, as lists of their places; those of a run alone have one place.

    Together may go what differs in seed, learning rate, momentum, weight decay and schedule alone.

    Parameters
    ----------
    together
        Members of a group at most.
    apart
        One value a run; runs of different values are kept apart.

    Raises ParameterError if ``together`` is less than one.

    >>> from filterwise.runs import grid
    >>> from filterwise.training import Recipe
    >>> runs = grid(Run("lenet5", "parts", Recipe()), **{"model_options.d1": [4, 6]}, seed=range(3))
    >>> groups(runs, 3), groups(runs, 2), groups(runs[:2], 1)
    ([[0, 1, 2], [3, 4, 5]], [[0, 1], [2], [3, 4], [5]], [[0], [1]])
    """
    check_at_least("together", together, 1)
    kinds: dict[Hashable, list[int]] = {}
    for place, run in enumerate(runs):
        shared = {name: getattr(run.recipe, name) for name in ensemble.SHARED}
        values = {**run.to_dict(), "seed": None, "recipe": shared}
        alone = place if run.start or run.edit or run.step or run.train else None
        kinds.setdefault((canonical(values), alone, apart[place] if apart else None), []).append(place)
    found = [
        places[at : at + together] for places in kinds.values() for at in range(0, len(places), together)
    ]
    return sorted(found)


def turns(
    runs: Sequence[Run], together: int, apart: Sequence[Hashable] = ()
) -> list[tuple[int, tuple[Run, ...]]]:
    """The order in which to hand out runs, as places, each with its group.

    One of every group comes first, so that no worker waits for a group that another one trains while there is
    something else to do.

    >>> from filterwise.runs import grid
    >>> from filterwise.training import Recipe
    >>> [place for place, _ in turns(grid(Run("lenet5", "parts", Recipe()), seed=range(4)), 2)]
    [0, 2, 1, 3]
    """
    found = groups(runs, together, apart)
    ordered = [group[0] for group in found] + [place for group in found for place in group[1:]]
    of = {place: tuple(runs[member] for member in group) for group in found for place in group}
    return [(place, of[place]) for place in ordered]


def result(
    run: Run,
    group: Sequence[Run],
    root: str | Path | None = None,
    *,
    data_root: str | Path | None = None,
    device: str = "auto",
    checkpoint_every: int = 5,
    deadline: float | None = None,
) -> store.Result:
    """The result of a run that trains together with its ``group``, itself among them; of a group of one, as
    :func:`filterwise.runs.result` gives it.

    If it is not stored, the whole group is trained, and every member that is sound is stored.

    Raises Paused, TrainingDiverged, ParameterError, DataError: as :func:`filterwise.runs.result`, for this
    run alone.
    """
    folder, where = store.runs_root(root), str(data_root) if data_root else None
    if len(group) <= 1:
        alone: dict[str, Any] = {"checkpoint_every": checkpoint_every, "deadline": deadline}
        return finding.result(run, folder, data_root=where, device=device, **alone)
    keys = {member: member.keys(where, device, f"stacked-{len(group)}") for member in group}
    with contextlib.ExitStack() as held:
        # in one order, so that two groups with members in common cannot wait for each other
        for key in sorted(each.key for each in keys.values()):
            held.enter_context(store.lock(folder, key))
        found = store.read(folder / keys[run].key, run, device, where)
        if found is None:
            finding.check_time(deadline)
            partial = [finding.partial_folder(folder, keys[member]) for member in group]
            if len({finding.done_epochs(folder, each) for each in keys.values()}) > 1:
                # some were stored, or broke off, before others: a stack is trained as a whole
                for each in partial:
                    shutil.rmtree(each, ignore_errors=True)
            train, test = run.sets(where)
            nets = [beginning(member, train) for member in group]
            histories = ensemble.fit_many(
                nets,
                train,
                test,
                [member.recipe for member in group],
                [member.seed for member in group],
                device,
                checkpoints=partial,
                checkpoint_every=checkpoint_every,
                progress=False,
                after_epoch=finding.stop_in_time(run.recipe.epochs, deadline) if deadline else None,
            )
            for member, net, history in zip(group, nets, histories, strict=True):
                missing = not (folder / keys[member].key).is_dir()
                if missing and not history.diverged:
                    finding.keep(folder, member, keys[member], net, history, where)
                elif member == run:
                    history.final  # noqa: B018  raises: it diverged
            found = store.read(folder / keys[run].key, run, device, where)
    if found is None:
        raise RunError(f"{folder / keys[run].key} was written and cannot be read")
    return found
