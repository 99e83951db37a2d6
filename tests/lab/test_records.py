"""What is on disk about a lab survives crashes at any point, and nothing else is ever deleted."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netemu.base import errors
from netemu.kernel import process
from netemu.lab import config, handle, layout, records


@pytest.fixture(autouse=True)
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(records.VARIABLE, str(tmp_path / "labs"))
    return tmp_path / "labs"


def made(name: str, **changes: object) -> layout.Layout:
    place = records.of(name)
    Path(place.directory).mkdir(parents=True)
    who = process.identify(os.getpid())._replace(**changes)
    records.write(place, records.Record(name, who, 6443, config.default(name).document()))
    return place


def test_a_living_process_makes_a_lab() -> None:
    place = made("here")
    record = records.living(place)
    assert record is not None
    assert record.config == config.default("here")
    assert handle.labs() == (("here", "up"),)
    assert handle.open("here").nodes == ("control-plane-1", "worker-1", "worker-2")
    assert os.stat(place.identity).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("change", [{"start_time": 1}, {"boot_id": "before"}, {"pid": 2**22 + 1}])
def test_a_process_that_only_looks_alike_makes_remains(change: dict[str, object]) -> None:
    assert records.living(made("here", **change)) is None
    assert handle.labs() == (("here", "remains"),)
    with pytest.raises(errors.Rejected, match="not up"):
        handle.open("here")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": "x"}', '{"supervisor": 7}'])
def test_half_a_record_is_none(text: str, labs: Path) -> None:
    (labs / "here").mkdir(parents=True)
    (labs / "here" / "lab.json").write_text(text)
    assert records.read(records.of("here")) is None


def test_removal_takes_everything_of_a_lab_and_the_state_directory_with_the_last(labs: Path) -> None:
    place = made("here")
    (labs / "here" / "log").mkdir()
    (labs / "here" / "log" / "a.log").write_text("x")
    (labs / "here" / "store.db-wal").write_text("x")
    (labs / "here" / "kubeconfig").symlink_to("/etc/passwd")
    records.remove(place)
    assert not labs.exists()
    assert Path("/etc/passwd").exists()


def test_what_is_not_a_labs_is_never_removed(labs: Path) -> None:
    place = made("here")
    (labs / "here" / "thesis.txt").write_text("ten years of work")
    with pytest.raises(errors.Rejected, match="thesis"):
        records.remove(place)
    assert (labs / "here" / "thesis.txt").exists()
    assert Path(place.identity).exists(), "refused before anything was deleted"
    assert handle.labs() == ()


def test_one_works_on_a_lab_at_a_time() -> None:
    place = records.of("here")
    program = (
        "import sys\nfrom netemu.lab import records\n"
        "with records.claimed(records.of('here'), create=True):\n"
        " print('got it', flush=True)\n sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "got it\n"
        with pytest.raises(errors.Rejected, match="another netemu"), records.claimed(place, create=True):
            pass
        other.kill()
    with records.claimed(place, create=True) as there:
        assert there, "the claim ends with the process that had it"


def test_claiming_what_is_not_there() -> None:
    with records.claimed(records.of("nobody"), create=False) as there:
        assert not there


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-a", "x" * 33])
def test_names_stay_below_the_state_directory(name: str) -> None:
    with pytest.raises(errors.Rejected, match="lab name"):
        records.of(name)


def test_a_place_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(records.VARIABLE, str(tmp_path / "file"))
    with pytest.raises(errors.Rejected, match="file is not a directory"), claim():
        pass
    monkeypatch.setenv(records.VARIABLE, "/proc/no")
    with pytest.raises(errors.Rejected, match="cannot make /proc/no/x: "), claim():
        pass


def claim() -> contextlib.AbstractContextManager[bool]:
    return records.claimed(records.of("x"), create=True)


def test_a_record_is_json_with_the_whole_identity() -> None:
    with open(made("here").identity, encoding="utf-8") as file:
        found = json.load(file)
    assert set(found["supervisor"]) == {"pid", "start_time", "boot_id"}
