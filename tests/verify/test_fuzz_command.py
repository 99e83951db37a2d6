"""What `netemu fuzz` says: of a failure, how to come to it again; of an interrupted walk, which it was."""

import pytest
import yaml

from netemu.cli import main
from netemu.lab import config
from netemu.verify import clusters, fuzzing, fuzzlabs

STATE = {step.key: step.text for step in [clusters.put(clusters.named("Namespace", "x"))]}
STEP = clusters.put(clusters.named("Namespace", "y"))
WAYS = ["--seed", "7", "--proxy", "iptables", "--name", "f"]


@pytest.fixture
def found(monkeypatch):
    """Runs the command on a walk that ends so."""

    def run(capsys, failure, *options):
        walked = fuzzing.Walked(3, 90, (), failure)
        monkeypatch.setattr(fuzzlabs, "walk", lambda asked, progress, keep: walked)
        code = main.run(["fuzz", *WAYS, *options])
        return code, capsys.readouterr().out

    return run


def test_a_failure_says_how_to_come_to_it_again(found, capsys):
    code, said = found(capsys, fuzzing.Failure(3, STEP, (), STATE), "--keep")
    assert code == 1
    head, _, rest = said.partition("the fewest objects found that fail:\n")
    assert "step 3 (put Namespace y) leads to" in head
    objects, _, commands = rest.partition("\nagain: ")
    assert [one["metadata"]["name"] for one in yaml.safe_load_all(objects)] == ["x"]
    assert commands.splitlines()[0] == "netemu fuzz --seed 7 --steps 3 --proxy iptables"
    assert "netemu up -f /dev/stdin && netemu apply -f FILE && netemu verify" in commands
    document = yaml.safe_load(commands.partition("echo '")[2].partition("'")[0])
    assert config.parse(document).proxy.mode == "iptables"
    assert commands.endswith("netemu status --name f\n")


def test_the_objects_go_to_a_file_if_one_is_named(found, capsys, tmp_path):
    file = tmp_path / "small.yaml"
    code, said = found(capsys, fuzzing.Failure(0, STEP, (), STATE, (STEP,)), "--out", str(file))
    assert code == 1
    assert "the very beginning leads to" in said
    assert f"in {file}" in said
    assert "# then: put Namespace y" in file.read_text()
    assert "netemu apply" not in said  # it takes steps, which apply does not go
    _, said = found(capsys, fuzzing.Failure(1, STEP, (), STATE), "--out", str(file))
    assert f"netemu apply -f {file} && netemu verify" in said


def test_an_interrupted_walk_says_which_it_was(monkeypatch, capsys):
    def interrupted(asked, progress, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fuzzlabs, "walk", interrupted)
    monkeypatch.setattr(fuzzlabs, "mutate", interrupted)
    assert main.run(["fuzz", "--seed", "9", "--steps", "50"]) == 130
    assert "the walk was: netemu fuzz --seed 9 --steps 50\n" in capsys.readouterr().err
    assert main.run(["fuzz", "--seed", "9", "--mutations"]) == 130
    assert "the walk was: netemu fuzz --seed 9 --steps 100 --mutations\n" in capsys.readouterr().err
