"""The file with all modules of the plugins: as good as the modules, and never older than they."""

import importlib
import marshal
import os
import subprocess
import sys

import pytest

import cni
from cni import bundle, bundled


@pytest.fixture
def path_hooks():
    before, modules = list(sys.meta_path), set(sys.modules)
    yield
    sys.meta_path[:] = before
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def stamp(path):
    found = os.stat(path)
    return str(path), found.st_mtime_ns, found.st_size


def test_modules_come_out_of_it_as_long_as_their_sources_are_the_same(tmp_path, path_hooks):
    source = tmp_path / "bundled_example.py"
    source.write_text("def answer(x: int) -> int:\n    return x\n")
    codes = {"bundled_example": ("", bundle._compiled(str(source)))}
    bundled.take((stamp(source),), codes)
    assert importlib.import_module("bundled_example").answer(42) == 42
    assert importlib.import_module("bundled_example").answer.__annotations__ == {}


@pytest.mark.parametrize("change", ["touch", "write", "remove"])
def test_a_source_that_changed_makes_it_void(tmp_path, path_hooks, change):
    source = tmp_path / "bundled_example.py"
    source.write_text("answer = 1\n")
    stamps, codes = (stamp(source),), {"bundled_example": ("", bundle._compiled(str(source)))}
    if change == "touch":
        os.utime(source, ns=(1, 1))
    elif change == "write":
        source.write_text("answer = 22\n")
    else:
        source.unlink()
    bundled.take(stamps, codes)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("bundled_example")


def test_it_is_made_by_the_installation_and_holds_what_a_plugin_imports(tmp_path):
    cni.install(tmp_path)
    with open(bundle.path(cni.root(), sys.implementation.cache_tag), "rb") as file:
        _, stamps, codes = marshal.load(file)
    assert {stamp(path) for path, *_ in stamps} == set(stamps)
    python = cni.interpreter()
    for name in cni.EXECUTABLES:
        text = (tmp_path / name).read_text().replace(f"frame.main({name!r})", f"frame.load({name!r})")
        text += "print(*[n for n in sys.modules if n.partition('.')[0] in ('cni', 'netemu')])\n"
        done = subprocess.run([python, "-IS", "-c", text], capture_output=True, check=True, text=True)
        assert set(done.stdout.split()) <= set(codes), name


@pytest.mark.parametrize("content", [b"", b"\0" * 9, b"not a bundle", None])
def test_one_that_is_broken_is_done_without(tmp_path, content):
    """As a plugin would meet it: the executable's own text, with another root."""
    (tmp_path / "cni" / "__pycache__").mkdir(parents=True)
    if content is not None:
        (tmp_path / "cni" / "__pycache__" / "plugins.any.bundle").write_bytes(content)
    text = cni._START.format(root=str(tmp_path)).replace("sys.implementation.cache_tag", "'any'")
    done = subprocess.run(
        [cni.interpreter(), "-IS", "-c", text + "print('on')"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"on\n")
