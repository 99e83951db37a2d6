"""The kernel's rationing of ICMP errors: six at once to one address, then one a second; and who is spared it.

A refusal that is not sent looks like a drop. Who refuses is the host that was asked, a node on the way (its
Service rules, its routes), or a router.
"""

import contextlib
import os
from collections.abc import Iterable

from netemu.kernel import netns

# icmp(7): which types are rationed, as a mask of bits, and as a list of ranges.
_WANTED = (("/proc/sys/net/ipv4/icmp_ratemask", "0"), ("/proc/sys/net/ipv6/icmp/ratemask", "255"))


def lift(places: Iterable[netns.Place]) -> None:
    """In every network namespace but the caller's own; it stays so, for other rounds may be under way.

    Moves the calling thread. A namespace that is gone is passed over: it says so when it is asked from.
    """
    own = netns.identity("/proc/thread-self/ns/net")
    for place in places:
        with contextlib.suppress(OSError):
            if _identity(place) == own:
                continue
            with netns.inside(place):
                for path, wanted in _WANTED:
                    _write(path, wanted)


def _identity(place: netns.Place) -> tuple[int, int]:
    if isinstance(place, int):
        found = os.fstat(place)
        return found.st_dev, found.st_ino
    return netns.identity(place)


def _write(path: str, wanted: str) -> None:
    try:
        with open(path, "r+", encoding="ascii") as file:
            if file.read().strip() != wanted:
                file.seek(0)
                file.write(wanted)
    except FileNotFoundError:
        return  # a kernel without IPv6, or older than this setting
