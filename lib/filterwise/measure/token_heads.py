"""Probe heads for tokens: layer norm, sequence pool and a linear layer without a bias, one at each place.

The head that a compact convolutional transformer ends in, trained anew on frozen tokens of a place in the
network; Koresh et al. (2025), Gross et al. (2025). With x the tokens (T, d) of one input::

    n_t = LN(x_t),  alpha = softmax over t of (n_t . w),  z = sum_t alpha_t n_t,  field_j = sum_k W[j, k] z_k

It is linear behind z, so that one pass gives the matrices of all nodes and of all attention heads: silencing
every input of the linear layer but node k leaves W[j, k] z_k, whose mean over the inputs of label i is
M_k[i, j] = mu[i, k] W[j, k] with mu the class means of z. (A bias of the pool's scores would be the same for
all tokens and change nothing, so the head has none.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError, TrainingDiverged, check_count, refused
from filterwise.measure.fields import head_fields, label_fields
from filterwise.measure.head_training import generator_for, initial_weight
from filterwise.measure.heads import check_same_labels
from filterwise.measure.hooks import Capture, check_finite, measuring, measuring_device
from filterwise.measure.means import ClassSums, float_batches, label_counts
from filterwise.training.learning import descent
from filterwise.training.recipe import Recipe

#: AdamW without decay, 5e-3 along a cosine, the tokens frozen and not augmented.
TOKEN_RECIPE = Recipe(
    epochs=5, batch=100, lr=5e-3, optimiser="adamw", weight_decay=0.0, schedule="cosine", flip=False, shift=0
)
_EPS = 1e-5


@dataclass(frozen=True, eq=False)
class TokenHead:
    """A trained head of one place.

    Attributes
    ----------
    place : the module whose output it reads
    gain, offset : of the layer norm, (d,)
    score : w of the sequence pool, (d,)
    weight : W, float32 (K, d), no bias

    >>> head = TokenHead("encoders.1", torch.ones(4), torch.zeros(4), torch.zeros(4), torch.zeros(10, 4))
    >>> head.pooled(torch.rand(2, 7, 4)).shape
    torch.Size([2, 4])
    """

    place: str
    gain: Tensor = field(repr=False)
    offset: Tensor = field(repr=False)
    score: Tensor = field(repr=False)
    weight: Tensor = field(repr=False)

    def normalised(self, tokens: Tensor) -> Tensor:
        """LN of tokens (N, T, d)."""
        return functional.layer_norm(tokens, tokens.shape[-1:], self.gain, self.offset, _EPS)

    def pooled(self, tokens: Tensor, heads: int = 1) -> Tensor:
        """z of tokens (N, T, d): (N, d).

        With ``heads`` above 1 every head's nodes are pooled by themselves, its weights alpha being those of
        its own scores: silencing before the pool instead of after it.
        """
        n = self.normalised(tokens)
        count, length, d = n.shape
        parts = n.view(count, length, heads, d // heads)
        alpha = torch.einsum("nthk,hk->nth", parts, self.score.view(heads, -1)).softmax(dim=1)
        return torch.einsum("nth,nthk->nhk", alpha, parts).reshape(count, d)

    def to(self, device: torch.device) -> TokenHead:
        """The same head elsewhere."""
        parts = (self.gain, self.offset, self.score, self.weight)
        return TokenHead(self.place, *(part.to(device) for part in parts))


@dataclass(frozen=True, eq=False)
class Reading:
    """What a head reads of a set of images.

    Attributes
    ----------
    head : the head
    z : pooled nodes of every image, float32 (N, d), on the CPU
    labels : (N,); ``mu``: class means of z, (K, d)
    accuracy : share of the images that it labels correctly; ``per_label``: (K,), the same within each label

    >>> from filterwise.measure.token_heads import TokenHead
    >>> z, labels = torch.tensor([[2.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0]]), torch.tensor([0, 0, 1])
    >>> head = TokenHead("encoders.1", *torch.ones(3, 4), weight=torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))
    >>> reading = Reading(head, z, labels, torch.tensor([[1.0, 0.5, 0, 0], [0, 0, 3, 0]]), 1.0, torch.ones(2))
    >>> reading.node_fields().shape, reading.head_fields(2).shape
    (torch.Size([4, 2, 2]), torch.Size([2, 2, 2]))
    """

    head: TokenHead
    z: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    mu: Tensor = field(repr=False)
    accuracy: float
    per_label: Tensor = field(repr=False)

    @property
    def weight(self) -> Tensor:
        """W (K, d)."""
        return self.head.weight

    def node_fields(self) -> Tensor:
        """SNP matrices M_k = outer(mu[:, k], W[:, k]) of all nodes, (d, K, K): row = label of the input."""
        return label_fields(self.mu[:, :, None], self.weight)

    def head_fields(self, heads: int) -> Tensor:
        """SHP matrices of ``heads`` groups of neighbouring nodes, (H, K, K); see ``measure.head_fields``."""
        return head_fields(self.mu, self.weight, heads)


def train_token_heads(
    net: torch.nn.Module,
    places: Sequence[str],
    train: ImageSet,
    recipe: Recipe = TOKEN_RECIPE,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> dict[str, TokenHead]:
    """Train a head at each place of a frozen network, all on the same batches, equally long.

    Parameters
    ----------
    net : in evaluation mode throughout, left as it was found
    places : names of modules that give tokens (N, T, d) or maps (N, d, h, w)
    train : images; they are not augmented
    recipe : of the heads; it has to say ``flip=False, shift=0``
    seed : of the heads' first weights and of the order of images; a head does not depend on what other
        places are measured beside it

    Returns heads by place, on the CPU.
    Raises ParameterError: unknown places, a recipe that augments; TrainingDiverged; DataError: a label
    without images.

    >>> import filterwise as fw
    >>> net = fw.models.build("cct", 3, channels=1, size=16, depth=1, d=8, tokenizer_layers=2)
    >>> parts = fw.data.load("parts", labels=3, n=60)
    >>> short = TOKEN_RECIPE.replace(epochs=1)
    >>> train_token_heads(net, ["encoders.1"], parts, short)["encoders.1"].weight.shape
    torch.Size([3, 8])
    """
    if not isinstance(recipe, Recipe):
        raise refused("recipe", recipe, "give a Recipe, such as TOKEN_RECIPE")
    if recipe.flip or recipe.shift:
        raise ParameterError("token heads see images as they are, so recipe must have flip=False and shift=0")
    labels = len(label_counts(train))
    where = measuring_device(net, device)
    orders, trained = generator_for(seed, "order"), dict[str, _Learning]()
    steps = -(-len(train) // recipe.batch)
    with measuring(net, where), Capture(net, list(places)) as capture:
        first, _ = next(iter(float_batches(train, 1, where)))
        for place, tokens in capture(first).items():
            check_finite(place, tokens)
            trained[place] = _Learning(place, tokens.shape[1], labels, seed, where)
        optimiser = descent([weight for one in trained.values() for weight in one.weights], recipe)
        step = 0
        for epoch in range(recipe.epochs):
            for images, own in _shuffled(train, recipe.batch, orders, where):
                for group in optimiser.param_groups:
                    group["lr"] = recipe.learning_rate(step, steps)
                frozen = capture(images)
                with torch.enable_grad():
                    losses = [one.loss(frozen[place], own) for place, one in trained.items()]
                    total = torch.stack(losses).sum()
                    optimiser.zero_grad()
                    total.backward()
                optimiser.step()
                step += 1
            if not total.isfinite():
                ends = zip(trained, losses, strict=True)
                worst = next(place for place, loss in ends if not loss.isfinite())
                raise TrainingDiverged(
                    f"the head of {worst[0] if worst else places[0]!r} diverged in epoch {epoch + 1}; lower "
                    f"lr={recipe.lr!r}"
                )
    return {place: one.head() for place, one in trained.items()}


class _Learning:
    """One head while it learns: gain 1, offset 0, no preference among tokens, W as torch draws it."""

    def __init__(self, place: str, d: int, labels: int, seed: int, device: torch.device) -> None:
        self.place = place
        drawn = initial_weight(labels, d, 1, generator_for(seed, f"token head {place}"))[:, :, 0]
        begun = (torch.ones(d), torch.zeros(d), torch.zeros(d), drawn)
        self.weights = [value.to(device).requires_grad_() for value in begun]

    def loss(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of tokens (N, d, T)."""
        gain, offset, score, weight = self.weights
        # LN without its gain needs no gradient, and of the offset the softmax over tokens sees nothing
        n = functional.layer_norm(tokens.transpose(1, 2), tokens.shape[1:2], eps=_EPS)
        alpha = (n @ (gain * score)).softmax(dim=1)
        z = torch.bmm(alpha[:, None], n)[:, 0] * gain + offset
        return functional.cross_entropy(z @ weight.T, labels)

    def head(self) -> TokenHead:
        return TokenHead(self.place, *(value.detach().cpu() for value in self.weights))


