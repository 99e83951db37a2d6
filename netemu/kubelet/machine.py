"""What this machine is: processors, memory, names of its system. Reads files; decides nothing."""

from __future__ import annotations

import os
import platform
from typing import NamedTuple


class Machine(NamedTuple):
    """`cpu` in cores, `memory` in bytes."""

    cpu: int
    memory: int
    machine_id: str
    boot_id: str
    kernel: str
    os_image: str
    architecture: str


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def observe() -> Machine:
    """This machine, as far as it tells."""
    name = os.uname()
    release = dict(
        line.rstrip("\n").partition("=")[::2] for line in _text("/etc/os-release").splitlines() if "=" in line
    )
    return Machine(
        cpu=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        machine_id=_text("/etc/machine-id").strip(),
        boot_id=_text("/proc/sys/kernel/random/boot_id").strip(),
        kernel=name.release,
        os_image=release.get("PRETTY_NAME", platform.system()).strip('"'),
        architecture=_ARCHITECTURES.get(name.machine, name.machine),
    )


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
