"""The format that docs/extending.md shows is read as Python's own module reads it."""

import mailbox
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpus.folders import FORMATS_BY_ENDING
from pipeline.corpus.formats import FORMATS
from tests.corpus.files import put, rows_of, units_of

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = "From a@b Thu Jan  1 00:00:00 1970\nSubject: one\n\nFirst.\n\nFrom c@d Fri Jan  2\nSubject: zwei\n\nÜber.\n"


@pytest.fixture(autouse=True)
def mbox(monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = re.findall(r"```python\n(\"\"\"Mail folders.*?)```", (DOCS / "extending.md").read_text(), re.DOTALL)
    module: dict[str, Any] = {"__name__": "mbox"}
    exec(compile(source, "docs/extending.md", "exec"), module)
    formats: dict[Any, Any] = FORMATS
    by_ending: dict[Any, Any] = FORMATS_BY_ENDING
    monkeypatch.setitem(formats, "mbox", module["Mbox"]())
    monkeypatch.setitem(by_ending, ".mbox", "mbox")


@pytest.mark.parametrize("text_bytes", [1, 16_000_000], ids=["a part each", "one part"])
def test_messages_are_those_of_another_reader(tmp_path: Path, text_bytes: int) -> None:
    path = put(tmp_path / "a.mbox", FOLDER)
    with closing(mailbox.mbox(path)) as folder:
        expected = [message.as_bytes().decode() for message in folder]
    assert len(expected) == 2
    documents = rows_of(path, text_bytes)
    assert [row["text"] for row in documents] == expected
    assert [row["id"] for row in documents] == [f"file://{path}#0", f"file://{path}#1"]


def test_a_message_too_large_and_what_is_no_mail_are_errors(tmp_path: Path) -> None:
    path = put(tmp_path / "a.mbox", FOLDER.replace("First", "First" * 20))
    assert [row["reason"] for row in rows_of(path, max_document_bytes=50)] == ["too_large", None]
    put(path, "no mail\n")
    assert [row["reason"] for row in rows_of(path)] == ["damaged_file"]


def test_its_name_is_in_the_unit_s_id(tmp_path: Path) -> None:
    (unit,) = units_of(put(tmp_path / "a.mbox", FOLDER))
    assert str(unit.file.format) == "mbox"
