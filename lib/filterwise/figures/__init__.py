"""What is shown: one look, figures from tables and arrays, explorers that work with and without a kernel.

Every figure function takes measured values (a table or arrays) and returns a figure that shows itself as SVG,
with a layout of its own for a phone; nothing here trains or measures a network, and nothing knows a paper. A
function that is given a table raises NothingToShow, a ParameterError, if a column that its docstring names is
missing or there are no rows.
"""

from filterwise.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "book_figure": ["BookFigure", "context", "drawn", "panels", "points"],
        "captions": ["NotYet", "Shown", "captioned"],
        "curves": ["curves_table", "learning_curves"],
        "explorer": ["explore"],
        "frames": ["explore_frames"],
        "labels": ["cluster_sizes", "coverage", "error_against_labels", "threshold_robustness"],
        "layers": ["commonest_share", "layer_quantities", "probe_accuracy"],
        "matrices": ["classify", "filter_matrices"],
        "pictures": ["picture_strip"],
        "style": ["look", "looks"],
        "tables": ["NothingToShow", "by_layer", "counted", "seeds_named", "shown"],
        "twin": ["Twin", "show"],
    },
)
