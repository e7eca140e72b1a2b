"""What learns: the papers' networks, by name, with weights drawn from a seed of their own.

>>> from filterwise import models
>>> net = models.build("vgg16", labels=100)
>>> models.layer_names(net)[7], models.parameter_count(net.features[7].conv)
('features.8', 1180160)
"""

from filterwise.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "block": ["Block", "FilterNet"],
        "building": ["build", "names", "options"],
        "counting": ["layer_names", "macs", "parameter_count"],
        "delays": ["arrivals", "check_generic", "draw_delays", "output_times"],
        "events": ["Lines", "propagate"],
        "modes": ["evaluation_mode"],
        "pools": ["PLANS", "Pool", "orders", "parse_order", "pool_series"],
        "rodib": ["jittered"],
        "timed_layers": ["DelayLayer"],
    },
)
