"""What a network learned: probe heads, class means, label fields, clusters, noise, signal-to-noise ratios.

Works on any ``nn.Module`` by the name of a layer. The path of one measurement::

    heads = probe_heads(net, ["features.8"], train, test)      # phase 2: a linear head on the frozen layer
    mean = class_means(net, "features.8", test)                # (K, F, P), one pass
    M = label_fields(mean, heads["features.8"].weight)         # (F, K, K), row = input label
    layer_summary(M, threshold=0.3)                            # N_c, C_s, n, n_in, n_out, SNRs
"""

from filterwise.measure.clustering import Noise, assign_clusters, cluster_sizes, clusters, noise, permutation
from filterwise.measure.features import Features, frozen_features
from filterwise.measure.fields import clip, field_chunks, label_fields, rank_one_share
from filterwise.measure.fitting import Estimate, PowerLaw, exponent_difference, power_law
from filterwise.measure.heads import HEAD_RECIPE, Head, probe_heads
from filterwise.measure.hooks import Capture, measuring
from filterwise.measure.imagenet import imagenet_network
from filterwise.measure.inputs import InputFields, coverage_and_accuracy, input_fields
from filterwise.measure.means import class_means
from filterwise.measure.robustness import order_sweep, threshold_sweep
from filterwise.measure.routes import gradient_sparsity, route_maps, route_table
from filterwise.measure.subsets import error_against_labels, error_line, maximal_errors
from filterwise.measure.summary import filter_table, label_coverage, layer_summary, layer_summary_of

__all__ = [
    "HEAD_RECIPE",
    "Capture",
    "Estimate",
    "Features",
    "Head",
    "InputFields",
    "Noise",
    "PowerLaw",
    "assign_clusters",
    "class_means",
    "clip",
    "cluster_sizes",
    "clusters",
    "coverage_and_accuracy",
    "error_against_labels",
    "error_line",
    "exponent_difference",
    "field_chunks",
    "filter_table",
    "frozen_features",
    "gradient_sparsity",
    "imagenet_network",
    "input_fields",
    "label_coverage",
    "label_fields",
    "layer_summary",
    "layer_summary_of",
    "maximal_errors",
    "measuring",
    "noise",
    "order_sweep",
    "permutation",
    "power_law",
    "probe_heads",
    "rank_one_share",
    "route_maps",
    "route_table",
    "threshold_sweep",
]
