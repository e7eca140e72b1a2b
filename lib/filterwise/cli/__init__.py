"""The command ``filterwise``: run, sweep, record, data, claims, book.

A module holds the commands about one thing, and imports inside of them what they need: help and mistakes are
answered at once. ``program`` puts the commands together and turns every error into one line.
"""

from filterwise.cli.program import main

__all__ = ["main"]
