"""A copy of as much of a Delta table's log as one version needs: a checkpoint, and the commits behind it."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import CorpusError
from pipeline.storage.objects import Storage

LOG_FOLDER, SIDECAR_FOLDER = "_delta_log", "_sidecars"
COMMIT_NAME = re.compile(r"(\d{20})\.json")
CHECKPOINT_NAME = re.compile(r"(\d{20})\.checkpoint(?:\.\d{10}\.(?P<parts>\d{10})|\.[^.]+)?\.(?:parquet|json)")


def copy_log(storage: Storage, root: str, version: int | None, folder: Path) -> tuple[int, Path]:
    """Copies the log of the table at `root` up to a version, or the newest; the number of that and where the copy is.

    Raises CorpusError where there is no table, or its log does not tell that version.
    """
    there = {file.uri.rpartition("/")[2]: file.uri for file in storage.files_in(f"{root}/{LOG_FOLDER}")}
    commits = sorted(int(match[1]) for match in map(COMMIT_NAME.fullmatch, there) if match)
    checkpoints = _checkpoints(there)
    newest = max([*commits, *checkpoints], default=None)
    if newest is None:
        raise CorpusError(
            f"{root}: is no Delta table; expected a folder with {LOG_FOLDER}/ and commits in it (@NUMBER for a version)"
        )
    at = newest if version is None else version
    start = max((number for number in checkpoints if number <= at), default=-1)
    missing = sorted(set(range(start + 1, at + 1)).difference(commits))
    if at > newest:
        raise CorpusError(f"{root}: this Delta table has no version {at:,}; its newest is {newest:,}")
    if missing:
        raise CorpusError(
            f"{root}: the log of this Delta table lacks what version {at:,} needs (commit {missing[0]:,}, and there is "
            "no checkpoint behind it); name a later version, or restore the table"
        )
    wanted = [f"{number:020}.json" for number in range(max(start, 0), at + 1)]
    names = [name for name in (*checkpoints.get(start, ()), *wanted) if name in there]
    uris = [there[name] for name in names]
    if start >= 0:
        sidecars = storage.files_in(f"{root}/{LOG_FOLDER}/{SIDECAR_FOLDER}")
        names += [f"{SIDECAR_FOLDER}/{file.uri.rpartition('/')[2]}" for file in sidecars]
        uris += [file.uri for file in sidecars]
    log = folder / LOG_FOLDER
    (log / SIDECAR_FOLDER).mkdir(parents=True)
    for name, data in zip(names, storage.read_all(uris), strict=True):
        (log / name).write_bytes(data)
    return at, log


def _checkpoints(names: Iterable[str]) -> dict[int, list[str]]:
    """The names of a checkpoint's files by its version, of those that are whole."""
    by_version: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        if match := CHECKPOINT_NAME.fullmatch(name):
            by_version[int(match[1])][int(match["parts"] or 1)].append(name)
    whole = {
        version: [name for parts, some in kinds.items() if len(some) >= parts for name in some]
        for version, kinds in by_version.items()
    }
    return {version: some for version, some in whole.items() if some}
