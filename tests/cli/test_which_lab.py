"""Which lab is meant: what is said when that one is not up, but others are."""

import pytest

from netemu.base import errors
from netemu.cli import options
from netemu.lab import handle


def refuse():
    raise errors.Rejected("blue belongs to another user")


@pytest.mark.parametrize(
    ("labs", "hint"),
    [
        (lambda: (), "netemu up"),
        (lambda: (handle.Entry("old", "remains"),), "netemu up"),
        (lambda: (handle.Entry("blue", "up"),), "netemu up, or --name blue"),
        (
            lambda: (handle.Entry("blue", "up"), handle.Entry("red", "up")),
            "netemu up, or --name blue (blue, red are up)",
        ),
        (refuse, "netemu up"),
    ],
)
def test_a_lab_that_is_not_up(monkeypatch, tmp_path, labs, hint):
    monkeypatch.setenv("NETEMU_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(handle, "labs", labs)
    with pytest.raises(errors.Rejected, match="lab 'default' is not up") as refused:
        options.open_lab("default")
    assert refused.value.hint == hint
