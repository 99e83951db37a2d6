"""What was attached how: one file for each attachment, laid out as libcni lays it out.

    <directory>/results/<network>-<container id>-<interface>   mode 0600
A file is written whole or not at all and survives whoever wrote it; one that cannot be read is passed over.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from netemu.wire import cni, conflists, documents

_KIND = "cniCacheV1"


class Attachment(NamedTuple):
    """One interface of one container. `netns` is a path, `arguments` are those of CNI_ARGS.

    `capabilities`: what the runtime offers to plugins that declare it, by capability.
    """

    container_id: str
    netns: str
    ifname: str = "eth0"
    arguments: tuple[tuple[str, str], ...] = ()
    capabilities: Mapping[str, Any] = {}

    def parameters(self) -> dict[str, str]:
        """The CNI_* variables."""
        return {
            "CNI_CONTAINERID": self.container_id,
            "CNI_NETNS": self.netns,
            "CNI_IFNAME": self.ifname,
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in self.arguments),
        }


class Entry(NamedTuple):
    """What ADD was asked for, and the last plugin's result."""

    network: conflists.ConfigList
    attachment: Attachment
    result: dict[str, Any]


class Results:
    """OSError where the disk refuses."""

    def __init__(self, directory: str) -> None:
        self._directory = os.path.join(directory, "results")

    def save(self, entry: Entry) -> None:
        """In place of an old one of the same attachment."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        network, about = entry.network, entry.attachment
        document = {
            "kind": _KIND,
            "containerId": about.container_id,
            "config": base64.b64encode(network.text).decode(),
            "ifName": about.ifname,
            "networkName": network.name,
            "netns": about.netns,
            "cniArgs": [list(pair) for pair in about.arguments],
            "capabilityArgs": dict(about.capabilities),
            "result": entry.result,
        }
        path = self._path(network.name, about)
        draft = os.path.join(self._directory, f".{os.path.basename(path)}.{os.getpid()}")
        try:
            with open(_private(draft), "wb") as file:
                file.write(documents.dump(document).encode())
            os.replace(draft, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise

    def load(self, network: str, about: Attachment) -> Entry | None:
        """The entry of one attachment to a network of that name."""
        return _read(self._path(network, about))

    def of(self, container_id: str) -> list[Entry]:
        """All of a container, in the order of their interfaces' names."""
        found = self._entries(f"-{container_id}-")
        mine = [entry for entry in found if entry.attachment.container_id == container_id]
        return sorted(mine, key=lambda entry: (len(entry.attachment.ifname), entry.attachment.ifname))

    def all(self) -> list[Entry]:
        return list(self._entries(""))

    def begun(self) -> bool:
        """Whether anything was ever kept here."""
        return os.path.isdir(self._directory)

    def remove(self, network: str, about: Attachment) -> None:
        """Fine when there is none."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(network, about))

    def _entries(self, part: str) -> Iterator[Entry]:
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self._directory)):
                if part in name and not name.startswith("."):
                    entry = _read(os.path.join(self._directory, name))
                    if entry is not None:
                        yield entry

    def _path(self, network: str, about: Attachment) -> str:
        return os.path.join(self._directory, f"{network}-{about.container_id}-{about.ifname}")


def _private(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def _read(path: str) -> Entry | None:
    try:
        with open(path, "rb") as file:
            document = documents.load(file.read())
        if document["kind"] != _KIND:
            return None
        attachment = Attachment(
            document["containerId"],
            document.get("netns") or "",
            document["ifName"],
            tuple((key, value) for key, value in document.get("cniArgs") or ()),
            document.get("capabilityArgs") or {},
        )
        network = conflists.parse(base64.b64decode(document["config"]))
        result = document.get("result") or {}
        if result.get("cniVersion") in network.versions:
            network = network._replace(version=result["cniVersion"])  # the one ADD was called in
        return Entry(network, attachment, result)
    except (OSError, ValueError, KeyError, TypeError, cni.Failure):
        return None
