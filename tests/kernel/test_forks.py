"""A quick fork is a fork: own memory, own pid, working threads; a sibling is its grandparent's to reap."""

import os
import random
import threading

import pytest

from netemu.kernel import forks

FORKS = forks.Forks()


def in_child(act, fork=FORKS.child) -> bytes:  # type: ignore[no-untyped-def]
    """What `act` returns in a child, told through a pipe; the child must end with 7."""
    ours, theirs = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.write(theirs, act())
        finally:
            os._exit(7)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    return said


def test_the_child_is_another_process_with_its_own_memory() -> None:
    seen = ["before"]

    def act() -> bytes:
        seen.append("in the child")
        return f"{os.getpid() != parent} {os.getppid() == parent}".encode()

    parent = os.getpid()
    assert in_child(act) == b"True True"
    assert seen == ["before"]


def test_threads_work_in_the_child() -> None:
    def act() -> bytes:
        found: list[bytes] = []
        thread = threading.Thread(target=lambda: found.append(b"ran"))
        thread.start()
        thread.join()
        return found[0]

    assert in_child(act) == b"ran"


def test_the_child_can_fork_in_the_ordinary_way() -> None:
    assert in_child(lambda: in_child(lambda: b"grandchild", os.fork)) == b"grandchild"


def test_after_the_hooks_chance_is_no_longer_the_parents() -> None:
    def act() -> bytes:
        FORKS.run_hooks()
        return str(random.random()).encode()

    assert len({in_child(act) for _ in range(3)}) == 3


@pytest.mark.skipif(not FORKS.siblings, reason="not known on this machine")
def test_a_sibling_is_reaped_by_its_parents_parent() -> None:
    def act() -> bytes:
        pid = FORKS.sibling()
        if pid == 0:
            os._exit(9)
        return str(pid).encode()

    sibling = int(in_child(act))
    assert os.waitstatus_to_exitcode(os.waitpid(sibling, 0)[1]) == 9
