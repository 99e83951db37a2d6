"""What every plugin does: read the environment and standard input, run one command, print result or error.

Its whole world is an environment, one input, one output and an exit code; it knows no plugin in particular.
"""

import os

from netemu.wire import cni, documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    Handler = Callable[[cni.Call, cni.Document], cni.Result | None]

CHECK_FAILED = 100  # our own code: what CHECK found differs from what ADD answered


class Netns:
    """The container's namespace file, open for the length of a `with`; INVALID_NETNS if there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> int:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as problem:
            text = f"failed to open netns {self._path!r}"
            raise cni.Failure(cni.INVALID_NETNS, text, str(problem)) from None
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def main(handlers: "Mapping[str, Handler]", about: str, *, ipam: bool = False) -> "NoReturn":
    """Run as an executable. `handlers` by command; DEL, CHECK, GC and STATUS print nothing."""
    if not os.environ.get("CNI_COMMAND"):
        os.write(2, f"{about}\nCNI protocol versions supported: {', '.join(cni.VERSIONS)}\n".encode())
        os._exit(0)
    code, output = run(handlers, os.environ, _read(0), ipam=ipam)
    if output:
        _write(1, output.encode() + b"\n")
    os._exit(code)  # nothing is open that wants closing; finalizing the interpreter takes a millisecond


def run(
    handlers: "Mapping[str, Handler]", environment: "Mapping[str, str]", text: bytes, *, ipam: bool = False
) -> tuple[int, str]:
    """One call: its exit code and what goes to standard output."""
    version = cni.NEWEST
    try:
        call = cni.call(environment)
        if call.command == "VERSION":
            return 0, documents.dump(cni.version_reply())
        configuration = cni.configuration(text)
        version = configuration.get("cniVersion", version)
        cni.check_command(call.command, version)
        _check_netns(call, environment)
        handler = handlers.get(call.command)
        result = handler(call, configuration) if handler else None
        if result is None or call.command != "ADD":
            return 0, ""
        return 0, documents.dump(cni.render(result, version, ipam=ipam))
    except cni.Failure as failure:
        return 1, documents.dump(failure.document(version))
    except OSError as failure:
        return 1, documents.dump(cni.Failure(cni.IO_FAILURE, str(failure)).document(version))
    except Exception as bug:  # the edge of the program: the runtime wants a document whatever happened
        import traceback

        details = traceback.format_exc(limit=-3)
        return 1, documents.dump(cni.Failure(cni.INTERNAL, repr(bug), details).document(version))


def _check_netns(call: cni.Call, environment: "Mapping[str, str]") -> None:
    """A plugin that took the host for the container would tear the host's network down."""
    if not call.netns or environment.get("CNI_NETNS_OVERRIDE", "").lower() in ("1", "true"):
        return
    try:
        theirs, ours = os.stat(call.netns), os.stat("/proc/self/ns/net")
    except OSError:
        return  # a missing one is judged by the command: DEL does not mind
    if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
        raise cni.Failure(cni.INVALID_NETNS, "plugin's netns and netns from CNI_NETNS should not be the same")


def _read(fd: int) -> bytes:
    data = bytearray()
    while piece := os.read(fd, 1 << 16):
        data += piece
    return bytes(data)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
