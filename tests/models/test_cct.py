"""Compact convolutional transformers against vit-pytorch, their equations and their published sizes."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from filterwise import _torchvision
from filterwise.data import ImageSet
from filterwise.errors import ParameterError
from filterwise.measure.hooks import measuring
from filterwise.models import build, layer_names, macs, parameter_count
from filterwise.models.encoder import Encoder, StochasticDepth
from filterwise.training import Recipe, fit

TINY = {"labels": 3, "channels": 2, "size": 8, "d": 12, "depth": 2, "heads": 3, "tokenizer_layers": 1}


def tiny(seed: int = 0, **options) -> nn.Module:
    """A network whose norms, biases and positions are drawn too, so that none of them hides by being 0."""
    net = build("cct", **{**TINY, **options}, seed=seed)
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 1 or parameter.ndim == 3:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
            else:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return net.eval()


def pictures(count: int = 4, channels: int = 2, size: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def outputs(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The output of every module of a network in evaluation mode."""
    found: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: found.__setitem__(name, out))
        for name, module in net.named_modules()
    ]
    with measuring(net):
        net(images)
    for hook in hooks:
        hook.remove()
    return found


# Beside an independent implementation.

#: Parts of an encoder here -> there.
PARTS = {
    "norm1": "pre_norm", "attention.qkv": "self_attn.qkv", "attention.projection": "self_attn.proj",
    "norm2": "norm1", "ff.up": "linear1", "ff.down": "linear2",
}  # fmt: skip


def independent() -> ModuleType:
    """vit-pytorch's module of these networks; it imports torchvision."""
    _torchvision.load()
    return pytest.importorskip("vit_pytorch.cct", reason="needs vit-pytorch")


def copied(net: nn.Module, other: nn.Module) -> None:
    """Give vit-pytorch's network the weights of ours; every one of its own is overwritten."""
    mine, state = net.state_dict(), {}
    for name in other.state_dict():
        group, _, rest = name.partition(".")
        if group == "tokenizer":
            state[name] = mine[f"tokenizer.{int(rest.split('.')[1]) + 1}.conv.weight"]
        elif rest == "positional_emb":
            state[name] = mine["positions.embedding"]
        elif rest.startswith("blocks."):
            _, number, part, kind = *rest.split(".", 2)[:2], *rest.split(".", 2)[2].rsplit(".", 1)
            here = next(own for own, theirs in PARTS.items() if theirs == part)
            state[name] = mine[f"encoders.{int(number) + 1}.{here}.{kind}"]
        else:
            state[name] = mine[rest.replace("attention_pool", "pool.score")]
    assert len(state) == len(mine)
    other.load_state_dict(state)


@pytest.mark.parametrize("positions", ["learnable", "sine"])
@pytest.mark.parametrize("heads", [4, 32])
def test_the_same_as_vit_pytorch(positions: str, heads: int) -> None:
    other_cct = independent().CCT
    options = {"embedding_dim": 64, "num_layers": 3, "num_heads": heads, "mlp_ratio": 2.0, "num_classes": 7}
    other = other_cct(
        img_size=16, kernel_size=3, stride=1, padding=1, dropout_rate=0, positional_embedding=positions,
        **options,
    )  # fmt: skip
    net = build("cct", labels=7, size=16, depth=3, d=64, heads=heads, positions=positions, linear_std=0.3)
    before = other.state_dict()["classifier.positional_emb"].clone()
    copied(net, other)
    if positions == "sine":
        torch.testing.assert_close(net.positions.embedding, before)
    images = pictures(3, 3, 16)
    with torch.no_grad():
        ours, theirs = net.eval()(images), other.eval()(images)
    assert float(theirs.std()) > 0.05  # weights that make a difference
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    # and images, heads and positions do make one
    with torch.no_grad():
        assert not torch.allclose(net(images.flip(3)), theirs, atol=1e-3)


@pytest.mark.parametrize("positions", ["learnable", "sine"])
def test_cct7_3x1_is_the_published_network(positions: str) -> None:
    cct_7 = independent().cct_7
    net = build("cct7_3x1", labels=100, positions=positions)
    other = cct_7(img_size=32, num_classes=100, positional_embedding=positions, dropout_rate=0)
    copied(net, other)
    images = pictures(2, 3, 32)
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(images), other.eval()(images), rtol=0, atol=1e-5)
    learnt = sum(each.numel() for each in other.parameters() if each.requires_grad)
    assert parameter_count(net) == learnt


# Sizes.


@cache
def on_meta(**options) -> nn.Module:
    return build("cct7_3x1", **options).to("meta")


@pytest.mark.parametrize(("labels", "weights"), [(100, 3_783_269), (10, 3_760_139)])
def test_published_numbers_of_weights(labels: int, weights: int) -> None:
    assert parameter_count(on_meta(labels=labels)) == weights


