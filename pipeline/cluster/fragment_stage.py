"""CPU task: LOGITS -> the unit's fragment in the table, and the one row about it that the driver sees."""

from dataclasses import dataclass

import pyarrow as pa

from pipeline.schema import only_list
from pipeline.tables.fragments import Fragments, fragment
from pipeline.tasks.task import Task

DONE = pa.schema(
    [pa.field("unit", pa.string())]
    + [pa.field(name, pa.int64()) for name in ("documents", "errors", "windows", "tokens")]
)


@dataclass(frozen=True, slots=True)
class FragmentStage:
    """Turns a unit's logits into its documents' outputs, kept as its fragment: only then is the unit done."""

    fragments: Fragments
    task: Task

    def __call__(self, logits: pa.Table) -> pa.Table:
        unit = logits["unit"][0].as_py()
        if not logits["documents"][0].is_valid:  # done already
            return DONE.empty_table()
        records = pa.Table.from_struct_array(logits["documents"].chunk(0).flatten())
        kept = fragment(records, self.task.outputs(logits), self.task.output)
        self.fragments.write(unit, kept)
        window_tokens = only_list(logits, "window_tokens")
        done = {
            "unit": unit,
            "documents": len(kept),
            "errors": len(kept) - kept["reason"].null_count,
            "windows": len(window_tokens),
            "tokens": int(window_tokens.sum()),
        }
        return pa.Table.from_pylist([done], schema=DONE)
