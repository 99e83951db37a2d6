"""`up` and the news of the lab it waits for: a stream of lines, and what becomes of each."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from netemu.base import errors
from netemu.lab import layout, up

MARK = {"event": "mark", "at": 0.5, "who": "control-plane", "phase": "API server answers"}


class Lab:
    """The far end of the stream."""

    def __init__(self, stream: socket.socket, place: layout.Layout) -> None:
        self.stream, self.place = stream, place
        self.heard: list[str] = []

    def says(self, *messages: dict[str, Any]) -> None:
        self.stream.sendall(b"".join(json.dumps(message).encode() + b"\n" for message in messages))


@pytest.fixture
def ends(tmp_path: Any) -> Iterator[tuple[Lab, socket.socket]]:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        yield Lab(theirs, layout.Layout(PurePosixPath(tmp_path))), mine


def wait(lab: Lab, mine: socket.socket) -> list[tuple[float, str, str]]:
    return up._wait(mine, lab.place, lab.heard.append, contextlib.nullcontext)


def test_marks_and_progress_until_it_is_ready(ends: tuple[Lab, socket.socket]) -> None:
    lab, mine = ends
    lab.says(MARK, {"event": "progress", "text": "3 nodes are Ready"}, {"event": "ready"})
    assert wait(lab, mine) == [(0.5, "control-plane", "API server answers")]
    assert lab.heard == ["3 nodes are Ready"]


def test_what_failed_is_said_with_what_to_do(ends: tuple[Lab, socket.socket]) -> None:
    lab, mine = ends
    lab.says(MARK, {"event": "failed", "message": "no veth", "hint": "modprobe veth"})
    with pytest.raises(errors.Rejected, match="no veth") as failure:
        wait(lab, mine)
    assert failure.value.hint == "modprobe veth"


def test_an_end_without_a_last_word(ends: tuple[Lab, socket.socket]) -> None:
    lab, mine = ends
    lab.says(MARK)
    lab.stream.close()
    with pytest.raises(errors.Rejected, match="first process ended"):
        wait(lab, mine)


def test_silence_names_the_last_news(
    ends: tuple[Lab, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "SILENCE", 0.05)
    lab, mine = ends
    lab.says(MARK)
    with pytest.raises(errors.Rejected, match=r"no news.*control-plane, API server answers"):
        wait(lab, mine)
