"""What learns: the papers' networks, by name, with weights drawn from a seed of their own.

>>> from filterwise import models
>>> net = models.build("vgg16", labels=100)
>>> models.layer_names(net)[7], models.parameter_count(net.features[7].conv)
('features.8', 1180160)
"""

from filterwise.models.block import Block, FilterNet
from filterwise.models.counting import layer_names, macs, parameter_count
from filterwise.models.pooling import PLANS, Pool, orders, parse_order, pool_series
from filterwise.models.registry import build, names, options

__all__ = [
    "PLANS",
    "Block",
    "FilterNet",
    "Pool",
    "build",
    "layer_names",
    "macs",
    "names",
    "options",
    "orders",
    "parameter_count",
    "parse_order",
    "pool_series",
]
