"""A quiet process from which containers are forked, so that they share almost all memory with it.

A child has of its own every page that it, or its parent since, has touched: the shim touches megabytes
between two forks, the zygote some dozen pages. Its children are siblings: the shim's to wait for.
"""

import array
import contextlib
import gc
import marshal
import os
import signal
import socket
import sys
from collections.abc import Sequence

from netemu.base import errors
from netemu.kernel import capabilities, forks, linux, process
from netemu.runtime import containers, output
from netemu.runtime.programs import serving

_MOST = 160 * 1024  # what one message of a SEQPACKET socket holds by default
Entrance = tuple[int, int]  # a descriptor for setns, and which of its namespaces


class Refused(OSError):
    """The zygote cannot do this one; somebody else must."""


class Zygote:
    """The shim's end. It dies with the shim; should it die alone, the next `fork` starts another."""

    def __init__(self) -> None:
        self._door: socket.socket | None = None
        self._pid = 0

    def start(self) -> None:
        """From a process that has loaded what children need and has one thread."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            try:
                _wait_for_orders(theirs)
            finally:
                os._exit(1)
        theirs.close()
        self._door, self._pid = ours, pid

    def fork(
        self,
        what: containers.Process,
        stdio: output.Stdio,
        told: int,
        entrances: Sequence[Entrance],
        pod: int,
    ) -> int:
        """The pid of a new child of the caller, which enters those namespaces and runs the program.

        `pod` is a pidfd in the pod's pid namespace. Refused: not this way.
        """
        if self._door is None:
            self.start()
            assert self._door is not None
        kinds = tuple(kind for _, kind in entrances)
        order = marshal.dumps(
            (
                what.command.program,
                what.command.argv,
                what.command.env,
                what.command.working_dir,
                what.terminal,
                kinds,
            )
        )
        if len(order) > _MOST:
            raise Refused("too much environment")
        fds = array.array("i", (*stdio, told, pod, *(fd for fd, _ in entrances)))
        try:
            self._door.sendmsg([order], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            answer = self._door.recv(64)
        except OSError:
            answer = b""
        if not answer:
            self._door.close()
            self._door = None
            os.waitpid(self._pid, 0)
            raise Refused("the zygote has died")
        pid = int(answer)
        if pid < 0:
            raise OSError(-pid, f"fork: {os.strerror(-pid)}")
        return pid


def fits(what: containers.Process) -> bool:
    """Its children have a container's usual rights, no more and no fewer, and are root."""
    security = what.security
    usual = containers.allowed(security) == containers.DEFAULT_CAPABILITIES
    return usual and not (
        security.privileged or security.run_as_user or security.run_as_group or security.no_new_privileges
    )


def _wait_for_orders(door: socket.socket) -> None:
    """The zygote itself. What it touches in its loop, its children have twice: it does little."""
    process.die_with_parent()
    process.set_name("zygote")
    process.reset_signals()
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    process.close_except((door.fileno(), home))
    capabilities.drop_from_bounding_set(frozenset(capabilities.NAMES) - containers.DEFAULT_CAPABILITIES)
    rights = capabilities.Rights(containers.DEFAULT_CAPABILITIES)
    os.environ.clear()
    containers.fresh_streams()
    fork = forks.Forks()
    _rehearse(home)
    gc.freeze()
    gc.disable()
    while True:
        order, ancillary, _, _ = door.recvmsg(_MOST, socket.CMSG_SPACE(64), socket.MSG_CMSG_CLOEXEC)
        if not order:
            return
        fds = array.array("i", ancillary[0][2])
        try:
            linux.setns(fds[4], linux.CLONE_NEWPID)
            pid = fork.sibling()
            if pid == 0:
                _become(order, fds, rights, fork)
            linux.setns(home, linux.CLONE_NEWPID)
        except OSError as refusal:
            pid = -(refusal.errno or 1)
        for fd in fds:
            os.close(fd)
        door.send(b"%d" % pid)


def _rehearse(home: int) -> None:
    """Do once what every child does: what Python remembers of it (calls found, caches) is then shared."""
    linux.setns(home, linux.CLONE_NEWPID)
    capabilities.Rights(capabilities.permitted()).restrict()
    containers.call(lambda _: 0, ("zygote",), (("PATH", ""),))
    containers.enter_directory("/")
    with contextlib.suppress(OSError):  # without a loopback it stays unrehearsed
        serving.rehearse()
    os.environ.clear()


def _become(order: bytes, fds: "array.array[int]", rights: capabilities.Rights, fork: forks.Forks) -> None:
    """In the child, never returns."""
    code = 255
    try:
        program, argv, env, working_dir, terminal, kinds = marshal.loads(order)
        containers.take_stdio(fds[:3], terminal=terminal)
        for fd, kind in zip(fds[5:], kinds, strict=True):
            linux.setns(fd, kind)
        containers.enter_directory(working_dir)
        rights.restrict()
        if not program:
            containers.execute(argv, dict(env))
        if not program.startswith("netemu.runtime.programs."):
            fork.run_hooks()
        main = containers.load(program)
        gc.enable()
        os.closerange(3, 0x7FFFFFFF)
        code = containers.call(main, argv, env)
    except errors.NetemuError as refusal:
        containers.tell(fds[3], refusal.message)
    except OSError as refusal:
        containers.tell(fds[3], containers.explain(refusal))
    except BaseException as failure:
        containers.tell(fds[3], f"{type(failure).__name__}: {failure}")
    finally:
        sys.stderr.flush()
        os._exit(code)
