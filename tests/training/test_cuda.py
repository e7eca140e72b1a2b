"""What only a CUDA device can show; skipped elsewhere."""

import pytest
import torch

from filterwise.training import Feed, Recipe, evaluate, fit, fit_many

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
]
RECIPE = Recipe(epochs=3, batch=16, lr=0.02, shift=1, precision="float32", memory_format="contiguous")


def test_batches_are_those_of_the_cpu(make_set):
    ds = make_set()
    for memory_format in (torch.contiguous_format, torch.channels_last):
        feeds = [
            Feed(ds.images, ds.labels, RECIPE, 3, torch.device(device), memory_format)
            for device in ("cpu", "cuda")
        ]
        for (images, labels), (others, other_labels) in zip(*(feed.epoch(1) for feed in feeds), strict=True):
            assert torch.allclose(images, others.cpu(), atol=1e-6)
            assert torch.equal(labels, other_labels.cpu())


def test_it_learns_as_on_the_cpu(make_net, make_set):
    ds, test = make_set(), make_set(31, seed=1)
    histories = [fit(make_net(), ds, test, RECIPE, 1, device, progress=False) for device in ("cpu", "cuda")]
    losses = [history.table["train_loss"].tolist() for history in histories]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    assert histories[1].numerics.device.type == "cuda"


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_bfloat16_learns(make_net, make_set, memory_format):
    recipe = RECIPE.replace(precision="bfloat16", memory_format=memory_format, epochs=10, lr=0.05)
    net = make_net()
    history = fit(net, make_set(), make_set(31, seed=1), recipe, device="cuda", progress=False)
    assert history.final["test_accuracy"] > 0.9
    assert evaluate(net, make_set(31, seed=1), device="cuda").accuracy == history.final["test_accuracy"]


def test_interrupted_and_resumed_on_the_device(make_net, make_set, tmp_path):
    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    options = {"checkpoint": tmp_path, "device": "cuda", "progress": False}
    with pytest.raises(KeyboardInterrupt):
        fit(make_net(dropout=0.3), make_set(), None, RECIPE, after_epoch=stop, **options)
    resumed = fit(make_net(dropout=0.3), make_set(), None, RECIPE, **options)
    whole = fit(make_net(dropout=0.3), make_set(), None, RECIPE, device="cuda", progress=False)
    want = whole.table["train_loss"].tolist()
    assert resumed.table["train_loss"].tolist() == pytest.approx(want, rel=1e-3)


def test_the_callers_random_states_are_untouched(make_net, make_set):
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    fit(
        make_net(dropout=0.3),
        make_set(),
        None,
        RECIPE.replace(precision="auto"),
        device="cuda",
        progress=False,
    )
    assert torch.equal(before[0], torch.get_rng_state())
    assert torch.equal(before[1], torch.cuda.get_rng_state())


def test_members_are_their_solo_runs(make_net, make_set):
    nets = [make_net(seed) for seed in range(3)]
    histories = fit_many(nets, make_set(), None, RECIPE, device="cuda", progress=False)
    for seed, history in enumerate(histories):
        solo = fit(make_net(seed), make_set(), None, RECIPE, seed, "cuda", progress=False)
        want = solo.table["train_loss"].tolist()
        assert history.table["train_loss"].tolist() == pytest.approx(want, rel=1e-2)


def test_members_go_on_from_their_checkpoints(make_net, make_set, tmp_path):
    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    options = {
        "checkpoints": [tmp_path / str(seed) for seed in range(3)],
        "device": "cuda",
        "progress": False,
    }
    with pytest.raises(KeyboardInterrupt):
        fit_many([make_net(seed) for seed in range(3)], make_set(), None, RECIPE, after_epoch=stop, **options)
    histories = fit_many([make_net(seed) for seed in range(3)], make_set(), None, RECIPE, **options)
    for seed, history in enumerate(histories):
        solo = fit(make_net(seed), make_set(), None, RECIPE, seed, "cuda", progress=False)
        want = solo.table["train_loss"].tolist()
        assert history.table["train_loss"].tolist() == pytest.approx(want, rel=1e-2)
