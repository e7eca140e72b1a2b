"""What a run is made of, and that its keys change exactly when its meaning does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import RECIPE, RUN

from filterwise.errors import ParameterError
from filterwise.runs import Run, datasets, grid, reach, specification
from filterwise.runs.plain_values import canonical, plain
from filterwise.training import Recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "vgg61"}, "model='vgg61' is not known; .* did you mean 'vgg"),
        ({"data": "cifar11"}, "data='cifar11' is not known; .* did you mean 'cifar10'"),
        ({"seed": -1}, "seed=-1 is too small"),
        ({"seed": 2**32}, "too large"),
        ({"seed": 1.0}, "seed=1.0 is a float; it must be an int"),
        ({"seed": True}, "seed=True is a bool"),
        ({"labels": 1}, "labels=1 is too small"),
        ({"recipe": {"epochs": 0}}, "epochs=0 is not allowed"),
        ({"recipe": {"epoch": 1}}, "did you mean 'epochs'"),
        ({"model_options": {"d1": np.int64(2)}}, r"model_options\['d1'\]=.* is a int64"),
        ({"model_options": {"d1": float("nan")}}, "not a finite number"),
        ({"model_options": {"kernl": 3}}, "no such option; .* did you mean 'kernel'"),
        ({"model_options": {"seed": 3}}, r"set Run\(seed=...\) instead"),
        ({"model_options": {"channels": 3}}, "the images set it"),
        ({"model_options": "d1"}, "must be a mapping"),
        ({"data_options": {"nn": 3}}, "no such option; .* did you mean 'n'"),
        ({"data_options": {"n": 0}}, r"data_options\['n'\]=0 is too small"),
        ({"data_options": {"n_test": 1.5}}, "must be an int"),
        ({"data_options": {"held_out": 2}}, "must be a fraction"),
        ({"data_options": {"held_out": 0.2, "n_test": 3}}, "held-out images are the test set"),
        ({"data_options": {"labels_seed": 1}}, "needs Run"),
        ({"data_options": {"labels": 3}, "labels": 3}, "given twice"),
        ({"modle": "lenet5"}, "did you mean 'model'"),
    ],
)
def test_a_wrong_value_is_refused_at_once(changes, message):
    with pytest.raises(ParameterError, match=message):
        Run.from_dict({**RUN.to_dict(), **changes})


def test_a_run_survives_its_dictionary_and_hashes():
    again = Run.from_dict(RUN.to_dict())
    assert again == RUN
    assert hash(again) == hash(RUN)
    with pytest.raises(ParameterError, match="a run needs 'data'"):
        Run.from_dict({"model": "lenet5"})
    with pytest.raises(ParameterError, match=r"must be a filterwise\.training\.Recipe"):
        Run("lenet5", "parts", {"epochs": 1})


def test_the_order_of_options_does_not_matter():
    options = {"d1": 2, "fc": [8]}
    turned = dict(reversed(options.items()))
    assert Run("lenet5", "parts", RECIPE, model_options=options) == Run(
        "lenet5", "parts", RECIPE, model_options=turned
    )


def test_values_that_are_equal_have_equal_keys():
    assert canonical({"width": 1.0}) == canonical({"width": 1})
    assert canonical({"flag": True}) != canonical({"flag": 1})
    assert canonical(0.1 + 0.2) != canonical(0.3)
    assert plain("x", [1, [2.0, None]]) == (1, (2.0, None))


def test_each_value_changes_the_key():
    changes = [
        {"seed": 1},
        {"model": "vgg6", "model_options": {}},
        {"recipe.lr": 0.04},
        {"model_options.d1": 3},
        {"data_options.n": 63},
        {"data_options.n_test": 33},
        {"data_options.labels": 2, "data_options.n": 60},
    ]
    runs = [RUN, *(RUN.replace(**change) for change in changes)]
    for name in ("key", "spec_key", "settings"):
        assert len({getattr(run, name) for run in runs}) == len(runs)


def test_the_key_is_the_same_in_another_process():
    code = "from tiny_runs import RUN; print(RUN.key, RUN.spec_key)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == [RUN.key, RUN.spec_key]


def test_the_key_follows_code_and_data_as_it_should(monkeypatch):
    before = RUN.keys()
    monkeypatch.setattr("filterwise.runs.specification.code_digest", lambda *parts: "other code")
    after = RUN.keys()
    assert after.key != before.key
    assert (after.spec_key, after.settings) == (before.spec_key, before.settings)
    monkeypatch.setattr(datasets, "digest_of", lambda run, root: "other data")
    other = RUN.keys()
    assert other.spec_key != before.spec_key
    assert other.settings == before.settings


def test_a_field_that_was_added_later_leaves_older_keys_alone(monkeypatch):
    import dataclasses

    longer = dataclasses.make_dataclass(
        "Longer",
        [("later", float, dataclasses.field(default=0.0, metadata={"omit_at_default": True}))],
        bases=(Recipe,),
        frozen=True,
    )
    old, new = specification._recipe_values(RECIPE), longer(**{**RECIPE.to_dict(), "milestones": ()})
    assert specification._recipe_values(new) == old
    assert specification._recipe_values(dataclasses.replace(new, later=0.5)) == {**old, "later": 0.5}


SOURCE = '''
"""Module."""
import torch


class Net:
    """Class."""

    def forward(self, x: int) -> str:
        """Function."""
        y = x + 1  # why
        return f"{y!r:>{x}} and" "more"
'''


def test_comments_docstrings_and_layout_are_no_code():
    bare = "import torch\nclass Net:\n  def forward(self, x: int) -> str:\n    y = (x +\n 1)\n"
    bare += '    return f"{y!r:>{x}} andmore"'
    assert reach.normalised(SOURCE) == reach.normalised(bare)


@pytest.mark.parametrize(
    ("old", "new"), [("x + 1", "x - 1"), ("x + 1", "x + 2"), ("and", "or"), ("!r", ""), ("int", "float")]
)
def test_any_other_change_is_one(old, new):
    assert old in SOURCE
    assert reach.normalised(SOURCE.replace(old, new)) != reach.normalised(SOURCE)


def test_grid_is_the_product_in_order():
    runs = grid(RUN, seed=range(2), **{"recipe.lr": [0.1, 0.2], "model_options.d1": [2]})
    assert [(run.seed, run.recipe.lr) for run in runs] == [(0, 0.1), (0, 0.2), (1, 0.1), (1, 0.2)]
    assert all(run.data_options == RUN.data_options for run in runs)


def test_values_that_are_only_allowed_together_form_a_grid():
    (run,) = grid(RUN, **{"recipe.momentum": [0.0], "recipe.nesterov": [False]})
    assert (run.recipe.momentum, run.recipe.nesterov) == (0.0, False)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"sed": [1]}, "did you mean 'seed'"),
        ({"recipe.epoch": [1]}, "'recipe.epoch' is not known; did you mean 'epochs'"),
        ({"seed.x": [1]}, "'seed' has no parts"),
        ({"seed": []}, r"seed=\[\] has no values"),
        ({"seed": 3}, "must be a list"),
        ({"model": "lenet5"}, "must be a list"),
        ({"model_options.kernl": [3]}, "did you mean 'kernel'"),
    ],
)
def test_a_wrong_axis_is_refused(axes, message):
    with pytest.raises(ParameterError, match=message):
        grid(RUN, **axes)
