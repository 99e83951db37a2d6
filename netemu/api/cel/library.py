"""The functions expressions may call: CEL's own, and those Kubernetes adds. Tables by name; all are pure.

A function gets its target (if it has one) before its arguments. Source: cel-spec langdef.md and
k8s.io/apiserver pkg/cel/library (lists, regex, urls, ip, cidr, quantity, format, sets).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netemu.api.cel import addresses, amounts, basics, texts, times
from netemu.api.cel.values import Type

CALLS: dict[str, Callable[..., Any]] = {  # without a target
    **basics.CALLS,
    **times.CALLS,
    **texts.CALLS,
    **addresses.CALLS,
    **amounts.CALLS,
}
MEMBERS: dict[str, Callable[..., Any]] = {  # with one
    **basics.MEMBERS,
    **times.MEMBERS,
    **texts.MEMBERS,
    **addresses.MEMBERS,
    **amounts.MEMBERS,
}
TYPES = {
    name.rpartition(".")[2].lower() if "." not in name else name: Type(name)
    for name in (
        *("bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"),
        *("google.protobuf.Duration", "google.protobuf.Timestamp"),
    )
}
SPACES = ("ip", "sets", "optional", "base64", "math", "format", "google", "google.protobuf")
