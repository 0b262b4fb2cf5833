"""What SECURITY.md promises and no narrower test proves: nothing of the input runs, nothing secret is told."""

import io
import os
import pickle
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.label import run_job
from tests.jobs.test_label import job, job_file, rookery
from tests.s3 import S3Server

SECRET_TEXT = "quokka-4711"  # in every document, well-formed or not


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def pickled_column(values: list[object], in_a_list: bool) -> pa.Array:
    """What Ray's own column of Python objects looks like in a file: bytes, and a name that says what they are."""
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType

    stored = pa.array([pickle.dumps(value) for value in values], pa.large_binary())
    column = pa.ExtensionArray.from_storage(ArrowPythonObjectType(), stored)
    if not in_a_list:
        return column
    return pa.ListArray.from_arrays(pa.array(range(len(values) + 1), pa.int32()), column)


@pytest.mark.ray
@pytest.mark.parametrize("malicious", ["id", "text", "id in a list"])
def test_a_pickle_in_a_corpus_is_never_unpickled(ray: None, tmp_path: Path, malicious: str):
    """ray.data reads such columns by unpickling them, wherever it is imported: in every worker."""
    name, _, inside = malicious.partition(" in a ")
    victims = [tmp_path / name for name in ("was here", "and here")]
    column = pickled_column([Malicious(victim) for victim in victims], in_a_list=bool(inside))
    plain = pa.array(["one", "two"])
    columns = {"id": plain, "text": plain} | {name: column}
    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "corpus" / "a.parquet")
    (tmp_path / "corpus" / "b.jsonl").write_text('{"id": "good", "text": "a proposal"}\n')
    # a folder without a pattern may hold one format only
    manifest = run_job(job(tmp_path, f"corpus.uris={tmp_path}/corpus/*", "max_errors=100%"))
    assert manifest is not None
    assert manifest.counts["documents"] == 3
    assert not any(victim.exists() for victim in victims)


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its logs; a short path, because its sockets lie there too."""
    folder = Path(tempfile.mkdtemp(prefix="rookery-ray-"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.ray
@pytest.mark.s3
def test_documents_and_credentials_are_never_told(s3: S3Server, tmp_path: Path, ray_folder: Path):
    """Not on the terminal, not in Ray's logs, not in the table; good documents, bad ones, and a run that fails."""
    lines = [
        f'{{"id": "good", "text": "{SECRET_TEXT}"}}',
        f'{{"id": "number", "text": ["{SECRET_TEXT}"]}}',
        f'["{SECRET_TEXT}"]',
        f'{{"id": "cut", "text": "{SECRET_TEXT}',
        f'{{"id": "bytes", "text": "{SECRET_TEXT} \udcff"}}',
        f'{{"id": "surrogate", "text": "{SECRET_TEXT} \\ud800"}}',
        f"{SECRET_TEXT}",
    ]
    ragged = f"id,text\na,{SECRET_TEXT}\nb,{SECRET_TEXT},{SECRET_TEXT}\nc\n"
    filesystem, bucket = s3.filesystem(), s3.new_bucket()
    corpus = "\n".join(lines).encode(errors="surrogateescape")
    filesystem.pipe_file(f"{bucket}/corpus/a.jsonl", corpus)
    filesystem.pipe_file(f"{bucket}/corpus/b.csv", ragged.encode())
    settings = job(
        tmp_path,
        f"corpus.uris=s3://{bucket}/corpus/*",
        f"table.uri=s3://{bucket}/table",
        f"storage.endpoint_url={s3.endpoint}",
        "max_errors=0",
    )
    path = job_file(tmp_path / "job.yaml", settings)
    environment = s3.environment() | {"RAY_TMPDIR": str(ray_folder), "PYTHONUNBUFFERED": "1"}
    stopped = rookery("label", "--config", path, **environment)
    assert stopped.returncode == 4, stopped.stderr
    published = rookery("label", "--config", path, "--set", "max_errors=100%", **environment)
    assert published.returncode == 0, published.stderr
    shown = rookery("errors", "--config", path, **environment)
    assert "invalid_json" in shown.stdout, shown.stderr

    told = [run.stdout + run.stderr for run in (stopped, published, shown)]
    logs = [file for file in ray_folder.rglob("*") if file.is_file()]
    assert logs, "Ray logged elsewhere"
    table = {name: filesystem.cat_file(name) for name in filesystem.find(f"{bucket}/table")}
    rows = [
        repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
        for name, data in table.items()
        if name.endswith(".parquet")
    ]
    everything = [
        *(text.encode() for text in told),
        *(file.read_bytes() for file in logs),
        *table.values(),
        *rows,
    ]
    for secret in (SECRET_TEXT, s3.secret_key):
        assert not [data for data in everything if secret.encode() in data]
