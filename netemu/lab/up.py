"""Makes a lab and waits until a Service answers in it, or undoes everything. Knows the order; not how.

The process that calls it stays as it is: the lab's first process is a fresh program, started beside it.
"""

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import netemu
from netemu.base import errors
from netemu.kernel import process
from netemu.lab import components, config, down, handle, layout, records

SPACE = 16 << 20  # bytes for the store, logs and keys of a small lab
FILES = 256  # open files of its API server, with some clients
_STOPS = (signal.SIGINT, signal.SIGTERM)
SILENCE = 60.0  # seconds without news of a lab that is being made; all of it takes about one
# Without `site` an interpreter starts in half the time; what it would have put on the path, we hand over. Nor
# is there garbage while modules come in: looking for it costs a third of their time.
_BOOT = (
    "import gc, sys; gc.disable(); sys.path[:] = sys.argv[1:]; "
    "from netemu.lab import supervisor; supervisor.main()"
)

Progress = Callable[[str], None]
LetIn = Callable[[], contextlib.AbstractContextManager[None]]


def up(lab: config.LabConfig, *, progress: Progress = lambda text: None) -> handle.Handle:
    """Rejected (nothing is left): a lab of that name is up, bad surroundings, not ready in time.

    KeyboardInterrupt undoes everything too, and goes on; a second one does not disturb that.
    """
    began = time.monotonic()
    place = records.of(lab.name)
    with _uninterrupted() as let_in, records.claimed(place, create=True):
        _not_twice(place)
        try:
            _check_room(place)
            _check_files()
            _check_machine(lab)
            if down.clear(place, keep_directory=True):
                progress(f"removed what was left of an earlier lab '{lab.name}'")
            _start(lab, place, progress, began, let_in)
            with let_in():  # the last chance to change one's mind
                return handle.open(lab.name)
        except BaseException:
            with contextlib.suppress(errors.NetemuError, OSError):
                down.clear(place)
            raise


@contextlib.contextmanager
def _uninterrupted() -> Iterator[LetIn]:
    """Control-C and a polite kill wait until the end, or for the places that let them in.

    What they interrupt there is undone, and nothing interrupts that.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)

    @contextlib.contextmanager
    def let_in() -> Iterator[None]:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)

    try:
        yield let_in
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _not_twice(place: layout.Layout) -> None:
    record = records.living(place)
    if record is not None:
        raise errors.Rejected(
            f"lab '{record.name}' is up already (process {record.supervisor.pid})",
            hint=f"netemu down --name {record.name}, or choose another --name",
        )


def _check_files() -> None:
    """A component that may open no more files would show as a lab that is never ready."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < FILES:
        raise errors.Rejected(
            f"a process may open {most} files here, a lab needs {FILES}",
            hint="ulimit -n 1024, as root or in a new shell",
        )


def _check_machine(lab: config.LabConfig) -> None:
    """What the kernel does not bring by itself when it is used; and what only some networks need, which else
    would show as nodes that never find each other's pods.
    """
    if not os.path.exists("/proc/sys/net/bridge"):
        raise errors.Rejected(
            "the kernel module br_netfilter is not loaded: packets on a node's bridge would miss its rules",
            hint="modprobe br_netfilter",
        )
    match lab.network.backend:
        case "bgp":
            from netemu.lab import routers

            routers.program()
        case "vxlan":
            from netemu.kernel import features

            if not (found := features.probe("vxlan")).ok:
                hint = "modprobe vxlan, or another network.backend"
                raise errors.Rejected(f"backend vxlan needs VXLAN in the kernel: {found.detail}", hint=hint)


def _check_room(place: layout.Layout) -> None:
    """A disk that fills up while the lab is made would show as a node that is never ready."""
    free = shutil.disk_usage(place.directory).free
    if free < SPACE:
        raise errors.Rejected(
            f"no space left in {place.directory.parent}: {free >> 10} KiB free, a lab needs {SPACE >> 10}",
            hint=f"free some, or set {records.VARIABLE} to a directory elsewhere",
        )


