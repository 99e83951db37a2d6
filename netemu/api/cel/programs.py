"""Expressions that are checked once and evaluated often: names and functions known, and a bound on the work.

Types are checked as values are met. Source: cel-spec doc/langdef.md (logic forgives errors; macros).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from netemu.api.cel import library, parsing, values
from netemu.api.cel.values import Failed, Optional

_BUDGET = 200_000  # steps of one evaluation
_MACROS = ("all", "exists", "exists_one", "existsOne", "filter", "map")
_OPTIONAL_MACROS = ("optMap", "optFlatMap")
_ESCAPES = (("__underscores__", "__"), ("__dot__", "."), ("__dash__", "-"), ("__slash__", "/"))
Scope = dict[str, Any]


class Program:
    """One expression over some variables."""

    def __init__(self, source: str, variables: Iterable[str]) -> None:
        """Malformed: for what cannot be evaluated whatever the variables are."""
        self.source = source
        self._tree = parsing.parse(source)
        self.names = frozenset(_check(self._tree, frozenset(variables)))

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """The value. Failed."""
        try:
            return _Run().value(self._tree, dict(variables))
        except RecursionError:
            raise Failed("expression recursion limit exceeded") from None


@functools.lru_cache(maxsize=2048)
def compiled(source: str, *variables: str) -> Program:
    """A program, kept for whoever asks again. Malformed."""
    return Program(source, variables)


def _check(node: parsing.Node, known: frozenset[str]) -> Iterable[str]:
    """The variables used. Malformed for undeclared names and functions."""
    if isinstance(node, parsing.Name):
        if node.name not in known and node.name not in library.TYPES:
            raise parsing.Malformed(f"undeclared reference to '{node.name}' (in container '')")
        yield node.name
    elif isinstance(node, parsing.Select):
        if _dotted(node) not in library.TYPES:
            yield from _check(node.of, known)
    elif isinstance(node, parsing.Index):
        yield from (*_check(node.of, known), *_check(node.at, known))
    elif isinstance(node, parsing.List):
        for item in node.items:
            yield from _check(item, known)
    elif isinstance(node, parsing.Map):
        for pair in node.pairs:
            yield from (*_check(pair[0], known), *_check(pair[1], known))
    elif isinstance(node, parsing.Condition):
        for part in node:
            yield from _check(part, known)
    elif isinstance(node, parsing.Call):
        yield from _check_call(node, known)


def _check_call(node: parsing.Call, known: frozenset[str]) -> Iterable[str]:
    if node.target is None and node.name == "has":
        if len(node.arguments) != 1 or not isinstance(node.arguments[0], parsing.Select):
            raise parsing.Malformed("invalid argument to has() macro")
        yield from _check(node.arguments[0].of, known)
        return
    if node.target is not None and node.name in (*_MACROS, *_OPTIONAL_MACROS) and _is_macro(node):
        variable = node.arguments[0]
        assert isinstance(variable, parsing.Name)
        yield from _check(node.target, known)
        for argument in node.arguments[1:]:
            inner = _check(argument, known | {variable.name})
            yield from (name for name in inner if name != variable.name)
        return
    space = _space(node)
    if space:
        if space not in library.CALLS:
            raise parsing.Malformed(f"undeclared reference to '{space}' (in container '')")
    elif node.target is not None:
        if node.name not in library.MEMBERS:
            raise parsing.Malformed(f"undeclared reference to '{node.name}' (in container '')")
        yield from _check(node.target, known)
    elif node.name not in library.CALLS and node.name not in _OPERATORS and node.name not in _LAZY:
        raise parsing.Malformed(f"undeclared reference to '{node.name}' (in container '')")
    for argument in node.arguments:
        yield from _check(argument, known)


def _is_macro(node: parsing.Call) -> bool:
    most = 3 if node.name == "map" else 2
    if not 2 <= len(node.arguments) <= most or not isinstance(node.arguments[0], parsing.Name):
        raise parsing.Malformed(f"argument is not an identifier: {node.name}()")
    return True


def _dotted(node: parsing.Node) -> str:
    if isinstance(node, parsing.Name):
        return node.name
    if isinstance(node, parsing.Select):
        return f"{_dotted(node.of)}.{node.field}"
    return ""


def _space(node: parsing.Call) -> str:
    """`sets.contains`, if that is a function and no method."""
    if isinstance(node.target, parsing.Name) and node.target.name in library.SPACES:
        found = f"{node.target.name}.{node.name}"
        return found if found in library.CALLS or node.target.name != "ip" else ""
    return ""


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "_+_": lambda a, b: values.arithmetic("+", a, b),
    "_-_": lambda a, b: values.arithmetic("-", a, b),
    "_*_": lambda a, b: values.arithmetic("*", a, b),
    "_/_": lambda a, b: values.arithmetic("/", a, b),
    "_%_": lambda a, b: values.arithmetic("%", a, b),
    "_==_": values.equal,
    "_!=_": lambda a, b: not values.equal(a, b),
    "_<_": values.less,
    "_>_": lambda a, b: values.less(b, a),
    "_<=_": lambda a, b: values.less(a, b) or values.equal(a, b),
    "_>=_": lambda a, b: values.less(b, a) or values.equal(a, b),
    "_in_": values.contains,
}
_LAZY = ("_||_", "_&&_", "!_", "-_")


class _Run:
    """One evaluation."""

    def __init__(self) -> None:
        self._left = _BUDGET

    def value(self, node: parsing.Node, scope: Scope) -> Any:
        self._left -= 1
        if self._left < 0:
            raise Failed("operation cancelled: actual cost limit exceeded")
        return _VALUES[type(node)](self, node, scope)

    def literal(self, node: parsing.Literal, scope: Scope) -> Any:
        return node.value

    def name(self, node: parsing.Name, scope: Scope) -> Any:
        if node.name in scope:
            return scope[node.name]
        if node.name in library.TYPES:
            return library.TYPES[node.name]
        raise Failed(f"no such attribute: {node.name}")

    def select(self, node: parsing.Select, scope: Scope) -> Any:
        if _dotted(node) in library.TYPES:
            return library.TYPES[_dotted(node)]
        return _at(self.value(node.of, scope), unescaped(node.field), optional=node.optional)

    def index(self, node: parsing.Index, scope: Scope) -> Any:
        return _at(self.value(node.of, scope), self.value(node.at, scope), optional=node.optional)

    def list(self, node: parsing.List, scope: Scope) -> Any:
        found = []
        for number, item in enumerate(node.items):
            value = self.value(item, scope)
            if number not in node.optional:
                found.append(value)
            elif value.present:
                found.append(value.value)
        return found

    def map(self, node: parsing.Map, scope: Scope) -> Any:
        found: dict[Any, Any] = {}
        for key, value in node.pairs:
            name = self.value(key, scope)
            if not isinstance(name, str | int):
                raise Failed("unsupported key type")
            found[name] = self.value(value, scope)
        return found

    def condition(self, node: parsing.Condition, scope: Scope) -> Any:
        return self.value(node.then if self._test(node.test, scope) else node.otherwise, scope)

    def _test(self, node: parsing.Node, scope: Scope) -> bool:
        found = self.value(node, scope)
        if not isinstance(found, bool):
            raise values.overload("bool")
        return found

    def call(self, node: parsing.Call, scope: Scope) -> Any:
        if node.name in ("_||_", "_&&_"):
            return self._logic(node.arguments, scope, decides=node.name == "_||_")
        if node.name == "!_":
            return not self._test(node.arguments[0], scope)
        if node.target is None and node.name == "has":
            return self._has(node.arguments[0], scope)
        if node.target is not None and node.name in (*_MACROS, *_OPTIONAL_MACROS):
            return self._macro(node, scope)
        space = _space(node)
        target = () if node.target is None or space else (self.value(node.target, scope),)
        given = (*target, *(self.value(argument, scope) for argument in node.arguments))
        if node.name == "-_":
            return values.negative(given[0])
        table = library.MEMBERS if target else _FUNCTIONS
        try:
            return table[space or node.name](*given)
        except (TypeError, AttributeError, IndexError, OverflowError):
            raise values.overload(space or node.name) from None

    def _logic(self, sides: tuple[parsing.Node, ...], scope: Scope, *, decides: bool) -> bool:
        """A side that decides makes the other's failure no matter."""
        failure: Failed | None = None
        for side in sides:
            try:
                if self._test(side, scope) is decides:
                    return decides
            except Failed as failed:
                failure = failure or failed
        if failure is not None:
            raise failure
        return not decides

    def _has(self, node: parsing.Node, scope: Scope) -> bool:
        assert isinstance(node, parsing.Select)
        of = self.value(node.of, scope)
        if isinstance(of, Optional):
            return of.present and unescaped(node.field) in of.value
        if not isinstance(of, dict):
            raise values.overload("has")
        return unescaped(node.field) in of

    def _macro(self, node: parsing.Call, scope: Scope) -> Any:
        assert node.target is not None
        over, variable = self.value(node.target, scope), node.arguments[0]
        assert isinstance(variable, parsing.Name)

        def inner(value: Any, body: parsing.Node = node.arguments[-1]) -> Any:
            return self.value(body, {**scope, variable.name: value})

        if node.name in _OPTIONAL_MACROS:
            if not isinstance(over, Optional):
                raise values.overload(node.name)
            if not over.present:
                return over
            found = inner(over.value)
            return Optional(True, found) if node.name == "optMap" else found
        if not isinstance(over, list | dict):
            raise values.overload(node.name)
        items = list(over)
        if node.name in ("all", "exists"):
            return self._quantified(items, inner, decides=node.name == "exists")
        if node.name in ("exists_one", "existsOne"):
            return sum(_true(inner(item)) for item in items) == 1
        if node.name == "filter":
            return [item for item in items if _true(inner(item))]
        chosen = items
        if len(node.arguments) == 3:
            chosen = [item for item in items if _true(inner(item, node.arguments[1]))]
        return [inner(item) for item in chosen]

    def _quantified(self, items: Iterable[Any], inner: Callable[[Any], Any], *, decides: bool) -> bool:
        failure: Failed | None = None
        for item in items:
            try:
                if _true(inner(item)) is decides:
                    return decides
            except Failed as failed:
                failure = failure or failed
        if failure is not None:
            raise failure
        return not decides


