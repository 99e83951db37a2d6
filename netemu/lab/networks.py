"""How the pods of a lab are joined: `network` of a Lab document. Knows what cannot be; makes nothing."""

from dataclasses import dataclass, field
from typing import Any

from netemu.lab import documents, plugins
from netemu.podnet import backends

_FAMILIES = {"ipv4": 4, "ipv6": 6}
MAX_SEGMENTS = 16


@dataclass(frozen=True)
class Network:
    """`mtu` of pods, 0: what the way between nodes leaves. `families` (4, 6): the primary one first."""

    backend: str = backends.HOST_GW
    pods: str = backends.BRIDGED
    mtu: int = 0
    segments: int = 1
    families: tuple[int, ...] = (4, 6)
    direct_routing: bool = False
    cni: plugins.Cni = field(default_factory=plugins.Cni)

    @property
    def provided(self) -> bool:
        """Whether netemu itself connects pods, so that nodes become ready without anybody's doing."""
        return self.backend not in (backends.NONE, backends.FLANNEL)

    def document(self) -> dict[str, Any]:
        """What `parse` reads back to this."""
        ours = {} if self.backend == backends.NONE else {"pods": self.pods, "mtu": self.mtu or "auto"}
        return {
            "backend": self.backend,
            **ours,
            "segments": self.segments,
            "families": [f"ipv{family}" for family in self.families],
            "direct-routing": self.direct_routing,
            "cni": self.cni.document(),
        }


def parse(document: Any, where: documents.Where, *, nodes: int, link_mtu: int) -> Network:
    """Of a lab of `nodes` nodes whose links carry `link_mtu` bytes. Rejected with one line that says why."""
    if document is None:
        return Network()
    reader = documents.Reader(document, where, ("network",))
    reader.known("backend", "pods", "mtu", "segments", "families", "direct-routing", "cni")
    families = _families(document.get("families", ["ipv4", "ipv6"]), reader)
    backend = reader.choice("backend", backends.ALL)
    room = link_mtu - backends.overhead(backend, families)
    found = Network(
        backend=backend,
        pods=reader.choice("pods", backends.KINDS),
        mtu=_mtu(document.get("mtu", "auto"), reader, backend, room),
        segments=reader.number("segments", 1, 1, min(MAX_SEGMENTS, nodes)),
        families=families,
        direct_routing=reader.flag("direct-routing"),
        cni=plugins.parse(document.get("cni"), where),
    )
    if found.segments > 1 and backend == backends.HOST_GW:
        reader.refuse(
            ("backend",),
            f"backend host-gw cannot join {found.segments} segments: only a neighbour can be a gateway",
            hint="across a router use vxlan (direct-routing: true saves it between neighbours) or bgp",
        )
    if found.direct_routing and backend != backends.VXLAN:
        reader.refuse(("direct-routing",), f"direct-routing is for backend vxlan; this one is {backend}")
    if backend == backends.NONE:
        for key in ("pods", "mtu"):
            if key in document and document[key] != "auto":
                reader.refuse((key,), f"network.{key} is up to the network you bring: the backend is none")
    return found


def _families(value: Any, reader: documents.Reader) -> tuple[int, ...]:
    known = isinstance(value, list) and all(isinstance(each, str) and each in _FAMILIES for each in value)
    if not known or not value or len(set(value)) != len(value):
        reader.refuse(
            ("families",), f"network.families must list ipv4, ipv6 or both, the primary first; not {value!r}"
        )
    return tuple(_FAMILIES[each] for each in value)


def _mtu(value: Any, reader: documents.Reader, backend: str, most: int) -> int:
    if value == "auto":
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        reader.refuse(("mtu",), f"network.mtu must be auto or a number of bytes, not {value!r}")
    if not 1280 <= value <= most:  # RFC 8200, 5: no IPv6 link carries less
        text = f"network.mtu is {value}; possible is auto, or 1280 to {most}, which is what {backend} leaves"
        reader.refuse(("mtu",), text)
    return value
