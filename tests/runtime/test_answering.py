"""From where a datagram is answered: the address that was asked, whichever link leads back."""

import socket

from netemu.runtime.programs import sockets

V6 = socket.inet_pton(socket.AF_INET6, "fd00::5")
LINK_LOCAL = socket.inet_pton(socket.AF_INET6, "fe80::5")
V4 = socket.inet_aton("10.0.0.5")
LINK = (7).to_bytes(4, "little")
SIX = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
FOUR = (socket.IPPROTO_IP, sockets.IP_PKTINFO)


def test_the_address_stays_and_the_link_is_up_to_the_routes():
    assert sockets.answering([(*SIX, V6 + LINK)]) == [(*SIX, V6 + bytes(4))]
    assert sockets.answering([(*FOUR, LINK + V4 + V4)]) == [(*FOUR, bytes(4) + V4 + V4)]


def test_a_link_local_address_keeps_its_link():
    assert sockets.answering([(*SIX, LINK_LOCAL + LINK)]) == [(*SIX, LINK_LOCAL + LINK)]


def test_of_a_socket_for_both_families_one_word_is_enough():
    mapped = bytes(10) + b"\xff\xff" + V4
    assert sockets.answering([(*FOUR, LINK + V4 + V4), (*SIX, mapped + LINK)]) == [(*SIX, mapped + bytes(4))]
    assert sockets.answering([]) == []
