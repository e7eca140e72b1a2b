"""What each paper did: one folder a chapter, found by itself.

A folder holds ``plan.py`` (profiles to jobs), ``measure.py`` (a result to numbers), ``quantities.py``
(records to what claims are judged by) and ``figures.py`` (what only its page draws), and says in its
``__init__`` what chapter it is. Further folders of papers are looked for where the environment variable
``FILTERWISE_PAPERS`` says.
"""

import os

__path__ += [folder for folder in os.environ.get("FILTERWISE_PAPERS", "").split(os.pathsep) if folder]