_FUNCTIONS: dict[str, Callable[..., Any]] = {**library.CALLS, **_OPERATORS}
_VALUES: dict[type, Callable[[_Run, Any, Scope], Any]] = {
    parsing.Literal: _Run.literal,
    parsing.Name: _Run.name,
    parsing.Select: _Run.select,
    parsing.Index: _Run.index,
    parsing.List: _Run.list,
    parsing.Map: _Run.map,
    parsing.Condition: _Run.condition,
    parsing.Call: _Run.call,
}


def _true(value: Any) -> bool:
    if not isinstance(value, bool):
        raise values.overload("bool")
    return value


def _at(of: Any, key: Any, *, optional: bool) -> Any:
    if isinstance(of, Optional):
        return _at(of.value, key, optional=True) if of.present else of
    if isinstance(of, dict) and not isinstance(key, list | dict):
        present = key in of
    elif isinstance(of, list) and values.is_number(key) and key == int(key):
        key = int(key)
        present = 0 <= key < len(of)
    else:
        raise values.overload("_[_]")
    if optional:
        return Optional(True, of[key]) if present else values.NONE
    if not present:
        raise Failed(f"index out of bounds: {key}" if isinstance(of, list) else f"no such key: {key}")
    return of[key]


def unescaped(name: str) -> str:
    """The property a name in an expression means (KEP-2876: __dot__, __dash__, reserved words in __)."""
    if "__" not in name:
        return name
    if name.startswith("__") and name.endswith("__") and name[2:-2] in parsing.RESERVED:
        return name[2:-2]
    for escaped, plain in _ESCAPES[1:]:
        name = name.replace(escaped, plain)
    return name.replace(*_ESCAPES[0])
