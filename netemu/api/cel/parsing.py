"""CEL expressions as trees. Knows the grammar and its macros' shape; does not know what anything means.

Source: github.com/google/cel-spec doc/langdef.md, with the optional syntax (`a.?b`, `a[?b]`).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from netemu.base import errors

_DEEPEST = 40
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<int>0[xX][0-9a-fA-F]+[uU]?|\d+[uU]?)
  | (?P<text>[rRbB]{0,2}(?:\"\"\"[\s\S]*?(?<!\\)\"\"\"|\'\'\'[\s\S]*?(?<!\\)\'\'\'
      |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>\|\||&&|<=|>=|==|!=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE,
)
_RELATIONS = ("<", "<=", ">=", ">", "==", "!=", "in")
RESERVED = (  # words that are no names
    *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop"),
    *("package", "namespace", "return", "var", "void", "while"),
)


class Malformed(errors.Rejected):
    """It is no expression."""


class Uint(int):
    """An unsigned integer of 64 bits."""


class Literal(NamedTuple):
    value: Any


class Name(NamedTuple):
    name: str


class Select(NamedTuple):
    """`of.field`; `optional`: `of.?field`."""

    of: Node
    field: str
    optional: bool = False


class Index(NamedTuple):
    of: Node
    at: Node
    optional: bool = False


class Call(NamedTuple):
    """`target.name(arguments)`; operators are called by their signs."""

    target: Node | None
    name: str
    arguments: tuple[Node, ...]


class List(NamedTuple):
    """`optional`: the items written as `?item`."""

    items: tuple[Node, ...]
    optional: frozenset[int] = frozenset()


class Map(NamedTuple):
    pairs: tuple[tuple[Node, Node], ...]


class Condition(NamedTuple):
    test: Node
    then: Node
    otherwise: Node


Node = Literal | Name | Select | Index | Call | List | Map | Condition


class _Token(NamedTuple):
    sort: str
    text: str
    at: int


def parse(source: str) -> Node:
    """The tree of an expression. Malformed."""
    parser = _Parser(tuple(_tokens(source)))
    try:
        node = parser.expression(0)
    except RecursionError:
        raise Malformed("expression recursion limit exceeded") from None
    parser.end()
    return node


def _tokens(source: str) -> list[_Token]:
    found, at = [], 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None or match.lastgroup is None:
            raise Malformed(f"Syntax error: token recognition error at: {source[at : at + 10]!r}")
        if match.lastgroup != "space":
            found.append(_Token(match.lastgroup, match[0], at))
        at = match.end()
    return [*found, _Token("end", "", at)]


class _Parser:
    def __init__(self, tokens: tuple[_Token, ...]) -> None:
        self._tokens = tokens
        self._at = 0

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *signs: str) -> str:
        token = self._peek()
        if token.sort in ("sign", "name") and token.text in signs:
            self._at += 1
            return token.text
        return ""

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            token = self._peek()
            raise Malformed(f"Syntax error: column {token.at + 1}: expected {sign!r}, found {token.text!r}")

    def end(self) -> None:
        if self._peek().sort != "end":
            token = self._peek()
            raise Malformed(f"Syntax error: column {token.at + 1}: extraneous input {token.text!r}")

    def expression(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise Malformed("expression recursion limit exceeded")
        node = self._binary(("||",), lambda: self._binary(("&&",), lambda: self._relation(depth)))
        if not self._take("?"):
            return node
        then = self.expression(depth + 1)
        self._need(":")
        return Condition(node, then, self.expression(depth + 1))

    def _relation(self, depth: int) -> Node:
        return self._binary(_RELATIONS, lambda: self._addition(depth))

    def _addition(self, depth: int) -> Node:
        return self._binary(("+", "-"), lambda: self._binary(("*", "/", "%"), lambda: self._unary(depth)))

    def _binary(self, signs: tuple[str, ...], below: Any) -> Node:
        node: Node = below()
        while sign := self._take(*signs):
            node = Call(None, f"_{sign}_", (node, below()))
        return node

    def _unary(self, depth: int) -> Node:
        signs = []
        while sign := self._take("!", "-"):
            signs.append(sign)
            if len(signs) > _DEEPEST:
                raise Malformed("expression recursion limit exceeded")
        token = self._peek()
        if (
            signs and signs[-1] == "-" and token.sort in ("int", "float")
        ):  # the smallest integer has no opposite
            signs.pop()
            self._at += 1
            node: Node = self._members(Literal(_number(f"-{token.text}")), depth)
        else:
            node = self._members(self._primary(depth), depth)
        for sign in reversed(signs):
            node = Call(None, f"{sign}_", (node,))
        return node

    def _members(self, node: Node, depth: int) -> Node:
        while sign := self._take(".", "["):
            optional = bool(self._take("?"))
            if sign == "[":
                node = Index(node, self.expression(depth + 1), optional)
                self._need("]")
                continue
            field = self._identifier()
            if not optional and self._take("("):
                node = Call(node, field, self._arguments(")", depth))
            else:
                node = Select(node, field, optional)
        return node

    def _identifier(self) -> str:
        token = self._peek()
        if token.sort != "name" or token.text in ("true", "false", "null", "in"):
            raise Malformed(f"Syntax error: column {token.at + 1}: expected a name, found {token.text!r}")
        self._at += 1
        return token.text

    def _arguments(self, end: str, depth: int) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._take(end):
            if found:
                self._need(",")
                if end == "]" and self._take(end):
                    break
            found.append(self.expression(depth + 1))
        return tuple(found)

    def _primary(self, depth: int) -> Node:
        token = self._peek()
        self._at += 1
        if token.sort in ("int", "float"):
            return Literal(_number(token.text))
        if token.sort == "text":
            return Literal(_text(token.text))
        if token.sort == "name":
            if token.text in ("true", "false", "null"):
                return Literal({"true": True, "false": False, "null": None}[token.text])
            if token.text in RESERVED or token.text == "in":
                raise Malformed(f"Syntax error: column {token.at + 1}: reserved identifier: {token.text}")
            if self._take("("):
                return Call(None, token.text, self._arguments(")", depth))
            return Name(token.text)
        if token.text == "(":
            node = self.expression(depth + 1)
            self._need(")")
            return node
        if token.text == "[":
            return self._list(depth)
        if token.text == "{":
            return self._map(depth)
        raise Malformed(f"Syntax error: column {token.at + 1}: mismatched input {token.text or '<EOF>'!r}")

    def _list(self, depth: int) -> Node:
        items: list[Node] = []
        optional = set()
        while not self._take("]"):
            if items:
                self._need(",")
                if self._take("]"):
                    break
            if self._take("?"):
                optional.add(len(items))
            items.append(self.expression(depth + 1))
        return List(tuple(items), frozenset(optional))

    def _map(self, depth: int) -> Node:
        pairs: list[tuple[Node, Node]] = []
        while not self._take("}"):
            if pairs:
                self._need(",")
                if self._take("}"):
                    break
            key = self.expression(depth + 1)
            self._need(":")
            pairs.append((key, self.expression(depth + 1)))
        return Map(tuple(pairs))


def _number(text: str) -> Any:
    if text[-1] in "uU":
        value = int(text[:-1], 0) if "x" in text.lower() else int(text[:-1])
        if not 0 <= value < 1 << 64:
            raise Malformed(f"invalid uint literal {text}")
        return Uint(value)
    if "x" in text.lower():
        number = int(text, 0)
    elif text.lstrip("-").isdigit():
        number = int(text)
    else:
        return float(text)
    if not -(1 << 63) <= number < 1 << 63:
        raise Malformed(f"invalid int literal {text}")
    return number


def _text(token: str) -> str | bytes:
    head = re.match("[rRbB]*", token)
    assert head is not None
    prefix, body = head[0].lower(), token[head.end() :]
    quote = 3 if body[:3] in ('"""', "'''") else 1
    inner = body[quote:-quote]
    text = inner if "r" in prefix else _unescaped(inner, codes="b" in prefix)
    return (
        text.encode("latin-1")
        if "b" in prefix and "r" not in prefix
        else text.encode()
        if "b" in prefix
        else text
    )


_ESCAPE = re.compile(
    r"\\(?:([abfnrtv])|([\\?\"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})"
    r"|([0-3][0-7]{2})|(.?))"
)


def _unescaped(text: str, *, codes: bool) -> str:
    """`codes`: characters of the result are bytes, so what is written plainly counts as its UTF-8."""

    def one(match: re.Match[str]) -> str:
        letter, plain, hexa, short, long, octal, unknown = match.groups()
        if letter:
            return _ESCAPES[letter]
        if plain:
            return plain
        if unknown is not None and not (hexa or short or long or octal):
            raise Malformed(f"Syntax error: unknown escape \\{unknown}")
        try:
            return chr(int(octal, 8) if octal else int(hexa or short or long, 16))
        except (ValueError, OverflowError):
            raise Malformed("Syntax error: no such character") from None

    if codes:
        text = text.encode().decode("latin-1")
    return _ESCAPE.sub(one, text)
