"""What every plugin does: read the environment and standard input, run one command, print result or error.

Its whole world is an environment, one input, one output and an exit code; it knows no plugin in particular.
A plugin is a module of this package: ABOUT (one line), HANDLERS (by command), and IPAM when it only gives
addresses.
"""

import posix as os  # os itself, with its abstract classes, takes a millisecond more

import cni as plugins
from netemu.wire import cni, documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType
    from typing import NoReturn

CHECK_FAILED = 100  # our own code: what CHECK found differs from what ADD answered
_NS_GET_NSTYPE, _CLONE_NEWNET = 0xB703, 0x40000000


class Netns:
    """The container's namespace, open for the length of a `with`; INVALID_NETNS if there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> int:
        try:
            self._fd = _open_netns(self._path)
        except OSError as problem:
            text = f"failed to open netns {self._path!r}"
            raise cni.Failure(cni.INVALID_NETNS, text, str(problem)) from None
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


class NetnsIfAny:
    """The same for DEL, which succeeds without: None when there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None

    def __enter__(self) -> "int | None":
        try:
            self._fd = _open_netns(self._path)
        except OSError:
            self._fd = None
        return self._fd

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)


def _open_netns(path: str) -> int:
    """OSError also for a file that is no network namespace: what a lost mount leaves is an empty file."""
    import fcntl

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if fcntl.ioctl(fd, _NS_GET_NSTYPE) != _CLONE_NEWNET:
            raise OSError(f"{path} is a namespace of another kind")
    except OSError:
        os.close(fd)
        raise
    return fd


def chained(configuration: "cni.Document") -> cni.Result:
    """What the plugins before this one have made. INVALID_CONFIGURATION when there is none."""
    if not configuration.get("prevResult"):
        raise cni.Failure(cni.INVALID_CONFIGURATION, "must be called as chained plugin")
    return cni.result(configuration["prevResult"])


def load(name: str) -> "ModuleType":
    """The module of a plugin, by the name of its executable."""
    module = f"cni.{plugins.EXECUTABLES[name]}"
    return __import__(module, fromlist=("HANDLERS",))


def main(name: str) -> "NoReturn":
    """Run as an executable."""
    environment = {_text(key): _text(value) for key, value in os.environ.items()}
    if not environment.get("CNI_COMMAND"):
        about = f"{load(name).ABOUT}\nCNI protocol versions supported: {', '.join(cni.VERSIONS)}\n"
        os.write(2, about.encode())
        os._exit(0)
    code, output = run(name, environment, _read(0))
    if output:
        _write(1, output.encode() + b"\n")
    os._exit(code)  # nothing is open that wants closing; finalizing the interpreter takes a millisecond


def run(name: str, environment: "Mapping[str, str]", text: bytes) -> tuple[int, str]:
    """One call: its exit code and what goes to standard output. DEL, CHECK, GC and STATUS print nothing."""
    version = cni.NEWEST
    try:
        call = cni.call(environment)._replace(alone=True)
        if call.command == "VERSION":
            return 0, documents.dump(cni.version_reply())
        configuration = cni.configuration(text)
        version = configuration.get("cniVersion", version)
        found = perform(name, call, configuration)
        return 0, documents.dump(found) if found else ""
    except cni.Failure as failure:
        return 1, documents.dump(failure.document(version))


def perform(name: str, call: cni.Call, configuration: "cni.Document") -> "cni.Document":
    """One command of a plugin, its result as a document ({} unless ADD). Whatever goes wrong is a Failure."""
    version = configuration.get("cniVersion", cni.VERSIONS[0])
    try:
        cni.check_command(call.command, version)
        _check_netns(call)
        plugin = load(name)
        handler = plugin.HANDLERS.get(call.command)
        result = handler(call, configuration) if handler else None
        if result is None or call.command != "ADD":
            return {}
        return cni.render(result, version, ipam=getattr(plugin, "IPAM", False))
    except cni.Failure:
        raise
    except OSError as failure:
        raise cni.Failure(cni.IO_FAILURE, str(failure)) from failure
    except Exception as bug:  # the edge of the program: the runtime wants a document whatever happened
        import traceback

        raise cni.Failure(cni.INTERNAL, repr(bug), traceback.format_exc(limit=-3)) from bug


def _check_netns(call: cni.Call) -> None:
    """A plugin that took the host for the container would tear the host's network down."""
    if not call.netns or call.environment.get("CNI_NETNS_OVERRIDE", "").lower() in ("1", "true"):
        return
    try:
        theirs, ours = os.stat(call.netns), os.stat("/proc/thread-self/ns/net")
    except OSError:
        return  # a missing one is judged by the command: DEL does not mind
    if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
        raise cni.Failure(cni.INVALID_NETNS, "plugin's netns and netns from CNI_NETNS should not be the same")


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")


def _read(fd: int) -> bytes:
    data = bytearray()
    while piece := os.read(fd, 1 << 16):
        data += piece
    return bytes(data)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
