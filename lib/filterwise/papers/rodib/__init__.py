"""Chapter 6: one output unit, many instants. Meir et al., Physica A 654, 130166 (2024), VGG-6 on CIFAR."""

from filterwise.papers.chapter import Chapter, Sentence

_LARGE = ("paper", "short", "cifar")

CHAPTER = Chapter(
    name="6-rodib",
    title="Role of delay in brain dynamics",
    question="Can one output unit name many labels, if every label has its own time?",
    papers={"meir-2024-delay": "Meir et al. (2024)"},
    paper_scale={
        "network": "VGG-6",
        "images": "CIFAR, and inputs of several labels",
    },
    unread="The paper's text, tables and figures: delays and their number, which layers are delayed, which "
    "instants carry labels, sizes, rates, epochs, numbers of runs and all accuracies; abstract and press "
    "release were read.",
    found=(
        Sentence(
            "R1",
            {
                "holds": "One output unit with M delays between layers *emits as often as a polynomial in M "
                "says*, counted event by event.",
                "fails": "The number of output times is *not* the polynomial in M that follows from the "
                "delays.",
                "undecided": "How many output times M delays give {R1.verdict}.",
            },
        ),
        Sentence(
            "R4",
            {
                "holds": "With more labels than neurons before the output it *beats the network with one "
                "delay and an output unit for each label*, and only there ({R4.values}; {scale}).",
                "fails": "That it beats the network with one delay where labels outnumber the neurons before "
                "the output, and only there, does *not* hold by our criterion ({R4.span} over data and "
                "delays; against one delay with as many weights {R4.control_span}; {scale}).",
                "undecided": "Whether it beats the network with one delay where labels outnumber the "
                "neurons before the output, and only there, {R4.verdict} ({R4.span} over data and delays; "
                "against one delay with as many weights {R4.control_span}; {scale}).",
            },
            _LARGE,
        ),
        Sentence(
            "R4",
            {
                "holds": "On the digits of this page it does so too ({R4.values}).",
                "fails": "On the digits of this page our criterion for that is not met ({R4.values}).",
                "undecided": "On the digits of this page that {R4.verdict} ({R4.span} over kinds of delays; "
                "against one delay with as many weights {R4.control_span}).",
            },
            ("quick",),
        ),
        Sentence(
            "R2",
            {
                "holds": "With enough neurons the two are *equally accurate* within 0.02 ({scale}).",
                "fails": "With enough neurons the two are *not* within 0.02 of each other ({scale}).",
                "undecided": "Whether the two are within 0.02 of each other with enough neurons {R2.verdict} "
                "({scale}).",
            },
        ),
        Sentence(
            "R3",
            {
                "holds": "One network of fixed size *learns 10, 30 and 100 labels*, better than with one "
                "delay ({R3.span}, {R3.seeds}; {scale}).",
                "fails": "That one network of fixed size learns a growing number of labels does *not* hold "
                "by our criterion ({scale}).",
                "undecided": "Whether one network of fixed size learns a growing number of labels "
                "{R3.verdict} ({scale}).",
            },
        ),
        Sentence(
            "R5",
            {
                "holds": "It names *both labels of a double picture* more often than one delay does "
                "({R5.values}, {R5.seeds}; {scale}).",
                "fails": "That it names both labels of a double picture more often does *not* hold "
                "({R5.values}; {scale}).",
                "undecided": "Whether it names both labels of a double picture more often {R5.verdict} "
                "({R5.values}; {scale}).",
            },
        ),
    ),
    card=Sentence(
        "R4",
        {
            "holds": "With many delays one output unit names labels more accurately than with one, "
            "by {R4.span} ({scale}).",
            "fails": "That one output unit with many delays names labels much more accurately than "
            "with one does *not* hold: {R4.span} ({scale}).",
            "undecided": "Whether one output unit names labels better with many delays is undecided: "
            "{R4.span} of accuracy, {R4.control_span} against one delay with as many "
            "weights ({scale}).",
        },
    ),
    main_figure="fig-inputs-cifar",
    bundles={
        "100 labels": ("R1", "R2", "R4", "R6"),
        "10 labels": ("R2", "R4", "R6"),
        "more labels": ("R3",),
        "several labels": ("R5",),
    },
)
