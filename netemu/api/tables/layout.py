"""What a table of one kind is: its columns, and the row of an object. And the cells many kinds share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from netemu.api import core, meta, selectors, times
from netemu.base import errors

Cell = str | int | bool

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"
SHOWN = 3  # how many endpoints of a list are shown


class Column(NamedTuple):
    """`wide`: only with -o wide."""

    name: str
    type: str = "string"
    wide: bool = False
    format: str = ""


class Table(NamedTuple):
    """`row` gets an object and the time (unix seconds) and returns a cell for each column."""

    columns: tuple[Column, ...]
    row: Callable[[Any, float], tuple[Cell, ...]]


NAME = Column("Name", format="name")
AGE = Column("Age")


def text(name: str) -> Column:
    return Column(name)


def number(name: str) -> Column:
    return Column(name, type="integer")


def wide(name: str) -> Column:
    return Column(name, wide=True)


def age(about: meta.ObjectMeta, now: float) -> str:
    return times.age(about.creationTimestamp, now)


def labels(found: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(found.items())) or NONE


def selector(found: meta.LabelSelector | None) -> str:
    try:
        return str(selectors.of(found)) or NONE
    except errors.Rejected:
        return "<error>"


def containers(template: core.PodTemplateSpec) -> tuple[str, str]:
    """Names and images."""
    found = template.spec.containers
    return ",".join(c.name for c in found), ",".join(c.image for c in found)


def first_few(items: Iterable[str], nothing: str) -> str:
    found = list(items)
    more = len(found) - SHOWN
    shown = ",".join(found[:SHOWN])
    return (f"{shown} + {more} more..." if more > 0 else shown) or nothing


def host_port(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
