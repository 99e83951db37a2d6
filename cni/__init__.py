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

    It ends before there is any garbage worth collecting; its own modules come after the standard library's,
    which are more.
    """
    path = f"import gc\nimport sys\n\ngc.disable()\nsys.path.append({root()!r})\n"
    return f"#!{python} -IS\n{path}from cni import frame\nframe.main({name!r})\n"


def whose(path: str) -> str:
    """The name of our plugin that the executable at `path` runs; "" if it is somebody else's, or changed.

    A copy of ours under another name keeps its own: what counts is what would run. OSError if unreadable.
    """
    import os

    with open(path, "rb", buffering=0) as file:
        first, _, rest = (file.read(_SAMPLE) or b"").partition(b"\n")
    if not first.startswith(b"#!"):
        return ""
    head, separator, tail = rest.decode(errors="replace").rpartition("frame.main('")
    name = tail.partition("'")[0]
    if not separator or name not in EXECUTABLES:
        return ""
    real = os.path.realpath(path)
    if real == os.path.join(root(), "cni", name):
        return name
    return name if head + separator + tail == wrapper(name, "").partition("\n")[2] else ""


_SAMPLE = 512  # our executables are shorter than this


def root() -> str:
    """The directory this package was found in."""
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
