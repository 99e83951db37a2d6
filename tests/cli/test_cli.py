"""The command line without a lab: what it says, what it imports, how it ends."""

import importlib
import json
import os
import pathlib
import pty
import signal
import subprocess
import sys
import tempfile
import types

import pytest

from netemu.api import kinds
from netemu.base import errors
from netemu.cli import main, proxy, resources, screen
from netemu.lab import up

ROOT = pathlib.Path(__file__).parents[2]


def netemu(*arguments, env=None, **settings):
    return subprocess.run(
        [sys.executable, "-m", "netemu.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        **settings,
    )


@pytest.fixture
def nowhere(tmp_path):
    """A state directory without a lab."""
    return {"NETEMU_STATE_DIR": str(tmp_path)}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["rnu"]])
def test_help_imports_nothing_heavy(arguments):
    program = f"""
import sys
from netemu.cli import main
main.run({arguments!r})
print(*sorted(sys.modules), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "click" in loaded
    for heavy in (
        "asyncio",
        "msgspec",
        "yaml",
        "scapy",
        "pyroute2",
        "cryptography",
        "ssl",
        "netemu.api.kinds",
    ):
        assert heavy not in loaded


@pytest.mark.parametrize("command", sorted(main.COMMANDS))
def test_every_command_has_help_with_an_example(command):
    done = netemu(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Example:\n" in done.stdout
    assert f"netemu {command}" in done.stdout.partition("Example:")[2]
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_misspelt_command():
    done = netemu("stats")
    assert done.returncode == 2
    assert done.stderr == "netemu: there is no command 'stats': did you mean 'status'?\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run"], "Missing argument 'SCENARIO'"),
        (["run", "nowhere/"], "no such file"),
        (["up", "--nodes", "0"], "0 is not in the range"),
        (["up", "--name", "Not A Name"], "lab name 'Not A Name' must be"),
        (["get", "pods"], "lab 'default' is not up"),
        (["get", "pods", "--name", "blue"], "lab 'blue' is not up"),
        (["get", "pdos"], "lab 'default' is not up"),
        (["delete"], "name either objects or -f FILE"),
        (["apply", "-f", "nowhere.yaml"], "nowhere.yaml: No such file or directory"),
        (["exec", "web"], "Missing argument"),
        (["shell", "worker-1"], "lab 'default' is not up"),
        (["probe", "the moon", "nodes"], "'the moon' is not a place"),
        (["logs"], "lab 'default' is not up"),
        (["logs", "--components", "control-plane"], "--components lists netemu's own parts"),
        (["apply", "-f", "/dev/null"], "no objects in /dev/null"),
        (["kubeconfig"], "lab 'default' is not up"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(nowhere, arguments, complaint):
    done = netemu(*arguments, env=nowhere)
    assert done.returncode == 2, done.stderr
    assert complaint in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert done.stdout == ""


def test_bad_manifests_are_refused_with_every_line_before_a_lab_is_looked_for(nowhere, tmp_path):
    file = tmp_path / "web.yaml"
    file.write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  prots: []\n  type: 7\n"
        "---\napiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: web}\n"
    )
    done = netemu("apply", "-f", str(file), env=nowhere)
    assert done.returncode == 2
    assert f'{file}:5: unknown field "spec.prots"' in done.stderr
    assert f"{file}:6: " in done.stderr
    assert f"{file}:9: netemu has no apps/v1beta1 Deployment (Deployment is in apps/v1)" in done.stderr


def test_status_of_nothing(nowhere):
    assert netemu("status", env=nowhere).stdout == "no lab is up, and nothing is left of any\n"
    assert json.loads(netemu("status", "--json", env=nowhere).stdout) == []
    assert netemu("status", "--name", "blue", env=nowhere).returncode == 1


def test_down_of_nothing(nowhere):
    assert netemu("down", "--all", env=nowhere).stdout == "there is no lab\n"
    none = netemu("down", env=nowhere)
    assert (none.returncode, none.stdout) == (0, "there is no lab default\n")


def test_a_group_without_a_command_shows_its_help():
    done = netemu("cni")
    said = done.stdout + done.stderr  # where, and the exit code, is click's choice
    assert said.startswith("Usage: ")
    assert "Example:" in said


@pytest.mark.parametrize("command", ["netpol wait", "netpol cleanup", "cni run", "cni test", "proxy explain"])
def test_commands_of_groups_have_examples(command):
    assert f"netemu {command}" in netemu(*command.split(), "--help").stdout.partition("Example:")[2]


@pytest.mark.root
def test_somebody_elses_lab_is_said_to_be_so(capfd):
    """An ordinary user asks for what root has made."""
    with tempfile.TemporaryDirectory() as state:
        os.chmod(state, 0o755)
        place = pathlib.Path(state, "default")
        place.mkdir(mode=0o700)
        (place / "lab.json").write_text("{}")
        for command in (["status"], ["get", "pods"], ["down"], ["up"]):
            child = os.fork()  # and not a new program: that user may not read this checkout
            if not child:
                for module in (
                    f"cli.{command[0]}",
                    "cli.resources",
                    "lab.up",
                    "lab.down",
                    "scenario.applying",
                ):
                    importlib.import_module(f"netemu.{module}")
                os.environ["NETEMU_STATE_DIR"] = state
                os.seteuid(65534)
                os._exit(main.run(command))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said = capfd.readouterr().err
            assert code == 2, said
            assert said.startswith(f"netemu: {place} belongs to another user\n")


def test_a_bug_is_one_line_and_leaves_its_traceback(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(main.COMMANDS, "status", ("screen", "no command in it"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert main.run(["status"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("netemu: unexpected AttributeError")
    (file,) = tmp_path.glob("netemu-*.traceback")
    assert str(file) in said
    assert "Traceback" in file.read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    done = netemu("completion", shell)
    assert done.returncode == 0
    assert "_NETEMU_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("netemu sta", ["status"]),
        ("netemu get podt", ["podtemplates"]),
        ("netemu down --name b", ["blue"]),
        ("netemu shell w", []),  # that lab is not up
    ],
)
def test_completion_completes(tmp_path, line, words):
    (tmp_path / "blue").mkdir()
    env = {"_NETEMU_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    env["NETEMU_STATE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'netemu'; from netemu.cli import main; main.main()",
        ],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.split() == [f"plain,{word}" for word in words], done.stderr


@pytest.mark.parametrize(
    ("module", "code", "words"),
    [("click", -signal.SIGINT, ""), ("netemu.cli.get", 130, "netemu: interrupted")],
)
def test_an_interrupt_shows_no_traceback(nowhere, module, code, words):
    """While the command line comes in, and then while a command does."""
    program = f"""
