"""Removes a lab, or what a crash has left of one. Knows identities and directories; trusts no name.

The lab's first process is killed; with it the kernel ends every process, namespace and mount of the lab.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from netemu.base import errors
from netemu.kernel import process
from netemu.lab import layout, records

_PATIENCE = 30.0  # seconds for the kernel to end all processes of a lab


def down(name: str = "default", progress: Callable[[str], None] = lambda text: None) -> bool:
    """True when there was something to remove. Afterwards there is nothing, whether there was or not."""
    place = records.of(name)
    with records.claimed(place, create=False) as there:
        if there:
            progress(f"removing lab '{name}'")
            clear(place)
        return there


def clear(place: layout.Layout, *, keep_directory: bool = False) -> bool:
    """End what lives, delete what is left; the caller has claimed the lab. True when there was anything."""
    record = records.read(place)
    if record is not None:
        _end(record)
    directory = Path(place.directory)
    found = bool(os.listdir(directory))
    records.remove(place, keep_directory=keep_directory)
    return found


def _end(record: records.Record) -> None:
    pidfd = process.open_pidfd(record.supervisor)
    if pidfd is None:
        return
    try:
        process.kill(pidfd)
        if not process.wait_end(pidfd, _PATIENCE):
            raise errors.NetemuError(
                f"process {record.supervisor.pid} of lab '{record.name}' does not end",
                hint="a process in it hangs in the kernel; look at dmesg",
            )
    except PermissionError:
        raise errors.Rejected(f"lab '{record.name}' belongs to somebody else", hint="run as root") from None
    finally:
        os.close(pidfd)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(record.supervisor.pid, os.WNOHANG)
