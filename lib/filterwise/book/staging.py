"""The folder that Sphinx reads: prose, settings and executed chapters, rewritten only where changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from filterwise.book.executing import with_outputs
from filterwise.errors import BookError
from filterwise.files import atomic

SETTINGS = ("_config.yml", "_toc.yml")
_IGNORED = {".ipynb_checkpoints", "__pycache__"}


def pages(root: Path) -> list[str]:
    """The files that ``_toc.yml`` names, in reading order and with their endings.

    Raises BookError: there is no ``_toc.yml``, it is not YAML, or it names a file that is missing.
    """
    toc = root / "_toc.yml"
    try:
        content = yaml.safe_load(toc.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BookError(f"{root} has no _toc.yml: not the folder of a book") from None
    except yaml.YAMLError as error:
        raise BookError(f"_toc.yml is not YAML: {' '.join(str(error).split())}") from None
    except (UnicodeDecodeError, OSError) as error:
        raise BookError(f"_toc.yml cannot be read as UTF-8: {error}") from None
    found = []
    for name in _named(content):
        endings = [name] if Path(name).suffix in {".md", ".ipynb"} else [f"{name}.md", f"{name}.ipynb"]
        present = [candidate for candidate in endings if (root / candidate).is_file()]
        if not present:
            raise BookError(f"_toc.yml names {name!r}, but there is no {' or '.join(endings)}")
        found.append(present[0])
    return found


def _named(entry: Any) -> Iterator[str]:
    """Every ``root:`` and ``file:`` value below ``entry``, in the order of the file."""
    if isinstance(entry, list):
        for part in entry:
            yield from _named(part)
    elif isinstance(entry, dict):
        for key, value in entry.items():
            if key in {"root", "file"} and isinstance(value, str):
                yield value
            else:
                yield from _named(value)


def stage(root: Path, where: Path, executed: Mapping[str, Path]) -> bool:
    """Lay out the folder ``where`` for Sphinx; answer whether anything that shapes every page changed.

    Files that no longer belong there are removed. ``executed``: path of a chapter relative to ``root`` -> its
    kept, executed notebook.
    """
    wanted = {"_config.yml": _settings(root), "_toc.yml": (root / "_toc.yml").read_bytes()}
    for path in sorted((root / "book").rglob("*")):
        if path.is_file() and not _IGNORED & set(path.parts):
            wanted[path.relative_to(root).as_posix()] = path.read_bytes()
    for chapter, kept in executed.items():
        source = json.loads((root / chapter).read_text(encoding="utf-8"))
        result = json.loads(kept.read_text(encoding="utf-8"))
        text = json.dumps(with_outputs(source, result), indent=1, ensure_ascii=False) + "\n"
        wanted[chapter] = text.encode()

    changed = {name for name, content in wanted.items() if _write(where / name, content)}
    for path in [path for path in where.rglob("*") if path.is_file()]:
        name = path.relative_to(where).as_posix()
        if name not in wanted and not name.startswith("_build/"):
            path.unlink()
            changed.add(name)
    return bool(changed & set(SETTINGS))


def _settings(root: Path) -> bytes:
    """``_config.yml`` without execution: "auto" runs every chapter again that has a cell without output."""
    try:
        content = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
        content.setdefault("execute", {})["execute_notebooks"] = "off"
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise BookError(f"_config.yml is not a mapping in YAML: {' '.join(str(error).split())}") from None
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()


def _write(path: Path, content: bytes) -> bool:
    """Write unless it is there already, so that Sphinx sees an old date on an unchanged page."""
    if path.is_file() and path.read_bytes() == content:
        return False
    with atomic(path) as unfinished:
        unfinished.write_bytes(content)
    return True