@pytest.mark.parametrize(
    ("heads", "inner", "weights", "millions"),
    [
        (4, None, 526_336, 168),
        (16, None, 526_336, 168),
        (32, None, 526_336, 168),
        (64, None, 526_336, 168),
        (128, None, 526_336, 168),
        (100, 400, 673_792, 224),
        (100, 1600, 1_902_592, 696),
    ],
)
def test_weights_and_products_of_an_encoder(
    heads: int, inner: int | None, weights: int, millions: int
) -> None:
    """Products by hand: 4 d I + 4 d d a token, and twice T^2 I."""
    assert parameter_count(Encoder(256, heads, inner or 256, 512)) == weights
    one, two = (
        build("cct", d=256, depth=n, heads=heads, inner=inner, mlp_ratio=2.0).to("meta") for n in (1, 2)
    )
    width, tokens = inner or 256, 256
    products = tokens * (4 * 256 * width + 4 * 256**2) + 2 * tokens**2 * width
    assert macs(two) - macs(one) == products
    assert products / 1e6 == pytest.approx(millions, rel=0.005)


def test_products_with_attention() -> None:
    assert macs(on_meta(labels=100)) / 1e9 == pytest.approx(1.18, abs=0.005)


# Every measured tensor is the output of a module.


def attention_by_hand(qkv: Tensor, heads: int) -> Tensor:
    """softmax(Q_h K_h^T / sqrt(d_h)) V_h, head by head and image by image."""
    width = qkv.shape[2] // 3
    size = width // heads
    query, key, value = qkv.split(width, dim=2)
    found = []
    for h in range(heads):
        own = slice(h * size, (h + 1) * size)
        scores = query[:, :, own] @ key[:, :, own].transpose(1, 2) / size**0.5
        found.append(scores.softmax(2) @ value[:, :, own])
    return torch.cat(found, dim=2)


@pytest.mark.parametrize(("heads", "inner"), [(3, None), (12, None), (5, 20)])
def test_an_encoder_by_its_equations(heads: int, inner: int | None) -> None:
    net = tiny(heads=heads, inner=inner)
    seen = outputs(net, pictures())
    x = seen["positions"]
    for m in (1, 2):
        encoder = net.encoders.get_submodule(str(m))
        attention, ff = encoder.attention, encoder.ff

        def norm(values: Tensor, layer: nn.LayerNorm) -> Tensor:
            centred = values - values.mean(2, keepdim=True)
            return (
                centred / (centred.square().mean(2, keepdim=True) + layer.eps).sqrt() * layer.weight
                + layer.bias
            )

        with torch.no_grad():
            qkv = norm(x, encoder.norm1) @ attention.qkv.weight.T
            o = attention_by_hand(qkv, heads)
            a = o @ attention.projection.weight.T + attention.projection.bias
            y = norm(x + a, encoder.norm2)
            u = y @ ff.up.weight.T + ff.up.bias
            u = 0.5 * u * (1 + torch.erf(u / 2**0.5))
            x = y + u @ ff.down.weight.T + ff.down.bias
        for name, wanted in (
            ("attention.heads", o), ("attention.projection", a), ("norm2", y), ("ff.gelu", u), ("", x),
        ):  # fmt: skip
            place = f"encoders.{m}.{name}".rstrip(".")
            torch.testing.assert_close(seen[place], wanted, rtol=0, atol=1e-5)
        assert o.shape[2] == (inner or 12)
    with torch.no_grad():
        alpha = (norm(x, net.norm) @ net.pool.score.weight[0] + net.pool.score.bias).softmax(1)
        z = (alpha[:, :, None] * norm(x, net.norm)).sum(1)
        torch.testing.assert_close(seen[""], net.fc(z), rtol=0, atol=1e-5)
        tokens = seen["tokenizer"].flatten(2).transpose(1, 2) + net.positions.embedding
        torch.testing.assert_close(seen["positions"], tokens)
    assert set(layer_names(net)) <= set(seen)


def test_a_head_without_values_silences_exactly_its_own_nodes() -> None:
    net, images = tiny(heads=4, inner=20), pictures()
    whole = outputs(net, images)["encoders.1.attention.heads"]
    for h in range(4):
        copy = tiny(heads=4, inner=20)
        with torch.no_grad():
            copy.get_submodule("encoders.1.attention.qkv").weight[40 + 5 * h : 40 + 5 * (h + 1)] = 0
        found = outputs(copy, images)["encoders.1.attention.heads"]
        dead = torch.zeros(20, dtype=torch.bool)
        dead[5 * h : 5 * (h + 1)] = True
        assert (found[:, :, dead] == 0).all()
        assert torch.equal(found[:, :, ~dead], whole[:, :, ~dead])
        assert whole[:, :, dead].abs().amax((0, 1)).min() > 0.01


# What acts while training alone.


