"""Chapter 4: what one filter knows.

Tzach et al. 2023 (VGG-6, VGG-16, A-VGG-16 on CIFAR-10) and Meir et al. 2024 (VGG-16, EfficientNet-B0 on 100
and 1,000 labels).
"""

from filterwise.papers.chapter import Chapter, Sentence

_FOUND = (
    Sentence(
        "S1",
        {
            "holds": "A linear head reads *more labels from every higher layer*, up to the accuracy of the "
            "whole network ({scale}, {S1.seeds}).",
            "fails": "Heads on higher layers do *not* always read more labels ({scale}, {S1.seeds}).",
            "undecided": "Whether heads read more labels from every higher layer {S1.verdict} ({scale}).",
        },
    ),
    Sentence(
        "S4",
        {
            "holds": "On the way up each filter's *noise falls to less than half* ({S4.ours} of the first "
            "layer's, {S4.control} without training; {scale}).",
            "fails": "Each filter's noise does *not* fall as the papers say ({S4.ours} of the first layer's, "
            "{S4.control} without training; {scale}).",
            "undecided": "Whether each filter's noise falls to half {S4.verdict} ({S4.ours} of the first "
            "layer's; {scale}).",
        },
    ),
    Sentence(
        "S2",
        {
            "holds": "A filter alone gives nearly *always the same answer* ({S2.ours} of the pictures; "
            "{scale}).",
            "fails": "But a filter alone does *not* give nearly always the same answer: its commonest one "
            "comes for {S2.ours} of the pictures ({scale}; the criterion asks for 0.7).",
            "undecided": "Whether a filter alone gives nearly always the same answer {S2.verdict} "
            "({S2.ours} of the pictures; {scale}).",
        },
    ),
    Sentence(
        "S3",
        {
            "holds": "Each filter stands for a *small set of labels* ({S3.ours} of them; {scale}).",
            "fails": "The labels a filter stands for are *not* a small set ({S3.ours} of all, in the layer "
            "where they are most; {scale}).",
            "undecided": "Whether the labels of a filter are a small set {S3.verdict} ({S3.ours} of all; "
            "{scale}).",
        },
    ),
    Sentence(
        "S5",
        {
            "holds": "The largest error grows along a straight line with the number of labels "
            "(r = {S5.ours}; {scale}).",
            "fails": "The largest error does *not* follow a straight line in the number of labels "
            "(r = {S5.ours}; {scale}).",
            "undecided": "Whether the largest error is a straight line in the number of labels {S5.verdict} "
            "(r = {S5.ours}; {scale}).",
        },
    ),
    Sentence(
        "S6",
        {
            "holds": "All this is so for the fewest and for the most labels that were run ({scale}).",
            "fails": "Not all of it is so both for the fewest and for the most labels that were run ({scale}).",
            "undecided": "Whether all of it is so for the fewest and the most labels {S6.verdict} ({scale}).",
        },
    ),
    Sentence(
        "S8",
        {
            "holds": "The more accurate network has the better signal-to-noise ratio ({scale}).",
            "fails": "The more accurate network does *not* always have the better signal-to-noise ratio "
            "({scale}).",
            "undecided": "Whether the more accurate network has the better signal-to-noise ratio "
            "{S8.verdict} ({scale}).",
        },
    ),
)

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
)
