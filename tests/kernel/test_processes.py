"""Programs run to their end, forks that go elsewhere, and identities that a reused pid cannot fake."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from netemu.kernel import linux, mounts, netns, process

NEEDS_ROOT = (
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes namespaces"),
)


def with_root(function: Callable[..., None]) -> Callable[..., None]:
    for mark in NEEDS_ROOT:
        function = mark(function)
    return function


def test_a_program_gets_its_input_and_gives_both_outputs() -> None:
    done = asyncio.run(process.run(["sh", "-c", 'cat; echo "$X" >&2; exit 3'], env={"X": "err"}, stdin=b"in"))
    assert done == (3, b"in", b"err\n")


def test_more_output_than_a_pipe_holds() -> None:
    done = asyncio.run(process.run(["sh", "-c", "cat"], stdin=b"x" * 1_000_000))
    assert len(done.stdout) == 1_000_000


def test_a_grandchild_that_keeps_the_pipe_is_not_waited_for() -> None:
    done = asyncio.run(process.run(["sh", "-c", "sleep 60 & echo $!"], timeout=10))
    os.kill(int(done.stdout), signal.SIGKILL)
    assert done.code == 0


def test_a_program_that_takes_too_long_is_killed() -> None:
    async def story() -> int:
        with pytest.raises(TimeoutError):
            await process.run(["sh", "-c", "echo $$ > /dev/stderr; exec sleep 60"], timeout=0.05)
        return len(asyncio.all_tasks())

    assert asyncio.run(story()) == 1
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(process.run(["/no/such/program"]))


def test_a_process_is_known_by_more_than_its_pid() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        who = process.identify(child.pid)
        assert process.alive(who)
        assert not process.alive(who._replace(start_time=who.start_time + 1))
        assert not process.alive(who._replace(boot_id="another boot"))
        pidfd = process.open_pidfd(who)
        assert pidfd is not None
        assert not process.wait_end(pidfd, 0)
        process.kill(pidfd)
        assert process.wait_end(pidfd, 10)
        assert not process.alive(who), "a zombie is not alive"
        os.close(pidfd)
    assert process.open_pidfd(who) is None


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        (lambda: None, 0, ""),
        (lambda: 7, 7, ""),
        (lambda: 1 / 0, 1, "ZeroDivisionError"),
        (lambda: sys.exit(4), 4, ""),
        (lambda: sys.exit("bad"), 1, ""),
    ],
)
def test_a_forked_child_exits_with_its_result(
    ending: Callable[[], int | None], code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    _, status = os.waitpid(process.fork(ending), 0)
    assert os.waitstatus_to_exitcode(status) == code
    complaint = capfd.readouterr().err
    assert said in complaint
    assert bool(said) == bool(complaint)


@with_root
def test_a_child_is_born_into_namespaces() -> None:
    fd = netns.open_new()

    def child() -> int:
        return int(netns.identity("/proc/self/ns/net") != netns.identity(fd))

    _, status = os.waitpid(process.fork(child, namespaces={"net": fd}), 0)
    os.close(fd)
    assert status == 0


@with_root
def test_call_works_elsewhere_and_comes_back_with_exceptions_too() -> None:
    home, fd = netns.identity("/proc/self/ns/net"), netns.open_new()
    try:
        assert netns.call(fd, netns.identity, "/proc/thread-self/ns/net") == netns.identity(fd) != home
        with pytest.raises(ZeroDivisionError):
            netns.call(fd, lambda: 1 / 0)
        with netns.inside(fd):
            assert netns.identity("/proc/thread-self/ns/net") == netns.identity(fd)
        assert netns.identity("/proc/thread-self/ns/net") == home
    finally:
        os.close(fd)


@with_root
def test_kept_namespaces_and_mount_verbs_in_a_mount_namespace_of_their_own() -> None:
    def child() -> int:
        linux.unshare(linux.CLONE_NEWNS)
        mounts.private()
        mounts.tmpfs("/mnt", size="1m")
        netns.create("/mnt/a b")
        assert [m.fstype for m in mounts.table() if m.point == "/mnt/a b"] == ["nsfs"]
        netns.remove("/mnt/a b")
        netns.remove("/mnt/a b")
        assert not os.path.exists("/mnt/a b")
        for name in ("lower", "upper", "work", "over", "read"):
            os.mkdir(f"/mnt/{name}")
        mounts.overlay("/mnt/lower", "/mnt/upper", "/mnt/work", "/mnt/over")
        os.mkdir("/mnt/over/made")
        assert os.listdir("/mnt/upper") == ["made"]
        assert os.listdir("/mnt/lower") == []
        mounts.bind("/mnt", "/mnt/read", recursive=True)
        mounts.read_only_recursive("/mnt/read")
        try:
            os.mkdir("/mnt/read/over/no")
        except OSError:
            return 0
        return 1

    before = mounts.table()
    _, status = os.waitpid(process.fork(child), 0)
    assert status == 0
    assert mounts.table() == before