import importlib.abc, os, signal, sys
from netemu.cli import start

class Interrupter(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupter())
sys.argv = ["netemu", "get", "pods"]
start.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **nowhere},
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (code, "", words)


@pytest.mark.parametrize(("user", "sudo", "keeping"), [("me", "sudo ", "sudo -E "), ("", "", "")])
def test_up_says_what_to_type_next(monkeypatch, capsys, user, sudo, keeping):
    made = types.SimpleNamespace(name="blue", nodes=("one", "two"), kubeconfig="/run/config")
    monkeypatch.setattr(up, "up", lambda wanted, progress: made)
    monkeypatch.setenv("SUDO_USER", user)
    assert main.run(["up", "--name", "blue"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("lab blue is up: one, two (")
    assert rest == [
        f"  {sudo}netemu get nodes --name blue",
        f"  export KUBECONFIG=/run/config   # for {keeping}kubectl",
    ]


# -- the screen


def test_columns_are_aligned_whatever_their_colours(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    rows = [["\x1b[32mok\x1b[0m", "first", "x"], ["missing", "2", "y"]]
    plain = [screen.click.unstyle(line) for line in screen.table(rows)]
    assert plain == ["ok        first   x", "missing   2       y"]


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (0, ["WHO      TO          WHY", "client   web:80 IP   no route", "b        c"]),
        (29, ["WHO      TO          WHY", "client   web:80 IP   no route", "b        c"]),
        (28, ["WHO      TO", "      WHY", "client   web:80 IP", "      no route", "b        c"]),
        (15, ["WHO", "      TO", "      WHY", "client", "      web:80 IP", "      no route", "b", "      c"]),
    ],
)
def test_rows_that_are_too_wide_go_on_below(width, text):
    rows = [["WHO", "TO", "WHY"], ["client", "web:80 IP", "no route"], ["b", "c", ""]]
    assert screen.folded(rows, width=width) == text


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (0, ["  1. ingress of shop/db-0 is isolated by policy shop/db"]),
        (80, ["  1. ingress of shop/db-0 is isolated by policy shop/db"]),
        (30, ["  1. ingress of shop/db-0 is", "     isolated by policy", "     shop/db"]),
        (5, ["  1. ingress of", "     shop/db-0 is", "     isolated by policy", "     shop/db"]),
    ],
)
def test_long_lines_go_on_deeper(width, lines):
    assert screen.wrapped("  1. ingress of shop/db-0 is isolated by policy shop/db", width) == lines


