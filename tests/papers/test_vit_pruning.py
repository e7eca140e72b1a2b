"""Chapter 7's pruned runs: masks that stay through AdamW, equal amounts for every peer, heads that are gone
and stay gone, and decisions that no test image had a part in."""

import numpy as np
import pytest
import torch

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.papers.afcc.measured_fields import true_test
from filterwise.papers.vit_shp import edits, pruned
from filterwise.papers.vit_shp.measured_nodes import nodes_of
from filterwise.prune.head_removal import attentions, margin_shares
from filterwise.prune.masks import masks_of
from filterwise.prune.transformer_masks import NodalConnections, joined_nodes, measured_places
from filterwise.runs.networks import beginning

RECIPE = fw.training.Recipe(
    epochs=3, batch=50, lr=0.003, optimiser="adamw", weight_decay=0.1, schedule="cosine", flip=False, shift=0
)
CCT = {"depth": 2, "d": 16, "heads": 4, "tokenizer_layers": 2, "linear_std": 0.2}
DENSE = fw.runs.Run("cct", "parts", RECIPE, 0, 5, CCT, {"n": 400, "held_out": 0.25})
MATRICES = ["encoders.2.ff.up", "encoders.2.ff.down", "fc"]


def masked(recipe=RECIPE, start=DENSE, **options):
    edit = {"threshold": 0.5, "probe_epochs": 2, **options}
    return start.then(recipe=recipe, edit=("andc", edit))


def without_heads(start=DENSE, **options):
    return start.then(recipe=RECIPE, edit=("heads-removed", {"probe_epochs": 2, "count": 3, **options}))


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def result(runs_folder):
    return lambda run: fw.runs.result(run, runs_folder, device="cpu")


def test_the_edits_are_found_by_name():
    names = fw.training.edits.edits.names()
    assert {"andc", "heads-removed"} <= set(names)


def test_masked_weights_are_exactly_zero_after_adamw_with_decay(result):
    done = result(masked(RECIPE.replace(epochs=8, weight_decay=0.5)))  # 48 steps
    net, begun = done.network(), beginning(done.run, done.train_set(), done.start(), "cpu")
    masks = masks_of(net)
    assert list(masks) == MATRICES
    for layer, mask in masks.items():
        module = net.get_submodule(layer)
        assert 0 < int((~mask).sum()) < mask.numel()
        assert torch.equal(masks_of(begun)[layer], mask)
        assert bool((module.weight[~mask] == 0).all())
        assert bool((module.weight_orig[~mask] == 0).all())
        assert not torch.equal(module.weight[mask], begun.get_submodule(layer).weight[mask])
    assert masks_of(result(DENSE).network()) == {}
    assert done.measured("vit.pruned", repeats=0).row["removed_largest"] == 0


def test_a_weight_that_came_back_would_be_reported(result):
    done = result(masked())
    net, begun = done.network(), beginning(done.run, done.train_set(), done.start(), "cpu")
    assert pruned.largest_removed(net, begun) == 0
    dense = result(DENSE).network()  # nothing was ever removed from it
    mask = masks_of(begun)["fc"]
    assert pruned.largest_removed(dense, begun) >= float(dense.fc.weight.detach()[~mask].abs().max()) > 0


@pytest.mark.parametrize("criterion", ["random", "magnitude", "filter-l1", "random-andc"])
def test_peers_remove_as_much_of_every_matrix(result, criterion):
    done = result(DENSE)
    given = (done.train_set(), done, "cpu")
    ours, theirs = (
        masks_of(beginning(masked(criterion=name, attention=True), *given)) for name in ("andc", criterion)
    )
    assert list(ours) == ["encoders.2.attention.projection", *MATRICES]
    assert {k: int(v.sum()) for k, v in ours.items()} == {k: int(v.sum()) for k, v in theirs.items()}
    assert any(not torch.equal(ours[k], theirs[k]) for k in ours)


def test_other_draws_are_other_masks_and_the_same_draw_the_same(result):
    done = result(DENSE)
    first, again, second = (
        masks_of(beginning(masked(criterion="random", draw=draw), done.train_set(), done, "cpu"))
        for draw in (0, 0, 1)
    )
    assert all(torch.equal(first[layer], again[layer]) for layer in MATRICES)
    assert not torch.equal(first["fc"], second["fc"])


