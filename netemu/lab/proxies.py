"""How the nodes of a lab serve Services: the `proxy` of a Lab document. Knows its fields; no proxy."""

from dataclasses import dataclass
from typing import Any

from netemu.lab import documents

MODES = ("nftables", "iptables")


@dataclass(frozen=True)
class Proxy:
    """As kube-proxy's --proxy-mode and --masquerade-all."""

    mode: str = MODES[0]
    masquerade_all: bool = False

    def document(self) -> dict[str, Any]:
        """What `parse` reads back to this."""
        return {"mode": self.mode, "masquerade-all": self.masquerade_all}


def parse(document: Any, where: documents.Where) -> Proxy:
    """Rejected with one line that says why."""
    if document is None:
        return Proxy()
    reader = documents.Reader(document, where, ("proxy",))
    reader.known("mode", "masquerade-all")
    return Proxy(reader.choice("mode", MODES), reader.flag("masquerade-all"))
