"""From data options to images, against the same selections made by hand."""

import numpy as np
import pytest
from tiny_runs import RECIPE, RUN

from filterwise import data
from filterwise.errors import ParameterError
from filterwise.runs import Run, datasets


def test_numbers_of_images_are_of_their_own_split():
    train, test = datasets.train_and_test(RUN)
    assert (len(train), len(test)) == (60, 30)
    assert train.digest == data.load("parts", "train", n=60, labels=3).digest
    assert test.digest == data.load("parts", "test", n=30, labels=3).digest


def test_a_set_for_any_number_of_labels_is_made_for_as_many():
    train, _ = datasets.train_and_test(
        Run("lenet5", "parts", RECIPE, labels=4, data_options={"n": 40, "n_test": 40})
    )
    assert train.digest == data.load("parts", "train", n=40, labels=4).digest


def test_the_first_labels_or_drawn_ones():
    whole = {split: data.load("mnist5k", split) for split in ("train", "test")}
    run = Run("lenet5", "mnist5k", RECIPE, labels=3, data_options={"n": 30})
    train, test = datasets.train_and_test(run)
    assert train.digest == whole["train"].only_labels([0, 1, 2]).balanced(30, 0).digest
    assert test.digest == whole["test"].only_labels([0, 1, 2]).digest
    seen = set()
    for seed in range(6):
        train, test = datasets.train_and_test(run.replace(**{"data_options.labels_seed": seed}))
        assert train.label_names == test.label_names
        assert list(train.label_names) == sorted(train.label_names)
        seen.add(train.label_names)
    assert len(seen) > 2
    with pytest.raises(ParameterError, match="labels=11 is more than the 10 labels of 'mnist5k'"):
        datasets.train_and_test(run.replace(labels=11))


def test_held_out_images_are_training_images():
    whole = data.load("mnist5k", "train", n=100)
    run = Run("lenet5", "mnist5k", RECIPE, data_options={"n": 100, "held_out": 0.2})
    rest, held = datasets.train_and_test(run)
    assert (len(rest), len(held)) == (80, 20)
    together = np.concatenate([rest.images.numpy(), held.images.numpy()]).reshape(100, -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, whole.images.numpy().reshape(100, -1)))


def test_sets_are_opened_once_and_digests_are_of_both():
    assert datasets.train_and_test(RUN)[0] is datasets.train_and_test(RUN.replace(seed=5))[0]
    other = RUN.replace(**{"data_options.n_test": 33})
    assert datasets.digest_of(RUN) != datasets.digest_of(other)
