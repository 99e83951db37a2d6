"""What is decided before anything runs: names of images, commands, logs, flags. No processes."""

import contextlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from netemu.base import errors
from netemu.runtime import containers, eventloop, logs
from netemu.runtime.images import bundles, catalogue, commands, references
from netemu.runtime.programs import dns_client, flags, nginx_conf, sockets
from netemu.wire import cri

HOST_HAS_NOTHING: Callable[[str], bool] = lambda name: False  # noqa: E731
HOST_HAS_ALL: Callable[[str], bool] = lambda name: True  # noqa: E731


@pytest.mark.parametrize(
    ("text", "registry", "path", "tag", "name"),
    [
        ("nginx", "docker.io", "library/nginx", "latest", "nginx"),
        ("nginx:1.27-alpine", "docker.io", "library/nginx", "1.27-alpine", "nginx"),
        ("curlimages/curl", "docker.io", "curlimages/curl", "latest", "curl"),
        ("localhost:5000/a/nginx:x", "localhost:5000", "a/nginx", "x", "nginx"),
        ("localhost/nginx", "localhost", "nginx", "latest", "nginx"),
        (
            "registry.k8s.io/e2e-test-images/agnhost:2.53",
            "registry.k8s.io",
            "e2e-test-images/agnhost",
            "2.53",
            "agnhost",
        ),
        (f"registry.k8s.io/pause@sha256:{'0' * 64}", "registry.k8s.io", "pause", "", "pause"),
        (f"busybox:1.36@sha256:{'a' * 64}", "docker.io", "library/busybox", "1.36", "busybox"),
        ("a.b/c__d/e-f.g:T_1", "a.b", "c__d/e-f.g", "T_1", "e-f.g"),
    ],
)
def test_references_come_apart(text: str, registry: str, path: str, tag: str, name: str) -> None:
    found = references.parse(text)
    assert (found.registry, found.path, found.tag, found.name) == (registry, path, tag, name)


