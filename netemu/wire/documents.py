"""JSON text for programs that live twenty milliseconds: the scanner and string encoder json itself uses.

Importing json means importing re, seven milliseconds, for two patterns its C scanner does not need.
Same results as json.loads and json.dumps for what JSON has; ValueError for what is not JSON.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    from _json import encode_basestring_ascii as _quote
    from _json import make_scanner

    _make_scanner: "Any" = make_scanner
except ImportError:  # another Python than CPython
    from json.encoder import py_encode_basestring_ascii as _quote

    _make_scanner = None

_SPACE = " \t\n\r"


def _refuse(constant: str) -> "Any":
    raise ValueError(f"{constant} is not JSON")


class _Rules:
    """What the scanner wants to know (json.decoder.JSONDecoder's attributes)."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse)
    memo: "dict[str, str]" = {}


def load(text: bytes | str) -> "Any":
    """The value in a JSON text. ValueError says where it stops being one."""
    if isinstance(text, bytes):
        text = text.decode()
    if _make_scanner is None:
        import json

        return json.loads(text)
    start = _skip(text, 0)
    try:
        value, end = _make_scanner(_Rules)(text, start)
    except StopIteration as stop:
        raise ValueError(f"no value at character {stop.value}") from None
    except SystemError:  # the scanner has an error of json's to raise, and cannot without json
        import json

        return json.loads(text)
    if _skip(text, end) != len(text):
        raise ValueError(f"more after the value, from character {end}")
    return value


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def dump(value: "Any") -> str:
    """JSON text of dicts, lists, tuples, strings, whole numbers, floats, booleans and None."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quote(key)}:{dump(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dump, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no JSON")
