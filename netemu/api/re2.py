r"""Go's regular expressions (RE2) as Python's: schemas and rules are written for the former.

What differs is rewritten: flags in the middle, `\z`, `$` at a last newline, [[:alpha:]], `\Q..\E`, (?<name>).
Unicode classes (`\pL`) are refused. Source: github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

import functools
import re

_FLAGS = re.compile(r"\(\?([imsU]*)(-[imsU]+)?([:)])")
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_CLASS = re.compile(r"\[:(\^?)(\w+):\]")


@functools.lru_cache(maxsize=2048)
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern, ready to `search`. re.error when it is none, or one we do not know."""
    try:
        return re.compile(_translated(pattern), re.ASCII)
    except (RecursionError, OverflowError) as error:
        raise re.error(str(error) or "too complex") from None


def _translated(pattern: str) -> str:
    out: list[str] = []
    opened: list[list[str]] = [[]]  # for each group: the flags that were set in its middle
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        if sign == "\\":
            text, at = _escape(pattern, at)
            out.append(text)
            continue
        if sign == "[":
            text, at = _bracket(pattern, at)
            out.append(text)
            continue
        flags = _FLAGS.match(pattern, at) if sign == "(" else None
        if flags is not None:
            at = flags.end()
            head = _head(flags)
            if flags[3] == ":":
                opened.append([])
            else:
                opened[-1].append(head)
            out.append(head)
            continue
        if sign == "(":
            opened.append([])
            if pattern.startswith("(?<", at) and pattern[at + 3 : at + 4] not in ("=", "!"):
                out.append("(?P<")
                at += 3
                continue
        elif sign == ")":
            out.append(")" * len(opened.pop() if len(opened) > 1 else ()))
        elif sign == "|" and opened[-1]:  # flags go on in the next alternative
            out.append(")" * len(opened[-1]) + "|" + "".join(opened[-1]))
            at += 1
            continue
        out.append(r"\Z" if sign == "$" and "m" not in "".join(map("".join, opened)) else sign)
        at += 1
    return "".join(out) + ")" * len(opened[0])


def _head(flags: re.Match[str]) -> str:
    if "U" in flags[0]:
        raise re.error("flag U is not known")
    return f"(?{flags[1] or ''}{flags[2] or ''}:"


def _escape(pattern: str, at: int) -> tuple[str, int]:
    pair = pattern[at : at + 2]
    if pair == "\\z":
        return r"\Z", at + 2
    if pair == "\\Q":
        end = pattern.find("\\E", at)
        end = len(pattern) if end < 0 else end
        return re.escape(pattern[at + 2 : end]), end + 2
    if pair in ("\\p", "\\P", "\\C"):
        raise re.error(f"{pair} is not known")
    wide = re.match(r"\\x\{([0-9a-fA-F]{1,6})\}", pattern[at:])
    if wide:
        code = int(wide[1], 16)
        if code > 0x10FFFF:
            raise re.error("no such character")
        return re.escape(chr(code)), at + wide.end()
    return pair, at + 2


def _bracket(pattern: str, at: int) -> tuple[str, int]:
    """A class of characters; in RE2 a [ inside is no more than itself."""
    out = ["["]
    at += 1
    if pattern[at : at + 1] == "^":
        out.append("^")
        at += 1
    first = True
    while at < len(pattern) and (first or pattern[at] != "]"):
        named = _CLASS.match(pattern, at)
        if named is not None:
            if named[1] or named[2] not in _CLASSES:
                raise re.error(f"invalid character class range: {named[0]}")
            out.append(_CLASSES[named[2]])
            at = named.end()
        elif pattern[at] == "\\":
            text, at = _escape(pattern, at)
            out.append(text)
        else:
            out.append("\\" + pattern[at] if pattern[at] in "[]&~|" else pattern[at])
            at += 1
        first = False
    if at >= len(pattern):
        raise re.error("missing closing ]")
    return "".join((*out, "]")), at + 1
