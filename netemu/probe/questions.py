"""What a probe asks and what it learnt. Values only: no socket, no namespace, no clock in here."""

from enum import StrEnum
from typing import Literal, NamedTuple

Family = Literal[4, 6]
Protocol = Literal["TCP", "UDP", "SCTP", "ICMP"]


class Outcome(StrEnum):
    """What became of one question, as its sender could tell."""

    OK = "ok"
    REFUSED = "refused"  # RST, or ICMP port unreachable
    TIMEOUT = "timeout"  # nothing came back before the deadline
    UNREACHABLE = "unreachable"  # no route, or ICMP host/net unreachable
    DNS_FAILURE = "dns-failure"  # the name has no address of this family, or no server answered
    NO_SOURCE = "no-source"  # the namespace to ask from is gone


class Source(NamedTuple):
    """A place to ask from: its network namespace (path or descriptor), its resolv.conf and hosts as texts."""

    name: str
    netns: str | int
    resolv_conf: str = ""
    hosts: str = ""


class Question(NamedTuple):
    """One connection to try. `host` is an IP literal or a DNS name, resolved the way the source would.

    With `identify`, the server is asked in agnhost netexec's language (HTTP GET /clientip and /hostname;
    UDP commands clientip and hostname) who it is and whom it saw; without, a TCP connection is enough.
    SCTP and ICMP are asked in rounds only: an INIT, and an echo request (which has no port).
    """

    source: Source
    host: str
    port: int
    protocol: Protocol = "TCP"
    family: Family = 4
    identify: bool = True


class Answer(NamedTuple):
    """What one question learnt.

    `endpoint` is the host name the server gave, `seen` the client address the server saw, `local` the address
    the client really had, `address` the address connected to, `name` the full name that resolved to it.
    Times are seconds.
    """

    outcome: Outcome
    endpoint: str = ""
    seen: str = ""
    local: str = ""
    address: str = ""
    name: str = ""
    resolve_s: float = 0.0
    total_s: float = 0.0
    detail: str = ""

    @property
    def translated(self) -> bool:
        """Whether the source address was changed on the way (NAT)."""
        return bool(self.seen and self.local and self.seen != self.local)
