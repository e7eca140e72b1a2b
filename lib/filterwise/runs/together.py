"""Runs of one network trained together, where a timing says that this is faster than one after the other.

What a run promises stays: its own key, lock, folder, row and checkpoints, with which it also goes on alone.
One run of a group leads: its worker trains the mates that are not finished as well, and stores each by
itself. When the mates' own turns come, their results are there. Whatever goes wrong with the group (a member
diverges, the device's memory is too small, the worker is killed) is left to the members' own turns, in which
each trains alone from its last checkpoint; so nobody fails for another.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

from filterwise import training
from filterwise.errors import check_choice
from filterwise.parameters import TOGETHER
from filterwise.runs import datasets, execute, pool, store
from filterwise.runs.plain import canonical
from filterwise.runs.spec import Keys, Run
from filterwise.training.ensemble import SHARED

#: Members of a group, at most. More fill no GPU further that sixteen small networks leave room on, and all
#: of them wait for each other's last epoch.
LARGEST = 16
_MARK = "together"


def groups(runs: Sequence[Run], most: int = LARGEST, apart: Sequence[Hashable] = ()) -> list[list[int]]:
    """The runs that may train together, as lists of their places; those of a run alone have one place.

    Together may go what differs in seed, learning rate, momentum, weight decay and schedule alone.

    Parameters
    ----------
    most
        Members of a group at most; more are divided evenly.
    apart
        One value a run; runs of different values are kept apart.

    >>> from filterwise.runs import grid
    >>> from filterwise.training import Recipe
    >>> runs = grid(Run("lenet5", "parts", Recipe()), **{"model_options.d1": [4, 6]}, seed=range(3))
    >>> groups(runs), groups(runs, most=2)
    ([[0, 1, 2], [3, 4, 5]], [[0, 1], [2], [3, 4], [5]])
    """
    kinds: dict[Hashable, list[int]] = {}
    for place, run in enumerate(runs):
        shared = {name: getattr(run.recipe, name) for name in SHARED}
        values = {**run.to_dict(), "seed": None, "recipe": shared}
        kinds.setdefault((canonical(values), apart[place] if apart else None), []).append(place)
    found = []
    for places in kinds.values():
        size = -(-len(places) // -(-len(places) // most))
        found += [places[start : start + size] for start in range(0, len(places), size)]
    return sorted(found)


def turns(
    runs: Sequence[Run], workers: int, choice: str, device: str, apart: Sequence[Hashable] = ()
) -> list[tuple[int, list[int]]]:
    """The order in which to hand out runs, and the mates of each, as places in ``runs``.

    Groups are no larger than leaves one for every worker. Their leaders come before the others, so that no
    worker waits for a group that another one trains while there is something else to do.

    Parameters
    ----------
    choice
        ``"never"``; ``"always"``; ``"auto"``: where it may be faster, which is on a GPU of this machine. On a
        cluster more GPUs may wait for work than there would be groups.

    Raises
    ------
    ParameterError
        For another choice.

    >>> from filterwise.runs import grid
    >>> from filterwise.training import Recipe
    >>> runs = grid(Run("lenet5", "parts", Recipe()), seed=range(4))
    >>> turns(runs, 2, "always", "cpu")
    [(0, [1]), (2, [3]), (1, [0]), (3, [2])]
    >>> turns(runs[:2], 1, "auto", "cpu")
    [(0, []), (1, [])]
    """
    check_choice("together", choice, TOGETHER)
    if choice == "auto" and (pool.on_cluster() or execute.device_type(device) == "cpu"):
        choice = "never"
    if choice == "never":
        return [(place, []) for place in range(len(runs))]
    beside = max(workers, 1)
    found = groups(runs, min(LARGEST, max(1, -(-len(runs) // beside))), apart)
    order = []
    for start in range(0, len(found), beside):
        block = found[start : start + beside]
        for part in (slice(0, 1), slice(1, None)):
            order += [
                (place, [mate for mate in group if mate != place]) for group in block for place in group[part]
            ]
    return order


def result(
    run: Run,
    mates: Sequence[Run] = (),
    root: str | Path | None = None,
    *,
    data_root: str | Path | None = None,
    device: str = "auto",
    checkpoint_every: int = 5,
    deadline: float | None = None,
    choice: str = "auto",
    attempt: str = "",
) -> store.Result:
    """The result of a run, as :func:`filterwise.runs.result` gives it; where that is faster, what is missing
    of its mates is trained and stored with it.

    A member's stored provenance says so: ``together``, how many they were, and ``engine``. Its ``seconds``
    are its share.

    Parameters
    ----------
    mates
        Of the run's group, see :func:`groups`. Those whose checkpoints are of another epoch are left to
        their own turns.
    choice
        ``"auto"`` asks :func:`filterwise.training.faster_together`; ``"always"`` and ``"never"`` do not.
    attempt
        A name of the call that this belongs to. A group whose training failed, or killed its worker, is not
        tried again under this name.

    Raises
    ------
    Paused, TrainingDiverged, ParameterError, DataError
        As :func:`filterwise.runs.result`, for this run alone.
    """
    check_choice("together", choice, TOGETHER)
    where = str(data_root) if data_root else None
    if mates and choice != "never":
        group = _Group((run, *mates), store.runs_root(root), where, attempt)
        if group.worth(choice, device):
            group.train(device, checkpoint_every, deadline)
    return execute.result(
        run, root, data_root=data_root, device=device, checkpoint_every=checkpoint_every, deadline=deadline
    )


class _Group:
    """The first run leads."""

    def __init__(self, runs: Sequence[Run], folder: Path, data_root: str | None, attempt: str) -> None:
        self.members = {run.keys(data_root): run for run in runs}
        self.leader = next(iter(self.members))
        self.folder, self.data_root, self.attempt = folder, data_root, attempt

    def missing(self) -> list[Keys]:
        """Who may be trained now, the leader among them: not finished, of the same epoch, not tried before;
        nobody, if there is nobody beside the leader."""
        epoch = execute.done_epochs(self.folder, self.leader)
        found = [
            keys
            for keys in self.members
            if not (self.folder / keys.key).is_dir()
            and execute.done_epochs(self.folder, keys) == epoch
            and not self._tried(keys)
        ]
        return found if self.leader in found and len(found) > 1 else []

    def worth(self, choice: str, device: str) -> bool:
        """Whether to train together those who are missing."""
        count = len(self.missing())
        if choice == "always" or not count:
            return count > 1
        run = self.members[self.leader]
        train, _ = datasets.train_and_test(run, self.data_root)
        net = store.build_network(run, self.data_root)
        shape = (min(run.recipe.batch, len(train)), *train.shape)
        return training.faster_together(net, count, shape, device, run.recipe).together

    def train(self, device: str, checkpoint_every: int, deadline: float | None) -> None:
        """Train and store what is missing; if it fails as a whole, say so and leave it to each alone."""
        locked = sorted(self.missing(), key=lambda keys: keys.key)
        with contextlib.ExitStack() as held:
            # in one order, so that two groups with members in common cannot wait for each other
            for keys in locked:
                held.enter_context(store.lock(self.folder, keys.key))
            # others may have been at work while this one waited
            listed = [keys for keys in self.missing() if keys in locked]
            if self.leader in listed and len(listed) > 1:
                with self._marked(listed):
                    self._fit(listed, device, checkpoint_every, deadline)

    def _fit(self, listed: list[Keys], device: str, checkpoint_every: int, deadline: float | None) -> None:
        runs = [self.members[keys] for keys in listed]
        train, test = datasets.train_and_test(runs[0], self.data_root)
        nets = [store.build_network(run, self.data_root) for run in runs]
        execute.check_time(deadline)
        stop = execute.stop_in_time(runs[0].recipe.epochs, deadline) if deadline is not None else None
        histories = training.fit_many(
            nets,
            train,
            test,
            [run.recipe for run in runs],
            [run.seed for run in runs],
            device,
            engine="stacked",
            checkpoints=[execute.partial_folder(self.folder, keys) for keys in listed],
            checkpoint_every=checkpoint_every,
            progress=False,
            after_epoch=stop,
        )
        how = {"together": len(runs), "engine": "stacked"}
        for keys, run, net, history in zip(listed, runs, nets, histories, strict=True):
            # One that diverged goes on alone, from its last whole epoch, and says there what is wrong. The
            # estimates of `cost` learn nothing here: they are of trainings alone.
            if not history.diverged:
                execute.keep(self.folder, run, keys, net, history, self.data_root, **how)

    def _mark_of(self, keys: Keys) -> Path:
        return execute.partial_folder(self.folder, keys) / _MARK

    def _tried(self, keys: Keys) -> bool:
        """Whether this attempt has failed with this member before."""
        try:
            return bool(self.attempt) and self._mark_of(keys).read_text(encoding="utf-8") == self.attempt
        except OSError:
            return False

    @contextlib.contextmanager
    def _marked(self, listed: list[Keys]) -> Iterator[None]:
        """Marks in the members' folders while the block runs; they stay if it fails, or dies."""
        marks = [self._mark_of(keys) for keys in listed]
        for mark in marks:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(self.attempt, encoding="utf-8")
        try:
            yield
        except execute.Paused:
            self._unmark(marks)
            raise
        except Exception as error:  # of any kind: whose it is shows when each trains alone
            warnings.warn(
                f"{len(listed)} runs could not be trained together and are trained one by one: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
        except BaseException:
            self._unmark(marks)
            raise
        else:
            self._unmark(marks)

    @staticmethod
    def _unmark(marks: list[Path]) -> None:
        for mark in marks:
            mark.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not there any more, or with a checkpoint in it
                mark.parent.rmdir()
