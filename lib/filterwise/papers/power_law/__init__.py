"""Chapter 3: error against width. Meir et al., Sci. Rep. 13, 5423 (2023), LeNets and VGG-16s on CIFAR-10."""

from filterwise.papers.chapter import Chapter, Sentence

_LARGE = ("paper", "short", "cifar")

CHAPTER = Chapter(
    name="3-power-law",
    title="Error against width",
    question="Can a shallow network be as good as a deep one if it is wide enough?",
    papers={"meir-2023-shallow": "Meir et al. (2023)"},
    paper_scale={
        "network": "LeNets of five layers and growing width, VGG-16s with all depths scaled",
        "images": "50,000 of CIFAR-10",
    },
    unread="Results, methods and tables of the paper, so also its exponents, prefactors, widths, rates, "
    "epochs and numbers of runs; abstract and introduction were read.",
    found=(
        Sentence(
            "L1",
            {
                "holds": "On photographs the error of a LeNet falls as a power law of its width {scale} "
                "(exponent {L1.values}).",
                "fails": "On photographs the error of a LeNet against its width does not pass the test of a "
                "power law {scale}; the exponent of the straight line would be {L1.values}.",
                "undecided": "Whether the error of a LeNet on photographs is a power law of its width is "
                "undecided {scale} (exponent {L1.values}).",
            },
            _LARGE,
        ),
        Sentence(
            "L1",
            {
                "holds": "On the digits that this page trains on it does fall as one, over the few widths "
                "there are (exponent {L1.values}).",
                "fails": "On the digits that this page trains on it does not pass its test "
                "(exponent {L1.values}): {L1.why}.",
                "undecided": "On the digits that this page trains on that is undecided "
                "(exponent {L1.values}).",
            },
            ("quick",),
        ),
        Sentence(
            "L2",
            {
                "holds": "The line foresees a wider network that it has not seen {scale}.",
                "fails": "The line does not foresee a wider network that it has not seen {scale}: {L2.why}.",
                "undecided": "Whether the line foresees a wider network is undecided {scale}.",
            },
        ),
        Sentence(
            "L3",
            {
                "holds": "The exponent of VGG-16 is like LeNet's {scale} (difference {L3.values}).",
                "fails": "The exponent of VGG-16 is not LeNet's {scale}: they differ by {L3.values}.",
                "undecided": "Whether VGG-16 has LeNet's exponent is undecided {scale}: {L3.why}.",
            },
        ),
        Sentence(
            "L4",
            {
                "holds": "At equal error VGG-16 costs more operations than LeNet {scale}.",
                "fails": "At equal error VGG-16 costs fewer operations than LeNet {scale}.",
                "undecided": "Whether VGG-16 costs more operations than LeNet at equal error is undecided "
                "{scale}: by error and kind of LeNet the ratio runs from {L4.span}.",
            },
        ),
        Sentence(
            "L5",
            {
                "holds": "The lines of other ratios and variants of LeNet are straight, with its exponent "
                "{scale}.",
                "fails": "Two ratios and two variants of LeNet whose lines are straight, with its exponent, "
                "are not found {scale}: {L5.why}.",
                "undecided": "Whether the lines of other ratios and variants of LeNet are straight, with its "
                "exponent, is undecided {scale}.",
            },
        ),
        Sentence(
            "L6",
            {
                "holds": "The rule for sharing filters between two layers passes its test {scale}.",
                "fails": "The rule for sharing filters between two layers does not pass its test {scale}.",
                "undecided": "The rule for sharing filters between two layers is undecided {scale}.",
            },
        ),
    ),
    card=Sentence(
        "L1",
        {
            "holds": "LeNet's error falls as the power {L1.span} of its width ({scale}).",
            "fails": "LeNet's error falls with its width (a fitted power of {L1.span}), but *not* as"
            " a power law by our criterion ({scale}).",
            "undecided": "Whether LeNet's error falls as a power of its width is undecided (fitted power"
            " {L1.span}; {scale}).",
        },
    ),
    main_figure="fig-width-cifar",
    bundles={"widths": ("L1", "L2", "L3", "L4", "L7"), "variants": ("L5",), "ratios": ("L6",)},
    undecided={"L8": "no network is trained on CIFAR-100's own images, which the claim names"},
)
