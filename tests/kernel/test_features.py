"""Features are tried, not guessed: what works is seen by trying, and a trial leaves nothing behind."""

import os

import pytest

from netemu.kernel import features, mounts

pytestmark = pytest.mark.root


def ours() -> list[mounts.Mount]:
    """Kept namespaces (of other tests) come and go; whatever a probe mounts is something else."""
    return [mount for mount in mounts.table() if mount.fstype != "nsfs"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes namespaces and mounts")
@pytest.mark.parametrize("name", features.names())
def test_probes_answer_and_leave_the_mounts_alone(name: str) -> None:
    before = ours()
    found = features.probe(name)
    assert found.ok or found.detail, "a missing feature must say why"
    assert ours() == before


def test_unknown_feature_is_the_callers_mistake() -> None:
    with pytest.raises(KeyError):
        features.probe("antigravity")
