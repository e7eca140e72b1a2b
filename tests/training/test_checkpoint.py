"""Killed and resumed equals uninterrupted; broken and foreign checkpoints are never used."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from checkpoint_files import header, stop_after
from safetensors import safe_open

from filterwise.errors import RunError, TrainingDiverged
from filterwise.training import Recipe, fit
from filterwise.training.checkpoint import FILE
from filterwise.training.steps import backprop

RECIPE = Recipe(epochs=6, batch=16, lr=0.05, shift=1, precision="float32", memory_format="channels_last")
NUMBERS = ["epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]

KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    import torch
    torch.set_num_threads(1)
    from conftest import blobs, small_net
    from filterwise.training import Recipe, fit

    def kill(row):
        if row["epoch"] == {at}:
            os.kill(os.getpid(), signal.SIGKILL)

    fit(small_net(dropout=0.3), blobs(), blobs(30, seed=1), Recipe.from_dict({recipe!r}), 4, "cpu",
        checkpoint={folder!r}, checkpoint_every=2, progress=False, after_epoch=kill)
"""


class Kept:
    """A training that keeps checkpoints, run as often as wanted."""

    def __init__(self, make_net, make_set, folder):
        self.make_net, self.make_set, self.folder = make_net, make_set, folder

    def __call__(self, net=None, recipe=RECIPE, **options):
        net = net if net is not None else self.make_net(dropout=0.3)
        options = {"checkpoint": self.folder, "checkpoint_every": 2, "seed": 4, **options}
        sets = options.pop("sets", (self.make_set(), self.make_set(30, seed=1)))
        history = fit(net, *sets, recipe, device="cpu", progress=False, **options)
        return net, history


@pytest.fixture
def kept(make_net, make_set, tmp_path):
    return Kept(make_net, make_set, tmp_path / "run")


@pytest.fixture
def uninterrupted(kept):
    return kept(checkpoint=None)


def epoch_of(folder):
    return header(folder)["epoch"]