def _shuffled(
    train: ImageSet, batch: int, orders: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(train), generator=orders)
    for part in order.split(batch):
        yield next(iter(float_batches(train.subset(part), batch, device)))


def read_tokens(
    net: torch.nn.Module,
    heads: dict[str, TokenHead],
    test: ImageSet,
    device: str | torch.device = "auto",
    before_pool: int = 0,
) -> dict[str, Reading]:
    """What trained heads read of images, in one pass over them for all places.

    ``before_pool``: number of attention heads H that are silenced before the sequence pool instead of after
    it (places whose nodes cannot be shared among them are refused); 0: after it, which is linear.

    Returns readings by place. Raises ParameterError: unknown places, or H that does not divide the nodes;
    DataError: a label without images.

    >>> import filterwise as fw
    >>> net = fw.models.build("cct", 3, channels=1, size=16, depth=1, d=8, tokenizer_layers=2)
    >>> head = TokenHead("encoders.1", *torch.ones(3, 8), weight=torch.ones(3, 8))
    >>> test = fw.data.load("parts", "test", labels=3, n=30)
    >>> read_tokens(net, {"encoders.1": head}, test)["encoders.1"].mu.shape
    torch.Size([3, 8])
    """
    label_counts(test)
    groups = check_count("before_pool", before_pool, 0) or 1
    for place, head in heads.items():
        if len(head.score) % groups:
            raise ParameterError(
                f"before_pool={before_pool!r} does not divide the {len(head.score)} nodes of {place!r}"
            )
    where = measuring_device(net, device)
    sums, found, own = ClassSums(len(test.label_names)), dict[str, list[Tensor]](), list[Tensor]()
    there = {place: head.to(where) for place, head in heads.items()}
    with measuring(net, where), Capture(net, list(heads)) as capture:
        for images, labels in float_batches(test, 500, where):
            pooled = {
                place: there[place].pooled(tokens.transpose(1, 2), groups)
                for place, tokens in capture(images).items()
            }
            sums.add({place: z[:, :, None] for place, z in pooled.items()}, labels)
            own.append(labels.cpu())
            for place, z in pooled.items():
                found.setdefault(place, []).append(z.cpu())
        means, labels = sums.means(), torch.cat(own)
        return {
            place: _reading(head, torch.cat(found[place]), labels, means[place][:, :, 0])
            for place, head in heads.items()
        }


def _reading(head: TokenHead, z: Tensor, labels: Tensor, mu: Tensor) -> Reading:
    right = (z @ head.weight.T).argmax(dim=1) == labels
    counts = torch.bincount(labels, minlength=len(mu))
    per_label = torch.bincount(labels[right], minlength=len(mu)) / counts
    return Reading(head, z, labels, mu, float(right.double().mean()), per_label)


def read_places(
    net: torch.nn.Module,
    places: Sequence[str],
    train: ImageSet,
    test: ImageSet,
    recipe: Recipe = TOKEN_RECIPE,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> dict[str, Reading]:
    """:func:`train_token_heads` on ``train``, then :func:`read_tokens` on ``test``.

    >>> import filterwise as fw
    >>> net = fw.models.build("cct", 3, channels=1, size=16, depth=1, d=8, tokenizer_layers=2)
    >>> train, test = (fw.data.load("parts", split, labels=3, n=30) for split in ("train", "test"))
    >>> read_places(net, ["encoders.1"], train, test, TOKEN_RECIPE.replace(epochs=1))["encoders.1"].z.shape
    torch.Size([30, 8])
    """
    check_same_labels(train, test)
    return read_tokens(net, train_token_heads(net, places, train, recipe, seed, device), test, device)
