"""Label and field selectors: from a query string or a LabelSelector, matched against labels or documents.

Grammar and semantics of k8s.io/apimachinery's labels and fields: `!=` and `notin` also match a missing key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from netemu.api import kinds, meta, names, shapes
from netemu.base import errors

EQUAL, UNEQUAL, IN, NOT_IN, EXISTS, ABSENT = "=", "!=", "in", "notin", "exists", "!"
GREATER, LESS = ">", "<"


class Requirement(NamedTuple):
    """`operator` is one of the constants above."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "=" | "in":
                return self.key in labels and labels[self.key] in self.values
            case "!=" | "notin":
                return self.key not in labels or labels[self.key] not in self.values
            case "exists":
                return self.key in labels
            case "!":
                return self.key not in labels
        try:
            have, bound = int(labels[self.key]), int(self.values[0])
        except (KeyError, ValueError):
            return False
        return have > bound if self.operator == GREATER else have < bound

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        return f"{self.key}{self.operator}{self.values[0]}"


@dataclass(frozen=True)
class Selector:
    """All requirements together. Without any it matches everything, `nothing` excepted."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self.nothing and all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    @property
    def everything(self) -> bool:
        return not self.requirements and not self.nothing


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def exactly(labels: Mapping[str, str]) -> Selector:
    """The selector of a Service or a nodeSelector: every pair must be there."""
    return Selector(tuple(Requirement(key, EQUAL, (value,)) for key, value in sorted(labels.items())))


def of(selector: meta.LabelSelector | None) -> Selector:
    """None matches nothing, an empty one everything. Raises `errors.Rejected` for an unknown operator."""
    if selector is None:
        return NOTHING
    found = [Requirement(key, EQUAL, (value,)) for key, value in selector.matchLabels.items()]
    for expression in selector.matchExpressions:
        operator = _EXPRESSIONS.get(expression.operator)
        if operator is None:
            raise errors.Rejected(f'"{expression.operator}" is not a valid label selector operator')
        found.append(Requirement(expression.key, operator, tuple(expression.values)))
    return Selector(tuple(sorted(found, key=lambda requirement: requirement.key)))


_EXPRESSIONS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": ABSENT}


# --- label selectors as text ---

_TOKEN = re.compile(r"\s*(?:(!=|==|=|!|,|\(|\)|>|<)|([^\s!=,()<>]+))")


def labels(text: str) -> Selector:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. Raises `errors.Rejected` with upstream's wording."""
    if not text.strip():
        return EVERYTHING
    reader = _Reader(text)
    found = [reader.requirement()]
    while reader.peek() == ",":
        reader.take()
        found.append(reader.requirement())
    if reader.peek():
        raise _unparsable(f"found '{reader.peek()}', expected: ',' or 'end of string'")
    return Selector(tuple(sorted(found, key=lambda requirement: requirement.key)))


def _unparsable(why: str) -> errors.Rejected:
    return errors.Rejected(f"unable to parse requirement: {why}")


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, bool]] = []  # the token, and whether it is a word
        place, text = 0, text.rstrip()
        while place < len(text):
            found = _TOKEN.match(text, place)
            assert found, text  # every character is either a symbol or part of a word
            self.tokens.append((found[1], False) if found[1] else (found[2], True))
            place = found.end()
        self.tokens.reverse()

    def peek(self) -> str:
        return self.tokens[-1][0] if self.tokens else ""

    def take(self) -> str:
        return self.tokens.pop()[0] if self.tokens else ""

    def word(self) -> str:
        return self.take() if self.tokens and self.tokens[-1][1] else ""

    def requirement(self) -> Requirement:
        absent = self.peek() == "!"
        if absent:
            self.take()
        key = self.word()
        if not key:
            raise _unparsable(f"found '{self.peek()}', expected: identifier")
        for message in names.qualified(key):
            raise _unparsable(f'key: Invalid value: "{key}": {message}')
        following = self.peek()
        if absent or following in ("", ","):
            return Requirement(key, ABSENT if absent else EXISTS)
        operator = _OPERATORS.get(self.take())
        if operator is None:
            raise _unparsable(f"found '{following}', expected: in, notin, =, ==, !=, gt, lt")
        return Requirement(key, operator, self.values(key, following))

    def values(self, key: str, operator: str) -> tuple[str, ...]:
        found = self.listed() if operator in (IN, NOT_IN) else (self.word(),)
        for value in found:
            for message in names.label_value(value):
                raise _unparsable(f'values[0][{key}]: Invalid value: "{value}": {message}')
            if operator in (GREATER, LESS) and not re.fullmatch(r"[+-]?[0-9]+", value, re.ASCII):
                raise _unparsable(f'values[0]: Invalid value: "{value}": for \'Gt\', \'Lt\' operators, '
                                  "the value must be an integer")  # fmt: skip
        return found

    def listed(self) -> tuple[str, ...]:
        if self.take() != "(":
            raise _unparsable("expected: '('")
        found = [self.word()]
        while self.peek() == ",":
            self.take()
            found.append(self.word())
        if self.peek() != ")":
            raise _unparsable(f"found '{self.peek()}', expected: ',' or ')'")
        self.take()
        return tuple(dict.fromkeys(found))


