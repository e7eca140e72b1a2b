"""Read ``data/claims/*.yml`` strictly: an unknown key, a missing field or an unknown quantity is an error."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from filterwise.claims.registered import check_use
from filterwise.claims.schema import Claim, ClaimFile, Condition, Criterion, PaperNumber, Rule
from filterwise.errors import ParameterError, near_miss
from filterwise.files import data_folder

_CLASSES = {
    "claims": Claim,
    "paper": PaperNumber,
    "criterion": Criterion,
    "conditions": Condition,
    "rule": Rule,
}


def claims_folder() -> Path:
    """The folder of the committed claim files, ``data/claims`` of the repository.

    >>> claims_folder().name
    'claims'
    """
    return data_folder("claims")


def chapters(folder: Path | str | None = None) -> tuple[str, ...]:
    """The chapters that have a claim file.

    >>> "4-sfp" in chapters()
    True
    """
    return tuple(sorted(path.stem for path in Path(folder or claims_folder()).glob("*.yml")))


def load(chapter: str | None = None, folder: Path | str | None = None) -> tuple[Claim, ...]:
    """All claims, or those of one chapter such as ``"4-sfp"``, in the order of the files.

    ``folder`` is by default the repository's ``data/claims``.
    Raises ParameterError: names the file and the claim, what is wrong, and the near miss.

    >>> [claim.id for claim in load("4-sfp")][:2]
    ['S1', 'S2']
    """
    home = Path(folder or claims_folder())
    known = chapters(home)
    if chapter is not None and chapter not in known:
        raise ParameterError(
            f"chapter={chapter!r} has no claims under {home}; "
            f"choose from {', '.join(known)}{near_miss(chapter, known)}"
        )
    claims: dict[str, Claim] = {}
    for name in known if chapter is None else (chapter,):
        for claim in load_file(home / f"{name}.yml"):
            if claim.id in claims:
                other = claims[claim.id].chapter
                raise ParameterError(f"{name}.yml, claim {claim.id}: the id is used in {other}.yml")
            claims[claim.id] = claim
    return tuple(claims.values())


def load_file(path: Path | str) -> tuple[Claim, ...]:
    """The claims of one file; errors are those of :func:`load`.

    >>> load_file(claims_folder() / "4-sfp.yml")[0].id
    'S1'
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ParameterError(f"{path.name}: not a regular file; claims in YAML are expected")
    try:
        text = path.read_bytes()
        content = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError) as error:
        raise ParameterError(f"{path.name}: not readable as YAML: {error}") from error
    found = _validated(content, path.name)
    if found.chapter != path.stem:
        raise ParameterError(f"{path.name}: chapter={found.chapter!r} is not the file's name {path.stem!r}")
    ids = [claim.id for claim in found.claims]
    for claim in found.claims:
        where = f"{path.name}, claim {claim.id}"
        if ids.count(claim.id) > 1:
            raise ParameterError(f"{where}: the id is used {ids.count(claim.id)} times")
        if claim.chapter:
            raise ParameterError(f"{where}: unknown key 'chapter'; it is the file's")
        check_use(claim.quantity, claim.options, where)
        for condition in claim.criterion.conditions:
            check_use(condition.quantity, condition.options, f"{where}, condition on {condition.quantity}")
    return tuple(replace(claim, chapter=path.stem) for claim in found.claims)


@lru_cache(maxsize=1)
def _adapter() -> Any:
    from pydantic import TypeAdapter  # here, so that nothing but reading a file needs it

    return TypeAdapter(ClaimFile)


def _validated(content: Any, file: str) -> ClaimFile:
    from pydantic import ValidationError

    try:
        # as JSON, where lists become tuples in strict mode as well
        text = json.dumps(content, default=str)
    except ValueError as error:
        raise ParameterError(f"{file}: not readable as YAML: {error}") from None
    try:
        found: ClaimFile = _adapter().validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise ParameterError(f"{_place(content, first, file)}: {_words(first)}") from None
    return found


def _place(content: Any, error: Any, file: str) -> str:
    """Where an error is, in words: ``4-sfp.yml, claim S1, criterion, condition on noise_ratio, rule``."""
    words, before = [file], ""
    # the last key is the wrong one, but where several keys do not go together
    for key in error["loc"] if error["type"] == "value_error" else error["loc"][:-1]:
        content = content[key]
        if isinstance(key, int):
            kind, name = {"claims": ("claim", "id")}.get(before, ("condition on", "quantity"))
            named = content.get(name) if isinstance(content, dict) else None
            words.append(f"{kind} {named or f'number {key + 1}'}")
        elif not isinstance(content, list):
            words.append(key)
        before = key
    return ", ".join(words)


def _words(error: Any) -> str:
    """What is wrong, in words, from pydantic's description of it."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    *above, key = error["loc"] or ("content",)
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "unexpected_keyword_argument":
        container = next((each for each in reversed(above) if isinstance(each, str)), "")
        known = [each.name for each in fields(_CLASSES.get(container, ClaimFile))]
        return f"unknown key {key!r}{near_miss(key, known)}"
    name = f"{above[-1]}[{key}]" if isinstance(key, int) else key
    return f"{name}={error['input']!r} has the wrong type, {type(error['input']).__name__}"
