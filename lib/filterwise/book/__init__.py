"""Building the book: chapters executed once per state of their sources, pages that read offline.

``execute`` runs a chapter and keeps the result, ``stage`` lays out what Sphinx reads, ``build`` does both
and calls Jupyter Book, ``extension`` is the Sphinx extension that serves MathJax locally and fills the
generated pages.
"""

from __future__ import annotations

from filterwise.book.build import Built, build, find_root

__all__ = ["Built", "build", "find_root"]
