"""The pictures on which a filter fires most: against the whole table of activations, ties and silence."""

import pytest
import torch
from torch import nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError
from filterwise.measure import strongest_images


def pictures(count: int = 37, seed: int = 0) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(count) % 3, ("a", "b", "c"))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU())


@pytest.mark.parametrize("batch", [1, 8, 100])
@pytest.mark.parametrize("count", [1, 5, 60])
def test_the_strongest_are_those_of_the_whole_table_of_means(batch: int, count: int) -> None:
    ds, net = pictures(), network()
    found = strongest_images(net, ["1", "3"], ds, count, batch=batch, device="cpu")
    x = ds.images.float() / 127.5 - 1
    for layer in ("1", "3"):
        with torch.no_grad():
            means = net[: int(layer) + 1](x).flatten(2).mean(2).T  # (filters, images)
        assert found.places[layer].shape == (len(means), min(count, len(ds)))
        torch.testing.assert_close(
            found.means[layer], means.sort(dim=1, descending=True).values[:, :count], rtol=1e-5, atol=1e-6
        )
        torch.testing.assert_close(
            means.gather(1, found.places[layer]), found.means[layer], rtol=1e-5, atol=1e-6
        )


def test_of_equal_pictures_the_earlier_comes_first_and_a_silent_filter_has_none() -> None:
    ds = pictures(12)
    ds.images[[2, 5, 9]] = 255
    net = nn.Sequential(nn.Conv2d(1, 2, 8), nn.ReLU())
    with torch.no_grad():
        net[0].weight[0], net[0].weight[1] = 1.0, 0.0
        net[0].bias[0], net[0].bias[1] = -60.0, -1.0  # 64 where all is white: 4 above the bias
    found = strongest_images(net, "1", ds, 5, batch=4, device="cpu")
    assert found.of("1", 0) == [2, 5, 9]
    assert found.of("1", 1) == []
    assert found.labels(found.of("1", 0)) == ["c", "c", "a"]


def test_weighted_labels_are_named_by_the_heaviest() -> None:
    ds = pictures(3)
    soft = ImageSet(
        ds.images, torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.4, 0.4, 0.2]]), ds.label_names
    )
    assert strongest_images(network(), "1", soft, device="cpu").labels(range(3)) == ["b", "a", "a"]


def test_the_network_is_left_as_it_was_found_and_errors_name_what_is_wrong() -> None:
    net = network().train()
    strongest_images(net, "1", pictures(), device="cpu")
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(ParameterError, match=r"count=0"):
        strongest_images(net, "1", pictures(), 0, device="cpu")
    with pytest.raises(ParameterError, match="'7'"):
        strongest_images(net, "7", pictures(), device="cpu")
    with torch.no_grad():
        net[0].bias[0] = float("nan")
    with pytest.raises(ParameterError, match="'1'"):
        strongest_images(net, "1", pictures(), device="cpu")


def test_inputs_on_a_scale_of_their_own_are_those_of_the_same_images() -> None:
    ds, net = pictures(), network()
    x = (ds.images.float() / 255 - 0.4) / 0.2
    pairs = list(zip(x.split(8), ds.labels.split(8), strict=True))
    found = strongest_images(net, "1", ds, 3, inputs=pairs, device="cpu")
    with torch.no_grad():
        means = net[:2](x).flatten(2).mean(2).T
    assert torch.equal(found.places["1"], means.sort(dim=1, descending=True, stable=True).indices[:, :3])
    assert not torch.equal(found.places["1"], strongest_images(net, "1", ds, 3, device="cpu").places["1"])
    assert found.ds is ds


def test_other_inputs_than_the_images_are_refused() -> None:
    ds, net = pictures(), network()
    x = ds.images.float()
    with pytest.raises(ParameterError, match="inputs are 30 and ds has 37 images"):
        strongest_images(net, "1", ds, inputs=(x[:30], ds.labels[:30]), device="cpu")
    with pytest.raises(ParameterError, match="other labels than these images"):
        strongest_images(net, "1", ds, inputs=(x.flip(0), ds.labels.flip(0)), device="cpu")
    with pytest.raises(ParameterError, match="ds is a tuple; an ImageSet is expected"):
        strongest_images(net, "1", (x, ds.labels), device="cpu")  # type: ignore[arg-type]
