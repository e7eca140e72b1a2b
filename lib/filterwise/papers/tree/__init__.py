"""Chapter 2: learning on trees. Meir et al., Sci. Rep. 13, 962 (2023), Tree-3 beside LeNet-5."""

from filterwise.papers.chapter import Chapter, Sentence

_NUMBERS = (
    "(accuracy minus LeNet-5's, smallest tree first: {T2.values}; minus that of a LeNet of as many "
    "operations: {T2.control_value})."
)

CHAPTER = Chapter(
    name="2-tree",
    title="Learning on trees",
    question="Can a network learn when only one route joins each weight to an output?",
    papers={"meir-2023-tree": "Meir et al. (2023)"},
    paper_scale={
        "network": "Tree-3 with K, M = 6, 16; 15, 16; 15, 80 and ten trees of 15, 80, and LeNet-5",
        "images": "50,000 of CIFAR-10, and MNIST",
        "epochs": "200 offline; online each image once",
    },
    unread="The table of success rates, the tables of hyper-parameters and the shares of zero gradients, so "
    "also the batch of online learning, most learning rates, and the numbers of runs; abstract, captions of "
    "two figures and parts of the methods were read.",
    found=(
        Sentence(
            "T2",
            {
                "holds": "With every image seen once, each Tree-3 beats LeNet-5, and the larger ones a LeNet "
                "of as many operations as well {scale} " + _NUMBERS,
                "fails": "With every image seen once, not every Tree-3 beats LeNet-5 and a LeNet of as many "
                "operations {scale} " + _NUMBERS,
                "undecided": "Whether Tree-3 beats LeNets with every image seen once is undecided {scale} "
                + _NUMBERS,
            },
            ("paper", "cifar", "quick"),
        ),
        Sentence(
            "T1",
            {
                "holds": "When the images come again and again, the largest Tree-3 is ahead too {scale} "
                "(accuracy minus LeNet-5's: {T1.values}; minus the wider LeNet's: {T1.control_value}).",
                "fails": "When the images come again and again, the largest Tree-3 does not beat both "
                "LeNet-5 and the wider LeNet {scale} (accuracy minus LeNet-5's: {T1.values}; minus the wider "
                "LeNet's: {T1.control_value}).",
                "undecided": "When the images come again and again, the comparison is undecided {scale} "
                "(accuracy minus LeNet-5's: {T1.values}; minus the wider LeNet's: {T1.control_value}; "
                "{T1.seeds}).",
            },
            ("paper", "short", "cifar"),
        ),
        Sentence(
            "T4",
            {
                "holds": "Most of a tree's gradients are exactly zero, more after training than before "
                "({scale}).",
                "fails": "Most of a tree's gradients are exactly zero, but before training already; not "
                "every layer has more zeros afterwards ({scale}).",
                "undecided": "That training makes more of a tree's gradients zero is undecided ({scale}).",
            },
        ),
    ),
    card=Sentence(
        "T2",
        {
            "holds": "With every picture seen once, a tree is {T2.span} more accurate than LeNet-5 "
            "({T2.control_span} against LeNets of as many operations; {scale}).",
            "fails": "With every picture seen once, not every tree is more accurate than LeNet-5: "
            "{T2.span} ({scale}).",
            "undecided": "Whether a tree is more accurate than LeNet-5 with every picture seen once is "
            "undecided: {T2.span} ({scale}).",
        },
    ),
    main_figure="fig-routes",
    bundles={"offline": ("T1", "T3", "T4", "T5", "T6"), "online": ("T2", "T6"), "more seeds": ("T1", "T6")},
)
