"""A component is forked, heard, seen to end, and due again later and later."""

import os
import select
import signal
import traceback
from pathlib import Path

import pytest

from netemu.base import errors
from netemu.lab import components, control


def component(tmp_path: Path, main) -> components.Component:  # type: ignore[no-untyped-def]
    return components.Component("part", "netemu:part", main, str(tmp_path / "part.log"))


def end_of(part: components.Component) -> int:
    _, status = os.waitpid(part.pid, 0)
    return status


def test_a_child_talks_logs_and_ends(tmp_path: Path) -> None:
    def main(channel: components.Channel) -> int:
        channel.say("mark", phase="one", at=1.5)
        os.write(1, b"to the log\n")
        channel.say("ready")
        return 3

    part = component(tmp_path, main)
    part.start(now=100.0)
    status = end_of(part)
    assert part.hear() == [{"event": "mark", "phase": "one", "at": 1.5}, {"event": "ready"}]
    assert part.hear() is None
    part.ended(status, now=101.0)
    assert (part.last_end, part.pid, part.restarts, part.due) == ("exit code 3", 0, 1, 101.1)
    assert components.last_words(part.log_path) == "to the log"
    assert os.stat(part.log_path).st_mode & 0o777 == 0o600


def test_the_last_words_of_a_group_of_failures_are_those_of_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    try:
        raise ExceptionGroup("unhandled", [errors.NetemuError("no such sysctl")])
    except ExceptionGroup as group:
        log.write_text("".join(traceback.format_exception(group)))
    assert components.last_words(str(log)) == "netemu.base.errors.NetemuError: no such sysctl"
    assert components.last_words(str(tmp_path / "none.log")) == ""


def test_the_wait_doubles_while_it_keeps_dying_and_starts_over_when_it_did_not(tmp_path: Path) -> None:
    part = component(tmp_path, lambda channel: None)
    waits = []
    for ran in (1, 1, 1, 1, 100, 1):
        part.started = 0.0
        part.ended(0, now=float(ran))
        assert part.due is not None
        waits.append(round(part.due - ran, 3))
    assert waits == [0.1, 0.2, 0.4, 0.8, 0.1, 0.2]


def test_a_child_has_only_its_own_descriptors_and_default_signals(tmp_path: Path) -> None:
    secret = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(secret, True)

    def main(channel: components.Channel) -> int:
        left = {int(fd) for fd in os.listdir("/proc/self/fd")} - {0, 1, 2}
        channel.say("found", leaked=secret in left, handler=str(signal.getsignal(signal.SIGTERM)))
        return 0

    part = component(tmp_path, main)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        part.start(now=0.0)
        end_of(part)
    finally:
        signal.signal(signal.SIGTERM, before)
        os.close(secret)
    assert part.hear() == [{"event": "found", "leaked": False, "handler": str(signal.SIG_DFL)}]


def test_the_control_socket_answers_line_by_line_however_deep_it_lies(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / "control.sock"
    deep.parent.mkdir()

    def answer(request: dict[str, object]) -> dict[str, object]:
        if request.get("op") == "no":
            raise errors.Rejected("refused, politely")
        return {"got": request}

    door = control.listen(str(deep))
    assert os.stat(deep).st_mode & 0o777 == 0o600
    pid = os.fork()
    if pid == 0:
        for _ in range(2):
            select.select([door], [], [])
            connection = control.Connection(door.accept()[0], answer)
            while select.select([connection.stream], [], []) and connection.serve():
                pass
        os._exit(0)
    door.close()
    assert control.ask(str(deep), {"op": "status"}) == {"got": {"op": "status"}}
    with pytest.raises(errors.Rejected, match="politely"):
        control.ask(str(deep), {"op": "no"})
    os.waitpid(pid, 0)
    with pytest.raises(errors.Transient):
        control.ask(str(deep), {"op": "status"})
