"""The shim's frames survive being cut anywhere, and what is no request is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from netemu.wire import cri

CONFIG = cri.ContainerConfig(
    name="web",
    image="nginx",
    env=(("A", "1"), ("A", "é\x00")),
    mounts=(cri.Mount("/srv", "/data", readonly=True),),
    security=cri.Security(add_capabilities=("NET_ADMIN",)),
)
REQUESTS = (
    cri.RunPodSandbox(1, cri.SandboxConfig("a", "default", "uid", sysctls={"net.core.somaxconn": "7"})),
    cri.CreateContainer(2, "box", CONFIG),
    cri.StopContainer(3, "c", 30.0),
    cri.ExecSync(4, "c", ("sh", "-c", "true")),
    cri.GetContainerEvents(5),
)


@given(some.lists(some.sampled_from(REQUESTS)), some.lists(some.integers(1, 200)))
def test_requests_cut_anywhere_come_out_whole(requests: list[cri.AnyRequest], cuts: list[int]) -> None:
    stream = b"".join(cri.frame(request) for request in requests)
    frames, found, at = cri.Frames(), [], 0
    for cut in [*cuts, len(stream)]:
        found += [cri.request_of(body) for body in frames.feed(stream[at : at + cut])]
        at += cut
    assert found == requests


def test_an_answer_carries_its_result() -> None:
    (body,) = cri.Frames().feed(cri.answer(9, cri.ExecResult(b"\xff\x00out", b"", 3)))
    reply = cri.reply_of(body)
    assert isinstance(reply, cri.Answer)
    assert reply.number == 9
    assert cri.result_of(reply, cri.ExecResult) == cri.ExecResult(b"\xff\x00out", b"", 3)


def test_a_failure_is_no_answer() -> None:
    (body,) = cri.Frames().feed(cri.frame(cri.Failure(4, "not found", "no container c")))
    assert cri.reply_of(body) == cri.Failure(4, "not found", "no container c")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"verb":"Reboot","number":1}', b'{"verb":"StopContainer","number":1}']
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        cri.request_of(body)


def test_an_absurd_length_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(ValueError, match="4294967295"):
        cri.Frames().feed(b"\xff\xff\xff\xff")
