"""build(): what it knows and what it refuses."""

import numpy as np
import pytest

from filterwise.errors import ParameterError
from filterwise.models import build, names, options


def test_names():
    assert {"vgg6", "vgg8", "vgg11", "vgg13", "vgg14", "vgg16", "lenet5", "vgg", "efficientnet_b0"} <= set(
        names()
    )
    assert {f"avgg{m}" for m in (6, 8, 13, 14, 16)} <= set(names())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "vgg61"}, "name='vgg61' is not known.*did you mean 'vgg6'"),
        ({"name": "lenet5", "labels": 1}, "labels=1.*at least 2"),
        ({"name": "lenet5", "labels": 10.0}, "labels=10.0"),
        ({"name": "lenet5", "channels": 0}, "channels=0"),
        ({"name": "lenet5", "size": "32"}, "size='32'"),
        ({"name": "lenet5", "width": 0}, "width=0.*above 0"),
        ({"name": "lenet5", "width": float("inf")}, "width=inf"),
        ({"name": "lenet5", "width": float("nan")}, "width=nan"),
        ({"name": "lenet5", "seed": -1}, "seed=-1"),
        ({"name": "lenet5", "seed": 2**63}, "below 2\\*\\*63"),
        (
            {"name": "lenet5", "init": "He"},
            "init='He' is not known; choose from 'torch', 'he'; did you mean 'he'",
        ),
        ({"name": "lenet5", "kernels": 3}, "kernels=3 is no option of 'lenet5'.*did you mean 'kernel'"),
        ({"name": "lenet5", "plan": "V"}, "plan='V' is no option of 'lenet5'"),
        ({"name": "vgg16", "stages": ((1, 1),)}, "stages=.* is no option of 'vgg16'"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ParameterError, match=message):
        build(**arguments)


def test_integers_of_numpy_are_integers():
    assert (
        build("lenet5", labels=np.int64(7), seed=np.int64(1), d1=np.int32(6)).classifier[-1].out_features == 7
    )


def test_options_are_those_that_build_takes():
    found = options("avgg8")
    assert found["fc_activation"] == "linear"
    assert "m" not in found
    build("avgg8", width=1 / 64, **{name: value for name, value in found.items() if value is not None})


def test_options_of_an_unknown_network():
    with pytest.raises(ParameterError, match="did you mean 'lenet5'"):
        options("lenet")
