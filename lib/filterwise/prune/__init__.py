"""What can go: masks on the weights of a network, and the edits of a run that put them there."""

from filterwise.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__, {"magnitude": ["largest"], "masks": ["apply", "masks_of", "rebuild"]}
)
