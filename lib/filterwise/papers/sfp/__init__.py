"""Chapter 4: what one filter knows.

Tzach et al. 2023 (VGG-6, VGG-16, A-VGG-16 on CIFAR-10) and Meir et al. 2024 (VGG-16, EfficientNet-B0 on 100
and 1,000 labels).
"""

from filterwise.papers.chapter import Chapter, Sentence

_FOUND = (
    Sentence(
        "S1",
        {
            "holds": "A linear head reads *more from every higher layer*, up to the accuracy of the whole "
            "network ({scale}).",
            "fails": "That a linear head reads more from every higher layer, up to the accuracy of the "
            "whole network, does *not* hold in every network (rank correlation {S1.span}; {scale}).",
            "undecided": "Whether a linear head reads more from every higher layer, up to the accuracy of "
            "the whole network, {S1.verdict} ({scale}).",
        },
    ),
    Sentence(
        "S4",
        {
            "holds": "From the first layer to the last one with a map a filter's *noise falls to less than "
            "half* and the signal-to-noise ratio rises by half, more than without training ({scale}).",
            "fails": "That from the first layer to the last one with a map a filter's noise falls to less "
            "than half and the signal-to-noise ratio rises by half, more than without training, does *not* "
            "hold in every network (noise at the last over that at the first: {S4.span}; {scale}).",
            "undecided": "Whether a filter's noise falls to less than half and the signal-to-noise ratio "
            "rises by half, more than without training, {S4.verdict} ({scale}).",
        },
    ),
    Sentence(
        "S2",
        {
            "holds": "A filter alone gives *nearly always the same answer*, more so than without training "
            "({scale}).",
            "fails": "A filter alone has a favourite answer; that it gives it seven times of ten in every "
            "layer, more often than without training, and is right hardly more often than a guess, does "
            "*not* hold (share of the favourite in the layer where it is lowest, by network: {S2.span}; "
            "{scale}).",
            "undecided": "Whether a filter alone gives nearly always the same answer, because of training, "
            "{S2.verdict} ({scale}).",
        },
    ),
    Sentence(
        "S3",
        {
            "holds": "Each filter stands for a *small set of labels*, a smaller one than without training "
            "(share of the labels, in the layer where it is largest, by network: {S3.span}; {scale}).",
            "fails": "That each filter stands for a small set of labels, a smaller one than without "
            "training, does *not* hold in every network ({scale}).",
            "undecided": "Whether each filter stands for a small set of labels, a smaller one than without "
            "training, {S3.verdict} ({S3.why}; {scale}).",
        },
    ),
    Sentence(
        "S5",
        {
            "holds": "The largest error grows *in a straight line with the number of labels* (as its power "
            "{S5.values}; {scale}).",
            "fails": "That the largest error grows in a straight line with the number of labels does *not* "
            "hold: the fitted power of that number is {S5.values}, where a line has 1 and a logarithm 0 "
            "({scale}).",
            "undecided": "Whether the largest error grows in a straight line with the number of labels "
            "{S5.verdict} (as its power {S5.values}; {scale}).",
        },
    ),
    Sentence(
        "S6",
        {
            "holds": "All of S1 to S4 is so for three labels and for all labels of one data set, in two "
            "architectures ({scale}).",
            "fails": "Not all of this (claims S1 to S4) holds for both three labels and all labels of one "
            "data set, in two architectures ({scale}).",
            "undecided": "Whether S1 to S4 hold for both three labels and all labels of one data set "
            "{S6.verdict} ({scale}).",
        },
    ),
    Sentence(
        "S8",
        {
            "holds": "The more accurate network has the *better ratio of signal to noise*, and gains more of "
            "it by training ({scale}).",
            "fails": "That the more accurate network has the better ratio of signal to noise, and gains more "
            "of it by training, does *not* hold ({scale}).",
            "undecided": "Whether the more accurate network has the better ratio of signal to noise "
            "{S8.verdict} ({scale}).",
        },
    ),
)


def _played() -> str:
    from filterwise.papers.sfp.one_filter import one_filter_played

    return one_filter_played()


CHAPTER = Chapter(
    name="4-sfp",
    title="Single-filter performance",
    question="What does one filter of a trained network know?",
    papers={
        "tzach-2023-mechanism": "Tzach et al. (2023)",
        "meir-2024-universal": "Meir et al. (2024)",
    },
    paper_scale={
        "network": "VGG-6, VGG-16, A-VGG-16 (2023); VGG-16, EfficientNet-B0 (2024)",
        "images": "CIFAR-10 (2023); CIFAR-100, ImageNet, 3 to 1,000 labels (2024)",
        "epochs": "300 (VGG-16 on CIFAR-100, the group's released script)",
    },
    unread="The papers' tables (accuracy, clusters, noise and signal-to-noise ratio layer by layer), the "
    "formula of the ratio, the learning rates, the number of repeats.",
    found=_FOUND,
    card=Sentence(
        "S4",
        {
            "holds": "From the first layer to the last ones a filter's noise falls to "
            "{S4.span} of what it was ({scale}).",
            "fails": "From the first layer to the last ones a filter's noise falls to "
            "{S4.span} of what it was: in some networks not to half, as claimed ({scale}).",
            "undecided": "Whether a filter's noise falls as far as claimed is undecided: to {S4.span} of"
            " what it was ({scale}).",
        },
    ),
    main_figure="fig-cifar",
    played=_played,
    bundles={
        "10 labels": ("S1", "S2", "S3", "S4"),
        "late pooling": ("S8",),
        "100 labels": ("S5", "S6", "S7"),
        "100 labels, second network": ("S6", "S7"),
    },
)
