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
            "whole network, does *not* hold by our criterion (rank correlation {S1.values}; {scale}).",
            "undecided": "Whether a linear head reads more from every higher layer, up to the accuracy of "
            "the whole network, {S1.verdict} ({scale}).",
        },
    ),
    Sentence(
        "S4",
        {
            "holds": "From the first layer to the last a filter's *noise falls to less than half* "
            "({S4.values}), and the signal-to-noise ratio rises ({scale}).",
            "fails": "From the first layer to the last {S4.values} of a filter's noise is left: our "
            "criterion, less than half and a ratio of signal to noise that rises by half, does *not* hold "
            "({scale}).",
            "undecided": "Whether a filter's noise falls to less than half {S4.verdict} ({S4.values} is "
            "left; {scale}).",
        },
    ),
    Sentence(
        "S2",
        {
            "holds": "A filter alone gives *nearly always the same answer* ({S2.values} of the pictures; "
            "{scale}).",
            "fails": "A filter alone has a favourite answer, for {S2.values} of the pictures, but that it "
            "gives nearly always the same one does *not* hold ({scale}).",
            "undecided": "Whether a filter alone gives nearly always the same answer {S2.verdict} "
            "({S2.values} of the pictures; {scale}).",
        },
    ),
    Sentence(
        "S3",
        {
            "holds": "Each filter stands for a *small set of labels* (at most {S3.values} of them; {scale}).",
            "fails": "That each filter stands for a small set of labels does *not* hold ({S3.values} of "
            "them; {scale}).",
            "undecided": "Whether each filter stands for a small set of labels {S3.verdict} ({S3.values} of "
            "them; {scale}).",
        },
    ),
    Sentence(
        "S5",
        {
            "holds": "The largest error is a *straight line in the number of labels* (r = {S5.values}; "
            "{scale}).",
            "fails": "That the largest error is a straight line in the number of labels does *not* hold "
            "(r = {S5.values}; {scale}).",
            "undecided": "Whether the largest error is a straight line in the number of labels {S5.verdict} "
            "(r = {S5.values}; {scale}).",
        },
    ),
    Sentence(
        "S6",
        {
            "holds": "All of S1 to S4 is so for the fewest and for the most labels that were run ({scale}).",
            "fails": "Not all of S1 to S4 holds for both the fewest and the most labels that were run "
            "({scale}).",
            "undecided": "Whether S1 to S4 hold for both the fewest and the most labels {S6.verdict} "
            "({scale}).",
        },
    ),
    Sentence(
        "S7", "That clusters do not grow with the number of labels {S7.verdict}: no rule was set ({scale})."
    ),
    Sentence(
        "S8",
        {
            "holds": "The more accurate network has the *better ratio of signal to noise* ({scale}).",
            "fails": "That the more accurate network has the better ratio of signal to noise does *not* hold "
            "({scale}).",
            "undecided": "Whether the more accurate network has the better ratio of signal to noise "
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
    bundles={
        "10 labels": ("S1", "S2", "S3", "S4"),
        "late pooling": ("S8",),
        "100 labels": ("S5", "S6", "S7"),
        "100 labels, second network": ("S6", "S7"),
    },
)
