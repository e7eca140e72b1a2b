"""build(): what it knows and what it refuses."""

import subprocess
import sys

import numpy as np
import pytest
from torch import nn

from filterwise.errors import ParameterError
from filterwise.models import build, names, options
from filterwise.models.building import models


def test_names():
    assert {"vgg6", "vgg8", "vgg11", "vgg13", "vgg14", "vgg16", "lenet5", "vgg", "efficientnet_b0"} <= set(
        names()
    )
    assert {f"avgg{m}" for m in (6, 8, 13, 14, 16)} <= set(names())
    assert [name for name in names() if name.startswith("vgg")][:4] == ["vgg", "vgg6", "vgg8", "vgg11"]


def test_names_do_not_hang_on_what_was_imported_first():
    script = "import filterwise.models.vgg; from filterwise import models; print(models.names())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(names())


def test_a_new_network_registers_itself_where_it_is_defined(monkeypatch):
    monkeypatch.setattr(models, "_entries", dict(models._entries))

    @models("probe", fixed={"depth": 2})
    def probe(labels, width, channels, size, *, depth, bias=True):
        layers = [nn.Conv2d(channels, channels, 3, padding=1, bias=bias) for _ in range(depth)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * size**2, labels))

    assert options("probe") == {"bias": True}
    assert len(build("probe", labels=3, size=4, bias=False)) == 4
    with pytest.raises(ParameterError, match="depth=3 is no option of 'probe'"):
        build("probe", depth=3)


def test_to_know_the_networks_is_not_to_import_them():
    """A run's key holds the code it can reach: build() must reach no network by import."""
    script = "import sys, filterwise.models.building; print(*[m for m in sys.modules if 'filterwise' in m])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "filterwise.models.building" in done.stdout
    networks = {models.get(name).function.__module__ for name in names()}
    assert not networks & set(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "vgg61"}, "model='vgg61' is not known.*did you mean 'vgg6'"),
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
