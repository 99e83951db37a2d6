"""ethtool(8)'s questions to a link's driver, by ioctl. Knows numbers; decides nothing."""

import array
import fcntl
import os
import socket
import struct

_SIOCETHTOOL = 0x8946
_GET_TX_CHECKSUM, _SET_TX_CHECKSUM = 0x16, 0x17  # linux/ethtool.h


def set_tx_checksum(link: str, *, on: bool) -> None:
    """Of the namespace the caller is in: the stack leaves transport checksums to the driver, or makes them.

    OSError: ENODEV for no such link, EOPNOTSUPP where the driver has no choice.
    """
    _ask(link, _SET_TX_CHECKSUM, int(on))


def tx_checksum(link: str) -> bool:
    """Whether the stack leaves transport checksums to the driver. OSError as above."""
    return bool(_ask(link, _GET_TX_CHECKSUM, 0))


def _ask(link: str, command: int, value: int) -> int:
    name = os.fsencode(link)
    words = array.array("I", (command, value))  # struct ethtool_value
    address, _ = words.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        fcntl.ioctl(channel, _SIOCETHTOOL, struct.pack("16sP16x", name, address))  # struct ifreq
    return words[1]
