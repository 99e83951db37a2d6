"""The doctor tries things and says what to do; it changes nothing."""

from pathlib import Path

import pytest

from netemu.kernel import features
from netemu.lab import doctor, records


def test_every_feature_has_a_purpose_and_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(records.VARIABLE, str(tmp_path / "labs"))
    checks = {check.name: check for check in doctor.examine()}
    assert set(features.names()) <= set(checks)
    assert all(check.purpose and check.remedy and (check.detail or check.ok) for check in checks.values())
    assert checks["leftovers"].ok
    assert not (tmp_path / "labs").exists(), "looking must not make anything"


def test_remains_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(records.VARIABLE, str(tmp_path))
    (tmp_path / "old" / "log").mkdir(parents=True)
    (tmp_path / "somebody-elses" / "photos").mkdir(parents=True)
    found = {check.name: check for check in doctor.examine()}["leftovers"]
    assert (found.ok, found.detail, found.remedy) == (False, "of lab old", "netemu down --all")
