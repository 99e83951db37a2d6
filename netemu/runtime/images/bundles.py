"""The built-in programs as one executable file, for shells in containers: `sh -c "/agnhost connect ..."`.

A zip archive behind a shebang line, which Python runs; the name it is called by says which program. It holds
standard-library code only, so it needs nothing of netemu's to be visible in the container.
"""

import importlib.util
import io
import os
import zipfile

from netemu.runtime import eventloop
from netemu.runtime.images import commands

INTERPRETERS = ("/usr/bin/python3", "/usr/local/bin/python3", "/bin/python3")
_MAIN = """import importlib, os, sys
PROGRAMS = {programs!r}
name = os.path.basename(sys.argv[0])
module, _, function = PROGRAMS[name].partition(":")
sys.exit(getattr(importlib.import_module(module), function)(sys.argv))
"""


def archive() -> bytes:
    """The file's bytes; the interpreter is the system's, as containers see it."""
    interpreter = next((path for path in INTERPRETERS if os.access(path, os.X_OK)), INTERPRETERS[0])
    programs = {os.path.basename(name): where for name, where in commands.bundled().items()}
    content = io.BytesIO()
    content.write(f"#!{interpreter} -IS\n".encode())
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as package:
        package.writestr("__main__.py", _MAIN.format(programs=programs))
        for name, source in _sources():
            package.writestr(name, source)
    return content.getvalue()


def _sources() -> list[tuple[str, bytes]]:
    package = importlib.util.find_spec("netemu.runtime.programs")
    assert package is not None
    assert package.submodule_search_locations is not None
    (directory,) = package.submodule_search_locations
    found = [("netemu/__init__.py", b""), ("netemu/runtime/__init__.py", b"")]
    with open(eventloop.__file__, "rb") as file:
        found.append(("netemu/runtime/eventloop.py", file.read()))
    for name in sorted(os.listdir(directory)):
        if name.endswith(".py"):
            with open(f"{directory}/{name}", "rb") as file:
                found.append((f"netemu/runtime/programs/{name}", file.read()))
    return found