@pytest.mark.parametrize(
    "text", ["", "Nginx", "nginx:", "a//b", "nginx@sha256:12", "-a", "a b", "nginx:.x", "a/:t"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid reference format"):
        references.parse(text)


IMAGE = catalogue.Image(
    ("img",), ("/entry", "-e"), ("cmd", "-c"), (("/entry", "m:f"),), (("A", "image"), ("B", "image"))
)


@pytest.mark.parametrize(
    ("command", "args", "argv"),
    [  # the table of "Define a Command and Arguments for a Container"
        ((), (), ("/entry", "-e", "cmd", "-c")),
        (("new",), (), ("new",)),
        ((), ("arg",), ("/entry", "-e", "arg")),
        (("new",), ("arg",), ("new", "arg")),
    ],
)
def test_command_and_args_replace_what_kubernetes_says(
    command: tuple[str, ...], args: tuple[str, ...], argv: tuple[str, ...]
) -> None:
    config = cri.ContainerConfig("c", "img", command=command, args=args)
    assert commands.main(IMAGE, config, "h", HOST_HAS_ALL).argv == argv


def test_an_image_without_a_command_needs_one() -> None:
    with pytest.raises(errors.Rejected, match="no command specified"):
        commands.main(catalogue.Image(("x",)), cri.ContainerConfig("c", "x"), "h", HOST_HAS_ALL)


def test_the_later_environment_wins() -> None:
    config = cri.ContainerConfig("c", "img", env=(("B", "pod"), ("PATH", "/only")), tty=True)
    found = dict(commands.environment(IMAGE, config, "host-a"))
    assert found == {
        "PATH": "/only",
        "HOSTNAME": "host-a",
        "HOME": "/root",
        "TERM": "xterm",
        "A": "image",
        "B": "pod",
    }


def test_the_images_own_programs_come_first_and_applets_last() -> None:
    assert commands.program(IMAGE, "/entry", HOST_HAS_ALL) == "m:f"
    assert commands.program(IMAGE, "wget", HOST_HAS_ALL) == ""
    assert commands.program(IMAGE, "/bin/wget", HOST_HAS_NOTHING) == "netemu.runtime.programs.wget:main"
    assert commands.program(IMAGE, "other", HOST_HAS_NOTHING) == ""


def test_every_image_has_a_command_and_every_program_exists() -> None:
    for image in catalogue.IMAGES:
        for name in image.names:
            assert catalogue.find(f"some.registry/path/{name}:tag") is image
        assert image.entrypoint or image.command, image
        for _, where in image.programs:
            assert callable(containers.load(where)), where
    for where in commands.APPLETS.values():
        assert callable(containers.load(where))


def test_the_bundle_is_an_executable_zip(tmp_path: object) -> None:
    import io
    import zipfile

    content = bundles.archive()
    assert content.startswith(b"#!/")
    assert content.split(b"\n")[0].endswith(b"/python3 -IS")
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        assert "netemu/runtime/programs/agnhost.py" in package.namelist()


@pytest.mark.parametrize(
    ("security", "gained", "lost"),
    [
        (cri.Security(), set(), set()),
        (cri.Security(add_capabilities=("NET_ADMIN",)), {"NET_ADMIN"}, set()),
        (cri.Security(drop_capabilities=("NET_RAW",)), set(), {"NET_RAW"}),
        (
            cri.Security(add_capabilities=("CHOWN",), drop_capabilities=("ALL",)),
            set(),
            containers.DEFAULT_CAPABILITIES - {"CHOWN"},
        ),
        (cri.Security(add_capabilities=("NO_SUCH",)), set(), set()),
    ],
)
def test_capabilities_are_counted(security: cri.Security, gained: set[str], lost: set[str]) -> None:
    assert containers.allowed(security) == containers.DEFAULT_CAPABILITIES - lost | gained
    assert "SYS_ADMIN" not in containers.allowed(security)


AT = b"2026-01-02T03:04:05.000000006Z"


def test_a_log_stamp_is_rfc3339_with_nanoseconds() -> None:
    assert logs.stamp(1_767_323_045_000_000_006) == AT


@given(some.binary(max_size=200), some.lists(some.integers(1, 50)))
def test_log_records_do_not_depend_on_how_output_was_cut(data: bytes, cuts: list[int]) -> None:
    whole = logs.Lines("stdout")
    expected = whole.feed(data, AT) + whole.end(AT)
    lines, found, at = logs.Lines("stdout"), b"", 0
    for cut in [*cuts, len(data)]:
        found += lines.feed(data[at : at + cut], AT)
        at += cut
    assert found + lines.end(AT) == expected
    texts = [record.split(b" ", 3)[3] for record in found_records(expected)]
    assert b"\n".join(texts) == data.removesuffix(b"\n")


def found_records(records: bytes) -> list[bytes]:
    return records.removesuffix(b"\n").split(b"\n") if records else [b"a b c "]


def test_long_lines_are_cut_into_partial_records() -> None:
    lines = logs.Lines("stderr")
    records = lines.feed(b"x" * (2 * logs.LINE_LIMIT + 5) + b"\n", AT).splitlines()
    assert [record.split(b" ")[1:3] for record in records] == [
        [b"stderr", b"P"],
        [b"stderr", b"P"],
        [b"stderr", b"F"],
    ]
    assert sum(len(record.split(b" ")[3]) for record in records) == 2 * logs.LINE_LIMIT + 5


def test_a_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_LIMIT", 1000)
    log = logs.Log(str(tmp_path / "deep" / "0.log"))
    for number in range(100):
        log.write("stdout", b"line %d\n" % number)
    log.close()
    older, newer = ((tmp_path / "deep" / name).read_text().splitlines() for name in ("0.log.1", "0.log"))
    numbers = [int(line.split()[-1]) for line in (*older, *newer)]
    assert numbers == list(range(numbers[0], 100)), "no line lost between the two"
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["0.log", "0.log.1"]
    assert all((tmp_path / "deep" / name).stat().st_size < 1100 for name in ("0.log.1", "0.log"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("300ms", 0.3),
        ("1.5s", 1.5),
        ("2m3s", 123),
        ("1h", 3600),
        ("-1s", -1),
        ("10us", 1e-5),
        (".5s", 0.5),
    ],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert flags.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1x", "1 s", "--1s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time: invalid duration"):
        flags.duration(text)


def test_flags_are_read_as_go_reads_them() -> None:
    defaults = {"port": 80, "tls": False, "name": "", "wait": flags.Duration(0), "header": [""]}
    words = [
        "--port=1",
        "--tls",
        "rest",
        "-name",
        "x=y",
        "--wait",
        "2s",
        "--header",
        "a",
        "--header=b",
        "--",
        "--port=9",
    ]
    values, rest = flags.parse(words, defaults)
    assert values == {"port": 1, "tls": True, "name": "x=y", "wait": 2.0, "header": ["", "a", "b"]}
    assert rest == ["rest", "--port=9"]
    assert flags.parse(["--tls=false"], defaults)[0]["tls"] is False


@pytest.mark.parametrize("words", [["--nope"], ["--port"], ["--port=x"], ["--tls=maybe"], ["--wait=5"]])
def test_bad_flags_end_the_program(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        flags.parse(words, {"port": 80, "tls": False, "wait": flags.Duration(0)})
    assert leaving.value.code == 1
    assert capsys.readouterr().err.startswith("Error: ")


@pytest.mark.parametrize(
    ("text", "address"),
    [("a:80", ("a", 80)), ("[::1]:443", ("::1", 443)), (":http", ("", 80)), ("10.0.0.1:0", ("10.0.0.1", 0))],
)
def test_addresses_come_apart(text: str, address: sockets.Address) -> None:
    assert sockets.split(text) == address


@pytest.mark.parametrize("text", ["a", "::1:80", "[::1]", "[::1", "a:no-such-port", "a:99999"])
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|lookup"):
        sockets.split(text)


def test_a_dns_answer_is_read_with_its_compression() -> None:
    """The names of RFC 1035, section 4.1.4: F.ISI.ARPA and FOO.F.ISI.ARPA, parts of them by pointers."""
    question = b"\x01F\x03ISI\x04ARPA\x00" + struct.pack(">HH", 1, 1)
    first = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes((10, 0, 0, 1))
    second = b"\x03FOO\xc0\x0c" + struct.pack(">HHIH", 5, 1, 5, 2) + b"\xc0\x0e"
    message = struct.pack(">6H", 7, 0x8180, 1, 2, 0, 0) + question + first + second
    assert dns_client.decode(message) == dns_client.Answer(
        "NOERROR",
        (
            dns_client.Record("F.ISI.ARPA", "A", 60, "10.0.0.1"),
            dns_client.Record("FOO.F.ISI.ARPA", "CNAME", 5, "ISI.ARPA"),
        ),
    )


@given(some.binary(max_size=80))
def test_any_bytes_are_a_dns_answer_or_none(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        dns_client.decode(data)


def test_names_in_circles_end() -> None:
    message = struct.pack(">6H", 7, 0x8180, 1, 0, 0, 0) + b"\xc0\x0c" + b"\0" * 4
    with pytest.raises(ValueError, match="circles"):
        dns_client.decode(message)


@pytest.mark.parametrize(
    ("name", "tried"),
    [
        ("web", ("web.a.svc", "web.svc", "web")),
        (
            "web.b.svc.cluster.local",
            ("web.b.svc.cluster.local.a.svc", "web.b.svc.cluster.local.svc", "web.b.svc.cluster.local"),
        ),
        ("a.b.c.d.e.f", ("a.b.c.d.e.f", "a.b.c.d.e.f.a.svc", "a.b.c.d.e.f.svc")),
        ("web.", ("web",)),
    ],
)
def test_the_search_list_is_tried_as_ndots_says(name: str, tried: tuple[str, ...]) -> None:
    assert dns_client.candidates(name, dns_client.Settings(("x",), ("a.svc", "svc"), 5)) == tried


def test_nginx_words_are_read() -> None:
    text = """server { # comment
        location ~ ^/a\\d{1,2}$ { return 200 "a \\"quoted\\" $uri;\\n"; } listen 80; }"""
    with pytest.raises(nginx_conf.BadConfiguration):
        nginx_conf.parse(text)  # as nginx: an expression with braces has to be quoted
    [server] = nginx_conf.parse(text.replace("^/a\\d{1,2}$", '"^/a$"'))
    [location] = server.all("location")
    assert location.arguments == ("~", "^/a$")
    assert location.all("return")[0].arguments == ("200", 'a "quoted" $uri;\n')


@pytest.mark.parametrize("text", ["}", "server {", "listen 80", "{ }", "a;;", 'a "b;'])
def test_nginx_refuses_what_it_cannot_read(text: str) -> None:
    with pytest.raises(nginx_conf.BadConfiguration):
        nginx_conf.parse(text)


def test_the_event_loop_forgets_a_descriptor_whose_number_is_reused() -> None:
    """Both are ready in one turn; the first action closes the other one and opens another by its number."""
    loop, calls = eventloop.EventLoop(), []
    (a, far_a), (b, far_b), (c, far_c) = (socket.socketpair() for _ in range(3))
    numbers = {a.fileno(), b.fileno()}

    def swap(mine: socket.socket, other: socket.socket) -> None:
        calls.append("first")
        loop.forget(mine.fileno())
        number = other.fileno()
        loop.forget(number)
        os.dup2(c.fileno(), number)
        loop.readable(number, lambda: calls.append("stale"))

    loop.readable(a.fileno(), lambda: swap(a, b))
    loop.readable(b.fileno(), lambda: swap(b, a))
    far_a.send(b"x")
    far_b.send(b"x")
    loop.turn()
    assert calls == ["first"]
    far_c.send(b"x")
    loop.turn()
    assert calls == ["first", "stale"]
    assert numbers
    for sock in (a, b, c, far_a, far_b, far_c):
        sock.close()


def test_timers_come_in_their_order_and_cancelled_ones_never() -> None:
    loop, calls = eventloop.EventLoop(), []
    loop.after(0.02, lambda: calls.append("second"))
    loop.after(0.02, loop.stop)
    loop.after(0.01, lambda: calls.append("first"))
    loop.after(0.0, lambda: calls.append("never")).cancel()
    loop.run()
    assert calls == ["first", "second"]
