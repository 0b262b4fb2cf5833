"""Where a training job writes: found wrong before anything is read."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.storage.objects import Storage
from pipeline.training.places import check_places
from pipeline.training.prepare import work_folder
from tests.training.corpora import job, write


def test_an_output_that_can_be_written_is_not_made_yet(tmp_path: Path) -> None:
    made = job(write(tmp_path / "a.jsonl", 2), tmp_path / "out/model")
    check_places(Storage(), made)
    assert not made.output.path.exists()
    assert not work_folder(made).exists()


@pytest.mark.parametrize(
    ("output", "sections", "message"),
    [
        ("file/model", {}, "output.folder .*/file/model: .*/file: can't be written"),
        ("/proc/model", {}, "output.folder /proc/model: /proc: can't be written"),
        ("corpus/model", {}, "output.folder .*/corpus/model: lies where corpus.uris .*/corpus finds"),
        (".", {}, "output.folder .*: lies where corpus.uris"),
        (
            "test/model",
            {"test": {"uris": "FOLDER/test", "label_column": "label"}},
            "lies where test.uris .*/test finds",
        ),
        (
            "more/model",
            {"pretraining": {"corpus": {"uris": "FOLDER/more/**"}, "epochs": 1}},
            "lies where pretraining.corpus.uris .* finds",
        ),
        (
            "model",
            {"validation": {"uris": "FOLDER/model.work", "label_column": "label"}},
            "work folder .*/model.work: lies where validation.uris",
        ),
    ],
    ids=["below a file", "proc", "in the corpus", "around it", "in the test's", "in the pretraining's", "work folder"],
)
def test_an_output_that_cannot_be(tmp_path: Path, output: str, sections: dict[str, Any], message: str) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "file").touch()
    write(tmp_path / "corpus/a.jsonl", 2)
    sections = json.loads(json.dumps(sections).replace("FOLDER", str(tmp_path)))
    made = job(tmp_path / "corpus", tmp_path / output, **sections)
    with pytest.raises(ConfigError, match=message):
        check_places(Storage(), made)