def test_dropout_and_stochastic_depth_act_while_training_only() -> None:
    images = pictures(16)
    still = tiny(attention_dropout=0.0, depth_rate=0.0)
    for options in (
        {"attention_dropout": 0.5, "depth_rate": 0.0},
        {"attention_dropout": 0.0, "depth_rate": 0.5},
    ):
        net = tiny(**options)
        with torch.no_grad():
            assert torch.equal(net(images), still(images))
            net.train()
            with torch.random.fork_rng():
                torch.manual_seed(0)
                first, second = net(images), net(images)
            assert not torch.allclose(first, second)
            assert not torch.allclose(first, still(images))
            net.eval()
            assert torch.equal(net(images), still(images))
    with torch.no_grad():
        assert torch.equal(still.train()(images), still.eval()(images))


def test_rates_of_stochastic_depth_rise_along_a_straight_line() -> None:
    net = build("cct", depth=5, d=8, heads=2, depth_rate=0.2, replaced=2)
    rates = [encoder.depth.rate for encoder in net.encoders]
    assert rates == pytest.approx([0.1, 0.15, 0.2])


def test_stochastic_depth_keeps_the_expectation_and_whole_images() -> None:
    branch, depth = torch.ones(20_000, 2, 3), StochasticDepth(0.3).train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = depth(branch)
    kept = found.flatten(1).amax(1) > 0
    assert torch.equal(found[kept], torch.full_like(found[kept], 1 / 0.7))
    assert (found[~kept] == 0).all()
    assert float(kept.double().mean()) == pytest.approx(0.7, abs=5 * (0.21 / 20_000) ** 0.5)
    assert depth.eval()(branch) is branch


# Convolutions in place of the first encoders.


def test_convolutions_stand_in_for_the_first_encoders() -> None:
    net = build("cct", depth=4, d=8, heads=2, replaced=2, convolutions=3)
    assert layer_names(net) == [
        "convolutions.1", "convolutions.2", "convolutions.3", "positions", "encoders.3", "encoders.4",
    ]  # fmt: skip
    assert layer_names(build("cct", depth=4, d=8, heads=2, replaced=3)) == [
        "convolutions.1", "convolutions.2", "convolutions.3", "positions", "encoders.4",
    ]  # fmt: skip
    assert layer_names(build("cct", depth=2, d=8, heads=2)) == ["positions", "encoders.1", "encoders.2"]
    none = build("cct", depth=2, d=8, heads=2, replaced=1, convolutions=0)
    assert layer_names(none) == ["positions", "encoders.2"]
    whole = parameter_count(build("cct", depth=4, d=8, heads=2))
    encoder, convolution = parameter_count(Encoder(8, 2, 8, 16)), 9 * 8 * 8 + 2 * 8
    assert parameter_count(net) == whole - 2 * encoder + 3 * convolution


@pytest.mark.parametrize("residual", [True, False])
def test_a_convolution_acts_on_the_grid_before_the_positions(residual: bool) -> None:
    net, images = tiny(replaced=1, residual=residual), pictures()
    net.convolutions[0].bn.running_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    seen, layer = outputs(net, images), net.convolutions[0]
    grid = seen["tokenizer"]
    assert grid.shape == (4, 12, 4, 4)
    with torch.no_grad():
        mapped = functional.conv2d(grid, layer.conv.weight, padding=1)
        scale = layer.bn.weight / (layer.bn.running_var + layer.bn.eps).sqrt()
        mapped = (mapped - layer.bn.running_mean[:, None, None]) * scale[:, None, None]
        mapped = functional.gelu(mapped + layer.bn.bias[:, None, None])
        mapped = mapped + grid if residual else mapped
        torch.testing.assert_close(seen["convolutions.1"], mapped, rtol=0, atol=1e-5)
        tokens = mapped.flatten(2).transpose(1, 2) + net.positions.embedding
    torch.testing.assert_close(seen["positions"], tokens, rtol=0, atol=1e-5)
    assert seen["positions"].shape == (4, 16, 12)


# What is refused, and what is left alone.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 5}, "heads=5 does not divide d=12; near it are 3, 4, 6"),
        ({"heads": 5, "inner": 32}, "heads=5 does not divide inner=32; near it are 2, 4, 8"),
        ({"heads": 0}, "heads=0 is not allowed"),
        ({"replaced": 2}, "replaced=2 is not allowed; at least one of depth=2"),
        ({"replaced": 7}, "replaced=7 is not allowed"),
        ({"replaced": -1}, "replaced=-1"),
        ({"replaced": 1, "convolutions": -1}, "convolutions=-1"),
        ({"size": 2}, "size=2 is not allowed; .*must be at least 3"),
        ({"size": 8, "tokenizer_layers": 3}, "size=8 is not allowed; .*must be at least 9"),
        ({"kernel": 4}, "kernel=4 is not allowed; it must be odd"),
        ({"depth": 0}, "depth=0"),
        ({"positions": "sines"}, "positions='sines' is not known; choose from .*did you mean 'sine'"),
        ({"attention_dropout": 1.5}, "attention_dropout=1.5"),
        ({"depth_rate": -0.1}, "depth_rate=-0.1"),
        ({"mlp_ratio": 0}, "mlp_ratio=0"),
        ({"linear_std": 0}, "linear_std=0"),
        ({"head": 3}, "head=3 is no option of 'cct'; .*did you mean 'heads'"),
    ],
)
def test_impossible_networks_are_refused(options, message) -> None:
    with pytest.raises(ParameterError, match=message):
        build("cct", **{**TINY, **options})


