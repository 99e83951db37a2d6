"""What names may look like: DNS labels and subdomains, label keys and values, ports, environment variables.

Each function returns messages, none if the text is fine, in Kubernetes' own words, for clients compare them.
Source: k8s.io/apimachinery/pkg/util/validation.
"""

from __future__ import annotations

import functools
import re

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_KEY = "[-._a-zA-Z0-9]+"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"

Messages = tuple[str, ...]


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text, re.ASCII) is not None


def _wording(what: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{what} (e.g. {shown}regex used for validation is '{pattern}')"


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


@functools.lru_cache(maxsize=4096)
def label(text: str) -> Messages:
    """A DNS label (RFC 1123): containers, namespaces, services of newer releases."""
    found = []
    if len(text) > 63:
        found.append(_too_long(63))
    if not _matches(_LABEL, text):
        what = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
            "and must start and end with an alphanumeric character"
        )
        dotted = _matches(_SUBDOMAIN, text)
        found.append("must not contain dots" if dotted else _wording(what, _LABEL, "my-name", "123-abc"))
    return tuple(found)


@functools.lru_cache(maxsize=4096)
def subdomain(text: str) -> Messages:
    """A DNS subdomain (RFC 1123): most objects."""
    found = []
    if len(text) > 253:
        found.append(_too_long(253))
    if not _matches(_SUBDOMAIN, text):
        what = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character"
        )
        found.append(_wording(what, _SUBDOMAIN, "example.com"))
    return tuple(found)


def path_segment(text: str) -> Messages:
    """Whatever may stand between two slashes of a path: roles and their bindings."""
    if text in (".", ".."):
        return (f"may not be '{text}'",)
    return tuple(f"may not contain '{sign}'" for sign in "/%" if sign in text)


@functools.lru_cache(maxsize=1024)
def label_1035(text: str) -> Messages:
    """A DNS label that starts with a letter (RFC 1035): Services."""
    found = []
    if len(text) > 63:
        found.append(_too_long(63))
    if not _matches(_LABEL_1035, text):
        what = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
            "start with an alphabetic character, and end with an alphanumeric character"
        )
        found.append(_wording(what, _LABEL_1035, "my-name", "abc-123"))
    return tuple(found)


@functools.lru_cache(maxsize=4096)
def qualified(text: str) -> Messages:
    """A label key or a finalizer: "name" or "example.com/name"."""
    prefix, slash, name = text.rpartition("/")
    found = []
    if slash:
        if "/" in prefix:
            what = (
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', "
                "and must start and end with an alphanumeric character"
            )
            examples = ("MyName", "my.name", "123-abc")
            return (_wording(what, _QUALIFIED, *examples) + _PREFIXED,)
        if not prefix:
            found.append("prefix part must be non-empty")
        else:
            found += [f"prefix part {message}" for message in subdomain(prefix)]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append(f"name part {_too_long(63)}")
    if not _matches(_QUALIFIED, name):
        what = (
            "name part must consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
        found.append(_wording(what, _QUALIFIED, "MyName", "my.name", "123-abc"))
    return tuple(found)


_PREFIXED = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"


@functools.lru_cache(maxsize=4096)
def label_value(text: str) -> Messages:
    """What is wrong with the value of a label (apimachinery's IsValidLabelValue)."""

    found = []
    if len(text) > 63:
        found.append(_too_long(63))
    if not _matches(_VALUE, text):
        what = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
        found.append(_wording(what, _VALUE, "MyValue", "my_value", "12345"))
    return tuple(found)


def port(number: int) -> Messages:
    return () if 1 <= number <= 65535 else (between(1, 65535),)


def between(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def port_name(text: str) -> Messages:
    """An IANA service name (RFC 6335)."""
    found = []
    if len(text) > 15:
        found.append(_too_long(15))
    if not _matches("[-a-z0-9]+", text):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        found.append("must contain at least one letter (a-z)")
    if "--" in text:
        found.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return tuple(found)


def environment(text: str) -> Messages:
    """The name of an environment variable: printable ASCII but "="."""
    if not text:
        return ("environment variable name must be non-empty",)
    if all(" " <= letter <= "~" and letter != "=" for letter in text):
        return ()
    return (
        "a valid environment variable name must consist only of printable ASCII characters other than '='",
    )


def config_key(text: str) -> Messages:
    """A key of a ConfigMap or Secret, which may become a file."""
    found = []
    if len(text) > 253:
        found.append(_too_long(253))
    if not _matches(_KEY, text):
        what = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        found.append(_wording(what, _KEY, "key.name", "KEY_NAME", "key-name"))
    if text in (".", ".."):
        found.append(f"must not be '{text}'")
    elif text.startswith(".."):
        found.append("must not start with '..'")
    return tuple(found)


def header(text: str) -> Messages:
    what = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return () if _matches(_HEADER, text) else (_wording(what, _HEADER, "X-Header-Name"),)


def percent(text: str) -> Messages:
    what = "a valid percent string must be a numeric string followed by an ending '%'"
    return () if _matches(_PERCENT, text) else (_wording(what, _PERCENT, "1%", "93%"),)