def _start(
    lab: config.LabConfig, place: layout.Layout, progress: Progress, began: float, let_in: LetIn
) -> None:
    api = _api_socket(lab.api_port)
    port = api.getsockname()[1]
    mine, theirs = socket.socketpair()
    with mine, api, theirs:
        spec = {
            "directory": str(place.directory),
            "lab": lab.document(),
            "api_port": port,
            "began": began,
            "maker": os.getpid(),
        }
        mine.sendall(json.dumps(spec).encode() + b"\n")
        pid = _spawn(theirs, api)
        try:
            theirs.close()
            marks = _wait(mine, place, progress, let_in)
        finally:
            # The launcher has forked the lab's first process and ended; it is ended if it has not.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
            os.waitpid(pid, 0)
    if os.environ.get("NETEMU_TIMINGS"):
        for at, who, phase in sorted(marks):
            print(f"{at * 1000:8.1f} ms  {who:22} {phase}", file=sys.stderr)


def _spawn(theirs: socket.socket, api: socket.socket) -> int:
    package = str(Path(netemu.__path__[0]).parent)
    path = [package, *(entry for entry in sys.path if os.path.isabs(entry) and entry != package)]
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        return process.spawn(
            (sys.executable, "-P", "-S", "-c", _BOOT, *path),
            {0: nothing, 1: nothing, 2: 2, 3: theirs.fileno(), 4: api.fileno()},
            new_session=True,
        )
    finally:
        os.close(nothing)


def _api_socket(port: int) -> socket.socket:
    """Bound on the host's loopback only; the lab inherits it."""
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen(512)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as visitor:
            visitor.connect(server.getsockname())
    except OSError as failure:
        server.close()
        if failure.errno == errno.ENETUNREACH:
            raise errors.Rejected(
                "the loopback link is down, nobody would reach the API", hint="ip link set lo up"
            ) from None
        if failure.errno == errno.EADDRINUSE and port:
            raise errors.Rejected(
                f"port {port} on 127.0.0.1 is taken", hint="choose another api-port, or 0 for any free one"
            ) from None
        raise errors.Rejected(
            f"no port on 127.0.0.1 for the API: {failure.strerror}", hint="see what keeps all ports: ss -ltn"
        ) from None
    return server


def _wait(
    stream: socket.socket, place: layout.Layout, progress: Progress, let_in: LetIn
) -> list[tuple[float, str, str]]:
    """Until the lab's last word: its marks (seconds, who, phase) when it is ready.

    A slow machine gets all the time it needs, as long as there is news.
    """
    marks = []
    stream.settimeout(SILENCE)
    try:
        for message in _messages(stream, let_in):
            match message["event"]:
                case "mark":
                    marks.append((message["at"], message["who"], message["phase"]))
                case "progress":
                    progress(message["text"])
                case "ready":
                    return marks
                case "failed":
                    raise errors.Rejected(message["message"], hint=message["hint"])
        what = "the lab's first process ended"
    except TimeoutError:
        what = f"the lab is not ready, and no news of it for {SILENCE:.0f} s"
        what += f" (the last: {marks[-1][1]}, {marks[-1][2]})" if marks else ""
    words = components.last_words(place.log("supervisor"))
    raise errors.Rejected(what + (f": {words}" if words else ""), hint="netemu doctor")


def _messages(stream: socket.socket, let_in: LetIn) -> Iterator[dict[str, Any]]:
    """What the lab says, until it says no more. TimeoutError when it is silent for too long."""
    heard = b""
    while True:
        try:
            with let_in():
                piece = stream.recv(1 << 16)
        except ConnectionResetError:
            return
        *lines, heard = (heard + piece).split(b"\n")
        yield from (json.loads(line) for line in lines)
        if not piece:
            return
