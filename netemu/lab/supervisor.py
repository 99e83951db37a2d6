"""The first process of a lab: makes its places, forks its components, reaps, starts again, answers questions.

It is PID 1 of the lab's pid namespace: when it ends, however it ends, the kernel ends every process of the
lab and with them every namespace, link and mount. It knows no Kubernetes.
"""

import contextlib
import gc
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, NoReturn

from netemu.base import errors
from netemu.kernel import mounts, netns, process
from netemu.lab import components, config, control, layout, places, records

# Descriptors it is born with: a stream to whoever runs `up`, the API's socket on the host.
STARTER, API = 3, 4

log = logging.getLogger("supervisor")


class Spec:
    """What `up` asks for, as one line of JSON."""

    def __init__(self, line: bytes) -> None:
        document = json.loads(line)
        self.place = layout.Layout(PurePosixPath(document["directory"]))
        self.lab = config.parse(document["lab"])
        self.document: dict[str, Any] = document["lab"]
        self.api_port: int = document["api_port"]
        self.began: float = document["began"]
        self.maker: int = document["maker"]


class Starter:
    """The `up` that is waiting. It gets progress and one last word; when it goes first, so does the lab."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream: socket.socket | None = stream

    def say(self, event: str, **details: Any) -> None:
        if self.stream is not None:
            with contextlib.suppress(OSError):
                self.stream.sendall(json.dumps({"event": event, **details}).encode() + b"\n")

    def failed(self, failure: Exception) -> None:
        self.say("failed", **components.explained(failure))


def main() -> None:
    """Entry point of the process that `up` starts."""
    starter = socket.socket(fileno=STARTER)
    api = socket.socket(fileno=API)
    for stream in (starter, api):
        os.set_inheritable(stream.fileno(), False)
    with starter.makefile("rb") as lines:
        spec = Spec(lines.readline())
    talk = Starter(starter)
    process.die_with_parent()  # whoever removes the lab of a killed `up` must find nobody at work on it
    if os.getppid() != spec.maker:
        return
    try:
        _write_log(spec.place)
        process.allow_files()
        _be_born(spec, talk, api)
    except Exception as failure:
        if not isinstance(failure, errors.NetemuError):
            log.exception("failed")
        talk.failed(failure)
        sys.exit(1)


def _write_log(place: layout.Layout) -> None:
    try:
        os.makedirs(place.logs, mode=0o700, exist_ok=True)
        fd = os.open(place.log("supervisor"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as failure:
        raise errors.Rejected(f"{place.directory}: {failure.strerror}") from None
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    components.configure_logging("supervisor")


def _be_born(spec: Spec, talk: Starter, api: socket.socket) -> None:
    """Fork into a new pid namespace. The child does nothing before its identity is on the disk."""
    try:
        mounts.isolate()
        # IPC too: whoever leaves it (for a pod's) must own it to come back, below a user namespace.
        netns.unshare(netns.KINDS["pid"] | netns.KINDS["ipc"])
    except OSError as refusal:
        raise errors.Rejected(
            f"namespaces of its own are refused to netemu: {refusal.strerror}",
            hint="run as root (sudo), or inside `unshare --user --map-root-user --net`",
        ) from None
    waiting, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        if os.read(waiting, 1) != b"g":
            os._exit(1)
        os.close(waiting)
        _live(spec, talk, api)
    os.close(waiting)
    record = records.Record(spec.lab.name, process.identify(pid), spec.api_port, spec.document)
    try:
        records.write(spec.place, record)
    except OSError as failure:
        os.close(go)
        os.waitpid(pid, 0)
        raise errors.Rejected(f"{spec.place.identity}: {failure.strerror}") from None
    os.write(go, b"g")
    os._exit(0)


def _live(spec: Spec, talk: Starter, api: socket.socket) -> NoReturn:
    code = 1
    try:
        process.set_name(f"netemu:{spec.lab.name}")
        supervisor = Supervisor(spec, talk, api)
        supervisor.bring_up()
        supervisor.run()
        code = 0
    except Exception as failure:
        log.exception("the lab ends")
        talk.failed(failure)
    finally:
        os._exit(code)


class Supervisor:
    """Single-threaded and without an event loop of asyncio's, because it forks at any time."""

    def __init__(self, spec: Spec, talk: Starter, api: socket.socket) -> None:
        self._spec, self._talk, self._api = spec, talk, api
        self._components: dict[str, components.Component] = {}
        self._selector = selectors.DefaultSelector()
        self._state, self._stopping = "starting", False
        self._marks: list[tuple[float, str, str]] = []
        self._wake, self._alarm = socket.socketpair()

    def bring_up(self) -> None:
        """Everything up to the point where only the components have work to do."""
        self._mark("supervisor", "interpreter started")
        spec = self._spec
        mounts.proc("/proc")
        self._catch_signals()
        places.prepare(spec.place)
        for segment in (layout.FABRIC, layout.OUTSIDE):
            places.make_segment(spec.place, segment)
        for node in spec.lab.nodes:
            places.make_node(spec.place, spec.lab, node)
        self._mark("supervisor", "places made")
        door = control.listen(str(spec.place.directory / "control.sock"))
        self._listen(door, lambda: self._accept(door))
        if self._talk.stream is not None:
            self._talk.stream.setblocking(True)
            self._listen(self._talk.stream, self._starter_spoke)
        self._talk.say("progress", text=f"{len(spec.lab.nodes)} nodes, a fabric and an outside are there")
        from netemu.lab import composition  # from here on the modules of the components come in

        for component in composition.compose(spec, self._api, self._mark):
            self._start(component)

    def run(self) -> None:
        """Until told to stop."""
        gc.enable()
        while not self._stopping:
            now = time.monotonic()
            due = [component.due for component in self._components.values() if component.due is not None]
            timeout = max(0.0, min(due) - now) if due else None
            for key, _ in self._selector.select(timeout):
                key.data()
            self._reap()
            self._start_due()
        log.info("stopping")

    # -- components
    def _start(self, component: components.Component) -> None:
        component.start(time.monotonic())
        self._components[component.name] = component
        assert component.stream is not None
        self._listen(component.stream, lambda: self._hear(component))
        self._mark("supervisor", f"{component.name} forked")

    def _start_due(self) -> None:
        now = time.monotonic()
        for component in self._components.values():
            if component.due is not None and component.due <= now:
                self._start(component)

    def _reap(self) -> None:
        """Components, and whatever orphans the lab's processes have left to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for component in self._components.values():
                if component.pid == pid:
                    self._forget_stream(component)
                    component.ended(status, time.monotonic())
                    self._gone_too_early(component)

    def _gone_too_early(self, component: components.Component) -> None:
        """While the lab is being made, a component that dies is an error and not something to sit out."""
        if self._state == "starting":
            words = components.last_words(component.log_path)
            raise errors.NetemuError(
                f"{component.name} died: {component.last_end}" + (f": {words}" if words else "")
            )

    def _hear(self, component: components.Component) -> None:
        said = component.hear()
        if said is None:
            self._forget_stream(component)
            return
        for message in said:
            self._told(component, message)

    def _forget_stream(self, component: components.Component) -> None:
        if component.stream is not None:
            for message in component.hear() or ():
                self._told(component, message)
            self._selector.unregister(component.stream)
            component.stream.close()
            component.stream = None

    def _told(self, component: components.Component, message: dict[str, Any]) -> None:
        match message.get("event"):
            case "mark":
                self._mark(component.name, message["phase"], message["at"])
            case "progress":
                self._talk.say("progress", text=message["text"])
            case "ready" if self._state == "starting":
                self._state = "ready"
                self._mark(component.name, "ready")
                log.info("ready after=%.3fs", self._marks[-1][0])
                self._talk.say("ready")
                self._dismiss_starter()
            case "failed" if self._state == "starting":
                raise errors.Rejected(message["message"], hint=message.get("hint", ""))

    # -- whoever talks to the supervisor
    def _starter_spoke(self) -> None:
        """It says nothing, so this is its end: it was killed, and nobody waits for this lab any more."""
        assert self._talk.stream is not None
        if not self._talk.stream.recv(1):
            log.warning("whoever started this lab is gone before it was ready")
            self._stopping = True

    def _dismiss_starter(self) -> None:
        if self._talk.stream is not None:
            self._selector.unregister(self._talk.stream)
            self._talk.stream.close()
            self._talk.stream = None

    def _accept(self, door: socket.socket) -> None:
        try:
            stream, _ = door.accept()
        except BlockingIOError:
            return
        connection = control.Connection(stream, self._answer)

        def serve() -> None:
            if not connection.serve():
                self._selector.unregister(stream)
                stream.close()

        self._listen(stream, serve)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("op"):
            case "status":
                return self._status()
            case "restart":
                component = self._components.get(str(request.get("component")))
                if component is None:
                    names = ", ".join(self._components)
                    raise errors.Rejected(f"no component {request.get('component')!r}; there are {names}")
                if component.pid:
                    os.kill(component.pid, signal.SIGKILL)
                return {}
            case "stop":
                self._stopping = True
                return {}
        raise errors.Rejected(f"no operation {request.get('op')!r}; there are status, restart, stop")

    def _status(self) -> dict[str, Any]:
        now = time.monotonic()
        return {
            "name": self._spec.lab.name,
            "state": self._state,
            "api_port": self._spec.api_port,
            "up_for": round(now - self._spec.began, 1),
            "components": [component.status(now) for component in self._components.values()],
            "marks": self._marks,
        }

    # -- the machinery
    def _mark(self, who: str, phase: str, now: float | None = None) -> None:
        """A phase has ended; `now`: monotonic seconds. It is news to whoever waits for the lab."""
        at = (time.monotonic() if now is None else now) - self._spec.began
        self._marks.append((at, who, phase))
        self._talk.say("mark", at=at, who=who, phase=phase)

    def _listen(self, stream: socket.socket, heard: Callable[[], None]) -> None:
        self._selector.register(stream, selectors.EVENT_READ, heard)

    def _catch_signals(self) -> None:
        """PID 1 gets no signal it has no handler for; SIGCHLD must wake the loop."""
        for stream in (self._wake, self._alarm):
            stream.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_stop)
        for number in (signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        self._listen(self._alarm, self._drain)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._alarm.recv(4096)

    def _told_to_stop(self, *_: object) -> None:
        self._stopping = True
