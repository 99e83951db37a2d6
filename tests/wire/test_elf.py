"""The pause program is a well-formed executable, ends when told to, reaps orphans, costs next to nothing."""

import ctypes
import errno
import os
import platform
import re
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from netemu.wire import elf

HERE = platform.machine()
runs = pytest.mark.skipif(HERE not in ("x86_64", "aarch64"), reason=f"there is no pause program for {HERE}")


@pytest.fixture
def pause(tmp_path: Path) -> Path:
    path = tmp_path / "pause"
    path.write_bytes(elf.pause(HERE))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("aarch64", 183)])
def test_the_header_is_what_the_gabi_asks(machine: str, number: int) -> None:
    image = elf.pause(machine)
    assert image[:7] == b"\x7fELF\x02\x01\x01"
    kind, arch, version, entry, programs = struct.unpack_from("<HHIQQ", image, 16)
    assert (kind, arch, version, programs) == (2, number, 1, 64)
    header_size, entry_size, count = struct.unpack_from("<HHH", image, 52)
    assert (header_size, entry_size, count) == (64, 56, 2)
    kind, flags, offset, address, _, in_file, in_memory, align = struct.unpack_from("<IIQQQQQQ", image, 64)
    assert (kind, flags & 2) == (1, 0), "one PT_LOAD, not writable"
    assert in_file == in_memory == len(image)
    assert (address - offset) % align == 0
    assert address + 64 + 2 * 56 == entry, "code begins after the headers"
    stack, flags = struct.unpack_from("<II", image, 120)
    assert (stack, flags & 1) == (0x6474E551, 0), "the stack is not executable"


