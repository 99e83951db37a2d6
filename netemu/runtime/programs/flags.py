"""Command lines as Go programs read them: --name=value, --name value, --switch; and Go's durations.

Standard library only, as everything in this package: it also runs by the system's own Python in a container.
"""

import re
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
TRUE, FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


class Duration(float):
    """Seconds; as a default it makes its flag a duration."""


def duration(text: str) -> Duration:
    """time.ParseDuration. ValueError in its words."""
    if text in ("0", "+0", "-0"):
        return Duration(0)
    if not _DURATION.fullmatch(text):
        raise ValueError(f'time: invalid duration "{text}"')
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return Duration(-total if text.startswith("-") else total)


def parse(
    argv: list[str], defaults: Mapping[str, Any], short: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The flags' values, each of its default's type (a list default collects), and the other arguments.

    Ends the program with status 1 when a flag is unknown or its value is none, as cobra does.
    """
    values = {name: list(v) if isinstance(v, list) else v for name, v in defaults.items()}
    rest: list[str] = []
    left = list(argv)
    while left:
        word = left.pop(0)
        if word == "--":
            rest += left
            break
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, given, text = word.lstrip("-").partition("=")
        name = (short or {}).get(name, name)
        if name not in values:
            fail(f"unknown flag: --{name}")
        if isinstance(defaults[name], bool) and not given:
            text = "true"
        elif not given:
            if not left:
                fail(f"flag needs an argument: --{name}")
            text = left.pop(0)
        try:
            found = _value(defaults[name], text)
        except ValueError as problem:
            fail(f'invalid argument "{text}" for "--{name}" flag: {problem}')
        if isinstance(defaults[name], list):
            values[name].append(found)
        else:
            values[name] = found
    return values, rest


def unpack(words: list[str], switches: str, taking: str) -> list[str]:
    """Bundled one-letter options one by one: -qO- as -q -O -, -T5 as -T 5."""
    found: list[str] = []
    for index, word in enumerate(words):
        if word == "--":
            return found + words[index:]
        if len(word) < 3 or word[0] != "-" or word[1] == "-" or word[1] not in switches + taking:
            found.append(word)
            continue
        letters = word[1:]
        while letters:
            found.append(f"-{letters[0]}")
            if letters[0] in taking:
                found += [letters[1:]] if letters[1:] else []
                break
            letters = letters[1:]
    return found


def _value(default: object, text: str) -> object:
    if isinstance(default, bool):
        if text not in TRUE + FALSE:
            raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
        return text in TRUE
    if isinstance(default, list):
        return text
    if isinstance(default, Duration):
        return duration(text)
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    return text


def fail(message: str) -> NoReturn:
    print(f"Error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(1)
