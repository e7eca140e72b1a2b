"""One parametrised VGG for the whole family: any depth, any width, any place and order of its pools.

Named by the group's rule, m = convolutional layers + fully connected (FC) layers. "avggm" is "vggm" with its
pooling moved next to the output (Meir et al. 2023): the same weights, other pools.
"""

from __future__ import annotations

from collections.abc import Sequence

from filterwise.errors import check_choice, check_count, refused
from filterwise.models import pools
from filterwise.models.block import Block, FilterNet, fully_connected
from filterwise.models.building import models
from filterwise.models.sizes import check_flag, first_filters, scaled_filters

Stages = Sequence[tuple[int, int]]

#: Stage filters in units of d, the first stage's (64 in the standard network).
_FACTORS = (1, 2, 4, 8, 8)
STANDARD_D = 64

#: m -> (convolutions per stage, number of FC layers). 11 is the group's: VGG-16 less its last stage, one FC.
LAYOUTS: dict[int, tuple[tuple[int, ...], int]] = {
    6: ((1, 1, 1, 1, 1), 1),
    8: ((1, 1, 1, 1, 1), 3),
    11: ((2, 2, 3, 3), 1),
    13: ((2, 2, 2, 2, 2), 3),
    14: ((2, 2, 3, 3, 3), 1),
    16: ((2, 2, 3, 3, 3), 3),
}


def named(
    labels: int,
    width: float,
    channels: int,
    size: int,
    *,
    m: int,
    advanced: bool,
    plan: str | None = None,
    order: str | None = None,
    inner: tuple[int, ...] | None = None,
    d1: int | None = None,
    fc_width: int | None = None,
    fc_activation: str = "linear",
    batch_norm: bool = True,
) -> FilterNet:
    """VGGm or A-VGGm with d, 2d, 4d, 8d, 8d filters per stage; d = 64 * width, or ``d1`` (generalized VGG).

    Parameters
    ----------
    m, advanced : which of :data:`LAYOUTS`, and whether it is the A-VGG; the name says both
    plan : which lower stages keep a 2x2 max pool: all ("V"), or 3, 2, 1, 0 ("L3" to "L0"). The rest is pooled
        after the last layer, so that the total is 32 (16 for m = 11) and the weights are the same
        in every plan. None: "V", and "L2" in the A-VGGs.
    order : the pooling series after the last layer, e.g. "AP2-MP4". None: AP2, then MP of the rest.
    inner : instead of ``plan``: the stages that keep their pool, e.g. (1, 3).
    d1 : instead of ``width``: the filters of the first stage
    fc_width : nodes h of the two hidden FC layers, if m has three. None: 64 * d, that is 4096 at d = 64.
    fc_activation : what is between FC layers, "linear" or "relu". The last one has no bias.
    batch_norm : batch norm after each convolution

    Raises ParameterError on a value outside these choices, or pools that do not fit the image.
    """
    if advanced and plan is None and inner is None:
        plan = "L2"
    convolutions, fc_layers = LAYOUTS[m]
    d = first_filters(d1, STANDARD_D, width)
    stages = [(factor * d, depth) for factor, depth in zip(_FACTORS, convolutions, strict=False)]
    if fc_width is not None and fc_layers == 1:
        raise refused("fc_width", fc_width, f"the one FC layer of vgg{m} has no hidden nodes")
    hidden = STANDARD_D * d if fc_width is None else check_count("fc_width", fc_width)
    widths = [hidden] * (fc_layers - 1)
    return _assemble(stages, widths, labels, channels, size, plan, order, inner, fc_activation, batch_norm)


for _m in LAYOUTS:
    models(f"vgg{_m}", fixed={"m": _m, "advanced": False})(named)
    if _m != 11:  # which the papers do not pool late
        models(f"avgg{_m}", fixed={"m": _m, "advanced": True})(named)


@models("vgg")
def free(
    labels: int,
    width: float,
    channels: int,
    size: int,
    *,
    stages: Stages | None = None,
    plan: str | None = None,
    order: str | None = None,
    inner: tuple[int, ...] | None = None,
    fc: tuple[int, ...] = (),
    fc_activation: str = "linear",
    batch_norm: bool = True,
) -> FilterNet:
    """A VGG of any layout: ``stages`` holds (filters, convolutions) per stage, ((16, 2), (32, 2)).

    The filters are multiplied by ``width`` and rounded. ``fc`` holds the nodes of hidden FC layers, none by
    default. The other options are those of :func:`named`.

    Raises ParameterError on a value outside these choices, or pools that do not fit the image.
    """
    example = "such as ((16, 2), (32, 2), (64, 2))"
    if not isinstance(stages, (tuple, list)) or not stages:
        raise refused("stages", stages, f"give (filters, convolutions) per stage, {example}")
    layout = []
    for stage in stages:
        if not isinstance(stage, (tuple, list)) or len(stage) != 2:
            raise refused("stages", stages, f"{stage!r} is no (filters, convolutions), {example}")
        standard, depth = check_count("stages", stage[0]), check_count("stages", stage[1])
        layout.append((scaled_filters("width", standard, width), depth))
    if not isinstance(fc, (tuple, list)):
        raise refused("fc", fc, "give the hidden FC layers' nodes in a tuple, such as (64,)")
    widths = [check_count("fc", nodes) for nodes in fc]
    return _assemble(layout, widths, labels, channels, size, plan, order, inner, fc_activation, batch_norm)


def _assemble(
    stages: list[tuple[int, int]], fc: list[int], labels: int, channels: int, size: int, plan: str | None,
    order: str | None, inner: tuple[int, ...] | None, fc_activation: str, batch_norm: bool,
) -> FilterNet:  # fmt: skip
    check_choice("fc_activation", fc_activation, ("linear", "relu"))
    check_flag("batch_norm", batch_norm)
    kept = pools.inner_stages(len(stages), plan, inner)
    total = 2 ** len(stages)
    head = pools.head_steps(total // 2 ** len(kept), order)
    if size % total:
        allowed = f"{len(stages)} stages divide the side by {total}, so it must be a multiple of {total}"
        raise refused("size", size, f"{allowed}; for smaller images take 'vgg' with fewer stages")
    blocks, below = [], channels
    for stage, (filters, depth) in enumerate(stages, start=1):
        for layer in range(1, depth + 1):
            steps = [pools.Pool("MP", 2)] if layer == depth and stage in kept else []
            if layer == depth and stage == len(stages):
                steps += head
            pool = pools.pool_series(tuple(steps))
            blocks.append(Block(below, filters, batch_norm=batch_norm, pool=pool))
            below = filters
    classifier = fully_connected([below * (size // total) ** 2, *fc, labels], fc_activation, last_bias=False)
    return FilterNet(blocks, classifier)
