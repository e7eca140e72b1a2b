"""Evaluation against counting by hand; the network is left as it was."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from filterwise.data import ImageSet, scale
from filterwise.errors import ParameterError
from filterwise.training import evaluate, logits


def test_counts_are_those_of_a_loop_over_single_images(make_net, make_set):
    net, ds = make_net(seed=3, labels=4), make_set(count=23)
    net.eval()
    right, per_label, loss = 0, {0: [], 1: [], 2: []}, 0.0
    with torch.no_grad():
        for image, label in zip(ds.images, ds.labels.tolist(), strict=True):
            answer = net(scale(image[None]))
            hit = int(answer.argmax()) == label
            right += hit
            per_label[label].append(hit)
            loss += F.cross_entropy(answer, torch.tensor([label])).item()
    result = evaluate(net, ds, batch=5, device="cpu")
    assert result.n == 23
    assert result.accuracy == right / 23
    assert [hit for hit in result.right.tolist() if hit] == [True] * right
    assert result.right.shape == (23,)
    assert result.loss == pytest.approx(loss / 23, rel=1e-5)
    want = [sum(hits) / len(hits) for hits in per_label.values()]
    assert result.per_label[:3].tolist() == pytest.approx(want)
    assert result.per_label[3].isnan()  # an output that no image is labelled with


def test_modes_gradients_and_state_are_left_as_they_were(make_net, make_set):
    net = make_net()
    net.train()
    net[1].eval()  # a frozen batch normalisation
    state = {name: value.clone() for name, value in net.state_dict().items()}
    answers = logits(net, make_set(), batch=7, device="cpu")
    assert answers.shape == (50, 3)
    assert not answers.requires_grad
    assert [module.training for module in net] == [True, False, True, True, True, True, True]
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert torch.is_grad_enabled()


def test_labels_beyond_the_outputs_are_refused(make_net, make_set):
    with pytest.raises(ParameterError, match="labels up to 3, but the network has 3 outputs"):
        evaluate(make_net(), make_set(labels=4), device="cpu")
    with pytest.raises(ParameterError, match="batch=0"):
        evaluate(make_net(), make_set(), batch=0, device="cpu")


def test_ties_go_to_the_lower_label():
    ds = ImageSet(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 0, 1, 2]), ("a", "b", "c"))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))
    nn.init.zeros_(flat[1].weight)
    assert evaluate(flat, ds, device="cpu").per_label.tolist() == [1.0, 0.0, 0.0]
