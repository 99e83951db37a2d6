"""What a container sees as its file system: the host's programs read-only, all that is written its own.

    /            tmpfs of the container's own: also /tmp, /run (= /var/run), /var, /root, /home, /dev
    /usr, /etc … the host's, read-only, without what only the host's root may read
    /proc, /sys  of the pod's pid and network namespace
What is the same for all containers of a node is mounted once, in a mount namespace that each of them copies.
"""

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from netemu.kernel import linux, mounts
from netemu.wire import cri

# Directories of the host which containers have of their own, or not at all.
OWN = frozenset(
    {"proc", "sys", "dev", "run", "tmp", "var", "root", "home", "mnt", "media", "boot", "lost+found"}
)
DIRECTORIES = (
    *(("/tmp", 0o1777), ("/run", 0o755), ("/run/lock", 0o1777), ("/root", 0o700), ("/home", 0o755)),
    *(("/mnt", 0o755), ("/media", 0o755), ("/proc", 0o555), ("/sys", 0o555)),
    *(
        ("/var", 0o755),
        ("/var/cache", 0o755),
        ("/var/lib", 0o755),
        ("/var/log", 0o755),
        ("/var/spool", 0o755),
    ),
    *(("/var/tmp", 0o1777), ("/var/www", 0o755), ("/dev", 0o755), ("/dev/shm", 0o1777), ("/dev/pts", 0o755)),
)
LINKS = (
    *(("/var/run", "/run"), ("/var/lock", "/run/lock"), ("/dev/fd", "/proc/self/fd")),
    *(
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ),
    ("/dev/ptmx", "pts/ptmx"),
)
DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
# Kernel knobs that are not of the pod's namespaces alone, as runc treats them.
READ_ONLY = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")
MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug")
# Readable by the host's root only, or meant for it: the container's root is not that one.
SECRET = (
    *("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/ssh", "/etc/ssl/private"),
    *(
        "/etc/sudoers",
        "/etc/sudoers.d",
        "/etc/kubernetes",
        "/etc/rancher",
        "/etc/letsencrypt",
        "/etc/wireguard",
    ),
    *(
        "/etc/cni",
        "/etc/NetworkManager",
        "/etc/netplan",
        "/etc/docker",
        "/etc/containerd",
        "/etc/krb5.keytab",
    ),
)
SHARE, MOUNT_PROC = "/.netemu", "mount-proc"
_NEW, _OLD, _BORROWED, _VISIBLE = "/.new", "/.old", "/.host", ("/proc", "/sys")


class Template(NamedTuple):
    """The namespace to copy (a descriptor), which of its directories go where, and the host's links in /."""

    namespace: int
    moves: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]


class Binding(NamedTuple):
    """A file or directory, already taken from where it was, to be put at `target`; `tree` is the owner's."""

    tree: int
    target: str
    directory: bool
    readonly: bool


def build(share: str, hidden: Sequence[str] = ()) -> Template:
    """Make the template from the caller's file system (a few ms, once a node); `share` is shown at /.netemu.

    `hidden` are paths never to be seen, the lab's state for one. A child does it and only its mount namespace
    is kept: nothing changes for the caller.
    """
    with os.scandir("/") as entries:
        links = tuple((entry.path, os.readlink(entry.path)) for entry in entries if entry.is_symlink())
    moves = (*_host_directories(), (SHARE, SHARE), *_interpreter())
    ready, child_ready = os.pipe()
    hold, child_hold = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(ready)
            os.close(child_hold)
            _lay_out(share, moves, (*SECRET, *hidden))
            os.write(child_ready, b"+")
            os.read(hold, 1)
            code = 0
        except BaseException as failure:
            os.write(child_ready, f"{failure}".encode() or b"failed")
        finally:
            os._exit(code)
    try:
        os.close(child_ready)
        os.close(hold)
        answer = os.read(ready, 4096)
        if answer != b"+":
            raise linux.KernelError(
                f"the container file system cannot be made: {answer.decode() or 'killed'}"
            )
        return Template(os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC), moves, links)
    finally:
        os.close(ready)
        os.close(child_hold)
        os.waitpid(pid, 0)


def _host_directories() -> Iterable[tuple[str, str]]:
    with os.scandir("/") as entries:
        names = sorted(
            e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")
        )
    return ((f"/{name}", f"/{name}") for name in names if name not in OWN)


def _interpreter() -> Iterable[tuple[str, str]]:
    """Built-in programs import from where Python and netemu are: that stays visible even under /root."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = {os.path.realpath(path) for path in (sys.base_prefix, sys.prefix, package)}
    for number, path in enumerate(sorted(p for p in paths if p.split("/")[1] in OWN)):
        yield f"/.python{number}", path


def _lay_out(share: str, moves: Sequence[tuple[str, str]], hidden: Iterable[str]) -> None:
    """The template's own file system, in the calling child."""
    linux.unshare(linux.CLONE_NEWNS)
    mounts.private("/")
    trees = [(mounts.clone(share if path == SHARE else target), path) for path, target in moves]
    borrowed = [
        (mounts.clone(path), _BORROWED + path)
        for path in (*(f"/dev/{name}" for name, _, _ in DEVICES), *_VISIBLE)
    ]
    mounts.tmpfs("/tmp", size="1m")
    for name in (*(path for _, path in trees), _NEW, _OLD):
        os.mkdir(f"/tmp{name}")
    for tree, path in trees:
        mounts.attach(tree, f"/tmp{path}")
        os.close(tree)
    os.chdir("/tmp")
    linux.pivot_root(".", _OLD[1:])
    os.chdir("/")
    mounts.umount(_OLD)
    with open("/.nothing", "wb"):
        os.mkdir("/.empty", 0o555)
    borrowed = borrowed if _must_borrow() else []
    for path in hidden:
        _hide(path)
    flags = linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NODEV
    linux.mount_setattr("/", flags, recursive=True)
    for tree, path in borrowed:
        mounts.attach(tree, path)


