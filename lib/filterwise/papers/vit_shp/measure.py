"""What chapter 7 measures: places and heads of one network, pruned ones, committees, and milliseconds."""

from filterwise.papers.vit_shp import encoders_measured

__all__ = ["encoders_measured"]
