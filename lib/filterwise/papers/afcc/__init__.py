"""Chapter 5: pruning by the labels that filters share (Tzach et al., Phys. Rev. E 111, 065307, 2025)."""

from filterwise.papers.chapter import Chapter, Sentence

_FOUND = (
    Sentence(
        "F3",
        {
            "holds": "AFCC keeps *more accuracy than every other way* to choose as many weights in the "
            "same layers "
            "({scale}).",
            "fails": "AFCC does *not* beat the other ways to choose as many weights in the same layers: "
            "at least one of them is above it after the same retraining (AFCC minus each of the others: "
            "{F3.span}, minus random kernels {F3.by[random]}; {scale}).",
            "undecided": "Whether AFCC keeps more accuracy than every other way to choose as many weights "
            "{F3.verdict} ({scale}).",
        },
    ),
    Sentence(
        "F1",
        {
            "holds": "Where it removes four fifths of a convolution's kernels, the retrained network is "
            "*within "
            "half a point* of the unpruned one ({scale}).",
            "fails": "Where it removes four fifths of a convolution's kernels, the retrained network is "
            "*not* "
            "within half a point of the unpruned one: {F1.values} of accuracy are lost, "
            "{F1.control_value} with "
            "random kernels; the output layer is masked as well ({scale}).",
            "undecided": "Whether the network stays within half a point where four fifths of a convolution's "
            "kernels go {F1.verdict} (lost: {F1.values}; {scale}).",
        },
    ),
    Sentence(
        "F5",
        {
            "holds": "The rule behind it is real: a kernel *without a common label matters less*, also among "
            "kernels of equal norms ({scale}).",
            "fails": "That a kernel without a common label matters less does *not* hold, or not among "
            "kernels of "
            "equal norms ({scale}).",
            "undecided": "Whether a kernel without a common label matters less, also among kernels of equal "
            "norms, {F5.verdict} ({F5.why}; {scale}).",
        },
    ),
    Sentence(
        "F6",
        {
            "holds": "Higher layers allow *higher dilution*, and training makes it so ({scale}).",
            "fails": "That higher layers allow higher dilution does *not* hold (rank correlation "
            "{F6.values}; {scale}).",
            "undecided": "Whether higher layers allow higher dilution {F6.verdict} (rank correlation "
            "{F6.values}; "
            "{scale}).",
        },
    ),
    Sentence(
        "F4",
        {
            "holds": "Fully connected layers can be pruned in the same way ({scale}).",
            "fails": "Fully connected layers pruned in the same way lose {F4.values} of accuracy ({scale}).",
            "undecided": "Whether fully connected layers can be pruned in the same way {F4.verdict} "
            "({scale}).",
        },
    ),
    Sentence(
        "F7",
        "Networks that learn under imposed label sets, random ones or cyclic ones, which remove more, end "
        "{F7.values} from the dense one ({scale}).",
    ),
    Sentence(
        "W4",
        {
            "holds": "Masks predicted *for each image* beat static ones of equal cost ({W4.values}; "
            "{scale}).",
            "fails": "Masks predicted for each image do *not* beat static ones of equal cost ({W4.values} of "
            "accuracy; {scale}).",
            "undecided": "Whether masks predicted for each image beat static ones of equal cost {W4.verdict} "
            "({W4.values}; {scale}).",
        },
    ),
    Sentence(
        "C2",
        {
            "holds": "The peer that is sparse from the start, rewired by similarity, *finds the inputs "
            "that matter* in synthetic data (of 20, by algorithm: {C2.span}; {scale}).",
            "fails": "Not all of the algorithms that rewire by similarity find the inputs that matter "
            "({scale}).",
            "undecided": "Whether the algorithms that rewire by similarity find the inputs that matter "
            "{C2.verdict} "
            "({scale}).",
        },
    ),
)

CHAPTER = Chapter(
    name="5-afcc",
    title="Pruning by shared labels",
    question="Can connections between filters that share no label be removed?",
    papers={
        "tzach-2025-pruning": "Tzach et al. (2025)",
        "mocanu-2018-set": "Mocanu et al. (2018)",
        "pieterse-2019-cosine": "Pieterse and Mocanu (2019)",
        "elkerdawy-2022-ftwt": "Elkerdawy et al. (2022)",
    },
    paper_scale={
        "network": "VGG-11 (10 convolutions, 1 fully connected layer), EfficientNet-B0, VGG-16",
        "images": "CIFAR-100",
        "epochs": "300 (README of the group's code; its script for VGG-11 has 200)",
    },
    unread="Accuracies and dilution layer by layer, which other techniques it was compared with, the length "
    "of the short retraining.",
    found=_FOUND,
    card=Sentence(
        "F3",
        {
            "holds": "At equal numbers of connections, keeping those of filters that share a label leaves "
            "more accuracy than every other choice: {F3.by[random]} more than a random one, "
            "{F3.by[magnitude]} more than the largest weights ({scale}).",
            "fails": "At equal numbers of connections, keeping those of filters that share a label does "
            "*not* beat every other choice: {F3.by[random]} of accuracy against a random one, "
            "{F3.by[magnitude]} against the largest weights ({scale}).",
            "undecided": "Whether keeping connections of filters that share a label is better than other "
            "choices of as many is undecided: {F3.by[random]} of accuracy against a random one, "
            "{F3.by[magnitude]} against the largest weights ({scale}).",
        },
    ),
    main_figure="fig-main",
    bundles={
        "masks": ("F5", "F6"),
        "retrained": ("F1", "F3"),
        "fully connected": ("F4",),
        "imposed": ("F7",),
        "efficientnet_b0": ("F2",),
        "set-cosine": ("C1", "C2", "C3", "C4"),
        "ftwt": ("W1", "W2", "W3", "W4", "W5"),
    },
)
