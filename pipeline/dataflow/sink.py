"""CPU task: LOGITS -> the unit's fragment in the table, and the one row about it that the driver sees."""

from dataclasses import dataclass

import pyarrow as pa

from pipeline.schema import only_list
from pipeline.tables.fragments import Fragments, Windows, fragment

DONE = pa.schema(
    [pa.field("unit", pa.string())]
    + [pa.field(name, pa.int64()) for name in ("documents", "errors", "windows", "tokens")]
)


@dataclass(frozen=True, slots=True)
class Keeper:
    """Aggregates a unit's window logits and keeps them as its fragment: then, and only then, the unit is done."""

    fragments: Fragments
    aggregation: str

    def __call__(self, logits: pa.Table) -> pa.Table:
        unit = logits["unit"][0].as_py()
        if not logits["documents"][0].is_valid:  # done already
            return DONE.empty_table()
        records = pa.Table.from_struct_array(logits["documents"].chunk(0).flatten())
        windows = Windows(
            *(only_list(logits, f"window_{name}") for name in ("tokens", "documents", "ordinals"))
        )
        n_windows, flat = len(windows.tokens), only_list(logits, "logits")
        logits_WL = flat.reshape(n_windows, len(flat) // n_windows if n_windows else 1)
        kept = fragment(records, windows, logits_WL, self.aggregation)
        self.fragments.write(unit, kept)
        done = {
            "unit": unit,
            "documents": len(kept),
            "errors": len(kept) - kept["reason"].null_count,
            "windows": n_windows,
            "tokens": int(windows.tokens.sum()),
        }
        return pa.Table.from_pylist([done], schema=DONE)
