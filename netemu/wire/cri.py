"""What a kubelet and a container runtime say to each other: CRI's values, and the frames that carry them.

The values are those of CRI v1 that a network needs, with its meaning; times are Unix seconds, 0.0 "not yet".
A frame is a length (4 bytes, big endian) and one JSON document. Does not know who sends it, nor over what.
"""

import struct
from typing import Final, Literal, TypeVar

import msgspec

SandboxState = Literal["READY", "NOTREADY"]
Protocol = Literal["TCP", "UDP", "SCTP"]
ContainerState = Literal["CREATED", "RUNNING", "EXITED"]


class Mount(msgspec.Struct, frozen=True):
    """A file or directory of the node (`host_path`, absolute, must exist) seen at `container_path` (any)."""

    host_path: str
    container_path: str
    readonly: bool = False


class Security(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a securityContext asks of the runtime. Capabilities without CAP_, or ("ALL",)."""

    privileged: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    readonly_root: bool = False
    no_new_privileges: bool = False


class PortMapping(msgspec.Struct, frozen=True, omit_defaults=True):
    """A port of the node (`host_ip` empty: at all its addresses) that leads to one of the pod's."""

    container_port: int
    host_port: int
    protocol: Protocol = "TCP"
    host_ip: str = ""


class SandboxConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pod as the runtime sees it.

    `hosts` is the text of /etc/hosts: of a line that begins with `@addresses` the runtime makes one for each
    address of the pod (known only once its network is attached). Empty: the node's file. `resolv_conf`
    likewise.
    `sysctls` are of the network and IPC namespaces, as "net.core.somaxconn": "1024".
    """

    name: str
    namespace: str
    uid: str
    attempt: int = 0
    hostname: str = ""
    log_directory: str = ""
    host_network: bool = False
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    hosts: str = ""
    resolv_conf: str = ""
    sysctls: dict[str, str] = {}
    port_mappings: tuple[PortMapping, ...] = ()


class ContainerConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """One container. `command` replaces the image's entrypoint, `args` its default arguments, as in a Pod.

    `log_path` is absolute, or relative to the sandbox's log_directory; empty: output is thrown away.
    `stdin_once`: stdin ends with the first client that attaches to it; otherwise it never does.
    """

    name: str
    image: str
    attempt: int = 0
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    log_path: str = ""
    security: Security = Security()


class Sandbox(msgspec.Struct, frozen=True):
    """A pod's namespaces. READY: its pause process (`pid`, as the runtime sees it) runs and it has a network.

    `netns` is a path on the node; empty for a pod on the node's own network.
    """

    id: str
    config: SandboxConfig
    state: SandboxState = "NOTREADY"
    pid: int = 0
    netns: str = ""
    ips: tuple[str, ...] = ()
    created_at: float = 0.0


class Container(msgspec.Struct, frozen=True):
    """`exit_code` counts once EXITED: the program's own, or 128 + the signal that ended it.

    `reason` is Completed, Error, StartError (128: the program could not be started; `message` says why) or
    ContainerStatusUnknown (137).
    """

    id: str
    sandbox_id: str
    config: ContainerConfig
    state: ContainerState = "CREATED"
    pid: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    image_id: str = ""


class ExecResult(msgspec.Struct, frozen=True):
    """What a command left behind; each stream is cut at 16 MiB, as containerd does."""

    stdout: bytes
    stderr: bytes
    code: int


# What a client may ask of the shim, one request a frame. Answers carry its number and may overtake others.


class Request(msgspec.Struct, frozen=True, tag_field="verb", tag=True):
    """`number`: which of the client's requests on this connection; its answer has the same."""

    number: int


class RunPodSandbox(Request, frozen=True):
    """Answer: Sandbox, not READY before AttachedNetwork."""

    config: SandboxConfig


class AttachedNetwork(Request, frozen=True):
    """The pod's addresses are there (none for host network). Answer: Sandbox."""

    sandbox_id: str
    ips: tuple[str, ...]


class StopPodSandbox(Request, frozen=True):
    """Kills all of the pod. Answered once it is over, at once where there is none."""

    sandbox_id: str


class RemovePodSandbox(Request, frozen=True):
    """Stops it if need be, and forgets it and its containers."""

    sandbox_id: str


class ListPodSandboxes(Request, frozen=True):
    """Answer: tuple[Sandbox, ...]."""


class CreateContainer(Request, frozen=True):
    """Answer: Container."""

    sandbox_id: str
    config: ContainerConfig


class StartContainer(Request, frozen=True):
    """Answered once the program runs, or has failed to start."""

    container_id: str


class StopContainer(Request, frozen=True):
    """SIGTERM, after `timeout` seconds SIGKILL. Answered once it is over."""

    container_id: str
    timeout: float = 0.0


class RemoveContainer(Request, frozen=True):
    """Forgets a container that does not run."""

    container_id: str


class ListContainers(Request, frozen=True):
    """Answer: tuple[Container, ...]."""


class ContainerStatus(Request, frozen=True):
    """Answer: Container."""

    container_id: str


class ReopenContainerLog(Request, frozen=True):
    """The log was moved away: go on in a new file at the same path."""

    container_id: str


class ExecSync(Request, frozen=True):
    """Answer: ExecResult. When `timeout` (0: none) passes the command is killed: failure `timeout`."""

    container_id: str
    command: tuple[str, ...]
    timeout: float = 0.0


class Exec(Request, frozen=True):
    """With this frame come three descriptors (SCM_RIGHTS): the command's stdin, stdout and stderr.

    With `tty` the first is a terminal's client side, which becomes the command's controlling terminal.
    Answer: int, the exit code. Closing the connection kills the command.
    """

    container_id: str
    command: tuple[str, ...]
    tty: bool = False


class Attach(Request, frozen=True):
    """With this frame come descriptors of pipes to write to (SCM_RIGHTS): for stdout, stderr, if asked for.

    They get what the container writes from now on, and are closed at its end. Answer: bool, at once; when it
    is true a descriptor comes with it: the terminal, which can be written to and resized, or stdin's pipe.
    """

    container_id: str
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False


class GetContainerEvents(Request, frozen=True):
    """Never answered to the end: every change of state comes as an Answer with a Container.

    The first ones are what there is now. The death of a sandbox comes as a Container of the sandbox's own id.
    """


AnyRequest = (
    RunPodSandbox
    | AttachedNetwork
    | StopPodSandbox
    | RemovePodSandbox
    | ListPodSandboxes
    | CreateContainer
    | StartContainer
    | StopContainer
    | RemoveContainer
    | ListContainers
    | ContainerStatus
    | ReopenContainerLog
    | ExecSync
    | Exec
    | Attach
    | GetContainerEvents
)

FailureKind = Literal["not found", "image not found", "rejected", "start failed", "timeout", "kernel"]


class Answer(msgspec.Struct, frozen=True, tag=True):
    """`result` is JSON of the type that the request names."""

    number: int
    result: msgspec.Raw


class Failure(msgspec.Struct, frozen=True, tag=True):
    """`message` is for people; `kind` decides what the client raises."""

    number: int
    kind: FailureKind
    message: str


LIMIT: Final = 64 * 1024 * 1024  # no honest frame is longer
_LENGTH = struct.Struct(">I")
_T = TypeVar("_T")


def frame(value: object) -> bytes:
    """A request, Answer or Failure as it goes over the wire."""
    body = msgspec.json.encode(value)
    return _LENGTH.pack(len(body)) + body


def answer(number: int, result: object) -> bytes:
    """The frame of a successful answer."""
    return frame(Answer(number, msgspec.Raw(msgspec.json.encode(result))))


def request_of(body: bytes) -> AnyRequest:
    """Raises msgspec.DecodeError (ValidationError when it is JSON but no request)."""
    request: AnyRequest = msgspec.json.decode(body, type=AnyRequest)
    return request


def reply_of(body: bytes) -> Answer | Failure:
    return msgspec.json.decode(body, type=Answer | Failure)


def result_of(reply: Answer, kind: type[_T]) -> _T:
    return msgspec.json.decode(reply.result, type=kind)


class Frames:
    """Takes bytes as they come, gives the bodies of complete frames. ValueError on an absurd length."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, ...]:
        self._pending += data
        found: list[bytes] = []
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            if length > LIMIT:
                raise ValueError(f"a frame of {length} bytes")
            if len(self._pending) < _LENGTH.size + length:
                break
            found.append(bytes(self._pending[_LENGTH.size : _LENGTH.size + length]))
            del self._pending[: _LENGTH.size + length]
        return tuple(found)
