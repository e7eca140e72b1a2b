"""Chapter 1: pooling next to the output. Meir et al., Sci. Rep. 13, 13385 (2023), A-VGGs on CIFAR-10."""

from filterwise.papers.chapter import Chapter, Sentence

_LARGE = ("paper", "short", "cifar")
_NUMBERS = (
    "(late minus conventional accuracy {P9.values}; with as many operations for the conventional network as "
    "late pooling costs, {P9.control_value})."
)

CHAPTER = Chapter(
    name="1-pooling",
    title="Pooling next to the output",
    question="When should a network decide what to keep: on the way up, or next to the output?",
    papers={"meir-2023-pooling": "Meir et al. (2023)"},
    paper_scale={
        "network": "A-VGG6, 8, 13, 14 and 16, of VGG's usual width, and VGG-16",
        "images": "50,000 of CIFAR-10",
    },
    unread="Results, methods and tables of the paper, so also which pools its A-VGGs keep, the accuracies by "
    "order of the pools, rates, epochs and numbers of runs; abstract and introduction were read.",
    found=(
        Sentence(
            "P9",
            {
                "holds": "On photographs late pooling gains at equal epochs and weights in {P9.arms} "
                "{scale}, whose rates and orders were chosen on images kept back; deeper ones, not tuned, "
                "are left out " + _NUMBERS,
                "fails": "On photographs late pooling does not gain at equal epochs and weights for every "
                "depth {scale} " + _NUMBERS,
                "undecided": "On photographs it is undecided {scale} whether late pooling gains at equal "
                "epochs and weights " + _NUMBERS,
            },
            _LARGE,
        ),
        Sentence(
            "P9",
            {
                "holds": "In the miniature that this page trains late pooling gains at equal epochs "
                + _NUMBERS,
                "fails": "In the miniature that this page trains late pooling does not gain at equal epochs "
                + _NUMBERS,
                "undecided": "In the miniature that this page trains it is undecided whether late pooling "
                "gains " + _NUMBERS,
            },
            ("quick",),
        ),
        Sentence(
            "P2",
            {
                "holds": "A shallow A-VGG8 beats the conventional VGG-16 {scale} by {P2.values} at equal "
                "epochs, where few epochs are the harder on the deeper network: only {P9.by[vgg8]} of that "
                "is its lead over a conventional VGG-8 (with the operations of VGG-16 for A-VGG8 too: "
                "{P2.control_value}).",
                "fails": "A shallow A-VGG8 does not beat the conventional VGG-16 {scale}.",
                "undecided": "Whether a shallow A-VGG8 beats the conventional VGG-16 is undecided {scale}.",
            },
            _LARGE,
        ),
        Sentence(
            "P8",
            {
                "holds": "Max first and average first send as many routes to different places, and further "
                "apart in trained than in untrained networks (ratio of spreads, trained minus untrained "
                "{P8.values}).",
                "fails": "On random maps max first and average first keep equally many routes, max first "
                "further apart; training takes from that ratio of spreads and does not add to it (trained "
                "minus untrained {P8.values}; {scale}).",
                "undecided": "Max first and average first send as many routes to different places; whether "
                "training adds to what the pools alone do is undecided.",
            },
        ),
        Sentence(
            "P6",
            {
                "holds": "Linear and ReLU layers before the output are equally accurate, to 0.004 ({scale}).",
                "fails": "Linear layers before the output are *not* as accurate as ones with ReLU, to 0.004: "
                "linear minus ReLU is {P6.values} ({scale}).",
                "undecided": "Whether linear and ReLU layers before the output are equally accurate "
                "{P6.verdict} ({P6.values}; {scale}).",
            },
            _LARGE,
        ),
        Sentence(
            "P7",
            {
                "holds": "The order of the two pools changes the accuracy, by {P7.values} ({scale}).",
                "fails": "The order of the two pools does *not* change the accuracy by more than 0.002 "
                "({scale}).",
                "undecided": "Whether the order of the two pools changes the accuracy {P7.verdict} "
                "({P7.values} apart, whichever order leads; {scale}).",
            },
            _LARGE,
        ),
    ),
    card=Sentence(
        "P2",
        {
            "holds": "A shallow network that pools late beats VGG-16 by {P2.span} of accuracy; of that it "
            "leads its equal without late pooling by {P9.by[vgg8]} ({scale}, few epochs).",
            "fails": "A shallow network that pools late does *not* beat VGG-16: {P2.span} of "
            "accuracy ({scale}).",
            "undecided": "Whether a shallow network that pools late beats VGG-16 is undecided: {P2.span}"
            " of accuracy ({scale}).",
        },
    ),
    main_figure="fig-compute-cifar",
    bundles={
        "late pooling": ("P2", "P9"),
        "orders": ("P7", "P8"),
        "depth": ("P1", "P3", "P5"),
        "hidden activation": ("P6",),
    },
)
