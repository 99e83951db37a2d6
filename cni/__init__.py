"""CNI executables named as people know them, and their installation into a directory of plugins.

Everything below this package imports the standard library, netemu.wire and netemu.kernel.rtnl only: a plugin
lives some twenty milliseconds, so what it imports is what it costs.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

# The module of each executable.
EXECUTABLES = {
    "bandwidth": "bandwidth",
    "bridge": "bridge",
    "flannel": "flannel",
    "host-local": "hostlocal",
    "loopback": "loopback",
    "macvlan": "macvlan",
    "portmap": "portmap",
    "ptp": "ptp",
    "static": "static",
    "tuning": "tuning",
}


def install(directory: "str | os.PathLike[str]", *, python: str | None = None) -> None:
    """Write small executables into `directory` (made if missing) that run these plugins with `python`.

    The default is the machine's own interpreter, which starts fastest; it needs no packages. Each file is
    replaced in one step: a runtime never finds half of one.
    """
    import os

    from cni import bundle

    bundle.write()
    os.makedirs(directory, exist_ok=True)
    for name in EXECUTABLES:
        path = os.path.join(directory, name)
        new = f"{path}.{os.getpid()}"
        with open(new, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o755)
            file.write(wrapper(name, python or interpreter()))
        os.replace(new, path)


def wrapper(name: str, python: str) -> str:
    """The text of an executable: -I ignores the caller's PYTHON* variables, -S leaves out site-packages.

    It ends before there is any garbage worth collecting. Its modules are in one file (see bundle), if that
    could be written; else they are imported as they are.
    """
    return f"#!{python} -IS\n{_START.format(root=root())}from cni import frame\n\nframe.main({name!r})\n"


def whose(path: str) -> str:
    """The name of our plugin that the executable at `path` runs; "" if it is somebody else's, or changed.

    A copy of ours under another name keeps its own: what counts is what would run. OSError if unreadable.
    """
    with open(path, "rb", buffering=0) as file:
        first, _, rest = (file.read(_SAMPLE) or b"").partition(b"\n")
    if not first.startswith(b"#!"):
        return ""
    name = rest.decode(errors="replace").rpartition("frame.main('")[2].partition("'")[0]
    if name not in EXECUTABLES:
        return ""
    ours = rest.decode(errors="replace") == wrapper(name, "").partition("\n")[2]
    return name if ours or _same_file(path, f"{root()}/cni/{name}") else ""


def _same_file(path: str, other: str) -> bool:
    from posix import stat

    try:
        mine, theirs = stat(path), stat(other)
    except OSError:
        return False
    return (mine.st_dev, mine.st_ino) == (theirs.st_dev, theirs.st_ino)


_SAMPLE = 4096  # our executables are shorter than this
_START = """\
import gc
import marshal
import sys

gc.disable()
sys.path.append({root!r})
try:
    with open({root!r} + f"/cni/__pycache__/plugins.{{sys.implementation.cache_tag}}.bundle", "rb") as file:
        start, stamps, codes = marshal.load(file)
    names = {{"__name__": "cni.bundled"}}
    exec(marshal.loads(start), names)
    names["take"](stamps, codes)
except (OSError, EOFError, TypeError, ValueError):
    pass
"""


def root() -> str:
    """The directory this package was found in."""
    if __file__.startswith("/"):
        return __file__.rpartition("/cni/")[0]
    import os

    return os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def interpreter() -> str:
    """A Python outside virtual environments: the system's if it is at least 3.11, else the base of ours."""
    import os
    import sys

    major, _, minor = (
        os.path.basename(os.path.realpath("/usr/bin/python3")).removeprefix("python").partition(".")
    )
    if major == "3" and minor.isdigit() and int(minor) >= 11:
        return "/usr/bin/python3"
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))