def test_killed_and_resumed_equals_uninterrupted(kept, uninterrupted, same_state):
    kept.folder.mkdir()
    script = textwrap.dedent(KILLED).format(
        tests=str(Path(__file__).parent), at=5, recipe=RECIPE.to_dict(), folder=str(kept.folder)
    )
    done = subprocess.run([sys.executable, "-c", script], env=os.environ, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert epoch_of(kept.folder) == 4  # the fifth epoch is lost and done again

    net, history = kept()
    assert same_state(net, uninterrupted[0])
    assert history.table[NUMBERS].equals(uninterrupted[1].table[NUMBERS])
    assert [path.name for path in kept.folder.iterdir()] == [FILE]


def test_ctrl_c_between_epochs_leaves_the_last_whole_epoch(kept, uninterrupted, same_state):
    with pytest.raises(KeyboardInterrupt):
        kept(after_epoch=stop_after(3))
    assert epoch_of(kept.folder) == 3
    net, history = kept()
    assert same_state(net, uninterrupted[0])
    assert history.table[NUMBERS].equals(uninterrupted[1].table[NUMBERS])


def test_ctrl_c_inside_an_epoch_resumes_with_the_same_network_object(
    kept, make_net, uninterrupted, same_state
):
    net, calls = make_net(dropout=0.3), []

    def interrupt(module, inputs):
        if module.training:
            calls.append(1)
            if len(calls) == 11:  # the third step of the third epoch
                raise KeyboardInterrupt

    handle = net.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        kept(net)
    handle.remove()
    assert epoch_of(kept.folder) == 2
    kept(net)
    assert same_state(net, uninterrupted[0])


def test_a_finished_training_is_not_run_again(kept, same_state):
    net, history = kept()
    again, second = kept(after_epoch=stop_after(1, AssertionError("trained again")))
    assert same_state(net, again)
    assert second.table.equals(history.table)  # the seconds are the stored ones as well


def test_resume_false_begins_anew(kept):
    kept()
    epochs = []
    kept(resume=False, after_epoch=lambda row: epochs.append(row["epoch"]))
    assert epochs == [1, 2, 3, 4, 5, 6]


ADAMW = RECIPE.replace(lr=0.01, optimiser="adamw", momentum=Recipe().momentum)


class Remembers:
    """Adds a drift to the gradients, and draws anew before each epoch which weights it takes."""

    def __init__(self):
        self.steps, self.drift, self.mask = 0, torch.zeros(3, 64), None

    def before_epoch(self, net, optimiser, epoch, seed):
        generator = torch.Generator().manual_seed(seed)
        self.mask = (torch.rand(3, 64, generator=generator) < 0.5).float()
        with torch.no_grad():
            net[-1].weight.mul_(self.mask)
        for value in optimiser.state.get(net[-1].bias, {}).values():
            value.zero_()

    def __call__(self, net, images, labels):
        self.steps += 1
        logits = net(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        self.drift = 0.9 * self.drift + net[-1].weight.grad
        net[-1].weight.grad = (net[-1].weight.grad + self.drift / self.steps) * self.mask
        return loss, logits

    def state_dict(self):
        return {"steps": self.steps, "drift": self.drift}

    def load_state_dict(self, state):
        self.steps, self.drift = state["steps"], state["drift"]


@pytest.mark.parametrize(
    ("recipe", "make_step"),
    [
        (ADAMW, None),
        (RECIPE.replace(nesterov=False, momentum=0), None),
        (RECIPE.replace(mixup=0.4), None),
        (RECIPE.replace(cutmix=1.0), None),
        (RECIPE.replace(mixup=0.4, cutmix=1.0, random_erasing=0.5), None),
        (RECIPE.replace(rand_augment=9), None),
        (RECIPE, Remembers),
        (ADAMW, Remembers),
    ],
    ids=["adamw", "plain", "mixup", "cutmix", "all three", "rand_augment", "step", "adamw step"],
)
def test_resumed_equals_uninterrupted_to_the_bit(make_net, make_set, kept, same_state, recipe, make_step):
    def options():
        sets = make_set(channels=3), make_set(30, channels=3, seed=1)
        return {"recipe": recipe, "sets": sets, "step": make_step and make_step()}

    def net():
        made = make_net(dropout=0.3)
        made[0] = torch.nn.Conv2d(3, 4, 3, padding=1)
        torch.nn.init.constant_(made[0].weight, 0.1)
        torch.nn.init.zeros_(made[0].bias)
        return made

    whole = kept(net(), checkpoint=None, **options())
    with pytest.raises(KeyboardInterrupt):
        kept(net(), after_epoch=stop_after(3), **options())
    resumed = kept(net(), **options())
    assert same_state(resumed[0], whole[0])
    assert resumed[1].table[NUMBERS].equals(whole[1].table[NUMBERS])
    again = kept(net(), checkpoint=None, **{**options(), "seed": 5})
    assert not same_state(again[0], whole[0])


def test_what_cannot_be_kept_is_named(kept):
    step = Remembers()
    step.state_dict = lambda: {"made": object()}
    with pytest.raises(RunError, match="step state 'made' is a object; checkpoints hold tensors and plain"):
        kept(step=step)


def cut_short(data):
    return data[: len(data) // 2]


def one_bit(data):
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


def other_header(data):
    return data.replace(b'\\"epoch\\":', b'\\"epohc\\":')


@pytest.mark.parametrize(
    "spoil", [cut_short, one_bit, other_header, lambda data: b"", lambda data: b"x" * 100]
)
def test_a_broken_checkpoint_is_set_aside_and_the_training_begins_anew(
    kept, uninterrupted, same_state, spoil
):
    with pytest.raises(KeyboardInterrupt):
        kept(after_epoch=stop_after(3))
    path = kept.folder / FILE
    whole = path.read_bytes()
    assert spoil(whole) != whole
    path.write_bytes(spoil(whole))
    with pytest.warns(RuntimeWarning, match=r"is broken .* set aside as checkpoint\.broken"):
        net, history = kept()
    assert (kept.folder / "checkpoint.broken").read_bytes() == spoil(whole)
    assert same_state(net, uninterrupted[0])
    assert len(history.table) == 6


def test_a_checkpoint_of_another_training_is_refused(kept, make_net, make_set):
    with pytest.raises(KeyboardInterrupt):
        kept(after_epoch=stop_after(2))
    before = (kept.folder / FILE).read_bytes()
    one, other = make_set(), make_set(30, seed=1)
    for change, named in [
        ({"recipe": RECIPE.replace(lr=0.04)}, "recipe.lr is 0.05 there and 0.04 here"),
        ({"seed": 5}, "seed is 4 there and 5 here"),
        ({"sets": (make_set(seed=7), other)}, "train is"),
        ({"sets": (one, make_set(30, seed=7))}, "test is"),
        ({"recipe": RECIPE.replace(precision="bfloat16")}, "recipe.precision is 'float32' there"),
        ({"learn": ("0", "6")}, "learn is [] there and ['0', '6'] here"),
        ({"step": ("backprop", {}), "seed": 5}, "seed is 4"),
        ({"step": backprop(RECIPE, torch.device("cpu"), torch.float32)}, "step is ['backprop', {}] there"),
        ({"net": make_net(labels=4)}, "network is"),
        ({"net": make_net(seed=1, dropout=0.3)}, "the network's weights are neither"),
    ]:
        with pytest.raises(RunError, match="of another training") as caught:
            kept(**change)
        assert named in str(caught.value)
    assert (kept.folder / FILE).read_bytes() == before


def test_a_failing_save_leaves_the_old_checkpoint(kept, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        kept(after_epoch=stop_after(2))
    before = (kept.folder / FILE).read_bytes()

    def full(*_args, **_options):
        raise OSError("No space left on device")

    monkeypatch.setattr("filterwise.files.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        kept()
    assert (kept.folder / FILE).read_bytes() == before
    assert [path.name for path in kept.folder.iterdir()] == [FILE]


def test_divergence_leaves_a_checkpoint_from_before(kept):
    recipe = RECIPE.replace(schedule="pieces", milestones=[(3, 1e30)])
    with pytest.raises(TrainingDiverged, match=r"epoch [456]"):
        kept(recipe=recipe)
    assert epoch_of(kept.folder) >= 3
    with safe_open(kept.folder / FILE, framework="pt") as file:
        assert all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118
