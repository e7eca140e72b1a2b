"""What is shown: one look, figures from tables and arrays, explorers that work with and without a kernel.

Every figure function takes measured values (a table or arrays) and returns a figure that shows itself as SVG;
nothing here trains or measures a network.
"""

from filterwise.figures.explorer import explore
from filterwise.figures.labels import cluster_sizes, coverage, error_against_labels, threshold_robustness
from filterwise.figures.layers import commonest_share, layer_quantities, probe_accuracy
from filterwise.figures.matrices import classify, filter_matrices
from filterwise.figures.style import BookFigure, context, look
from filterwise.figures.tables import by_layer
from filterwise.figures.twin import Twin, show

__all__ = [
    "BookFigure",
    "Twin",
    "by_layer",
    "classify",
    "cluster_sizes",
    "commonest_share",
    "context",
    "coverage",
    "error_against_labels",
    "explore",
    "filter_matrices",
    "layer_quantities",
    "look",
    "probe_accuracy",
    "show",
    "threshold_robustness",
]