def test_held_out_images_decide_and_no_test_image_does(result):
    done = result(DENSE)
    net, held_out, test = done.network(), done.test_set(), true_test(done)
    pictures = [{image.numpy().tobytes() for image in part.images} for part in (held_out, test)]
    assert len(held_out) == 100
    assert not pictures[0] & pictures[1]
    between = joined_nodes(net)
    given = nodes_of(done, measured_places(between), 2)
    heads = fw.measure.train_token_heads(
        net, list(given), done.train_set(), fw.measure.TOKEN_RECIPE.replace(epochs=2), 0, "cpu"
    )
    for images, same in ((held_out, True), (test, False)):
        read = fw.measure.read_tokens(net, heads, images, "cpu")
        for place, (mu, W) in given.items():
            torch.testing.assert_close(W, heads[place].weight, atol=1e-4, rtol=1e-3)
            assert torch.allclose(mu, read[place].mu.float(), atol=1e-3) == same
    expected = NodalConnections(between, given, 0.5).masks(net)
    found = masks_of(beginning(masked(), done.train_set(), done, "cpu"))
    assert all(torch.equal(found[layer], expected[layer]) for layer in MATRICES)


def test_a_run_that_holds_no_images_out_is_refused(result):
    leaking = DENSE.replace(recipe=RECIPE.replace(epochs=1), data_options={"n": 400})
    done = result(leaking)
    for run in (masked(start=leaking), without_heads(start=leaking)):
        with pytest.raises(ParameterError, match=r"held-out images.*data_options=\{'held_out': 0\.1\}"):
            beginning(run, done.train_set(), done, "cpu")
    # what measures nothing may start there
    beginning(without_heads(start=leaking, criterion="magnitude"), done.train_set(), done, "cpu")


def test_probe_heads_learn_from_as_many_images_as_are_asked_for(result):
    done = result(DENSE)
    (whole,), (more,), (few,) = (
        nodes_of(done, ["encoders.2"], 2, images).values() for images in (0, 10_000, 50)
    )
    assert torch.equal(whole[1], more[1])
    assert not torch.allclose(whole[1], few[1], atol=1e-3)


def test_all_criteria_and_thresholds_of_a_start_read_one_measurement(result, monkeypatch):
    done, asked = result(DENSE), []
    original = type(done).measured

    def watched(self, name, **options):
        asked.append((name, tuple(options.items())))
        return original(self, name, **options)

    monkeypatch.setattr(type(done), "measured", watched)
    for criterion, threshold in (("andc", 0.5), ("random", 0.5), ("andc", 0.3)):
        beginning(masked(criterion=criterion, threshold=threshold), done.train_set(), done, "cpu")
    assert len(asked) == 3
    assert len(set(asked)) == 1
    assert dict(asked[0][1])["places"] == ("encoders.2.norm2", "encoders.2.ff.gelu", "encoders.2")


@pytest.mark.parametrize("criterion", ["shp", "magnitude", "random"])
def test_heads_stay_removed_in_what_is_stored(result, criterion):
    done = result(without_heads(criterion=criterion))
    net = done.network()
    heads = {name: one.heads.heads for name, one in attentions(net).items()}
    assert sum(heads.values()) == 8 - 3
    assert min(heads.values()) >= 1
    row = done.measured("vit.pruned", repeats=0).row
    assert {name: row[f"heads@{name}"] for name in heads} == heads
    assert row["heads"] == 5
    assert row["parameters_left"] == fw.models.parameter_count(net)
    per_head = 4 * 16 * 4  # queries, keys, values and projection; d; d_h
    assert fw.models.parameter_count(result(DENSE).network()) - row["parameters_left"] == 3 * per_head
    lost = [name for name, count in heads.items() if count < 4]
    assert row["removed_share"] == pytest.approx(3 * per_head / (len(lost) * 4 * per_head))
    assert row["removed_largest"] == 0


def test_the_heads_that_go_have_the_smallest_parts_of_the_margin(result):
    done = result(DENSE)
    net = done.network()
    small = beginning(without_heads(), done.train_set(), done, "cpu")
    places = [f"encoders.{m}.attention.heads" for m in (1, 2)]
    given = nodes_of(done, places, 2)
    shares = torch.stack([margin_shares(fw.measure.head_fields(*given[place], heads=4)) for place in places])
    stay = shares.flatten() > shares.flatten().sort().values[2]
    assert stay.view(2, 4).any(1).all()
    for m, kept in enumerate(stay.view(2, 4)):
        values = net.encoders[m].attention.projection.weight.unflatten(1, (4, -1))[:, kept].flatten(1)
        assert torch.equal(small.encoders[m].attention.projection.weight, values)