def test_an_image_that_is_just_large_enough() -> None:
    least = build("cct", **{**TINY, "size": 9, "tokenizer_layers": 3})
    assert least.positions.embedding.shape == (1, 4, 12)


def test_weights_come_from_the_seed_and_the_shared_random_state_stays() -> None:
    state = torch.get_rng_state()
    for options in ({}, {"init": "he"}, {"replaced": 1}, {"positions": "sine"}):
        first, again, other = (build("cct", **{**TINY, **options}, seed=seed) for seed in (3, 3, 4))
        for name, value in first.state_dict().items():
            assert torch.equal(value, again.state_dict()[name]), name
        weight = "encoders.2.attention.qkv.weight"
        assert not torch.equal(first.state_dict()[weight], other.state_dict()[weight])
    assert torch.equal(torch.get_rng_state(), state)


def test_published_initial_weights() -> None:
    net = build("cct", depth=2, d=64, heads=4, linear_std=0.1)
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear) and module.weight.numel() > 1000:
            assert float(module.weight.detach().std()) == pytest.approx(0.1, rel=0.05), name
            assert module.bias is None or bool((module.bias == 0).all())
    assert float(net.positions.embedding.detach().std()) == pytest.approx(0.2, rel=0.02)


def test_the_fused_kernel_is_called_once_an_encoder() -> None:
    net, fused = tiny(), functional.scaled_dot_product_attention
    with mock.patch.object(functional, "scaled_dot_product_attention", side_effect=fused) as called:
        net(pictures())
        net.train()(pictures()).sum().backward()
    shapes = [tuple(call.args[0].shape) for call in called.call_args_list]
    assert shapes == [(4, 3, 16, 4)] * 4  # images, heads, tokens, d_h


# Training.


def blobs(count: int = 36) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    noise = torch.randint(0, 120, (count, 2, 8, 8), generator=generator)
    return ImageSet((noise + 60 * labels[:, None, None, None]).to(torch.uint8), labels, ("a", "b", "c"))


def adamw(**changes) -> Recipe:
    return Recipe(epochs=2, batch=12, lr=3e-3, optimiser="adamw", weight_decay=0.06, schedule="cosine",
                  precision="float32", **changes)  # fmt: skip


@pytest.mark.parametrize(
    "changes", [{}, {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1}], ids=["plain", "mixed"]
)
def test_training_is_the_same_to_the_bit(changes) -> None:
    recipe, images = adamw(flip=False, shift=1, **changes), blobs()
    options = {"attention_dropout": 0.1, "depth_rate": 0.1, "replaced": 1}
    nets, ends = [build("cct", **{**TINY, "depth": 3, **options}) for _ in range(3)], []
    begun = {name: value.clone() for name, value in nets[0].state_dict().items()}
    for turn, (net, seed) in enumerate(zip(nets, (0, 0, 1), strict=True)):
        with torch.random.fork_rng():
            torch.manual_seed(turn)  # whatever else was drawn before does not matter
            state = torch.get_rng_state()
            history = fit(net, images, images, recipe, seed=seed, device="cpu", progress=False)
            assert torch.equal(torch.get_rng_state(), state)
        ends.append(history.table["train_loss"].tolist())
    assert ends[0] == ends[1] != ends[2]
    first, again, other = (net.state_dict() for net in nets)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    moved = [name for name, value in first.items() if not torch.equal(value, begun[name])]
    assert {"positions.embedding", "encoders.2.attention.qkv.weight", "convolutions.1.bn.running_mean",
            "pool.score.weight", "fc.bias"} <= set(moved)  # fmt: skip
    assert not torch.equal(first["fc.weight"], other["fc.weight"])


def test_a_tiny_transformer_learns() -> None:
    recipe = adamw(flip=False, shift=0).replace(epochs=12)
    net = build("cct", **TINY, linear_std=0.1, attention_dropout=0.0, depth_rate=0.0)
    table = fit(net, blobs(), blobs(), recipe, device="cpu", progress=False).table
    assert table["train_loss"].iloc[-1] < 0.8 * table["train_loss"].iloc[0]
