"""CPU task: LOGITS -> the unit's fragment in its table, and the one row about it that the driver sees."""

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.planning.shared_reading import TableUnit, TableWork
from pipeline.schema import MEASURES, TABLE, only_list
from pipeline.tables.fragments import fragment
from pipeline.tables.scratch import Scratch

FINISHED_UNIT = pa.schema(
    [
        pa.field("unit", pa.string()),
        *(pa.field(name, pa.int64()) for name in ("table", "documents", "errors", "windows", "tokens")),
        *MEASURES.type,
        pa.field("write_s", pa.float64()),
        pa.field("lengths", pa.list_(pa.int64())),  # documents by the number of bits that their tokens' count has
    ]
)


@dataclass(frozen=True, slots=True)
class FragmentStage:
    """Turns a unit's logits into its documents' outputs, kept as its fragment: only then is the unit done."""

    tables: tuple[TableWork, ...]
    incomplete: frozenset[TableUnit] = frozenset()  # of which only some documents come: their rows go to the scratch

    def __call__(self, logits: pa.Table) -> pa.Table:
        """Writes the fragment of one unit's LOGITS row; gives a FINISHED_UNIT row, or none if it was done already."""
        unit, number = logits["unit"][0].as_py(), logits[TABLE.name][0].as_py()
        if not logits["documents"][0].is_valid:  # done already
            return FINISHED_UNIT.empty_table()
        table, started = self.tables[number], time.perf_counter()
        records = pa.Table.from_struct_array(logits["documents"].chunk(0).flatten())
        rows = fragment(records, table.task.outputs(logits), table.task.output)
        if (number, unit) in self.incomplete:
            Scratch(table.fragments).write_computed(unit, rows)
        else:
            table.fragments.write(unit, rows)
        window_tokens = only_list(logits, "window_tokens")
        counts = {
            "unit": unit,
            "table": number,
            "documents": len(rows),
            "errors": len(rows) - rows["reason"].null_count,
            "windows": len(window_tokens),
            "tokens": int(window_tokens.sum()),
            **logits[MEASURES.name][0].as_py(),
            "write_s": time.perf_counter() - started,
            "lengths": _lengths(rows["n_tokens"]),
        }
        return pa.Table.from_pylist([counts], schema=FINISHED_UNIT)


def _lengths(n_tokens: pa.ChunkedArray) -> list[int]:
    """Counts documents that have tokens: of n bits are lengths from 2^(n-1) to 2^n - 1."""
    lengths = n_tokens.drop_null().to_numpy()
    _, bits = np.frexp(lengths[lengths > 0].astype(np.float64))
    counts: list[int] = np.bincount(bits).tolist()
    return counts
