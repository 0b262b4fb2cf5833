"""The command line as a whole: it starts fast, fits a terminal, and shows how each command is called."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from docs.reference import all_commands
from jobs.cli import COMMANDS, app
from tests.conftest import ROOT

LIBRARIES = "{'ray', 'torch', 'pyarrow', 'duckdb', 'sqlglot', 'fsspec', 'scipy', 'numpy'}"


def shown(*arguments: str) -> str:
    ended = CliRunner().invoke(app, arguments, terminal_width=80, env={"COLUMNS": "80", "TERM": "dumb"})
    assert ended.exit_code == 0, ended.output
    return ended.stdout


@pytest.mark.parametrize("command", ["--help", "--version", "version"])
def test_what_needs_no_library_loads_none(command: str):
    program = (
        "import sys; from jobs.cli import app; app(sys.argv[1:], standalone_mode=False); "
        f"print('loaded:', sorted({LIBRARIES} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", program, command], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == "loaded: []", ended.stderr


def test_every_command_has_a_line_of_its_own_in_the_help():
    lines = shown("--help").splitlines()
    for name, command in COMMANDS.items():
        assert sum(command.summary in line for line in lines) == 1, name


@pytest.mark.parametrize("name", sorted(all_commands().keys() - {"benchmark"}))  # which has its own parser
def test_every_commands_help_fits_a_terminal_and_ends_with_examples(name: str):
    lines = shown(*name.split(), "--help").splitlines()
    assert max(map(len, lines)) <= 80
    examples = [line.strip() for line in lines[lines.index(next(x for x in lines if x.strip() == "Examples")) + 1 :]]
    assert examples[0].startswith(f"rookery {name}")
    assert [line for line in examples if line] == [
        line.strip() for line in all_commands()[name].epilog.splitlines()[1:]
    ]


def test_a_shell_completes_commands_and_options():
    for typed, completed in (("rookery lab", "label"), ("rookery config --sch", "--schema")):
        words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_ROOKERY_COMPLETE": "complete_bash"}
        program = "from jobs.cli import app; app(prog_name='rookery')"
        ended = subprocess.run(
            [sys.executable, "-c", program], env=os.environ | words, cwd=ROOT, capture_output=True, text=True
        )
        assert ended.stdout.split() == [completed], ended.stderr
