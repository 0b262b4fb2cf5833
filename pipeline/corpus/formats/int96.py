"""Parquet's old timestamps, of days and nanoseconds in 96 bits.

Arrow keeps 64 of them, and years before 1677 or after 2262 become others.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.corpus.column_paths import arrow_path, column_at
from pipeline.corpus.ids import moment

KEPT = 2**64  # of nanoseconds: what Arrow has is the remainder
SECOND = 10**9


class ExactParquetFile(pq.ParquetFile):  # type: ignore[misc]
    """A Parquet file whose column `name` is text as an id has it, if it holds such timestamps."""

    def __init__(self, source: Any, name: str | None, **options: Any) -> None:
        # what has a path is opened by it; else one lock, or two readers would move each other's place
        shared = source if hasattr(source, "__fspath__") else pa.PythonFile(source, "r")
        super().__init__(shared, **options)
        schema = self.metadata.schema
        leaves = [schema.column(index) for index in range(len(schema))]
        is_old = (name, "INT96") in [(leaf.path, leaf.physical_type) for leaf in leaves]
        self._name = name if name and is_old else ""
        self._in_seconds = pq.ParquetFile(shared, coerce_int96_timestamp_unit="s") if is_old else None

    def iter_batches(self, *args: Any, row_groups: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        """Record batches of row groups, as pyarrow gives them but for the one column."""
        batches = super().iter_batches(*args, row_groups=row_groups, **options)
        if self._in_seconds is None:
            yield from batches
            return
        path, _ = arrow_path(self.schema_arrow, self._name)
        seconds = column_at(self._in_seconds.read_row_groups(list(row_groups), columns=[self._name]), path)
        at = 0
        for batch in batches:
            in_seconds = seconds.slice(at, len(batch)).cast(pa.int64()).to_pylist()
            remainders = column_at(batch, path).cast(pa.int64()).to_pylist()
            texts = pa.array([_text(*both) for both in zip(in_seconds, remainders, strict=True)], pa.string())
            if len(path) == 1:
                yield batch.set_column(batch.schema.get_field_index(self._name), self._name, texts)
            else:  # a column of that whole name comes before the path
                yield batch.append_column(self._name, texts)
            at += len(batch)


def _text(seconds: int | None, remainder: int | None) -> str | None:
    if seconds is None or remainder is None:
        return None
    whole = seconds * SECOND
    return moment(whole + (remainder - whole) % KEPT, "ns")
