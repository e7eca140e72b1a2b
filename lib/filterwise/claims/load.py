"""Read ``data/claims/*.yml`` strictly: an unknown key, a missing field or an unknown quantity is an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from filterwise.claims import quantities
from filterwise.claims.schema import OPERATORS, PROFILES, Claim, Condition, PaperNumber, Rule
from filterwise.errors import ParameterError, near_miss

_FILE_KEYS = {"chapter": str, "papers": dict, "claims": list}
_CLAIM_KEYS = {
    "id": str,
    "statement": str,
    "paper": dict,
    "where": str,
    "quantity": str,
    "criterion": dict,
    "seeds": int,
    "controls": list,
    "profiles": list,
}
_CLAIM_EXTRA = {"options": dict, "note": str, "runs": str}
_PAPER_KEYS = {"value": (float, int, type(None)), "text": str, "source": str}
_CRITERION_KEYS = {"text": str}
_CRITERION_EXTRA = {"rule": dict, "conditions": list, "claims": list, "at": str}
_CONDITION_KEYS = {"quantity": str, "op": str}
_NUMBER = (float, int)
_CONDITION_EXTRA = {
    "bound": _NUMBER,
    "low": _NUMBER,
    "high": _NUMBER,
    "options": dict,
    "profiles": list,
    "rule": dict,
    "fewer_than": int,
    "low_fewer": _NUMBER,
    "high_fewer": _NUMBER,
}
_RULE_KEYS = {"kind": str}
_RULE_EXTRA = {"method": str, "level": float, "seeds": int, "of": int}
_RULE_FIELDS = {"interval": {"method", "level"}, "count": {"seeds", "of"}, "estimate": set()}
_AT = ("label extremes",)
_RUNS = ("all labels",)


def claims_folder() -> Path:
    """The folder of the committed claim files, ``data/claims`` of the repository."""
    return Path(__file__).resolve().parents[3] / "data" / "claims"


def chapters(folder: Path | str | None = None) -> tuple[str, ...]:
    """The chapters that have a claim file.

    >>> "4-sfp" in chapters()
    True
    """
    return tuple(sorted(path.stem for path in Path(folder or claims_folder()).glob("*.yml")))


def load(chapter: str | None = None, folder: Path | str | None = None) -> tuple[Claim, ...]:
    """All claims, or those of one chapter, in the order of the files.

    Parameters
    ----------
    chapter : str, optional
        Such as ``"4-sfp"``.
    folder : path, optional
        Default: the repository's ``data/claims``.

    Raises
    ------
    ParameterError
        Names the file and the claim, what is wrong, and the near miss.

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
    wanted = known if chapter is None else (chapter,)
    return tuple(claim for name in wanted for claim in load_file(home / f"{name}.yml"))


