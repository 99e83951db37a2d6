"""The ways of a packet in docs/networking.md are drawn from captures: these ones, taken anew and compared.

NETEMU_REGENERATE=1 writes them into the page; read the difference before it is committed.
"""

import contextlib
import os
import re
import shutil
import socket
from pathlib import Path

import pytest

from netemu.kernel import netns
from netemu.lab import config, layout
from netemu.podnet import backends, sysctls

PAGE = Path(__file__).parents[2] / "docs" / "networking.md"
LAB = config.default("ways", 3)
SEGMENTS = config.parse({"nodes": 3, "network": {"backend": "bgp", "segments": 2}})
_, HERE, THERE = (node.name for node in LAB.nodes)
MARK = b"the packet that is followed"
SERVICE = "10.96.0.80"
OUTGOING = 4  # linux/if_packet.h
BIRD = shutil.which("bird", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")
@pytest.mark.parametrize("pods", backends.KINDS)
def test_the_ways_of_a_packet(world_of, pods):
    world = world_of(LAB, pods)
    world.connect(HERE, 2)
    compare(f"same node, {pods}", follow(world, 4, (HERE, 2)))
    for backend in (backends.HOST_GW, backends.VXLAN):
        world.join(backend)
        if backend == backends.HOST_GW:
            with world.service(HERE, SERVICE, world.pod(HERE, 4, 2)):
                compare(f"Service on the same node, {pods}", follow(world, 4, (HERE, 2), called=SERVICE))
        compare(f"{backend}, {pods}", follow(world, 4))
        compare(f"{backend} over IPv6, {pods}", follow(world, 6))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")
@pytest.mark.skipif(BIRD is None, reason="BIRD is not installed")
@pytest.mark.parametrize("pods", backends.KINDS)
def test_the_ways_of_a_packet_through_a_router(world_of, pods):
    world = world_of(SEGMENTS, pods)
    world.join(backends.BGP)
    with world.speaking():
        compare(f"bgp, {pods}", follow(world, 4))


def test_the_table_of_settings():
    compare("settings", sysctls.markdown())


def compare(section, text):
    """With what the page has between the markers of a section."""
    pattern = re.compile(rf"(<!-- {section}: begin -->\n)(.*?)(<!-- {section}: end -->)", re.DOTALL)
    page = PAGE.read_text()
    found = pattern.search(page)
    assert found, f"no section {section} in {PAGE.name}"
    if os.environ.get("NETEMU_REGENERATE"):
        PAGE.write_text(f"{page[: found.start(2)]}{text}{page[found.end(2) :]}")
        return
    assert found[2] == text


def follow(world, version, to=(THERE, 1), called=""):
    """One UDP datagram from the pod on HERE to another, by its node and number, as every link saw it.

    `called`: the address that is dialled, if it is not the other's own.
    """
    names = names_of(world)
    taps = {place: tap(world.fds[place]) for place in world.fds}
    try:
        family = {4: socket.AF_INET, 6: socket.AF_INET6}[version]
        source, target = world.pod(HERE, version), world.pod(to[0], version, to[1])
        end = f"pod {to[0]}" if to[1] == 1 else f"pod {to[1]} on {to[0]}"
        with netns.inside(world.fds[end]):
            receiver = socket.socket(family, socket.SOCK_DGRAM)
        with netns.inside(world.fds[f"pod {HERE}"]):
            sender = socket.socket(family, socket.SOCK_DGRAM)
        with receiver, sender:
            receiver.bind((target, 7777))
            sender.bind((source, 4444))
            introduce(sender, receiver, called or target)
            sender.sendto(MARK, (called or target, 7777))
            while receiver.recv(100) != MARK:
                pass  # one of the introductions
        # It is in each place once, on this way; and in one place taps are in the order of events.
        between = () if to[0] == HERE else (layout.FABRIC, to[0])
        way = (f"pod {HERE}", HERE, *between, end)
        assert not [place for place in taps if place not in way and list(heard(taps[place]))]
        seen = [(place, *frame) for place in way for frame in heard(taps[place])]
    finally:
        for each in taps.values():
            each.close()
    known = world.links
    return picture(
        (place, known.get(link, link), way, describe(frame, names)) for place, link, way, frame in seen
    )


def introduce(sender, receiver, called):
    """Both have heard of each other: a busy machine may take its time to let a new link forward."""
    sender.settimeout(1)
    receiver.settimeout(1)
    for _ in range(30):
        sender.sendto(b"where are you", (called, 7777))
        with contextlib.suppress(TimeoutError):
            receiver.sendto(b"here", receiver.recvfrom(100)[1])
            sender.recv(100)
            receiver.settimeout(30)
            return
    raise TimeoutError(f"no answer from {called}")


def tap(place):
    """All frames of a namespace's links."""
    with netns.inside(place):
        each = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    each.setblocking(False)
    return each


def heard(each):
    while True:
        try:
            frame, address = each.recvfrom(65535)
        except BlockingIOError:
            return
        if MARK in frame:
            yield address[0], "out" if address[2] == OUTGOING else "in", frame


def names_of(world):
    """MAC address -> who has it."""
    return {
        link.mac: f"{short(place)} {world.links.get(name, name)}"
        for place, door in world.doors.items()
        for name, link in door.observe().links.items()
        if name != "lo"
    }


def short(place):
    return re.sub(r"(pod( \d+)?) .*", r"\1", place)


def describe(frame, names):
    """Ethernet, IP and UDP; what a tunnel carries in a line of its own. ttl and hlim show who routed."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether
    from scapy.layers.vxlan import VXLAN
    from scapy.packet import bind_layers

    bind_layers(UDP, VXLAN, dport=8472)
    packet = Ether(frame)
    parts = []
    while packet and not isinstance(packet, bytes):
        match packet:
            case Ether():
                parts.append(f"[{names[packet.src]} > {names[packet.dst]}]")
            case IP():
                parts.append(f"{packet.src} > {packet.dst} ttl {packet.ttl} len {packet.len}")
            case IPv6():
                length = 40 + packet.plen
                parts.append(f"{packet.src} > {packet.dst} hlim {packet.hlim} len {length}")
            case UDP():
                parts.append(f"UDP {packet.dport}")
            case VXLAN():
                parts.append(f"VXLAN {packet.vni}\n{' ' * 21}")
            case _:
                break
        packet = packet.payload
    return " ".join(parts)


def picture(rows):
    """Place by place, link by link in the order of events."""
    lines = []
    before = ""
    for place, link, way, text in rows:
        if place != before:
            lines.append(place)
            before = place
        arrow = "──►" if way == "out" else "►──"
        lines.append(f"  {arrow} {link:14} {text}")
    return "```\n" + "\n".join(lines) + "\n```\n"