def test_what_a_pruned_network_records(result):
    done = result(masked())
    found = done.measured("vit.pruned", batch=4, repeats=3)
    row, test = found.row, true_test(done)
    right = fw.training.evaluate(done.network(), test, device="cpu")
    assert row["accuracy"] == right.accuracy
    bits = np.unpackbits(found.arrays["test_right"], count=len(test)).astype(bool)
    assert np.array_equal(bits, right.right.numpy())
    begun = beginning(done.run, done.train_set(), done.start(), "cpu")
    assert row["accuracy_as_is"] == fw.training.evaluate(begun, test, device="cpu").accuracy
    dense = result(DENSE).network()
    assert row["accuracy_start"] == fw.training.evaluate(dense, test, device="cpu").accuracy
    masks = masks_of(done.network())
    gone, whole = (
        sum(int(m.sum()) for m in part)
        for part in ([~m for m in masks.values()], [torch.ones_like(m) for m in masks.values()])
    )
    assert row["removed_share"] == pytest.approx(gone / whole)
    assert row["removed_network"] == pytest.approx(gone / fw.models.parameter_count(dense))
    feed_forward = sum(int((~masks[layer]).sum()) for layer in MATRICES[:2])
    assert row["removed_ff"] == pytest.approx(feed_forward / (2 * 2 * 16 * 32))  # both encoders' W_1 and W_2
    assert row["removed@fc"] == pytest.approx(float((~masks["fc"]).double().mean()))
    assert (row["heads"], row["encoders"], row["timed_batch"]) == (8, 2, 4)
    for name in ("dense", "pruned"):
        assert 0 < row[f"ms_lower@{name}"] <= row[f"ms@{name}"] <= row[f"ms_upper@{name}"]


def test_the_dense_control_is_measured_alike_and_has_lost_nothing(result):
    row = result(DENSE.then(recipe=RECIPE)).measured("vit.pruned", repeats=0).row
    assert [row[f"removed_{what}"] for what in ("share", "ff", "network", "largest")] == [0, 0, 0, 0]
    assert not [name for name in row if name.startswith("removed@")]
    assert row["accuracy_as_is"] == row["accuracy_start"]
    start = result(DENSE).measured("vit.pruned", repeats=0).row
    assert start["accuracy"] == row["accuracy_start"]
    assert "accuracy_as_is" not in start


@pytest.mark.filterwarnings("error")
def test_labels_that_no_node_keeps_are_named(result):
    done = result(DENSE)
    with pytest.warns(UserWarning, match=r"no filter of 'fc' keeps \d of 5 labels"):
        net = beginning(masked(threshold=0.99), done.train_set(), done, "cpu")
    lost = ~masks_of(net)["fc"].any(1)
    answers = net.eval()(fw.data.augmentation.scale(done.test_set().images[:7]))
    assert torch.equal(answers[:, lost], net.fc.bias[lost].expand(7, -1))


def test_bad_choices_are_named(result):
    done = result(DENSE)
    train = done.train_set()
    with pytest.raises(ParameterError, match=r"criterion='andcc' is not known.*did you mean 'andc'"):
        beginning(masked(criterion="andcc"), train, done, "cpu")
    with pytest.raises(ParameterError, match="encoders=3 is not known; choose from 1, 2"):
        beginning(masked(encoders=(3,)), train, done, "cpu")
    with pytest.raises(ParameterError, match="criterion='taylor' is not known; choose from 'shp'"):
        beginning(without_heads(criterion="taylor"), train, done, "cpu")
    with pytest.raises(ParameterError, match="count=7 is not allowed; of 8 heads in 2 encoders at most 6"):
        beginning(without_heads(count=7), train, done, "cpu")
    for name, options in (("andc", {}), ("heads-removed", {"count": 1})):
        with pytest.raises(ParameterError, match=f"edit='{name}' measures a trained network: give the run"):
            beginning(DENSE.replace(edit=(name, options)), train)
    assert set(edits.CRITERIA) >= {"andc", "random", "magnitude"}
