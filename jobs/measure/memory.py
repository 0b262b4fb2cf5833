"""What the job holds in memory: `python -m jobs.measure.memory`.

Generates what can't be cut beforehand, a compressed stream and a Parquet file with one row group, labels both in a
process of its own, and watches the most that the driver and each of Ray's processes had resident (VmHWM, which counts
the pages of Ray's shared object store too). Documents are labelled by their beginning only, so nearly all of the work
is to read and to tokenize. Fails above the limits.
"""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.table import Column, Table

from jobs.measure.figures import as_markdown
from jobs.measure.page import Page, made_by
from jobs.sample import CHECKPOINT, CORPUS
from jobs.terminal.console import console
from pipeline.processes import family

DRIVER_BYTES, WORKER_BYTES = 1_000_000_000, 2_500_000_000
DOCUMENT_CHARACTERS = 50_000
_STEP = 7_919  # characters between the beginnings of two documents, so that no two are the same for long
_POLL_S = 0.1


def memory(
    stream_bytes: Annotated[int, typer.Option(help="JSON Lines in the zst file.")] = 3_000_000_000,
    row_group_bytes: Annotated[int, typer.Option(help="Text in the Parquet file's row group.")] = 2_000_000_000,
    markdown: Annotated[Path | None, typer.Option(help="Write the figures into this page too.")] = None,
) -> None:
    """Label a large stream and a large row group, and watch the memory."""
    page = Page(markdown)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_stream(folder / "corpus" / "stream.jsonl.zst", stream_bytes)
        write_row_group(folder / "corpus" / "row-group.parquet", row_group_bytes)
        started = time.perf_counter()
        peaks = watched([*LABEL, *settings(folder)])
        took = f"labelled in {time.perf_counter() - started:.0f} s"
    console.print(took)
    console.print(peak_table(peaks))
    page.write(made_by(), [took, as_markdown(peak_table(peaks))])
    driver, worker = peaks.pop("driver"), max(peaks.values())
    if driver > DRIVER_BYTES or worker > WORKER_BYTES:
        raise typer.Exit(1)


LABEL = [sys.executable, "-m", "jobs.cli", "label"]


def settings(folder: Path) -> list[str]:
    """Writes a job file; returns the arguments that name it."""
    job = {
        "corpus": {"uris": f"{folder}/corpus/*"},
        "checkpoint": {"uri": str(CHECKPOINT)},
        "table": {"uri": f"{folder}/table"},
        "text": {"max_tokens": 64, "overlap": 0, "long_documents": "head"},
    }
    (folder / "job.yaml").write_text(json.dumps(job))  # which is YAML
    return ["--config", f"{folder}/job.yaml"]


def documents(total: int) -> Iterator[str]:
    """Makes about `total` characters of real text, in documents of 50,000."""
    text = "\n".join(pq.read_table(CORPUS / "train.parquet")["text"].to_pylist())
    text += text[:DOCUMENT_CHARACTERS]
    for number in range(total // DOCUMENT_CHARACTERS):
        start = number * _STEP % (len(text) - DOCUMENT_CHARACTERS)
        yield text[start : start + DOCUMENT_CHARACTERS]


def write_stream(path: Path, total: int) -> None:
    """Writes about `total` characters as JSON Lines, compressed by zstd."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.CompressedOutputStream(path, "zstd") as file:
        for text in documents(total):
            file.write(json.dumps({"text": text}).encode() + b"\n")


def write_row_group(path: Path, total: int) -> None:
    """Writes about `total` characters as one Parquet row group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = documents(total)
    chunks = []
    while some := list(itertools.islice(texts, 100)):
        chunks.append(pa.array(some, pa.large_string()))
    table = pa.table({"text": pa.chunked_array(chunks)})
    pq.write_table(table, path, row_group_size=len(table), use_dictionary=False, compression="zstd")


def watched(command: list[str]) -> dict[str, int]:
    """Runs a command to its end. Returns the most bytes that each kind of its processes had resident."""
    process = subprocess.Popen(command)
    peaks: dict[str, int] = {}
    while process.poll() is None:
        for member in family(process.pid):
            kind = "driver" if member == process.pid else _kind(member)
            peaks[kind] = max(peaks.get(kind, 0), _peak(member))
        time.sleep(_POLL_S)
    if process.returncode:
        raise typer.Exit(process.returncode)
    return peaks


def _kind(process: int) -> str:
    """What Ray's worker does just now, or the program's name."""
    try:
        name = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return "ended"
    return name.rpartition("/")[2].partition(".")[0] or "ended"  # without the method that an actor runs


def _peak(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 if "VmHWM:" in status else 0


def peak_table(peaks: dict[str, int]) -> Table:
    """Shows each kind of process with its peak."""
    table = Table("process", Column("peak, MB", justify="right"), Column("limit", justify="right"))
    for kind, peak in sorted(peaks.items(), key=lambda item: -item[1]):
        limit = DRIVER_BYTES if kind == "driver" else WORKER_BYTES
        table.add_row(kind, f"{peak / 1e6:,.0f}", f"{limit / 1e6:,.0f}")
    return table


if __name__ == "__main__":
    typer.run(memory)
