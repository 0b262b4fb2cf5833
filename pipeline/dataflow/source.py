"""Units into Ray Data: one read task, one block and one row per unit.

`Datasource` and `ReadTask` are Ray's developer API (ray==2.60.*). A block of one row can't be split, and with
`batch_size=1` downstream neighbouring units are never bundled, so a unit stays whole from here to its fragment.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from pipeline.corpus.units import Unit


class UnitSource(Datasource):  # type: ignore[misc]  # Ray's classes have no types
    """Reads each unit with `read`, a picklable function of its id and itself that gives one row."""

    def __init__(
        self, units: list[tuple[str, Unit]], read: Callable[[str, Unit], pa.Table]
    ) -> None:
        self._units = units
        self._read = read

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        return [self._task(id_, unit) for id_, unit in self._units]

    def _task(self, id_: str, unit: Unit) -> ReadTask:
        read = self._read

        def blocks() -> Iterable[pa.Table]:
            yield read(id_, unit)

        metadata = BlockMetadata(
            num_rows=1, size_bytes=None, input_files=[unit.file.uri], exec_stats=None
        )
        return ReadTask(blocks, metadata)
