"""The training steps of chapter 5, which register themselves where they are defined."""

from filterwise.papers.afcc import rewiring_step  # noqa: F401  registers "rewire"