def _must_borrow() -> bool:
    """Below a user namespace nobody may make devices: those of the host are mounted, as runc does it; and a
    container gets its own /proc and /sys only in a mount namespace where others are seen already."""
    try:
        os.mknod("/.device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.unlink("/.device")
        return False
    except PermissionError:
        for path in ("", "/dev", *_VISIBLE):
            os.mkdir(_BORROWED + path, 0o755)
        for name, _, _ in DEVICES:
            os.mknod(f"{_BORROWED}/dev/{name}")
        return True


def _hide(path: str) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        directory = stat.S_ISDIR(os.stat(path).st_mode)
        mounts.bind("/.empty" if directory else "/.nothing", path)


def take(source: str, target: str, *, readonly: bool) -> Binding:
    """A volume, taken before the mount namespace is left. OSError with the path when it is not there."""
    directory = stat.S_ISDIR(os.stat(source).st_mode)
    return Binding(mounts.clone(source), os.path.normpath(target), directory, readonly)


def enter(
    template: Template,
    bindings: Sequence[Binding],
    links: Sequence[tuple[str, str]],
    security: cri.Security,
) -> None:
    """Make a container's root and go there, from the pod's network and pid namespace (pid: for children)."""
    privileged = security.privileged
    linux.setns(template.namespace, linux.CLONE_NEWNS)
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("container", _NEW, "tmpfs", linux.MS_NOSUID, "mode=755,size=256m")  # with devices
    mask = os.umask(0)
    for path, mode in DIRECTORIES:
        os.mkdir(_NEW + path, mode)
    for source, target in template.moves:
        os.makedirs(_NEW + target, exist_ok=True)
        mounts.move(source, _NEW + target)
    for path, target in (*LINKS, *template.links, *links):
        os.symlink(target, _NEW + path)
    _devices(_NEW + "/dev")
    _mount_proc(_NEW + "/proc")
    mounts.sysfs(_NEW + "/sys", readonly=not privileged)
    mounts.devpts(_NEW + "/dev/pts")
    os.chdir(_NEW)
    mounts.move(".", "/")  # as switch_root(8): to unmount the old root would wait for the kernel's readers
    os.chroot(".")
    if not privileged:
        _protect_kernel()
    for binding in sorted(bindings, key=lambda b: b.target.count("/")):
        _attach(binding)
    if security.readonly_root:
        linux.mount_setattr("/", linux.MOUNT_ATTR_RDONLY, recursive=False)
    os.umask(mask)


def _devices(directory: str) -> None:
    for name, major, minor in DEVICES:
        try:
            os.mknod(f"{directory}/{name}", 0o666 | stat.S_IFCHR, os.makedev(major, minor))
        except PermissionError:
            os.mknod(f"{directory}/{name}")
            mounts.bind(f"{_BORROWED}/dev/{name}", f"{directory}/{name}")


def _mount_proc(place: str) -> None:
    """The processes of the pod: a child, which is in its pid namespace, has to do it."""
    program = f"{_NEW}{SHARE}/{MOUNT_PROC}"
    pid = os.posix_spawn(program, [MOUNT_PROC, place], {})
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(max(code, 0), f"mount proc: {os.strerror(max(code, 0))}")


def _protect_kernel() -> None:
    for path in READ_ONLY:
        with contextlib.suppress(FileNotFoundError):
            mounts.bind(path, path)
            mounts.remount_read_only(path)
    for path in MASKED:
        with contextlib.suppress(FileNotFoundError):
            mounts.bind("/dev/null", path)


def _attach(binding: Binding) -> None:
    _make_point(binding.target, directory=binding.directory)
    mounts.attach(binding.tree, binding.target)
    if binding.readonly:
        mounts.read_only_recursive(binding.target)


def _make_point(path: str, *, directory: bool) -> None:
    """See to it that something can be mounted at `path`, though the host's file system has no such place."""
    if os.path.exists(path):
        return
    parent = os.path.dirname(path)
    _make_point(parent, directory=True)
    try:
        _make(path, directory=directory)
    except OSError as refusal:
        if refusal.errno != errno.EROFS:
            raise
        _shadow(parent)
        _make(path, directory=directory)


def _make(path: str, *, directory: bool) -> None:
    if os.path.islink(path):  # one that leads nowhere, as the resolv.conf of a systemd host does in here
        os.unlink(path)
    if directory:
        os.mkdir(path, 0o755)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC, 0o644))


def _shadow(directory: str) -> None:
    """Replace a read-only directory by one of our own with the same entries (1 ms a hundred).

    Not an overlay: those may be stacked two deep only, and the host's root may be the second already.
    """
    os.mkdir(_OLD)
    mounts.attach(tree := mounts.clone(directory), _OLD)
    os.close(tree)
    mounts.tmpfs(directory, size="64m", name="container")
    with os.scandir(_OLD) as entries:
        for entry in entries:
            place = f"{directory}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), place)
            else:
                _make(place, directory=entry.is_dir())
                mounts.bind(entry.path, place, recursive=True)
    mounts.umount(_OLD)
    os.rmdir(_OLD)
