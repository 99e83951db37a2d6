"""The child's side of a container: from a fork of the shim to the program, in the pod's namespaces.

All of it runs in the forked child; what goes wrong is an OSError or Rejected, which `become` reports.
"""

import contextlib
import fcntl
import gc
import importlib
import os
import signal
import sys
import termios
from collections.abc import Callable, Sequence
from typing import NamedTuple

from netemu.base import errors
from netemu.kernel import capabilities, linux, process
from netemu.runtime import rootfs
from netemu.runtime.images import commands
from netemu.wire import cri

# containerd's default set without MKNOD: there is no device cgroup here to keep a made disk from being read.
DEFAULT_CAPABILITIES = frozenset(
    {
        *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP"),
        *("NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
    }
)
Program = Callable[[list[str]], int | None]
POD = linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS


class Start(NamedTuple):
    """What the child needs to become a container's first process; `pause` is a pidfd of the sandbox's."""

    command: commands.Command
    config: cri.ContainerConfig
    pause: int
    template: rootfs.Template
    mounts: tuple[cri.Mount, ...]
    links: tuple[tuple[str, str], ...]


class Join(NamedTuple):
    """What the child needs to become a further process of a running container; `target` is a pidfd of it."""

    command: commands.Command
    security: cri.Security
    target: int


def become(
    act: Callable[[], Callable[[], int] | None], stdio: Sequence[int], report: int, *, terminal: bool
) -> None:
    """In the child, never returns: take the stdio, run `act`, then the program. Failure goes to `report`.

    `act` executes the program itself, or returns the built-in one. `report` is closed when it starts.
    """
    code = 255
    try:
        forget_the_shim(stdio, terminal=terminal)
        main = act()
        if main is not None:
            process.close_except(())
            code = _call(main)
    except errors.NetemuError as refusal:
        _tell(report, refusal.message)
    except OSError as refusal:
        about = f"{refusal.filename}: " if refusal.filename else ""
        _tell(report, f"{about}{refusal.strerror}")
    except BaseException as failure:
        _tell(report, f"{type(failure).__name__}: {failure}")
    finally:
        os._exit(code)


def forget_the_shim(stdio: Sequence[int], *, terminal: bool) -> None:
    """A session, signals and standard descriptors of its own; garbage of the shim's is not collected here."""
    gc.freeze()
    gc.enable()
    signal.set_wakeup_fd(-1)
    for number in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGCHLD,
        signal.SIGINT,
    ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    for target, fd in enumerate(stdio):
        os.dup2(fd, target, inheritable=True)
    if terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def start(what: Start) -> Callable[[], int] | None:
    """Enter the pod, make the root, give up rights, execute; or return the built-in program."""
    main = _load(what.command.program)
    linux.setns(what.pause, POD)
    bindings = [rootfs.take(m.host_path, m.container_path, readonly=m.readonly) for m in what.mounts]
    security = what.config.security
    rootfs.enter(
        what.template,
        bindings,
        what.links,
        privileged=security.privileged,
        terminal=what.config.tty,
    )
    if security.readonly_root:
        linux.mount_setattr("/", linux.MOUNT_ATTR_RDONLY, recursive=False)
    return _run(what.command, security, main)


def join(what: Join) -> Callable[[], int] | None:
    """Enter a running container, give up rights, execute; or return the built-in program."""
    main = _load(what.command.program)
    linux.setns(what.target, POD | linux.CLONE_NEWNS)
    return _run(what.command, what.security, main)


def _load(program: str) -> Program | None:
    """The function behind "module:function", loaded while Python's own files are still where they were."""
    if not program:
        return None
    module, _, function = program.partition(":")
    found: Program = getattr(importlib.import_module(module), function)
    return found


def _run(command: commands.Command, security: cri.Security, main: Program | None) -> Callable[[], int] | None:
    _enter_directory(command.working_dir)
    _give_up_rights(security)
    environment = dict(command.env)
    if main is None:
        _execute(command.argv, environment)
    program = main

    def built_in() -> int:
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = list(command.argv)
        process.set_name(os.path.basename(command.argv[0]))
        return program(list(command.argv)) or 0  # type: ignore[misc]

    return built_in


def _enter_directory(path: str) -> None:
    """As runc: one that is missing is made, if that is possible."""
    with contextlib.suppress(OSError):
        os.makedirs(path, exist_ok=True)
    os.chdir(path)


def _give_up_rights(security: cri.Security) -> None:
    if not security.privileged:
        kept = allowed(security)
        capabilities.drop_from_bounding_set(frozenset(capabilities.NAMES) - kept)
    if security.run_as_group is not None or security.run_as_user is not None:
        os.setgroups(security.supplemental_groups)
        os.setgid(security.run_as_group or 0)
    if security.run_as_user:
        os.setuid(security.run_as_user)
    elif not security.privileged:
        capabilities.restrict(kept)
    if security.no_new_privileges:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


def allowed(security: cri.Security) -> frozenset[str]:
    """Names without CAP_; ALL adds or drops everything, and what is added wins over what is dropped."""
    everything = frozenset(capabilities.NAMES)
    dropped = everything if "ALL" in security.drop_capabilities else frozenset(security.drop_capabilities)
    added = everything if "ALL" in security.add_capabilities else frozenset(security.add_capabilities)
    return (DEFAULT_CAPABILITIES - dropped | added) & everything


def _execute(argv: tuple[str, ...], environment: dict[str, str]) -> None:
    """Never returns. Rejected in the words people know from runc."""
    name = argv[0]
    try:
        os.execvpe(name, list(argv), environment)
    except FileNotFoundError:
        if "/" in name:
            raise errors.Rejected(f'exec: "{name}": stat {name}: no such file or directory') from None
        raise errors.Rejected(f'exec: "{name}": executable file not found in $PATH') from None
    except PermissionError:
        raise errors.Rejected(f'exec: "{name}": permission denied') from None
    except OSError as refusal:
        raise errors.Rejected(f'exec: "{name}": {(refusal.strerror or "").lower()}') from None
    except ValueError as refusal:
        raise errors.Rejected(f'exec: "{name}": {refusal}') from None


def _call(main: Callable[[], int]) -> int:
    """Run a built-in program as the interpreter would run a script."""
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    code = 1
    try:
        code = main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 141
    except BaseException:
        import traceback

        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    return code & 0xFF


def _tell(report: int, message: str) -> None:
    with contextlib.suppress(OSError):
        os.write(report, message.encode(errors="replace")[:4000] or b"failed")
