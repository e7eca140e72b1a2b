"""Members that train together keep checkpoints, and go on from them as if nothing had been."""

import pytest
import torch
from checkpoint_files import header, stop_after
from safetensors.torch import load_file

from filterwise import models
from filterwise.errors import RunError, TrainingDiverged
from filterwise.training import Recipe, fit, fit_many
from filterwise.training.checkpoint import FILE

RECIPE = Recipe(
    epochs=4,
    batch=16,
    lr=0.05,
    nesterov=False,
    shift=1,
    schedule="cosine",
    precision="float32",
    memory_format="contiguous",
)
# the second has no momentum to keep, the third breaks off in its third epoch where there are more than two
RECIPES = [RECIPE, RECIPE.replace(momentum=0.0, lr=0.1), RECIPE.replace(weight_decay=0.0)]
DIVERGES = RECIPE.replace(schedule="pieces", milestones=((2, 1e20),))
SEEDS = (3, 0, 8)
NUMBERS = ["epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]


def small_vgg(seed):
    return models.build("vgg", labels=3, channels=2, size=16, seed=seed, stages=((4, 1), (6, 2)))


class Group:
    """Three trainings of one kind, run as often as wanted, together or alone."""

    def __init__(self, make_set, folder):
        self.sets = make_set(size=16), make_set(21, size=16, seed=1)
        self.folders = [folder / str(seed) for seed in SEEDS]

    def together(self, recipes=RECIPES, nets=None, keep=True, **options):
        nets = nets or [small_vgg(seed) for seed in SEEDS]
        options |= {"checkpoints": self.folders if keep else None, "progress": False}
        return nets, fit_many(nets, *self.sets, recipes, SEEDS, "cpu", **options)

    def alone(self, member, recipes=RECIPES, keep=True, **options):
        net = small_vgg(SEEDS[member])
        folder = self.folders[member] if keep else None
        options = {"seed": SEEDS[member], "device": "cpu", "checkpoint": folder, "progress": False, **options}
        return net, fit(net, *self.sets, recipes[member], **options)


@pytest.fixture
def group(make_set, tmp_path):
    return Group(make_set, tmp_path)


def same(first, second, tolerance=5e-5):
    """Networks and histories of two trainings agree."""
    mine, other = first[0].state_dict(), second[0].state_dict()
    for name in mine:
        assert torch.allclose(mine[name].double(), other[name].double(), atol=tolerance, rtol=1e-4), name
    for column in NUMBERS:
        want = second[1].table[column].tolist()
        assert first[1].table[column].tolist() == pytest.approx(want, rel=1e-4, abs=1e-5, nan_ok=True), column
    return True


@pytest.mark.parametrize("anew", [True, False])
def test_an_interrupted_group_ends_as_if_it_had_not_been(group, same_state, anew):
    whole, histories = group.together(keep=False)
    nets = [small_vgg(seed) for seed in SEEDS]
    with pytest.raises(KeyboardInterrupt):
        group.together(nets=nets, after_epoch=stop_after(2))
    assert [header(folder)["epoch"] for folder in group.folders] == [2, 2, 2]
    epochs = []
    # in another process it is another network, in this one it may be that which was broken off
    resumed, others = group.together(
        nets=None if anew else nets, after_epoch=lambda row: epochs.append(row["epoch"])
    )
    assert epochs == [3, 4]
    for net, other, history, want in zip(resumed, whole, others, histories, strict=True):
        assert same_state(net, other)
        assert history.table[NUMBERS].equals(want.table[NUMBERS])
    assert [header(folder)["epoch"] for folder in group.folders] == [4, 4, 4]
    again, _ = group.together(after_epoch=lambda row: pytest.fail("trained again"))
    assert all(same_state(net, other) for net, other in zip(again, whole, strict=True))


def test_what_breaks_an_epoch_leaves_the_last_whole_one(group):
    calls = []

    def breaks(module, inputs):
        calls.append(module.training)
        if sum(calls) == 2 * 4 + 3:  # the third of four steps of the third epoch
            raise RuntimeError("told to fail")

    nets = [small_vgg(seed) for seed in SEEDS]
    nets[0].register_forward_pre_hook(breaks)  # the stack computes with a copy of the first network
    with pytest.raises(RuntimeError, match="told to fail"):
        group.together(nets=nets, checkpoint_every=3)
    for net, folder in zip(nets, group.folders, strict=True):
        kept = load_file(folder / FILE)
        assert header(folder)["epoch"] == 2
        assert all(torch.equal(value, kept[f"weights/{name}"]) for name, value in net.state_dict().items())


def test_other_numerics_do_not_go_on(group):
    """Neither one member alone, nor fewer together, nor the group with what `fit` left."""
    with pytest.raises(KeyboardInterrupt):
        group.together(after_epoch=stop_after(2))
    with pytest.raises(RunError, match=r"numerics\.engine is 'stacked-3' there and 'single' here"):
        group.alone(0)
    with pytest.raises(RunError, match=r"numerics\.engine is 'stacked-3' there and 'stacked-2' here"):
        fit_many([small_vgg(seed) for seed in SEEDS[:2]], *group.sets, RECIPES[:2], SEEDS[:2], "cpu",
                 checkpoints=group.folders[:2], progress=False)  # fmt: skip
    (group.folders[0] / FILE).unlink()
    group.alone(0)
    with pytest.raises(RunError, match=r"numerics\.engine is 'single' there"):
        group.together()


def test_checkpoints_of_a_member_and_of_fit_have_the_same_content(group):
    group.together(checkpoint_every=4)
    mine = [(header(folder), load_file(folder / FILE)) for folder in group.folders]
    for member, (head, tensors) in enumerate(mine):
        (group.folders[member] / FILE).unlink()
        group.alone(member)
        other, others = header(group.folders[member]), load_file(group.folders[member] / FILE)
        head["identity"].pop("numerics.engine"), other["identity"].pop("numerics.engine")
        assert {**head, "rows": 0, "digest": 0} == {**other, "rows": 0, "digest": 0}
        assert [sorted(row) for row in head["rows"]] == [sorted(row) for row in other["rows"]]
        assert sorted(tensors) == sorted(others)
        for name in tensors:
            assert torch.allclose(tensors[name].double(), others[name].double(), atol=2e-4), name


def test_members_out_of_step_are_refused_and_left_as_they_are(group):
    with pytest.raises(KeyboardInterrupt):
        group.together(after_epoch=stop_after(3))
    for member in (0, 2):
        (group.folders[member] / FILE).unlink()
    before = (group.folders[1] / FILE).read_bytes()
    with pytest.raises(RunError, match="of different epochs, 0, 3"):
        group.together()
    assert (group.folders[1] / FILE).read_bytes() == before
    assert not (group.folders[0] / FILE).exists()
    with pytest.raises(RunError, match=r"of another training: recipe\.lr"):
        group.together([RECIPE, RECIPE.replace(lr=1.0), RECIPE])


def test_a_member_that_diverges_keeps_its_last_whole_epoch(group):
    recipes = [RECIPE, DIVERGES, RECIPE]
    nets, histories = group.together(recipes)
    assert [bool(history.diverged) for history in histories] == [False, True, False]
    assert histories[1].table["epoch"].tolist() == [1, 2]
    assert [header(folder)["epoch"] for folder in group.folders] == [4, 2, 4]
    kept = load_file(group.folders[1] / FILE)
    assert all(torch.equal(value, kept[f"weights/{name}"]) for name, value in nets[1].state_dict().items())
    with pytest.raises(TrainingDiverged, match="in epoch 3"):
        _ = histories[1].final
    for member in (0, 2):
        assert same((nets[member], histories[member]), group.alone(member, recipes, keep=False))
