"""Every command and every job file of the pages is run or parsed."""

import itertools
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from docs.reference import all_commands
from jobs.config import JOBS
from jobs.measure.benchmark.command import argument_parser
from pipeline.config.loader import parse_settings
from tests.conftest import ROOT
from tests.docs.pages import PAGES, Block, blocks, inline_code, name, tokens

COMMANDS = all_commands()
# programs that are not ours: their files are looked for
OTHERS = {"docker", "export", "kubectl", "pip", "ray", "source", "ssh"}
LANGUAGES = (
    "bash",
    "yaml",
    "json",
    "python",
    "sql",
    "text",
    "diff",
    "{math}",
    "{toctree}",
    "{eval-rst}",
    "{include} ../SECURITY.md",
)


def test_every_block_says_what_it_is():
    fences = {
        f"{name(page)}: {token.info}": token.info for page in PAGES for token in tokens(page) if token.type == "fence"
    }
    assert not [fence for fence, language in fences.items() if language not in LANGUAGES]


def commands(block: Block) -> list[list[str]]:
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(re.split(" [>|] ", line)[0], comments=True))]


@pytest.mark.parametrize("block", blocks("bash"), ids=str)
def test_every_command_is_one(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "best.pt").touch()
    monkeypatch.chdir(tmp_path)
    for command in commands(block):
        check(command)


def check(command: list[str]) -> None:
    program, *arguments = command
    if program == "rookery":
        check_rookery(arguments)
    elif program.endswith("python"):
        check_module(arguments)
    elif program == "bash" or program.startswith("deploy/"):
        script = ROOT / (arguments[0] if program == "bash" else program)
        subprocess.run(["bash", "-n", script], check=True)
    else:
        assert program in OTHERS, command
        check_files(arguments)
        if "--" in arguments:
            check(arguments[arguments.index("--") + 1 :])


def check_rookery(arguments: list[str]) -> None:
    if arguments == ["--help"]:
        return
    is_group = " ".join(arguments[:2]) in COMMANDS
    name, options = (" ".join(arguments[:2]), arguments[2:]) if is_group else (arguments[0], arguments[1:])
    if name == "benchmark":
        argument_parser().parse_args(options)
    else:
        COMMANDS[name].make_context(name, options)  # raises what a person would see


def check_module(arguments: list[str]) -> None:
    flag, module, *options = arguments
    assert flag == "-m"
    if module == "pytest":
        assert all((ROOT / option).exists() for option in options if not option.startswith("-"))
    elif module in ("jobs.label", "jobs.train"):
        check_rookery([module.removeprefix("jobs."), *options])
    else:
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def check_files(arguments: list[str]) -> None:
    named = [value for option, value in itertools.pairwise(arguments) if option in ("-f", "-k")]
    for file in [*named, *(argument for argument in arguments if argument.startswith("deploy/"))]:
        assert (ROOT / file).exists(), file


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_in_a_sentence_is_one(page: Path):
    for code in inline_code(page):
        if match := re.match(rf"rookery ({'|'.join(sorted(COMMANDS, reverse=True))}|\w+)(.*)", code):
            assert match[1] in COMMANDS, code
            known = {option for parameter in COMMANDS[match[1]].params for option in parameter.opts}
            if match[1] == "benchmark":
                known = {option for action in argument_parser()._actions for option in action.option_strings}
            assert set(re.findall(r"--[\w-]+", match[2])) <= known, code
        elif match := re.match(r"(?:bash )?(deploy/\w+\.sh)", code):
            assert (ROOT / match[1]).is_file(), code
        elif match := re.search(r"python -m (jobs(?:\.\w+)+)", code):
            module = ROOT / match[1].replace(".", "/")
            assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file(), code


REQUIRED = {"corpus": {"uris": "x"}, "checkpoint": {"uri": "x"}, "table": {"uri": "x"}}
SHIPPED = sorted([*(ROOT / "jobs").rglob("*.yaml"), *(ROOT / "deploy").rglob("job.yaml")])


def kind_of(tree: dict[str, Any]) -> str:
    return "train" if "output" in tree else "evaluate" if "evaluation" in tree else "label"


def check_job(text: str, source: str) -> None:
    """Both judges: the program, and the JSON Schema that an editor goes by."""
    tree = yaml.safe_load(text)
    kind = kind_of(tree)
    parse_settings(JOBS[kind], text, [], source)
    jsonschema.validate(tree, JOBS[kind].model_json_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_every_job_file_is_one(block: Block):
    tree, text = yaml.safe_load(block.text), block.text
    is_whole = "checkpoints" in tree  # which no part of one has alone
    if kind_of(tree) == "label" and not is_whole and (missing := REQUIRED.keys() - tree.keys()):  # it is a part of one
        text += yaml.safe_dump({section: REQUIRED[section] for section in missing})
    check_job(text, str(block))


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_every_shipped_job_file_is_one(path: Path):
    check_job(path.read_text(encoding="utf-8"), name(path))


def test_every_json_and_python_block_is_valid():
    for block in blocks("json"):
        assert isinstance(json.loads(block.text), dict)
    for block in blocks("python"):
        compile(block.text, str(block), "exec")


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A snapshot as the page on the table calls it, with a partition."""
    folder = tmp_path / "topics/data/snapshot=00000000000000000012/collection=a"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"id": ["x"], "label": ["sports"]}), folder / "part-0001-0123456789abcdef.parquet")
    monkeypatch.chdir(tmp_path)
    return folder


def test_pyarrow_reads_a_snapshot_as_the_page_says(snapshot: Path):
    (block,) = [block for block in blocks("python") if "pyarrow.dataset" in block.text]
    names: dict[str, Any] = {}
    exec(block.text, names)
    assert names["table"].to_pylist() == [{"id": "x", "label": "sports", "collection": "a"}]
    assert names["frame"].shape == (1, 3)


def test_duckdb_reads_a_snapshot_as_the_page_says(snapshot: Path):
    (block,) = [block for block in blocks("sql") if block.text.startswith("FROM read_parquet")]
    rows = duckdb.sql(block.text.replace("s3://my-tables/", "").rstrip("; \n")).project("id, label, collection")
    assert rows.fetchall() == [("x", "sports", "a")]
