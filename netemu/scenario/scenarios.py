"""The scenario file: what to build, what to wait for, what must hold. docs/scenarios.md is its manual.

Knows the format; a place or an object named here may turn out not to exist.
"""

import pathlib
from typing import NamedTuple

from netemu.base import errors, yamls
from netemu.lab import config
from netemu.scenario import documents, fields, places

FAMILIES = {"IPv4": 4, "IPv6": 6}
STOPPED = "stopped"  # any outcome but ok
EXPECTATIONS = ("ok", "refused", "dropped", "unreachable", "no-such-name", STOPPED)
SOURCES = ("any", "unchanged", "node")
VIAS = ("address", "name", "node-port")
WHERES = ("same-pod", "same-node", "other-node")


class Check(NamedTuple):
    """One expectation about many flows: every sender × target × protocol × family.

    An empty `expect` leaves it to the model. `within` is seconds, `defined` is file:line.
    """

    name: str
    senders: tuple[places.Place, ...]
    targets: tuple[places.Place, ...]
    port: int | None
    protocols: tuple[str, ...]
    families: tuple[int, ...]
    via: tuple[str, ...]
    where: tuple[str, ...]
    expect: str
    source: str
    spread: bool
    identify: bool
    within: float
    defined: str


class Listener(NamedTuple):
    """A server of the probe's own, where no pod is: `at` is outside or a node."""

    at: places.Place
    port: int


class Scenario(NamedTuple):
    """A whole scenario. Paths are absolute or relative to the working directory; times are seconds."""

    name: str
    about: str
    file: str
    lab: config.LabConfig
    manifests: tuple[str, ...]
    listeners: tuple[Listener, ...]
    ready_within: float
    checks: tuple[Check, ...]


def load(path: str) -> Scenario:
    """Read a scenario from its directory or file. Rejected with file and line when something is wrong."""
    place = pathlib.Path(path)
    file = place / "scenario.yaml" if place.is_dir() else place
    if not file.exists():
        hint = "a scenario is a directory with a scenario.yaml, such as scenarios/01-quickstart/"
        raise errors.Rejected(f"{file}: no such file", hint=hint)
    found = documents.read(str(file))
    if len(found) != 1:
        raise errors.Rejected(f"{file}: one YAML document is a scenario, this file has {len(found)}")
    return read(found[0], file.parent)


def read(document: yamls.Document, directory: pathlib.Path) -> Scenario:
    """Read a scenario from a document; manifests are looked for in `directory`."""
    top = fields.of(document, (), document.value)
    top.known({"name", "about", "lab", "manifests", "serve", "ready-within", "within", "checks"})
    within = top.seconds("within", 5.0)
    checks = tuple(_check(item, within) for item in top.each("checks"))
    if not checks:
        raise document.rejected(("checks",), "a scenario needs at least one check")
    return Scenario(
        name=top.text("name", directory.resolve().name),
        about=top.text("about", "").strip(),
        file=document.file,
        lab=_lab(top, directory),
        manifests=tuple(str(directory / name) for name in top.several("manifests", str, ("manifests",))),
        listeners=tuple(_listener(item) for item in top.each("serve")),
        ready_within=top.seconds("ready-within", 60.0),
        checks=checks,
    )


def _lab(top: fields.Fields, directory: pathlib.Path) -> config.LabConfig:
    """A Lab document, here or in a file of its own; its name does not count."""
    if isinstance(top.value.get("lab"), str):
        return config.load(directory / top.value["lab"])
    return config.parse(top.inner("lab").value, lambda path: f"{top.document.where(('lab', *path))}: ")


def _listener(item: fields.Fields) -> Listener:
    item.known({"at", "port"})
    (at,) = item.several("at", places.parse)
    if at.kind not in ("outside", "node"):
        raise item.wrong("at", "must be outside or a node")
    return Listener(at, _port(item) or 8080)


def _check(item: fields.Fields, within: float) -> Check:
    item.known(
        {"name", "from", "to", "port", "protocol", "family", "via", "where", "expect", "source", "spread"}
        | {"connect-only", "within"}
    )
    senders = item.several("from", places.parse)
    for sender in senders:
        if sender.kind not in places.SENDERS:
            raise item.wrong(
                "from", f"cannot be '{sender}': packets come from {', '.join(sorted(places.SENDERS))}"
            )
    targets = item.several("to", places.parse)
    port = _port(item)
    if port is None and any(target.kind not in ("service", "pods", "pod") for target in targets):
        raise item.wrong("port", "is missing: only pods and services name their own ports")
    protocols = item.several("protocol", fields.choice("TCP", "UDP", "SCTP"), ("TCP",))
    via = item.several("via", fields.choice(*VIAS), ("address",))
    if "SCTP" in protocols and ("name" in via or any(target.kind == "name" for target in targets)):
        raise item.wrong("protocol", "SCTP is asked by address, not by name")
    families = item.several("family", fields.choice(*FAMILIES), tuple(FAMILIES))
    (expect,) = item.several("expect", fields.choice(*EXPECTATIONS), ("ok",))
    (source,) = item.several("source", fields.choice(*SOURCES), ("any",))
    return Check(
        name=item.text("name"),
        senders=senders,
        targets=targets,
        port=port,
        protocols=protocols,
        families=tuple(FAMILIES[family] for family in families),
        via=via,
        where=item.several("where", fields.choice(*WHERES), ()),
        expect=expect,
        source=source,
        spread=item.flag("spread"),
        identify=not item.flag("connect-only"),
        within=item.seconds("within", within),
        defined=item.document.where(item.path),
    )


def _port(item: fields.Fields) -> int | None:
    if "port" not in item.value:
        return None
    return int(item.number("port", low=1, high=65535))