def load_file(path: Path | str) -> tuple[Claim, ...]:
    """The claims of one file.

    Raises
    ------
    ParameterError
        As :func:`load`.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ParameterError(f"{path.name}: not readable as YAML: {error}") from error
    _check(content, _FILE_KEYS, {}, path.name)
    if content["chapter"] != path.stem:
        raise ParameterError(
            f"{path.name}: chapter={content['chapter']!r} is not the file's name {path.stem!r}"
        )
    claims = tuple(_claim(entry, path, number) for number, entry in enumerate(content["claims"], start=1))
    identities = [claim.id for claim in claims]
    for claim in claims:
        where = f"{path.name}, claim {claim.id}"
        if identities.count(claim.id) > 1:
            raise ParameterError(f"{where}: the id is used {identities.count(claim.id)} times")
        for other in claim.claims:
            if other not in identities or other == claim.id:
                raise ParameterError(
                    f"{where}: claims has unknown id {other!r}{near_miss(other, identities)}"
                )
    return claims


def _claim(entry: Any, path: Path, number: int) -> Claim:
    name = entry.get("id", f"number {number}") if isinstance(entry, Mapping) else f"number {number}"
    where = f"{path.name}, claim {name}"
    _check(entry, _CLAIM_KEYS, _CLAIM_EXTRA, where)
    _check(entry["paper"], _PAPER_KEYS, {}, f"{where}, paper")
    criterion = entry["criterion"]
    _check(criterion, _CRITERION_KEYS, _CRITERION_EXTRA, f"{where}, criterion")
    if criterion.get("conditions") and criterion.get("claims"):
        raise ParameterError(f"{where}: criterion has both conditions and claims; give one of them")
    if bool(criterion.get("claims")) != bool(criterion.get("at")):
        raise ParameterError(f"{where}: criterion needs claims and at together")
    if criterion.get("at"):
        _one_of(criterion["at"], _AT, f"{where}, criterion, at")
    if entry["seeds"] < 1:
        raise ParameterError(f"{where}: seeds={entry['seeds']} is too small; it must be at least 1")
    _strings(entry["controls"], f"{where}, controls")
    profiles = _profiles(entry["profiles"], where)
    if not profiles:
        raise ParameterError(f"{where}: profiles is empty")
    if "runs" in entry:
        _one_of(entry["runs"], _RUNS, f"{where}, runs")
    options = entry.get("options", {})
    quantities.check(entry["quantity"], options, where)
    rule = _rule(criterion.get("rule", {"kind": "interval"}), where)
    conditions = tuple(_condition(c, where) for c in criterion.get("conditions", []))
    if rule.kind == "count" and any(c.rule for c in conditions):
        raise ParameterError(
            f"{where}: under a count rule the conditions are judged together and have no own rule"
        )
    return Claim(
        id=entry["id"],
        chapter=path.stem,
        statement=entry["statement"].strip(),
        paper=PaperNumber(**entry["paper"]),
        where=entry["where"],
        quantity=entry["quantity"],
        options=options,
        criterion=criterion["text"].strip(),
        conditions=conditions,
        rule=rule,
        claims=tuple(criterion.get("claims", ())),
        at=criterion.get("at", ""),
        runs=entry.get("runs", ""),
        seeds=entry["seeds"],
        controls=tuple(entry["controls"]),
        profiles=profiles,
        note=entry.get("note", "").strip(),
    )


def _condition(entry: Any, where: str) -> Condition:
    name = entry.get("quantity", "?") if isinstance(entry, Mapping) else "?"
    where = f"{where}, condition on {name}"
    _check(entry, _CONDITION_KEYS, _CONDITION_EXTRA, where)
    _one_of(entry["op"], [*OPERATORS, "within"], f"{where}, op")
    needed = {"low", "high"} if entry["op"] == "within" else {"bound"}
    allowed = needed | ({"fewer_than", "low_fewer", "high_fewer"} if entry["op"] == "within" else set())
    bounds = {"bound", "low", "high", "fewer_than", "low_fewer", "high_fewer"} & set(entry)
    if not needed <= bounds or not bounds <= allowed:
        raise ParameterError(f"{where}: op {entry['op']!r} needs {sorted(needed)} and got {sorted(bounds)}")
    fewer = {"fewer_than", "low_fewer", "high_fewer"} & bounds
    if fewer and len(fewer) < 3:
        raise ParameterError(
            f"{where}: fewer_than, low_fewer and high_fewer belong together, got {sorted(fewer)}"
        )
    quantities.check(entry["quantity"], entry.get("options", {}), where)
    values = dict(entry)
    values["profiles"] = _profiles(entry.get("profiles", []), where)
    if "rule" in entry:
        values["rule"] = _rule(entry["rule"], where)
        if values["rule"].kind == "count":
            raise ParameterError(f"{where}: a count rule belongs to the criterion, not to one condition")
    return Condition(**values)


def _rule(entry: Any, where: str) -> Rule:
    where = f"{where}, rule"
    _check(entry, _RULE_KEYS, _RULE_EXTRA, where)
    _one_of(entry["kind"], _RULE_FIELDS, f"{where}, kind")
    stray = set(entry) - {"kind"} - _RULE_FIELDS[entry["kind"]]
    if stray:
        raise ParameterError(f"{where}: {sorted(stray)} does not belong to kind {entry['kind']!r}")
    rule = Rule(**entry)
    if rule.kind == "interval":
        _one_of(rule.method, ("t", "bootstrap"), f"{where}, method")
        if not 0.5 <= rule.level < 1:
            raise ParameterError(f"{where}: level={rule.level} is not in [0.5, 1)")
    if rule.kind == "count" and not 1 <= rule.seeds <= rule.of:
        raise ParameterError(f"{where}: seeds={rule.seeds} of={rule.of} must satisfy 1 <= seeds <= of")
    return rule


def _check(entry: Any, needed: Mapping[str, Any], extra: Mapping[str, Any], where: str) -> None:
    if not isinstance(entry, Mapping):
        raise ParameterError(f"{where}: expected a mapping, got {type(entry).__name__}")
    allowed = {**needed, **extra}
    for key, value in entry.items():
        if key not in allowed:
            raise ParameterError(f"{where}: unknown key {key!r}{near_miss(key, allowed)}")
        if not isinstance(value, allowed[key]) or isinstance(value, bool):
            raise ParameterError(f"{where}: {key}={value!r} has the wrong type, {type(value).__name__}")
        if isinstance(value, str) and not value.strip():
            raise ParameterError(f"{where}: {key} is empty")
    for key in needed:
        if key not in entry:
            raise ParameterError(f"{where}: {key} is missing")


def _one_of(value: object, choices: Iterable[object], where: str) -> None:
    allowed = list(choices)
    if value not in allowed:
        listed = ", ".join(repr(choice) for choice in allowed)
        raise ParameterError(
            f"{where}={value!r} is not known; choose from {listed}{near_miss(value, allowed)}"
        )


def _strings(values: list[Any], where: str) -> None:
    if not all(isinstance(value, str) for value in values):
        raise ParameterError(f"{where}={values!r} must be a list of words")


def _profiles(values: list[Any], where: str) -> tuple[str, ...]:
    for value in values:
        _one_of(value, PROFILES, f"{where}, profiles")
    return tuple(values)
