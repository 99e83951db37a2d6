"""`network.cni` of a Lab document: another list, other plugins, and what cannot be."""

import pytest

from netemu.base import errors
from netemu.lab import config

LIST = '{"cniVersion": "1.0.0", "name": "own", "plugins": [{"type": "bridge"}]}'


def lab(**wanted):
    return config.parse({"network": {"cni": wanted}})


def test_paths_are_those_of_this_machine(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "own.conflist").write_text(LIST)
    monkeypatch.chdir(tmp_path)
    found = lab(conflist="own.conflist", bin="bin")
    assert found.network.cni.document() == {
        "conflist": str(tmp_path / "own.conflist"),
        "bin": str(tmp_path / "bin"),
    }
    assert found.network.cni.directories == ("/opt/cni/lab",)
    assert config.parse(found.document()) == found
    assert config.parse({}).network.cni.directories == ()


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"conflist": "nowhere"}, r"network\.cni\.conflist: there is no file .*/nowhere"),
        ({"bin": "nowhere"}, r"network\.cni\.bin: there is no directory .*/nowhere"),
        ({"bin": 5}, "must be the path of a directory, not 5"),
        ({"plugins": "x"}, "unknown field 'plugins'"),
        ({"conflist": "bad.conflist"}, r"bad\.conflist: network own: a plugin has no type"),
    ],
)
def test_what_cannot_be_is_one_clear_line(tmp_path, monkeypatch, wanted, why):
    (tmp_path / "bad.conflist").write_text(LIST.replace("type", "tpye"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.Rejected, match=why) as refused:
        lab(**wanted)
    assert "\n" not in str(refused.value)
