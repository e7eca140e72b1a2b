"""The specification of a run: plain values, and the keys under which its result is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filterwise.data import catalog
from filterwise.errors import ParameterError, check_at_least, check_choice, near_miss
from filterwise.models import building
from filterwise.runs import datasets
from filterwise.runs.plain_values import Named, Options, canonical, digest, named, options, plain
from filterwise.runs.reach import code_digest
from filterwise.training.edits import edits
from filterwise.training.numerics import resolve
from filterwise.training.recipe import Recipe
from filterwise.training.steps import steps

if TYPE_CHECKING:
    from filterwise.data.imageset import ImageSet

_LARGEST_SEED = 2**32 - 1
#: What every training reaches, whatever its network.
TRAINING_CODE = ("filterwise.runs.networks", "filterwise.training.loop")


@dataclass(frozen=True)
class Keys:
    """The names of a run.

    ``key`` of its stored result covers the specification, the data, the numerics and the code; ``spec_key``
    the specification and the content of the data; ``settings`` the specification alone, and so needs no data.

    >>> from filterwise.training.recipe import Recipe
    >>> keys = Run("lenet5", "parts", Recipe(epochs=1)).keys(device="cpu")
    >>> len(keys.key), keys.settings == Run("lenet5", "parts", Recipe(epochs=1)).settings
    (32, True)
    """

    key: str
    spec_key: str
    settings: str
    code: str
    data: str


@dataclass(frozen=True)
class Run:
    """One training, described by plain values.

    Parameters
    ----------
    model
        A name of ``filterwise.models.names()``.
    data
        A name of ``filterwise.data.names()``.
    recipe
        How it is trained.
    seed
        Seed of the initial weights, of the order of the images and of the augmentation.
    labels
        Number of labels K; ``None`` takes all labels of the data set. See :mod:`filterwise.runs.datasets`.
    model_options, data_options
        Further options as a mapping; stored as sorted pairs, so that a run can be hashed.
    start
        Another run, of the same network, whose trained weights this one begins with.
    edit
        A registered change of the started, or new, network before training: a name, or (name, options).
    train
        Names of the layers that learn; all others are frozen. Empty: all learn.
    step
        A registered training step instead of plain back-propagation: a name, or (name, options).

    Raises ParameterError: at once, for a name that is not known (with the near miss) or a value that is not
    plain.

    >>> run = Run("lenet5", "parts", Recipe(epochs=1), model_options={"d1": 4}, data_options={"n": 200})
    >>> run.model_options
    (('d1', 4),)
    >>> Run.from_dict(run.to_dict()) == run
    True
    >>> run.then(recipe=Recipe(epochs=2), edit=("magnitude", {"keep": 0.5})).start == run
    True
    >>> Run("lenet6", "parts", Recipe(epochs=1))
    Traceback (most recent call last):
    filterwise.errors.ParameterError: model='lenet6' is not known; ... did you mean 'lenet5'?
    """

    model: str
    data: str
    recipe: Recipe
    seed: int = 0
    labels: int | None = None
    model_options: Options | Mapping[str, Any] = ()
    data_options: Options | Mapping[str, Any] = ()
    start: Run | None = None
    edit: Named | str | tuple[str, Mapping[str, Any]] | None = None
    train: tuple[str, ...] = ()
    step: Named | str | tuple[str, Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        check_choice("model", self.model, building.names())
        check_choice("data", self.data, catalog.names())
        if not isinstance(self.recipe, Recipe):
            raise ParameterError(f"recipe={self.recipe!r} must be a filterwise.training.Recipe")
        _check_integer("seed", self.seed)
        check_at_least("seed", self.seed, 0)
        if self.seed > _LARGEST_SEED:
            raise ParameterError(f"seed={self.seed!r} is too large; it must be at most {_LARGEST_SEED}")
        if self.labels is not None:
            _check_integer("labels", self.labels)
            check_at_least("labels", self.labels, 2)
        for name in ("model_options", "data_options"):
            object.__setattr__(self, name, options(name, getattr(self, name)))
        _check_model_options(self.model, self.model_kwargs)
        datasets.check_options(self.data, self.labels, self.data_kwargs)
        self._check_how()

    def _check_how(self) -> None:
        for name, registry in (("edit", edits), ("step", steps)):
            given = named(name, getattr(self, name))
            if given is not None:
                check_choice(name, given[0], registry.names())
            object.__setattr__(self, name, given)
        train = plain("train", self.train)
        if not isinstance(train, tuple) or not all(isinstance(layer, str) for layer in train):
            raise ParameterError(f"train={self.train!r} must be a list of names of layers")
        object.__setattr__(self, "train", train)
        if self.start is None:
            return
        if not isinstance(self.start, Run):
            raise ParameterError(f"start={self.start!r} is a {type(self.start).__name__}; it must be a Run")
        for name in ("model", "model_options"):
            mine, its = getattr(self, name), getattr(self.start, name)
            if mine != its:
                raise ParameterError(
                    f"{name}={mine!r} is not that of the start, {its!r}; an edit can change it"
                )

    @property
    def model_kwargs(self) -> dict[str, Any]:
        """The model's options as a dictionary."""
        return dict(self.model_options)

    @property
    def data_kwargs(self) -> dict[str, Any]:
        """The data set's options as a dictionary."""
        return dict(self.data_options)

    def to_dict(self) -> dict[str, Any]:
        """All values, nested, ready for JSON; what is not used of start, edit, train and step is left out."""
        values: dict[str, Any] = {
            "model": self.model,
            "data": self.data,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "labels": self.labels,
            "model_options": self.model_kwargs,
            "data_options": self.data_kwargs,
        }
        if self.start is not None:
            values["start"] = self.start.to_dict()
        for name in ("edit", "step"):
            given = named(name, getattr(self, name))
            if given is not None:
                values[name] = [given[0], dict(given[1])]
        return {**values, "train": list(self.train)} if self.train else values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Run:
        """The inverse of :meth:`to_dict`.

        Raises ParameterError for a name that is not known or missing.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            check_choice("name in run", name, names)
        for name in ("model", "data", "recipe"):
            if name not in values:
                raise ParameterError(
                    f"a run needs {name!r}; given are {', '.join(map(repr, values)) or 'no values'}"
                )
        made = dict(values)
        if not isinstance(made["recipe"], Recipe):
            made["recipe"] = Recipe.from_dict(made["recipe"])
        if isinstance(made.get("start"), Mapping):
            made["start"] = cls.from_dict(made["start"])
        return cls(**made)

    def replace(self, **changes: Any) -> Run:
        """A copy with other values; dotted names reach inside, as in :func:`filterwise.runs.grid`.

        >>> Run("lenet5", "parts", Recipe()).replace(**{"recipe.epochs": 2, "seed": 4}).recipe.epochs
        2
        """
        names = [field.name for field in dataclasses.fields(self)]
        values = {name: getattr(self, name) for name in names}
        for name in ("recipe", "model_options", "data_options"):
            values[name] = self.to_dict()[name]
        for name, value in changes.items():
            head, _, tail = name.partition(".")
            check_choice("name in run", head, values)
            if not tail:
                values[head] = value
            elif head not in ("recipe", "model_options", "data_options"):
                raise ParameterError(f"{name!r} is not known: {head!r} has no parts")
            else:
                if head == "recipe" and tail not in values["recipe"]:
                    raise ParameterError(f"{name!r} is not known{near_miss(tail, values['recipe'])}")
                values[head] = {**values[head], tail: value}
        return Run.from_dict(values)

    def then(self, **changes: Any) -> Run:
        """A run that begins where this one ends: the same network, data and seed, with ``changes``."""
        return self.replace(**{"edit": None, "train": (), "step": None, **changes, "start": self})

    def sets(self, data_root: str | Path | None = None) -> tuple[ImageSet, ImageSet]:
        """The images it is trained on and those it is tested on; opened once a process."""
        return datasets.train_and_test(self, data_root)

    def keys(self, data_root: str | Path | None = None, device: str = "auto", engine: str = "single") -> Keys:
        """All names of this run on a device. Opens the data set, because its content is part of them."""
        begun = self.start.keys(data_root, device) if self.start is not None else None
        data = datasets.digest_of(self, data_root)
        form = canonical(resolve(self.recipe, device, engine).to_dict())
        code = code_digest(*self._code())
        spec_key = digest(self.settings, data, *([begun.spec_key] if begun else []))
        key = digest(self.settings, data, code, form, *([begun.key] if begun else []))
        return Keys(key, spec_key, self.settings, code, data)

    def _code(self) -> list[Any]:
        used: list[Any] = [*TRAINING_CODE, building.models.get(self.model).function]
        for name, registry in (("edit", edits), ("step", steps)):
            given = named(name, getattr(self, name))
            if given is not None:
                used.append(registry.get(given[0]).function)
        return used

    @cached_property
    def settings(self) -> str:
        """Digest of the specification alone."""
        return digest(canonical(self._canonical()))

    def _canonical(self) -> dict[str, Any]:
        values = {**self.to_dict(), "recipe": _recipe_values(self.recipe)}
        return {**values, "start": self.start._canonical()} if self.start is not None else values

    @property
    def key(self) -> str:
        """Digest of the specification, the content of the data, the numerics and the code that trains."""
        return self.keys().key

    @property
    def spec_key(self) -> str:
        """Digest of the specification and the content of the data."""
        return self.keys().spec_key


def _recipe_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe for a key. A field that was added later, with the default doing what was done before, is
    marked ``metadata={"omit_at_default": True}`` and leaves the keys of older records as they were."""
    values = recipe.to_dict()
    for field in dataclasses.fields(recipe):
        if field.metadata.get("omit_at_default") and values.get(field.name) == field.default:
            del values[field.name]
    return values


def _check_model_options(model: str, given: Mapping[str, Any]) -> None:
    known = [*building.options(model), "width", "init"]
    for name, value in given.items():
        if name in ("labels", "seed", "channels", "size"):
            hint = f"set Run({name}=...) instead" if name in ("labels", "seed") else "the images set it"
            raise ParameterError(f"model_options[{name!r}]={value!r} cannot be given: {hint}")
        if name not in known:
            raise ParameterError(
                f"model_options[{name!r}]={value!r}: {model!r} has no such option; it has {', '.join(known)}"
                f"{near_miss(name, known)}"
            )


def _check_integer(parameter: str, value: object) -> None:
    if type(value) is not int:
        raise ParameterError(f"{parameter}={value!r} is a {type(value).__name__}; it must be an int")
