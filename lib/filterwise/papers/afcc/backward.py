"""The training steps of chapter 5, which register themselves where they are defined."""

from filterwise.papers.afcc import ftwt_step, rewiring_step  # noqa: F401  registers "ftwt" and "rewire"
