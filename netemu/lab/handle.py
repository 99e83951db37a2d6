"""A lab that is up, seen from the host: where its files, namespaces and processes are reached.

Knows paths through /proc of the lab's first process; starts and stops nothing.
"""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from netemu.base import errors
from netemu.kernel import netns, process
from netemu.lab import config, control, layout, records


class Entry(NamedTuple):
    """Something in the state directory. `state`: "up", or "remains" when its first process is gone."""

    name: str
    state: str


def labs() -> tuple[Entry, ...]:
    """All labs and remains of labs on this machine, by name."""
    return tuple(
        Entry(name, "up" if records.living(records.of(name)) else "remains")
        for name in records.names()
        if config.is_name(name)
    )


def open(name: str = "default") -> "Handle":
    """Rejected when no lab of that name is up."""
    record = records.living(records.of(name))
    if record is None:
        flag = "" if name == "default" else f" --name {name}"
        raise errors.Rejected(f"lab '{name}' is not up", hint=f"netemu up{flag}")
    return Handle(records.of(name), record)


@dataclass(frozen=True)
class Handle:
    """Paths are valid on the host while the lab's first process lives (and say so by ENOENT when not)."""

    place: layout.Layout
    record: records.Record

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def directory(self) -> Path:
        return Path(self.place.directory)

    @property
    def config(self) -> config.LabConfig:
        return self.record.config

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.config.nodes)

    @property
    def places(self) -> tuple[str, ...]:
        """Nodes, and `outside` and `fabric`."""
        return (*self.nodes, layout.OUTSIDE, layout.FABRIC)

    @property
    def kubeconfig(self) -> Path:
        return Path(self.place.kubeconfig)

    def addresses(self, place: str) -> tuple[str, ...]:
        """The addresses of a place's eth0, primary family first; of the fabric, its router on segment 0."""
        lab = self.config
        found = {node.name: node.interfaces for node in lab.nodes}
        found |= {layout.OUTSIDE: lab.outside_client, layout.FABRIC: lab.segments[0].router}
        return tuple(str(interface.ip) for interface in found[self._known(place)])

    def netns(self, place: str) -> Path:
        """The network namespace file of a place."""
        return self._inside(self.place.namespace(self._known(place), "net"))

    def pid_path(self, pid: int, path: str) -> Path:
        """/proc/PID/`path` of a process of the lab, by its pid inside the lab."""
        return self._inside(f"/proc/{pid}/{path}")

    def node_path(self, node: str, path: str) -> Path:
        """A file of a node: below its own /run, or as it shows through in /etc, /opt and /var."""
        if node not in self.nodes:
            raise errors.Rejected(f"lab '{self.name}' has no node '{node}'", hint=", ".join(self.nodes))
        parts = PurePosixPath(path).parts[1:]
        own = self._inside(self.place.node(node, *parts))
        if parts[0] == "run" or (parts[0] in ("etc", "opt", "var") and os.path.lexists(own)):
            return own
        return self._inside(path)

    def join(self, place: str) -> None:
        """Move this process into a place. The caller has forked, and forks again for the pid namespace."""
        wanted: dict[str, netns.Place] = {
            kind: path
            for kind in ("net", "uts", "mnt")
            if (path := self._inside(self.place.namespace(self._known(place), kind))).exists()
        }
        wanted.setdefault("mnt", f"/proc/{self.record.supervisor.pid}/ns/mnt")
        process.enter({**wanted, "pid": f"/proc/{self.record.supervisor.pid}/ns/pid"})
        os.chdir("/")

    def status(self) -> dict[str, Any]:
        """What the supervisor says: state, api_port, up_for (seconds) and a row for each component."""
        return control.ask(str(self.place.directory / "control.sock"), {"op": "status"})

    def restart(self, component: str) -> None:
        """Kill a component; the supervisor starts it again. Rejected when there is none of that name."""
        control.ask(str(self.place.directory / "control.sock"), {"op": "restart", "component": component})

    def _known(self, place: str) -> str:
        if place not in self.places:
            raise errors.Rejected(f"lab '{self.name}' has no place '{place}'", hint=", ".join(self.places))
        return place

    def _inside(self, path: str) -> Path:
        return Path(f"/proc/{self.record.supervisor.pid}/root{path}")
