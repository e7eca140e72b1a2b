"""Building the book: chapters executed once per state of their sources, pages that read offline.

``launcher`` executes a notebook, ``executing`` keeps what it gave, ``staging`` lays out what Sphinx reads,
``assembly`` does it all and calls Jupyter Book; ``extension`` is the Sphinx extension.
"""

from filterwise.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"assembly": ["Built", "build"]})
