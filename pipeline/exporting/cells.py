"""Rows as text: each column as cells of a CSV file, or each row as one JSON object. DuckDB writes them.

Numbers are the shortest that read back as what they were. Times are ISO 8601, with a Z where they have a time zone, and
bytes are base64. JSON has no NaN and no infinity: they are null there.
"""

from typing import Any

import duckdb
import pyarrow as pa

# what a spreadsheet may take for a formula at the beginning of a cell (OWASP's list, with the full-width forms)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_TIMES = {"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"}
_FLOATS = {"float", "double"}
_NESTED = {"list", "array", "struct", "map", "json", "union"}
_PLAIN = (
    {"boolean", "date", "time", "decimal", *_FLOATS}
    | {  # as Arrow's writer has them
        f"{sign}{size}int" for sign in ("", "u") for size in ("tiny", "small", "big")
    }
    | {"integer", "uinteger"}
)
_LINE = "line"


def csv_cells(connection: duckdb.DuckDBPyConnection, rows: pa.Table, *, formulas: bool) -> pa.Table:
    """Makes each column one that a CSV writer takes; nested ones are JSON.

    Unless `formulas` may stay, what a spreadsheet would take for one gets an apostrophe in front, in the header too.
    """
    relation = connection.from_arrow(rows)
    cells = []
    for name, kind in zip(relation.columns, relation.types, strict=True):
        title = name if formulas or not name.startswith(FORMULA_STARTS) else f"'{name}"
        cells.append(f"{_cell(_quoted(name), kind, formulas=formulas)} AS {_quoted(title)}")
    return relation.project(", ".join(cells)).to_arrow_table()


def json_lines(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> bytes:
    """Makes each row an object on a line of its own, its keys in the columns' order."""
    relation = connection.from_arrow(rows)
    members = ", ".join(
        f"{_literal(name)}, {_json_ready(_quoted(name), kind)}"
        for name, kind in zip(relation.columns, relation.types, strict=True)
    )
    lines = relation.project(f"json_object({members})::VARCHAR || chr(10) AS {_LINE}").to_arrow_table()
    return b"".join(_joined(chunk) for chunk in lines[_LINE].chunks)


def _joined(lines: pa.Array) -> bytes:
    """The values of an array without nulls, end to end: as they lie in its buffer."""
    offsets = lines.buffers()[1]
    width = 8 if pa.types.is_large_string(lines.type) else 4
    bounds = memoryview(offsets).cast("q" if width == 8 else "i")
    return bytes(memoryview(lines.buffers()[2])[bounds[lines.offset] : bounds[lines.offset + len(lines)]])


def _cell(value: str, kind: Any, *, formulas: bool) -> str:
    if kind.id in _PLAIN:
        return value
    if kind.id in _NESTED:  # begins with a bracket, a brace or, JSON alone, with what is no formula either
        return f"to_json({_json_ready(value, kind)})::VARCHAR"
    text = f"{_leaf(value, kind)}::VARCHAR"
    starts = ", ".join(f"chr({ord(start)})" for start in FORMULA_STARTS)
    return text if formulas else f"CASE WHEN left({text}, 1) IN ({starts}) THEN chr(39) || {text} ELSE {text} END"


def _json_ready(value: str, kind: Any, depth: int = 0) -> str:
    """The expression with what DuckDB's JSON has no good form for replaced, however deep it lies."""
    item = f"x{depth}"
    if kind.id in ("list", "array"):
        inner = _json_ready(item, kind.children[0][1], depth + 1)
        return value if inner == item else f"list_transform({value}, lambda {item}: {inner})"
    if kind.id == "struct":
        members = {name: _json_ready(f"{value}.{_quoted(name)}", child, depth) for name, child in kind.children}
        if all(inner == f"{value}.{_quoted(name)}" for name, inner in members.items()):
            return value
        packed = ", ".join(f"{_quoted(name)} := {inner}" for name, inner in members.items())
        return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({packed}) END"
    return f"CASE WHEN isfinite({value}) THEN {value} END" if kind.id in _FLOATS else _leaf(value, kind)


def _leaf(value: str, kind: Any) -> str:
    if kind.id in _TIMES:
        utc = f"make_timestamp(epoch_us({value}))" if kind.id == "timestamp with time zone" else value
        return f"strftime({utc}, '%Y-%m-%dT%H:%M:%S.%{'n' if kind.id == 'timestamp_ns' else 'f'}{_zone(kind)}')"
    return f"to_base64({value})" if kind.id == "blob" else value


def _zone(kind: Any) -> str:
    return "Z" if kind.id == "timestamp with time zone" else ""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
