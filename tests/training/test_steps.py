"""Steps by name, soft and several labels, and edits."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from filterwise.data import ImageSet
from filterwise.errors import ParameterError
from filterwise.training import Given, Recipe, evaluate, fit, fit_many
from filterwise.training.edits import edits
from filterwise.training.steps import backprop, cross_entropy, hits, steps

RECIPE = Recipe(epochs=3, batch=16, lr=0.05, shift=1)


def train(net, ds, recipe=RECIPE, **options):
    return fit(net, ds, None, recipe, device="cpu", progress=False, **options)


@steps("test-scaled")
def scaled(recipe, device, dtype, factor=1.0):
    """Gradients times a factor."""
    plain = backprop(recipe, device, dtype)

    def step(net, images, labels):
        loss, logits = plain(net, images, labels)
        for weight in net.parameters():
            weight.grad.mul_(factor)
        return loss, logits

    return step


def test_steps_by_name_and_by_name_and_options(make_net, make_set, same_state):
    def trained(step, **changes):
        net = make_net()
        train(net, make_set(), RECIPE.replace(weight_decay=0, **changes), step=step)
        return net

    plain = trained(None)
    assert same_state(trained("backprop"), plain)
    assert same_state(trained(("backprop", {})), plain)
    assert same_state(trained("test-scaled"), plain)
    halved = trained(("test-scaled", {"factor": 0.5}))
    assert not same_state(halved, plain)
    # with half the gradient at twice the rate
    assert same_state(trained(("test-scaled", {"factor": 0.5}), lr=0.1), plain)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("backprob", "step='backprob' is not known; .* did you mean 'backprop'"),
        (("test-scaled", {"faktor": 1}), "step='test-scaled' does not take the options"),
        (("backprop",), "give a name, or"),
        (3, "step=3 is not allowed"),
    ],
)
def test_bad_steps_are_refused(make_net, make_set, step, message):
    with pytest.raises(ParameterError, match=message):
        train(make_net(), make_set(), step=step)


def test_epochs_are_announced_with_seeds_of_their_own(make_net, make_set):
    told = []

    class Listens:
        def before_epoch(self, net, optimiser, epoch, seed):
            told.append((epoch, seed, net.training, type(optimiser)))

        def __call__(self, net, images, labels):
            loss = F.cross_entropy(net(images), labels)
            loss.backward()
            return loss, net(images)

    train(make_net(), make_set(), step=Listens())
    assert [epoch for epoch, *_ in told] == [0, 1, 2]
    assert len({seed for _, seed, *_ in told}) == 3
    assert {(mode, kind) for _, _, mode, kind in told} == {(True, torch.optim.SGD)}


def test_shares_are_counted_as_written():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 4, generator=generator)
    labels = torch.arange(7) % 4
    hot = F.one_hot(labels, 4).float()
    for smoothing in (0.0, 0.1):
        want = cross_entropy(logits, labels, smoothing)
        assert torch.allclose(cross_entropy(logits, hot, smoothing), want)
    assert torch.equal(hits(logits, hot), hits(logits, labels))

    soft = torch.rand(7, 4, generator=generator).softmax(1)
    want = -(soft * logits.log_softmax(1)).sum(1).mean()
    assert torch.allclose(cross_entropy(logits, soft), want)
    assert torch.equal(hits(logits, soft), logits.argmax(1) == soft.argmax(1))

    several = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    logs = logits[:2].log_softmax(1)
    want = -((logs[0, 0] + logs[0, 1]) / 2 + logs[1, 2]) / 2
    assert torch.allclose(cross_entropy(logits[:2], several), want)
    right = [int(logits[0].argmax()) in (0, 1), int(logits[1].argmax()) == 2]
    assert hits(logits[:2], several).tolist() == right


def shares(ds, second=False):
    """The set with its labels as shares; with ``second`` every third image has the next label as well."""
    values = F.one_hot(ds.labels, 3).float()
    if second:
        values[::3] += values[::3].roll(1, 1)
    return ImageSet(ds.images, values, ds.label_names)


def test_networks_learn_from_shares_as_from_labels(make_net, make_set):
    ds, test = make_set(), make_set(31, seed=1)
    one, other = make_net(), make_net()
    recipe = RECIPE.replace(precision="float32")
    histories = [
        fit(one, ds, test, recipe, device="cpu", progress=False),
        fit(other, shares(ds), shares(test), recipe, device="cpu", progress=False),
    ]
    for column in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        first, second = (history.table[column].tolist() for history in histories)
        assert second == pytest.approx(first, rel=1e-3), column
    by_label = [evaluate(one, part, device="cpu") for part in (test, shares(test))]
    assert by_label[0].accuracy == by_label[1].accuracy
    assert torch.equal(by_label[0].per_label, by_label[1].per_label)

    several = shares(test, second=True)
    result = evaluate(one, several, device="cpu")
    assert result.accuracy >= by_label[0].accuracy
    assert result.n == 31
    longer = recipe.replace(epochs=10)
    history = fit(make_net(), shares(ds, second=True), several, longer, device="cpu", progress=False)
    assert history.final["test_accuracy"] > 0.9


def test_shares_that_do_not_fit_are_refused():
    images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    good = torch.tensor([[0.5, 0.5], [1.0, 1.0]])
    sets = [ImageSet(images, values, ("a", "b")) for values in (good, good * torch.tensor([[1.0], [0.0]]))]
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(ParameterError, match="shares of 2 labels, but the network has 3 outputs"):
        train(net, sets[0])
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ParameterError, match="train has images without any label"):
        train(net, sets[1])
    with pytest.raises(ParameterError, match="take one label an image"):
        fit_many([net], sets[0], recipes=RECIPE, device="cpu", progress=False)


def test_a_new_head_fits_the_labels_and_comes_from_the_seed(make_net, make_set):
    ds = make_set(labels=5)
    heads = []
    for seed in (0, 0, 1):
        net = make_net()
        body, before = net[0].weight.clone(), torch.get_rng_state()
        assert edits.get("head").function(net, Given(ds, seed)) is None
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(net[0].weight, body)
        heads.append(net[-1])
    assert heads[0].weight.shape == (5, 64)
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert torch.equal(heads[0].bias, heads[1].bias)
    assert not torch.equal(heads[0].weight, heads[2].weight)
    assert heads[0].weight.abs().max() <= 1 / 8
    assert all(weight.requires_grad for weight in heads[0].parameters())
    train(net, ds, learn=("6",))
    for wrong in (nn.Flatten(), nn.Linear(4, 3)):
        with pytest.raises(ParameterError, match="edit='head' needs a network"):
            edits.get("head").function(wrong, Given(ds, 0))