@pytest.mark.skipif(shutil.which("readelf") is None, reason="binutils is not installed")
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_binutils_reads_it_without_complaint(machine: str, tmp_path: Path) -> None:
    path = tmp_path / "pause"
    path.write_bytes(elf.pause(machine))
    done = subprocess.run(["readelf", "-W", "-h", "-l", path], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert re.search(r"Type:\s+EXEC", done.stdout)


@pytest.mark.skipif(shutil.which("objdump") is None, reason="binutils is not installed")
@pytest.mark.parametrize(
    ("image", "program"),
    [(elf.pause, elf.PAUSE_X86_64), (elf.mount_proc, elf.MOUNT_PROC_X86_64)],
    ids=["pause", "mount-proc"],
)
def test_the_assembler_texts_are_what_the_bytes_mean(
    image: Callable[[str], bytes], program: tuple[elf.Op, ...], tmp_path: Path
) -> None:
    path = tmp_path / "program"
    path.write_bytes(image("x86_64"))
    command = [
        "objdump",
        "-D",
        "-b",
        "binary",
        "-m",
        "i386:x86-64",
        "-M",
        "intel",
        "--start-address=176",
        path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.findall(r"^ +[0-9a-f]+:\t[^\t]+\t(.+)$", done.stdout, re.MULTILINE)
    if not found:
        pytest.skip("this objdump does not know x86-64")
    assert [_meaning(line) for line in found] == [_meaning(op.text) for op in program]


def _meaning(line: str) -> tuple[str, ...]:
    """Mnemonic and operands; jump targets are left to the tests that run it."""
    mnemonic, _, operands = line.partition(";")[0].strip().partition(" ")
    if mnemonic.startswith("j"):
        return (mnemonic,)
    plain = operands.replace("QWORD PTR ", "").replace("[rsp+0x10]", "[rsp+16]")
    values = [part.strip() for part in plain.split(",") if part.strip()]
    return (mnemonic, *(str(int(v, 0) & (1 << 64) - 1) if v.lstrip("-")[:1].isdigit() else v for v in values))


def test_another_machine_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        elf.pause("riscv64")


@runs
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_zero_when_told_to(pause: Path, number: signal.Signals) -> None:
    child = subprocess.Popen([pause])
    _wait_until_it_waits(child.pid)
    for ignored in (signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD, signal.SIGALRM, signal.SIGPIPE):
        child.send_signal(ignored)
    child.send_signal(number)
    assert child.wait(10) == 0


# A program of PID 1: leaves an orphan behind, then becomes pause. The orphan ends when its stdin does.
ORPHANAGE = """
import os, signal, sys
if os.fork() == 0:
    for _ in range(3):
        if os.fork() == 0:
            os.read(0, 1)
            os._exit(7)
    os._exit(0)
os.wait()
os.close(0)
os.execv(sys.argv[1], ["pause"])
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace needs root")
@runs
def test_as_the_first_process_of_a_pid_namespace_it_reaps_orphans(pause: Path) -> None:
    """The orphans' ends are seen from outside by their pidfds; a zombie would keep its directory in /proc."""
    first = _in_a_pid_namespace([sys.executable, "-c", ORPHANAGE, str(pause)])
    orphans = _wait_for_children(first.pid, 3)
    pidfds = [os.pidfd_open(orphan) for orphan in orphans]
    try:
        assert first.stdin is not None
        first.stdin.close()
        for pidfd in pidfds:
            _wait_reaped(pidfd)
        assert _children(first.pid) == []
        assert first.poll() is None, "pause goes on"
        first.terminate()
        assert first.wait(10) == 0, "the first process of a namespace still hears SIGTERM"
    finally:
        first.kill()
        first.wait()
        for pidfd in pidfds:
            os.close(pidfd)


def _in_a_pid_namespace(command: list[str]) -> subprocess.Popen[bytes]:
    """The calling process goes on in its own; only this child is elsewhere."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/pid", os.O_RDONLY)
    try:
        assert libc.unshare(0x20000000) == 0, os.strerror(ctypes.get_errno())
        return subprocess.Popen(command, stdin=subprocess.PIPE)
    finally:
        assert libc.setns(home, 0) == 0
        os.close(home)


def _wait_until_it_waits(pid: int) -> None:
    """In rt_sigtimedwait, whose number is 128 on x86_64 and 137 on aarch64."""
    while Path(f"/proc/{pid}/syscall").read_text().split()[0] not in ("128", "137"):
        os.sched_yield()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _wait_for_children(pid: int, count: int) -> list[int]:
    """Until `pid` has become pause and has that many (bounded by the test's own timeout)."""
    while Path(f"/proc/{pid}/comm").read_text() != "pause\n" or len(_children(pid)) != count:
        os.sched_yield()
    return _children(pid)


def _wait_reaped(pidfd: int) -> None:
    """A pidfd can still be signalled while its process is a zombie, no longer once that is reaped."""
    while True:
        try:
            signal.pidfd_send_signal(pidfd, 0)
        except ProcessLookupError:
            return
        os.sched_yield()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@runs
def test_mount_proc_shows_the_pid_namespace_it_runs_in(tmp_path: Path) -> None:
    program, place = tmp_path / "mount-proc", tmp_path / "proc"
    program.write_bytes(elf.mount_proc(HERE))
    program.chmod(0o755)
    place.mkdir()
    script = f"{program} {place} && ls {place} | grep -c '^[0-9]'; {program} {place}/none; echo $?"
    command = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [int(line) for line in done.stdout.split()] == [3, errno.ENOENT], "sh, ls and grep; then an error"


@runs
def test_it_costs_a_page_or_two(pause: Path) -> None:
    child = subprocess.Popen([pause])
    try:
        _wait_until_it_waits(child.pid)
        rollup = Path(f"/proc/{child.pid}/smaps_rollup").read_text()
        pss = int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[1])  # type: ignore[index]
        status = Path(f"/proc/{child.pid}/status").read_text()
        tables = int(re.search(r"^VmPTE:\s+(\d+) kB", status, re.MULTILINE)[1])  # type: ignore[index]
        assert pss <= 16, f"{pss} kB of its own"
        assert tables <= 64, f"{tables} kB of page tables"
    finally:
        child.kill()
        child.wait()
