"""What a process running as root may still do (capabilities(7)). Knows the kernel's names and numbers.

Does not know which of them a container deserves. Standard library only.
"""

import ctypes
import errno
import functools
import os
from collections.abc import Set

from netemu.kernel import linux

# include/uapi/linux/capability.h, by number.
NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *(
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
    ),
    *(
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
    ),
    *(
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
    ),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)

_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP = 24


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def permitted() -> frozenset[str]:
    """What the calling thread may make use of."""
    data = (_Data * 2)()
    _call("capget", data)
    mask = data[0].permitted | data[1].permitted << 32
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)


def drop_from_bounding_set(names: Set[str]) -> None:
    """Not even a program with file capabilities gets these back. Needs SETPCAP."""
    for number, name in enumerate(NAMES):
        if name in names:
            _drop(number)


def restrict(names: Set[str]) -> None:
    """Keep those of `names` which are permitted now, for the calling thread and what it executes."""
    Rights(names).restrict()


class Rights:
    """A set of capabilities, made ready to be the only ones left: `restrict` is one call."""

    def __init__(self, names: Set[str]) -> None:
        mask = sum(1 << NAMES.index(name) for name in names & permitted())
        self._data = (_Data * 2)()
        for half in range(2):
            self._data[half].effective = self._data[half].permitted = mask >> 32 * half & 0xFFFFFFFF

    def restrict(self) -> None:
        _call("capset", self._data)


def _drop(number: int) -> None:
    try:
        linux.prctl(_PR_CAPBSET_DROP, number)
    except OSError as refusal:
        if refusal.errno != errno.EINVAL:  # a capability younger than the kernel
            raise


def _call(name: str, data: "ctypes.Array[_Data]") -> None:
    header = _Header(_VERSION_3, 0)
    if getattr(_libc(), name)(ctypes.byref(header), data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
