"""What can go: masks on the weights of a network, and the edits of a run that put them there.

The registry of criteria is ``filterwise.prune.criteria.criteria``: here its name would be that of its module.
"""

from filterwise.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "cluster_connections": ["afcc_mask", "output_mask", "shared_cluster_mask"],
        "criteria": ["keep_top", "mask_of_amount"],
        "filter_labels": [
            "chance_of_no_common_label",
            "cyclic_label_sets",
            "label_sets",
            "lost_labels",
            "random_label_sets",
        ],
        "head_removal": ["head_scores", "lowest_heads", "remove_heads"],
        "importance": ["ChannelImportance", "channel_scores", "remove_by_magnitude"],
        "magnitude": ["largest"],
        "masks": ["apply", "masks_of", "rebuild"],
        "on_networks": ["Pruned", "afcc"],
        "places": ["LayerPlaces", "maskable_layers", "places_of"],
        "removal": ["Removal", "remove_dead"],
        "rewiring": ["rewire", "sparse_mask"],
        "saved": ["savings", "totals"],
        "similarity": ["cosine_similarity"],
        "timing": ["latency"],
        "transformer_masks": ["NodalConnections", "joined_nodes", "measured_places"],
    },
)
