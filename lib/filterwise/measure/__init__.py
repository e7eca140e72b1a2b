"""What a network learned: probe heads, class means, label fields, clusters, noise, signal-to-noise ratios.

Works on any ``nn.Module`` by the name of a layer. The path of one measurement::

    heads = probe_heads(net, ["features.8"], train, test)      # phase 2: a linear head on the frozen layer
    mean = class_means(net, "features.8", test)                # (K, F, P), one pass
    M = label_fields(mean, heads["features.8"].weight)         # (F, K, K), row = input label
    layer_summary(M, threshold=0.3)                            # N_c, C_s, n, n_in, n_out, SNRs

``study`` does this for all layers of a network; ``label_fields_of`` takes the network's own linear head.
"""

from filterwise.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "clustering": ["Noise", "assign_clusters", "cluster_sizes", "clusters", "noise", "permutation"],
        "committees": [
            "Committee",
            "calibration_error",
            "committee_answers",
            "independent_committee",
            "study_committee",
        ],
        "features": ["Features", "frozen_features"],
        "fields": ["clip", "field_chunks", "head_fields", "label_fields", "rank_one_share"],
        "fitting": ["Estimate", "PowerLaw", "power_law"],
        "head_groups": [
            "against_random",
            "belonging",
            "group_accuracies",
            "group_fields",
            "head_summary",
            "node_sets",
            "own_groups",
            "owners",
            "random_groups",
            "specialisation",
            "summary_against_random",
        ],
        "heads": ["HEAD_RECIPE", "Head", "probe_heads"],
        "hooks": ["Capture", "measuring"],
        "imagenet": ["imagenet_network"],
        "linear_map": ["label_fields_of"],
        "places_of_encoders": ["encoder_numbers", "encoder_place"],
        "probing": ["Place", "Probe", "probe_places"],
        "means": ["class_means"],
        "norms": ["refit_norms"],
        "network_routes": ["RouteMaps", "gradient_sparsity", "route_maps"],
        "route_counting": ["REFERENCE_ORDERS", "Routes", "order_gap", "route_table", "routes", "spread"],
        "study_layers": ["SfpStudy", "study", "untrained"],
        "strongest": ["StrongestImages", "strongest_images"],
        "subsets": ["error_against_labels", "maximal_errors"],
        "token_heads": [
            "TOKEN_RECIPE",
            "Reading",
            "TokenHead",
            "read_places",
            "read_tokens",
            "train_token_heads",
        ],
        "summary": ["filter_table", "layer_summary", "layer_summary_of", "order_sweep"],
    },
)
