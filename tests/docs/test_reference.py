"""The generated pages have everything, and what is written by hand beside them is complete."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from docs import reference
from jobs.config import JOBS
from pipeline import errors
from pipeline.errors import RookeryError
from pipeline.schema import errors_schema, predictions_schema
from pipeline.tables.snapshots import Manifest, SnapshotFile
from tests.conftest import ROOT


@cache
def page(name: str) -> str:
    return reference.filled((ROOT / "docs" / name).read_text(encoding="utf-8"))


def leaves(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any]]:
    """Each key that is a value, by its path, as pydantic knows it."""
    for name, field in model.model_fields.items():
        models = [part for part in _parts(field.annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
        if models:
            yield from leaves(models[0], f"{path}{name}.")
        else:
            yield path + name, field


def _parts(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *getattr(annotation, "__args__", ()))


@pytest.mark.parametrize("command", JOBS)
def test_every_key_is_on_the_page_with_its_description(command: str):
    text = page("job-file.md")
    for path, field in leaves(JOBS[command]):
        name = re.sub(r"^(pretraining\.corpus|gates\.gold)\.", "corpus.", path)
        assert f"[`{name}`]{{#" in text, path
        assert field.description in text, path


@pytest.mark.parametrize("command", JOBS)
def test_every_description_stands_alone(command: str):
    for path, field in leaves(JOBS[command]):
        assert field.description, path
        assert not re.match(r"(?i)(the same|likewise|ditto)\b", field.description), path
        assert field.description.endswith("."), path


@pytest.mark.parametrize("command", JOBS)
def test_every_example_is_on_the_page_and_valid(command: str):
    for path, field in leaves(JOBS[command]):
        for example in field.examples or []:
            assert f"`{reference._yaml(example)}`" in page("job-file.md"), path
            TypeAdapter(field.rebuild_annotation()).validate_python(example)


def test_every_option_is_on_the_page():
    text = page("command-line.md")
    for name, command in reference.all_commands().items():
        part = text.partition(f"## rookery {name}\n")[2].partition("\n## ")[0]
        assert command.help in part
        for parameter in command.params:
            shown = max(parameter.opts, key=len)
            assert f"`{shown if shown.startswith('-') else shown.upper()}" in part, (name, shown)


def test_every_column_is_on_the_page():
    text = page("table.md")
    fields = [field for fields in reference.TASK_COLUMNS.values() for field in fields]
    for field in [*predictions_schema(fields, []), *errors_schema([])]:
        assert f"| `{field.name}` |" in text
        assert field.metadata[b"meaning"].decode() in text


def test_every_key_of_the_manifest_is_on_the_page():
    text = page("table.md").partition("## The manifest")[2]
    for name in (*Manifest.__dataclass_fields__, *SnapshotFile.__dataclass_fields__):
        assert f"`{name}`" in text, name


def test_every_exit_code_is_on_the_page():
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RookeryError)]
    codes = {kind.exit_code for kind in classes} | {0, 130, 143}
    rows = re.findall(r"^\| ([\d, ]+) \|", page("faults.md"), re.M)
    assert {int(code) for row in rows for code in row.split(",")} == codes


def test_the_reasons_on_the_page_are_those_that_the_code_gives():
    part = page("faults.md").partition("## Reasons")[2].partition("\n## ")[0]
    reasons = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+) \|", part, re.M)))
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipeline").rglob("*.py"))
    assert not [reason for reason in reasons if f'"{reason}"' not in code]
    given = re.findall(r'(?:unreadable_row\(unit, \w+,|nreadable\((?:whole, )?|NoId\(|"reason":) ?"(\w+)"', code)
    assert {*given} <= {*reasons}
    assert len(reasons) - len({*given}) < 6  # or the pattern doesn't find how the code gives them any more


def test_what_nobody_generates_is_an_error():
    with pytest.raises(KeyError, match="nothing"):
        reference.filled("<!-- generated: nothing -->")
