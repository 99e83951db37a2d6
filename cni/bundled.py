"""The reading side of a bundle: runs before anything else of this package is there, and imports nothing."""

import marshal
import sys
from posix import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class Bundle:
    """A finder and loader for sys.meta_path."""

    def __init__(self, codes: "dict[str, tuple[str, bytes]]") -> None:
        self._codes = codes

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> "ModuleSpec | None":
        """Of a module in the bundle; others are found as ever."""
        found = self._codes.get(name)
        if found is None:
            return None
        package = found[0]
        file = f"{package}/__init__.py" if package else name
        spec = type(sys.__spec__)(name, self, origin=file, is_package=bool(package))  # type: ignore[arg-type]
        if package:
            spec.submodule_search_locations = [package]
            spec.has_location = True  # the package knows its directory by its __file__
        return spec

    def create_module(self, _spec: object) -> None:
        """The usual kind."""

    def exec_module(self, module: "ModuleType") -> None:
        """Run the module's code."""
        exec(marshal.loads(self._codes[module.__name__][1]), module.__dict__)


def take(stamps: "tuple[tuple[str, int, int], ...]", codes: "dict[str, tuple[str, bytes]]") -> None:
    """Import from the bundle from now on, if every source is still the one it was made of."""
    for source, time, size in stamps:
        try:
            found = stat(source)
        except OSError:
            return
        if found.st_mtime_ns != time or found.st_size != size:
            return
    sys.meta_path.insert(0, Bundle(codes))
