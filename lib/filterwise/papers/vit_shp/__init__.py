"""Chapter 7: what a head of a vision transformer knows. Koresh et al. (2025), Gross et al. (2025)."""

from filterwise.papers.chapter import Chapter, Sentence

_FOUND = (
    Sentence(
        "V1",
        {
            "holds": "More can be read from the tokens *behind every further encoder*, up to the accuracy of "
            "the network ({scale}).",
            "fails": "That more can be read from the tokens behind every further encoder, up to the accuracy "
            "of the network, does *not* hold in every network ({scale}; {V1.why}).",
            "undecided": "Whether more can be read behind every further encoder, up to the accuracy of the "
            "network, {V1.verdict} ({V1.why}; {scale}).",
        },
    ),
    Sentence(
        "V6",
        {
            "holds": "Heads *share the labels out*: they are experts beyond random groups of the same nodes, "
            "by {V6.span} in the mean of a network ({scale}; sd are of those groups).",
            "fails": "That heads share the labels out does *not* hold: as experts of labels they are "
            "{V6.span}, by network, from random groups of the same nodes ({scale}; sd are of those groups).",
            "undecided": "Whether heads share the labels out beyond random groups of the same nodes "
            "{V6.verdict} ({V6.span}, by network; {scale}).",
        },
    ),
    Sentence(
        "V11",
        {
            "holds": "Of numbers with two digits heads share out *the digits instead* ({V11.span} beyond "
            "random groups; {scale}).",
            "fails": "Nor do they share out the two digits, a claim of our own ({V11.span} beyond random "
            "groups; {scale}).",
            "undecided": "Whether they share out the two digits instead, a claim of our own after one seed "
            "had shown it, {V11.verdict} ({V11.span} beyond random groups, by network; {scale}).",
        },
        ("quick",),
    ),
    Sentence(
        "H1",
        {
            "holds": "Matrices of many heads do consist of *several clusters of one label* ({scale}).",
            "fails": "That matrices of many heads consist of several clusters of one label does *not* hold "
            "by our criterion (share of such clusters, by network: {H1.span}; {scale}).",
            "undecided": "Whether matrices of many heads consist of several clusters of one label "
            "{H1.verdict} ({H1.span}; {scale}).",
        },
    ),
    Sentence(
        "V5",
        {
            "holds": "Connections between nodes without a common label *can go* ({scale}).",
            "fails": "Connections between nodes without a common label can *not* go without loss, half of "
            "them or more: {V5.values} of accuracy are lost, {V5.control_value} with as many random ones "
            "({scale}).",
            "undecided": "Whether connections between nodes without a common label can go {V5.verdict} "
            "({V5.values} lost, {V5.control_value} at random; {scale}).",
        },
    ),
    Sentence(
        "H8",
        {
            "holds": "A committee of different transformers gains *more than any other* ({scale}).",
            "fails": "A committee of different transformers does *not* gain more than those of equal ones "
            "or of convolutional networks ({scale}).",
            "undecided": "Whether a committee of different transformers gains more than those of equal ones "
            "or of convolutional networks {H8.verdict} ({H8.values}; {scale}).",
        },
    ),
    Sentence(
        "H9",
        {
            "holds": "Convolutions in place of the first encoders *save time without loss* ({H9.span}; "
            "{scale}).",
            "fails": "That convolutions in place of the first encoders save a fifth of the time without loss "
            "does *not* hold ({H9.span}; {scale}).",
            "undecided": "Whether convolutions in place of the first encoders save a fifth of the time "
            "without loss {H9.verdict} (saved, by network: {H9.span}; {scale}).",
        },
    ),
)

CHAPTER = Chapter(
    name="7-vit-shp",
    title="Heads of vision transformers",
    question="Do attention heads share the labels out among themselves?",
    papers={"koresh-2025-heads": "Koresh et al. (2025)", "gross-2025-vit": "Gross et al. (2025)"},
    paper_scale={
        "network": "CCT-7/3x1 (a review of Gross 2025; taken for Koresh 2025 too), variants with many heads",
        "images": "CIFAR-100; Flowers-102 (Koresh 2025)",
    },
    unread="Bodies, tables and figures of both papers: numbers of heads, accuracies, clusters, noise, "
    "ratios, the rule and the amount of the pruning, committee gains, times, and the training recipe; "
    "abstracts and the opening of a review were read.",
    found=_FOUND,
    card=Sentence(
        "V6",
        {
            "holds": "Heads share the labels out: as experts they are {V6.span} standard deviations beyond"
            " random groups of nodes ({scale}).",
            "fails": "Heads do *not* share the labels out: as experts they are {V6.span} standard deviations "
            "beyond random groups of nodes, where noise alone gives about 0 ({scale}).",
            "undecided": "Whether heads share the labels out is undecided: {V6.span} standard deviations "
            "beyond random groups of nodes ({scale}).",
        },
    ),
    main_figure="fig-gap",
    bundles={
        "heads": ("V1", "V2", "V3", "V6", "V7", "V8", "V10", "H5"),
        "many heads": ("H1", "H2", "H3", "H4", "H5", "H6"),
        "64 heads": ("H6",),
        "committee": ("V4", "H7", "H8"),
        "andc": ("V5",),
        "convolutions, seed 2": ("H9",),
        "read after convolutions, seed 2": ("H10",),
        "flowers": ("V9",),
    },
)
