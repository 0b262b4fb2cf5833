import json
from pathlib import Path

from jobs.sample import CHECKPOINT
from pipeline.checkpoints.decision import with_decision
from pipeline.checkpoints.folder import CheckpointFolder


def folder(path: Path, **rookery: object) -> Path:
    for file in CHECKPOINT.iterdir():
        if file.name != "rookery.json":  # what is written through a link changes the sample's own
            (path / file.name).symlink_to(file)
    if rookery:
        (path / "rookery.json").write_text(json.dumps(rookery))
    return path


def test_what_is_written_is_what_the_folder_then_says(tmp_path: Path):
    path = folder(tmp_path, problem_type="multi_label")
    thresholds = {label: 0.1 * i for i, label in enumerate(CheckpointFolder.open(path).head.labels)}
    (path / "rookery.json").write_bytes(with_decision(path, thresholds, 1.25))
    decision = CheckpointFolder.open(path).decision
    assert decision.temperature == 1.25
    assert decision.thresholds == thresholds


def test_whatever_else_is_there_stays(tmp_path: Path):
    windows = {"max_tokens": 512}
    path = folder(tmp_path, windows=windows, temperature=3.0, thresholds={"rust": 0.1, "swift": 0.2})
    assert json.loads(with_decision(path, {"swift": 0.3, "python": 0.4}, 2.0)) == {
        "windows": windows,
        "temperature": 2.0,
        "thresholds": {"rust": 0.1, "swift": 0.3, "python": 0.4},
    }


def test_a_folder_without_the_file_gets_one(tmp_path: Path):
    assert json.loads(with_decision(folder(tmp_path), {}, 2.0)) == {"temperature": 2.0}
