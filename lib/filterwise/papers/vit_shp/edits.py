"""The changes of a network with which pruned runs of chapter 7 begin: masked connections, heads removed.

Koresh et al., Physica A 666 (2025); Gross et al., Physica A 675, 130835 (2025).
"""

from __future__ import annotations

from torch import nn

from filterwise.errors import ParameterError, check_choice
from filterwise.measure.fields import head_fields
from filterwise.measure.head_training import generator_for
from filterwise.measure.places_of_encoders import encoder_numbers, encoder_place
from filterwise.measure.token_heads import TOKEN_RECIPE
from filterwise.papers.vit_shp.measured_nodes import PROBE_IMAGES, nodes_of
from filterwise.prune.equal_amount import OUTPUTS
from filterwise.prune.filter_labels import warn_of_lost
from filterwise.prune.head_removal import HEAD_CRITERIA, attentions, head_scores, lowest_heads, remove_heads
from filterwise.prune.masks import apply
from filterwise.prune.transformer_masks import NodalConnections, joined_nodes, measured_places
from filterwise.runs.store import Result
from filterwise.training.edits import Given, edits

#: ANDC and its peers of equal amount -> their names in ``filterwise.prune.equal_amount``.
CRITERIA = {
    "andc": "afcc",
    "random": "random",
    "magnitude": "magnitude",
    "filter-l1": "filter-l1",
    "random-andc": "random-afcc",
}


def _measured(given: Given, edit: str) -> Result:
    if given.start is None:
        raise ParameterError(f"edit={edit!r} measures a trained network: give the run a start")
    start: Result = given.start
    return start


@edits("andc")
def keep_diagonal_connections(
    net: nn.Module,
    given: Given,
    *,
    criterion: str = "andc",
    threshold: float = 0.3,
    attention: bool = False,
    share: str = "label",
    encoders: tuple[int, ...] | None = None,
    probe_epochs: int = TOKEN_RECIPE.epochs,
    probe_images: int = PROBE_IMAGES,
    draw: int = 0,
) -> None:
    """Mask the feed-forward and output connections of a transformer by ANDC, or as many by another criterion.

    The network that the run starts from is measured, on its held-out images.

    Parameters
    ----------
    criterion
        One of :data:`CRITERIA`. "random-andc" is ANDC with label sets of the same sizes, drawn at random:
        the same pattern of whole nodes that are cut off, without what labels say.
    threshold, share
        See ``filterwise.prune.transformer_masks.NodalConnections``; they set the amount for every criterion.
    attention
        Whether the projections of the attention are masked as well.
    encoders
        Numbers m; None: all but the first.
    probe_epochs, probe_images
        Of the probe heads, see "vit.fields".
    draw
        Another draw, for what is drawn.

    Raises ParameterError: a run without a start or one that holds out no images, unknown criteria or
    encoders.
    """
    check_choice("criterion", criterion, CRITERIA)
    start = _measured(given, "andc")
    between = joined_nodes(net, encoders, attention)
    nodes = nodes_of(start, measured_places(between), probe_epochs, probe_images)
    found = NodalConnections(between, nodes, threshold, share)
    if criterion == "andc":
        for layer, one in between.items():
            if one.above == OUTPUTS:
                warn_of_lost(found.sets[one.below], given.train.label_names, layer)
    generator = generator_for(given.seed, f"criterion {criterion} {draw}")
    apply(net, found.masks(net, CRITERIA[criterion], generator))


@edits("heads-removed")
def drop_heads(
    net: nn.Module,
    given: Given,
    *,
    criterion: str = "shp",
    count: int,
    probe_epochs: int = TOKEN_RECIPE.epochs,
    probe_images: int = PROBE_IMAGES,
    draw: int = 0,
) -> nn.Module:
    """The network without its ``count`` weakest attention heads, wherever they are; see ``remove_heads``.

    Parameters
    ----------
    criterion
        "shp", by the matrices of the heads where the run starts from, on its held-out images; "magnitude" or
        "random".
    count
        Heads of the whole network that go; every encoder keeps one.
    probe_epochs, probe_images
        Of the probe heads, see "vit.fields".
    draw
        Another draw, for "random".

    Raises ParameterError: a run without a start or one that holds out no images, an unknown criterion, or
    more heads than can go.
    """
    check_choice("criterion", criterion, HEAD_CRITERIA)
    start = _measured(given, "heads-removed")
    fields = None
    if criterion == "shp":
        places = {f"encoders.{m}": encoder_place(net, "qkv", m) for m in encoder_numbers(net)}
        nodes = nodes_of(start, tuple(places.values()), probe_epochs, probe_images)
        fields = {
            name: head_fields(*nodes[places[name]], heads=attention.heads.heads)
            for name, attention in attentions(net).items()
        }
    generator = generator_for(given.seed, f"heads {criterion} {draw}")
    return remove_heads(net, lowest_heads(head_scores(net, criterion, fields, generator), count))
