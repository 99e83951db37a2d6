"""All modules of the plugins in one file, for a start with one look at the disk instead of three hundred.

The file lies among the compiled modules of this package and is as good as they: it holds each source's time
and size, and a plugin that finds one of them changed imports the modules themselves.
"""

import ast
import marshal
import os
import sys

import cni

_WIRE = ("addresses", "cni", "documents", "netlink", "nfnetlink", "records", "rtnetlink", "traffic")
_KERNEL = ("nfnl", "rtnl")


def path(root: str, tag: str) -> str:
    """Where the bundle for a Python (sys.implementation.cache_tag) is."""
    return f"{root}/cni/__pycache__/plugins.{tag}.bundle"


def write() -> bool:
    """Make the bundle for this Python, unless it is as it should be; False where nothing may be written."""
    where = path(cni.root(), sys.implementation.cache_tag)
    sources = dict(_sources(cni.root()))
    stamps = tuple(_stamp(source) for source in sources.values())
    if _stamps(where) == stamps:
        return True
    codes = {name: (_package(source), _compiled(source)) for name, source in sources.items()}
    new = f"{where}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(where), exist_ok=True)
        with open(new, "wb") as file:
            file.write(marshal.dumps((_compiled(sources["cni.bundled"]), stamps, codes)))
        os.replace(new, where)
    except OSError:
        return False
    return True


def _sources(root: str) -> "list[tuple[str, str]]":
    """Name and file of every module a plugin may import."""
    found = [("netemu", "netemu/__init__.py"), ("cni", "cni/__init__.py")]
    found += [(f"netemu.{room}", f"netemu/{room}/__init__.py") for room in ("wire", "kernel")]
    found += [(f"netemu.wire.{name}", f"netemu/wire/{name}.py") for name in _WIRE]
    found += [(f"netemu.kernel.{name}", f"netemu/kernel/{name}.py") for name in _KERNEL]
    names = sorted(name for name in os.listdir(f"{root}/cni") if name.endswith(".py"))
    found += [(f"cni.{name[:-3]}", f"cni/{name}") for name in names if name != "__init__.py"]
    return [(name, f"{root}/{file}") for name, file in found if os.path.exists(f"{root}/{file}")]


def _stamp(source: str) -> tuple[str, int, int]:
    found = os.stat(source)
    return source, found.st_mtime_ns, found.st_size


def _package(source: str) -> str:
    """The directory of a package; "" for another module."""
    return source.removesuffix("/__init__.py") if source.endswith("/__init__.py") else ""


def _compiled(source: str) -> bytes:
    with open(source, "rb") as file:
        tree = _Bare().visit(ast.parse(file.read(), source))
    code = compile(ast.fix_missing_locations(tree), source, "exec", dont_inherit=True, optimize=2)
    return marshal.dumps(code)


class _Bare(ast.NodeTransformer):
    """A module without what only its readers need."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        plain = ast.Assign([node.target], node.value) if node.value else ast.Pass()
        return ast.copy_location(plain, node)

    def visit_If(self, node: ast.If) -> "ast.AST | list[ast.stmt]":
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return [self.visit(each) for each in node.orelse] or ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)


def _stamps(where: str) -> "object":
    try:
        with open(where, "rb") as file:
            return marshal.load(file)[1]
    except (OSError, ValueError, EOFError, TypeError):
        return None