_OPERATORS = {"=": EQUAL, "==": EQUAL, "!=": UNEQUAL, "in": IN, "notin": NOT_IN, ">": GREATER, "<": LESS}


# --- field selectors ---


class Term(NamedTuple):
    """One comparison. `zero`: what an absent field counts as."""

    label: str
    paths: tuple[tuple[str, ...], ...]
    value: str
    equal: bool
    zero: str

    def matches(self, document: Mapping[str, Any]) -> bool:
        have = next((text for path in self.paths if (text := _text(document, path))), self.zero)
        return (have == self.value) is self.equal


@dataclass(frozen=True)
class FieldSelector:
    """All terms together; without any it matches everything."""

    terms: tuple[Term, ...] = ()

    def matches(self, document: Mapping[str, Any]) -> bool:
        return all(term.matches(document) for term in self.terms)

    def __str__(self) -> str:
        return ",".join(f"{term.label}{'=' if term.equal else '!='}{term.value}" for term in self.terms)

    def required(self, label: str) -> str | None:
        """The one value that `label` must have, if the selector says so: lets a list be a look-up."""
        return next((term.value for term in self.terms if term.label == label and term.equal), None)


def fields(kind: kinds.Kind, text: str) -> FieldSelector:
    """`spec.nodeName=x,status.phase!=Failed`. Raises `errors.Rejected` for a field not selectable."""
    return FieldSelector(tuple(_term(kind, part) for part in _split(text) if part))


def _split(text: str) -> list[str]:
    """At commas that are not escaped."""
    return re.findall(r"(?:\\.|[^,\\])+", text)


_TERM = re.compile(r"((?:\\.|[^=!\\])*)(==|=|!=)(.*)", re.DOTALL)


def _term(kind: kinds.Kind, text: str) -> Term:
    found = _TERM.fullmatch(text)
    if not found:
        raise errors.Rejected(
            f"invalid field selector {text!r}: can't understand it; use name=value or name!=value"
        )
    label, operator, value = found.groups()
    always = ("metadata.name", "metadata.namespace") if kind.namespaced else ("metadata.name",)
    allowed = {name: (name,) for name in always} | {one.label: one.paths for one in kind.selectable}
    if label not in allowed:
        raise errors.Rejected(f"field label not supported: {label}")
    paths = tuple(tuple(path.split(".")) for path in allowed[label])
    value = re.sub(r"\\([\\,=])", r"\1", value)
    return Term(label, paths, value, operator != "!=", _zero(kind, paths[0]))


def _zero(kind: kinds.Kind, path: tuple[str, ...]) -> str:
    found = shapes.at(kind.type, path)
    return {"boolean": "false", "int32": "0", "int64": "0"}.get(found.shape.scalar, "") if found else ""


def _text(document: Mapping[str, Any], path: tuple[str, ...]) -> str:
    value: Any = document
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(str(item.get("ip", "")) for item in value if isinstance(item, dict))
    return "" if value is None else str(value)
