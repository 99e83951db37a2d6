"""What tests of several commands share: running one."""

import pytest

from netemu.cli import main


@pytest.fixture
def run(capsys):
    """Runs a command: its exit code, and what it said on stdout and stderr."""

    def run(*arguments):
        code = main.run(list(map(str, arguments)))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