class Terminal:
    """A stream that says it is a terminal, over a real one's name for what is written to it."""

    def __init__(self, is_one):
        self.is_one = is_one
        self.text = ""

    def isatty(self):
        return self.is_one

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_colours_go_to_terminals_that_want_them(monkeypatch, terminal, no_color, coloured):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_color)
    assert ("\x1b[" in screen.painter(Terminal(terminal))("bad", "x")) is coloured


def test_progress_elsewhere_is_a_line_for_each_step():
    stream = Terminal(False)
    with screen.Progress(stream=stream) as progress:
        progress("making")
        progress("making")
        progress("waiting")
    assert [line[10:] for line in stream.text.splitlines()] == ["making", "waiting"]


def test_progress_on_a_terminal_leaves_nothing_behind(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal(True)
    with screen.Progress(stream=stream) as progress:
        progress("making")
    assert "\n" not in stream.text
    assert stream.text.endswith("\r\x1b[K")


def test_quiet_says_nothing():
    stream = Terminal(True)
    with screen.Progress(quiet=True, stream=stream) as progress:
        progress("making")
    assert stream.text == ""


def test_a_real_terminal_gets_colours(nowhere):
    """Through a pseudo-terminal: the error's first word is red."""
    master, slave = pty.openpty()
    env = {**os.environ, **nowhere, "TERM": "xterm"}
    env.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "netemu.cli.main", "get", "pods"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=env,
        cwd=ROOT,
    ) as process:
        os.close(slave)
        text = os.read(master, 4096).decode()
        assert process.wait() == 2
    os.close(master)
    assert text.startswith("\x1b[31m\x1b[1mnetemu:\x1b[0m")


# -- words for kinds


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["po"], [("Pod", "")]),
        (["svc,ep"], [("Service", ""), ("Endpoints", "")]),
        (["deployments.apps", "web"], [("Deployment", "web")]),
        (["pod/a", "svc/b"], [("Pod", "a"), ("Service", "b")]),
        (["deployment.apps/web"], [("Deployment", "web")]),  # as `apply` and `get -o name` write it
        (["NODE", "worker-1", "worker-2"], [("Node", "worker-1"), ("Node", "worker-2")]),
    ],
)
def test_words(words, meant):
    assert [(named.kind.kind, named.name) for named in resources.parse(words)] == meant


def test_all_is_a_category():
    assert {"Pod", "Service", "Deployment", "ReplicaSet"} <= {kind.kind for kind in resources.kinds_of("all")}


def test_kinds_of_ones_own_come_after_netemus():
    def custom(api_version, kind, plural, *short, categories=()):
        record = kinds.nameless(api_version, kind)
        return kinds.custom(record, plural, short_names=short, categories=categories)

    tab, old = (
        custom(f"example.com/{version}", "CronTab", "crontabs", "ct", categories=("all",))
        for version in ("v2", "v1")
    )
    pod = custom("example.com/v1", "Pod", "pods")
    assert [named.kind for named in resources.parse(["ct", "mine"], lambda: (tab, old, pod))] == [tab]
    assert resources.parse(["pods.example.com/a"], lambda: (tab, old, pod)) == (resources.Named(pod, "a"),)
    assert resources.kinds_of("pods", lambda: pytest.fail("asked for what netemu has")) == (
        kinds.named("v1", "Pod"),
    )
    every = resources.kinds_of("all", lambda: (tab, old, pod))
    assert every[:-1] == resources.kinds_of("all")
    assert every[-1] is tab


def test_every_short_name_means_one_kind():
    for kind in kinds.ALL:
        for word in (kind.plural, *kind.short_names):
            if "list" in kind.verbs:
                assert len(resources.kinds_of(word)) == 1


@pytest.mark.parametrize("words", [["pod/a", "web"], ["nothing"], ["nothing/a"]])
def test_words_that_mean_nothing(words):
    with pytest.raises(errors.Rejected):
        resources.parse(words)


@pytest.mark.parametrize(
    ("chances", "wanted"),
    [
        ([("50", "web-0", False), ("50", "web-1", False)], "50 % each: web-0, web-1"),
        ([("50", "web-0", True), ("50", "", True)], "50 % each: web-0, 10.0.0.1:80 (masqueraded)"),
        ([("50", "web-0", True), ("50", "web-1", False)], "50 % web-0 (masqueraded), 50 % web-1"),
        ([("100", "web-0", True)], "100 % web-0 (masqueraded)"),
    ],
)
def test_what_is_alike_of_several_backends_is_said_once(chances, wanted):
    names = ("percent", "target", "masqueraded")
    documents = [dict(zip(names, chance, strict=True)) | {"backend": "10.0.0.1:80"} for chance in chances]
    assert proxy._gets(documents) == wanted
