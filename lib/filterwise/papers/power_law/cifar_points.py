"""Chapter 3's trainings on CIFAR-10 for a CPU: first what a comparison lacks most, last what is dearest.

The main curves are trained on 20,000 images, so that two families and their variants can be afforded, and
LeNet's once more on all of them for twice the epochs. No curve joins the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filterwise.papers.power_law.plan import Point, Study


def groups(some: Study, every: Study) -> list[list[Point]]:
    """The points on a part of the images and on all of them, one list a priority."""
    s, widths = some, (6, 12, 24, 48)
    twice: dict[str, Any] = {
        "changes": {"epochs": 2 * s.lenet.epochs},
        "variant": "twice the epochs",
        "kind": "control",
    }
    whole = _on_all_images(every)
    return [
        [s.lenet_point(d1, seed) for seed in range(3) for d1 in widths],
        [s.lenet_point(3, seed) for seed in range(3)],
        [s.vgg_point(d1, seed) for seed in range(2) for d1 in (4, 8, 16)],
        [s.lenet_point(d1, 0, **twice) for d1 in (6, 48)],
        [point for seed in range(2) for point in s.scan(8, seed)],
        whole[0],
        [s.vgg_point(d1, seed) for seed in range(2) for d1 in (6, 12)],
        [s.lenet_point(d1, seed, family="lenet bn") for seed in range(2) for d1 in (3, *widths)],
        s.scan(8, 2),
        *(
            [*s.ratio_curve(ratio, widths, seed), *s.variant_curve(name, widths, seed)]
            for seed in range(2)
            for ratio, name in ((1.5, "average pools"), (5.0, "3x3 kernels"))
        ),
        *whole[1:],
        [s.vgg_point(d1, 2) for d1 in (4, 6, 8, 12, 16)],
        [point for seed in range(3) for point in s.scan(16, seed)],
        *([s.lenet_point(96, seed, held_out=True)] for seed in range(3)),
        # a fourth seed of both: three leave the difference of their exponents at the edge of its bound
        [s.lenet_point(d1, 3) for d1 in (3, *widths)],
        [s.vgg_point(d1, 3) for d1 in (4, 6, 8, 12, 16)],
    ]


def _on_all_images(s: Study) -> list[list[Point]]:
    """The main curve on every image, its ends first: they tell whether a bend is the data's.

    Last, both for twice as long: is the curve that of networks that no longer gain?
    """
    ends, inside = (6, 48), (3, 12, 24)
    whole: dict[str, Any] = {"variant": "all images"}
    doubled: dict[str, Any] = {
        "changes": {"epochs": 2 * s.lenet.epochs},
        "variant": "all images, twice the epochs",
    }
    return [
        *([s.lenet_point(d1, seed, **whole) for d1 in ends] for seed in range(2)),
        [s.lenet_point(d1, seed, **whole) for seed in range(2) for d1 in inside],
        *([s.lenet_point(d1, seed, **whole) for d1 in sorted(inside + ends)] for seed in range(2, 5)),
        [s.lenet_point(d1, 0, kind="control", **doubled) for d1 in ends],
    ]
