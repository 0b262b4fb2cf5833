"""Units into Ray Data: one read task for those that are read in one pass, a block of one row for each unit's packs.

`Datasource` and `ReadTask` are Ray's developer API (ray==2.60.*). A block of one row can't be split, and with
`batch_size=1` downstream neighbouring units are never bundled, so a unit stays whole from here to its fragment.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from pipeline.planning.shared_reading import SharedPass


class UnitSource(Datasource):  # type: ignore[misc]  # Ray's classes have no types
    """Reads each pass with `read`, a picklable function that gives rows for each of its units."""

    def __init__(self, work: list[SharedPass], read: Callable[[SharedPass], Iterable[pa.Table]]) -> None:
        self._work = work
        self._read = read

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        return [self._task(work) for work in self._work]

    def _task(self, work: SharedPass) -> ReadTask:
        read = self._read

        def blocks() -> Iterable[pa.Table]:
            return read(work)

        files = [work.units[0].file.uri]
        metadata = BlockMetadata(num_rows=None, size_bytes=None, input_files=files, exec_stats=None)
        return ReadTask(blocks, metadata)
