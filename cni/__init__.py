"""CNI executables `bridge`, `host-local`, `loopback`, and their installation into a directory of plugins.

Everything below this package imports the standard library, netemu.wire and netemu.kernel.rtnl only: a plugin
lives some twenty milliseconds, so what it imports is what it costs.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

EXECUTABLES = {"bridge": "bridge", "host-local": "hostlocal", "loopback": "loopback"}


def install(directory: "str | os.PathLike[str]", *, python: str | None = None) -> None:
    """Write small executables into `directory` (made if missing) that run these plugins with `python`.

    The default is the machine's own interpreter, which starts fastest; it needs no packages. Each file is
    replaced in one step: a runtime never finds half of one.
    """
    import os

    os.makedirs(directory, exist_ok=True)
    for name, module in EXECUTABLES.items():
        path = os.path.join(directory, name)
        text = wrapper(module, python or interpreter())
        new = f"{path}.{os.getpid()}"
        with open(new, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o755)
            file.write(text)
        os.replace(new, path)


def wrapper(module: str, python: str) -> str:
    """The text of an executable: -I ignores the caller's PYTHON* variables, -S leaves out site-packages.

    It ends before there is any garbage worth collecting; its own modules come after the standard library's,
    which are more.
    """
    path = f"import gc\nimport sys\n\ngc.disable()\nsys.path.append({root()!r})\n"
    return f"#!{python} -IS\n{path}from cni import {module}\n{module}.main()\n"


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
