"""The question: one connection, from whom to what. A value only."""

from typing import NamedTuple

from netemu.model import worlds


class Flow(NamedTuple):
    """One connection: who, to which address or name, port, protocol and family.

    `protocol` is TCP, UDP, SCTP or ICMP (an echo request; its port is 0), `family` 4 or 6.
    """

    source: worlds.Party
    host: str
    port: int
    protocol: str = "TCP"
    family: int = 4
