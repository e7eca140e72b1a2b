"""The command ``filterwise``: run, sweep, record, data, claims, book.

A module here holds the commands about one thing and imports what they need inside of them: help and mistakes are
answered at once, without torch. ``program`` puts the commands together and turns every error into one line.
"""

from filterwise.cli.program import main

__all__ = ["main"]
