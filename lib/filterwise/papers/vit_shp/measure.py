"""What chapter 7 measures: places and heads of one network, pruned ones, committees, and milliseconds."""

from filterwise.papers.vit_shp import (
    block_latencies,
    encoders_measured,
    measured_nodes,
    pruned,
    soft_committees,
)

__all__ = ["block_latencies", "encoders_measured", "measured_nodes", "pruned", "soft_committees"]
