"""Chapter 5: pruning by the labels that filters share (Tzach et al., Phys. Rev. E 111, 065307, 2025)."""

from filterwise.papers.chapter import Chapter

CHAPTER = Chapter(
    name="5-afcc",
    title="Pruning by shared labels",
    question="Can connections between filters that share no label be removed?",
    papers={"tzach-2025-pruning": "Tzach et al. (2025)"},
    paper_scale={
        "network": "VGG-11 (10 convolutions, 1 fully connected layer), EfficientNet-B0, VGG-16",
        "images": "CIFAR-100",
        "epochs": "300 (VGG-16 and VGG-11, the group's released script)",
    },
    unread="Accuracies and dilution layer by layer, which other techniques it was compared with, the length "
    "of the short retraining.",
    found=(),
)
