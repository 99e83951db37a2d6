"""ping as busybox prints it, for hosts without one: ICMP sockets, which pods may open without rights."""

import os
import socket
import struct
import sys
import time

from netemu.runtime.programs import flags, sockets

SHORT = {
    "c": "count",
    "W": "patience",
    "i": "interval",
    "q": "quiet",
    "s": "size",
    "w": "deadline",
    "4": "four",
    "6": "six",
    "I": "source",
    "n": "numeric",
}
FLAGS = {
    "count": 0,
    "patience": "10",
    "interval": "1",
    "quiet": False,
    "size": 56,
    "deadline": "0",
    "four": False,
    "six": False,
    "source": "",
    "numeric": False,
}


_RECVTTL = 12  # linux/in.h; `socket` has it from Python 3.14 on


def main(argv: list[str]) -> int:
    """0 when anything came back, 1 otherwise."""
    values, rest = flags.parse(flags.unpack(argv[1:], "q46n", "cWiswI"), FLAGS, SHORT)
    if len(rest) != 1:
        flags.fail("ping: usage: ping [-c COUNT] [-W SECONDS] HOST")
    wanted = socket.AF_INET if values["four"] else socket.AF_INET6 if values["six"] else None
    try:
        found = [pair for pair in sockets.resolve(rest[0], 0, socket.SOCK_DGRAM) if wanted in (None, pair[0])]
    except OSError:
        found = []
    if not found:
        print(f"ping: bad address '{rest[0]}'", file=sys.stderr)
        return 1
    family, (address, _) = found[0]
    try:
        sock = socket.socket(
            family,
            socket.SOCK_DGRAM,
            socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP,
        )
        if values["source"]:
            sock.bind((values["source"], 0))
        sock.connect((address, 0))
    except OSError as problem:
        print(f"ping: {problem.strerror}", file=sys.stderr)
        return 1
    print(f"PING {rest[0]} ({address}): {values['size']} data bytes", flush=True)
    times, sent = _exchange(sock, address, values)
    lost = 100 * (sent - len(times)) // max(sent, 1)
    print(f"\n--- {rest[0]} ping statistics ---")
    print(f"{sent} packets transmitted, {len(times)} packets received, {lost}% packet loss")
    if times:
        print(f"round-trip min/avg/max = {min(times):.3f}/{sum(times) / len(times):.3f}/{max(times):.3f} ms")
    return 0 if times else 1


def _exchange(sock: socket.socket, address: str, values: dict[str, object]) -> tuple[list[float], int]:
    """The round-trip times in ms, and how many were sent."""
    six = sock.family == socket.AF_INET6
    wanted = (socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT) if six else (socket.IPPROTO_IP, _RECVTTL)
    sock.setsockopt(*wanted, 1)
    count, interval, patience = (
        int(str(values["count"])),
        float(str(values["interval"])),
        float(str(values["patience"])),
    )
    ends = float(str(values["deadline"])) or float("inf")
    times: list[float] = []
    began, sent = time.monotonic(), 0
    try:
        while (not count or sent < count) and time.monotonic() - began < ends:
            at = time.monotonic()
            sock.send(
                struct.pack(">BBHHH", 128 if six else 8, 0, 0, 0, sent) + bytes(int(str(values["size"])))
            )
            sent += 1
            answer = _answer(sock, sent - 1, at + patience)
            if answer:
                times.append((time.monotonic() - at) * 1000)
                size, hops = answer
                if not values["quiet"]:
                    print(
                        f"{size} bytes from {address}: seq={sent - 1} ttl={hops} time={times[-1]:.3f} ms",
                        flush=True,
                    )
            if not count or sent < count:
                time.sleep(max(0.0, at + interval - time.monotonic()))
    except KeyboardInterrupt:
        pass
    except OSError as problem:
        print(f"ping: sendto: {os.strerror(problem.errno or 0)}", file=sys.stderr)
    return times, sent


def _answer(sock: socket.socket, sequence: int, until: float) -> tuple[int, int] | None:
    while True:
        sock.settimeout(max(0.001, until - time.monotonic()))
        try:
            data, ancillary, _, _ = sock.recvmsg(65535, 64)
        except TimeoutError:
            return None
        if len(data) >= 8 and struct.unpack_from(">H", data, 6)[0] == sequence & 0xFFFF:
            hops = next((struct.unpack_from("i", content)[0] for _, _, content in ancillary), 0)
            return len(data), hops
