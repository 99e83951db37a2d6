"""Functions for texts: parts of them, patterns as Go has them, and the named formats of Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from netemu.api import formats, names, re2
from netemu.api.cel import values
from netemu.api.cel.values import Failed, Format, Optional

_MOST = 1 << 20  # characters of a text that is made


def _contains(text: Any, part: Any) -> bool:
    values.texts("contains", text, part)
    return part in text


def _starts(text: Any, part: Any) -> bool:
    values.texts("startsWith", text, part)
    return bool(text.startswith(part))


def _ends(text: Any, part: Any) -> bool:
    values.texts("endsWith", text, part)
    return bool(text.endswith(part))


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re2.compiled(text)
    except re.error as error:
        raise Failed(f"error parsing regexp: {error}") from None


def _matches(text: Any, pattern: Any) -> bool:
    values.texts("matches", text, pattern)
    return _pattern(pattern).search(text) is not None


def _find(text: Any, pattern: Any) -> str:
    values.texts("find", text, pattern)
    found = _pattern(pattern).search(text)
    return found[0] if found else ""


def _find_all(text: Any, pattern: Any, most: Any = -1) -> list[str]:
    values.texts("findAll", text, pattern)
    found = [one[0] for one in _pattern(pattern).finditer(text)]
    return found if most < 0 else found[:most]


def _index(value: Any, what: Any, start: Any = 0) -> int:
    if isinstance(value, list):
        return next((n for n, one in enumerate(value) if values.equal(one, what)), -1)
    values.texts("indexOf", value, what)
    return int(value.find(what, start))


def _last_index(value: Any, what: Any) -> int:
    if isinstance(value, list):
        return max((n for n, one in enumerate(value) if values.equal(one, what)), default=-1)
    values.texts("lastIndexOf", value, what)
    return int(value.rfind(what))


def _char_at(text: Any, at: Any) -> str:
    values.texts("charAt", text)
    if not 0 <= at <= len(text):
        raise Failed(f"index out of range: {at}")
    return str(text[at : at + 1])


def _substring(text: Any, begin: Any, end: Any = None) -> str:
    values.texts("substring", text)
    end = len(text) if end is None else end
    if not 0 <= begin <= end <= len(text):
        raise Failed("index out of range")
    return str(text[begin:end])


def _replace(text: Any, old: Any, new: Any, most: Any = -1) -> str:
    values.texts("replace", text, old, new)
    if len(text) * (len(new) + 1) > _MOST:
        raise Failed("text too long")
    return str(text.replace(old, new, most))


def _split(text: Any, by: Any, most: Any = -1) -> list[str]:
    values.texts("split", text, by)
    if most == 0:
        return []
    if not by:
        return list(text) if most < 0 else [*text[: most - 1], text[most - 1 :]]
    return list(text.split(by, most - 1 if most > 0 else -1))


def _join(parts: Any, by: Any = "") -> str:
    values.need("join", parts, list)
    values.texts("join", by, *parts)
    return str(by.join(parts))


def _plain(name: str, change: Callable[[str], str]) -> Callable[[Any], str]:
    def apply(text: Any) -> str:
        values.texts(name, text)
        return change(text)

    return apply


def _ascii(text: str, change: Callable[[str], str]) -> str:
    return "".join(change(one) if one.isascii() else one for one in text)


def _in_format(format_: Any, text: Any) -> Optional:
    values.need("validate", format_, Format)
    values.texts("validate", text)
    wrong = list(format_.problems(text))
    return Optional(True, wrong) if wrong else values.NONE


def _checked(name: str) -> Callable[[], Format]:
    return lambda: Format(lambda text: () if formats.CHECKS[name](text) else (f"invalid {name}",))


def _named(rule: Callable[[str], Iterable[str]], *, prefix: bool = False) -> Callable[[], Format]:
    """`prefix`: what a name may begin with, so that it may end in a dash."""
    return lambda: Format(lambda text: rule(f"{text[:-1]}a" if prefix and text.endswith("-") else text))


CALLS: dict[str, Callable[..., Any]] = {
    "matches": _matches,
    "format.dns1123Label": _named(names.label),
    "format.dns1123LabelPrefix": _named(names.label, prefix=True),
    "format.dns1123Subdomain": _named(names.subdomain),
    "format.dns1123SubdomainPrefix": _named(names.subdomain, prefix=True),
    "format.dns1035Label": _named(names.label_1035),
    "format.dns1035LabelPrefix": _named(names.label_1035, prefix=True),
    "format.qualifiedName": _named(names.qualified),
    "format.labelValue": _named(names.label_value),
    "format.uri": _checked("uri"),
    "format.uuid": _checked("uuid"),
    "format.byte": _checked("byte"),
    "format.date": _checked("date"),
    "format.datetime": _checked("datetime"),
}
MEMBERS: dict[str, Callable[..., Any]] = {
    "contains": _contains,
    "startsWith": _starts,
    "endsWith": _ends,
    "matches": _matches,
    "find": _find,
    "findAll": _find_all,
    "indexOf": _index,
    "lastIndexOf": _last_index,
    "charAt": _char_at,
    "substring": _substring,
    "replace": _replace,
    "split": _split,
    "join": _join,
    "lowerAscii": _plain("lowerAscii", lambda text: _ascii(text, str.lower)),
    "upperAscii": _plain("upperAscii", lambda text: _ascii(text, str.upper)),
    "trim": _plain("trim", str.strip),
    "reverse": _plain("reverse", lambda text: text[::-1]),
    "validate": _in_format,
}
