"""Delta tables, read by the library's own engine, and deletion vectors in their logs, which the library reads only."""

import json
import struct
import uuid
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from pyroaring import BitMap

Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
DELETES = {"delta.enableDeletionVectors": "true"}


def pairs(table: DeltaTable, text: str = "text") -> list[tuple[Any, ...]]:
    """Id and text of each row, as the library reads them."""
    rows = QueryBuilder().register("t", table).execute(f'select id, "{text}" as text from t').read_all()
    return sorted((row["id"], row["text"]) for row in pa.table(rows).to_pylist())


def live(folder: Path) -> dict[str, Any]:
    """The files of a table's newest version, out of a log that has no checkpoint, by their paths."""
    added: dict[str, Any] = {}
    for commit in sorted((folder / "_delta_log").glob("*.json")):
        for action in map(json.loads, commit.read_text().splitlines()):
            if "remove" in action:
                added.pop(action["remove"]["path"], None)
            if "add" in action:
                added[action["add"]["path"]] = action["add"]
    return added


def delete_rows(folder: Path, path: str, rows: list[int], *, in_file: bool = False) -> None:
    """Deletes rows of a file as Spark does; `rows` are all that are deleted then."""
    add = live(folder)[path]
    keys = ("path", "partitionValues", "size", "deletionVector")
    removed = {key: add[key] for key in keys if key in add} | {"deletionTimestamp": 1, "dataChange": True}
    vector = _in_file(folder, rows) if in_file else _inline(rows)
    actions = [{"remove": removed}, {"add": add | {"deletionVector": vector}}]
    commit = folder / "_delta_log" / f"{DeltaTable(folder).version() + 1:020}.json"
    commit.write_text("".join(json.dumps(action) + "\n" for action in actions))


def _inline(rows: list[int]) -> dict[str, Any]:
    data = bitmap(rows)
    return {"storageType": "i", "pathOrInlineDv": z85(data), "sizeInBytes": len(data), "cardinality": len(rows)}


def _in_file(folder: Path, rows: list[int]) -> dict[str, Any]:
    """Behind another one, and in a folder."""
    data, name = bitmap(rows), uuid.uuid4()
    other = bitmap([7])
    blocks = [len(some).to_bytes(4, "big") + some + zlib.crc32(some).to_bytes(4, "big") for some in (other, data)]
    (folder / "ab").mkdir(exist_ok=True)
    (folder / "ab" / f"deletion_vector_{name}.bin").write_bytes(b"\1" + b"".join(blocks))
    place = {"storageType": "u", "pathOrInlineDv": "ab" + z85(name.bytes), "offset": 1 + len(blocks[0])}
    return place | {"sizeInBytes": len(data), "cardinality": len(rows)}


def bitmap(rows: list[int]) -> bytes:
    return struct.pack("<IQI", 1681511377, 1, 0) + BitMap(rows).serialize()


def z85(data: bytes) -> str:
    padded = data + b"\0" * (-len(data) % 4)
    words = [int.from_bytes(padded[at : at + 4], "big") for at in range(0, len(padded), 4)]
    return "".join(Z85[word // 85**power % 85] for word in words for power in (4, 3, 2, 1, 0))
