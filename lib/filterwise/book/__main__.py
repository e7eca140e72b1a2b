"""``python -m filterwise.book``: what ``make book`` calls."""

from __future__ import annotations

import argparse
import sys

from filterwise.book.build import build
from filterwise.errors import FilterwiseError


def main() -> int:
    """Build the book of the current folder; 1 and one message when it cannot be built."""
    parser = argparse.ArgumentParser(prog="python -m filterwise.book", description=__doc__)
    parser.add_argument(
        "--root", default=None, help="the repository (default: found from the current folder)"
    )
    parser.add_argument("--out", default=None, help="folder for the pages (default: ROOT/_build/html)")
    parser.add_argument(
        "--profile", default="quick", help="profile that the chapters run with (default: quick)"
    )
    parser.add_argument("--force", action="store_true", help="execute every chapter again")
    options = parser.parse_args()
    try:
        build(
            options.root,
            out=options.out,
            parameters={"profile": options.profile},
            force=options.force,
            say=print,
        )
    except FilterwiseError as error:
        print(f"The book was not built. {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
