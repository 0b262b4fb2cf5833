"""What files of each kind can be, a line a kind: what a careful person reads from it, or why a row or the file is refused.

Kinds are of this format's own rules and of what users of other readers reported. Where another reader gives the same, it is
named, and a second test asks it.
"""

import bz2
import csv
import gzip
import hashlib
import io
import json
import lzma
import struct
import tarfile
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings, strategies as st

from jobs.sample import CHECKPOINT
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.corpus.streams import passes, read_pass
from pipeline.errors import CorpusError
from pipeline.text.packer import Packer
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.windows import WindowPolicy
from tests.corpus.files import STORAGE, put, rows_of, units_of

Documents = list[tuple[str, str]]


class Refused(NamedTuple):
    """Before the first unit."""

    message: str


class Kind(NamedTuple):
    name: str
    file: str
    data: bytes
    expected: Sequence[tuple[str, str | None] | str] | Refused  # documents, or reasons
    others: Callable[[Path], Documents] | None = None


TWO = [("a", "één αβγ"), ("b", 'zwei, "quoted"\nlines 👩‍👩‍👧')]
LINES = "".join(json.dumps({"id": i, "text": t}, ensure_ascii=False) + "\n" for i, t in TWO)
ARRAY = json.dumps([{"id": i, "text": t} for i, t in TWO], ensure_ascii=False)
PRETTY = json.dumps([{"id": i, "text": t} for i, t in TWO], ensure_ascii=False, indent=2)
OBJECTS = [json.dumps({"id": i, "text": t}, ensure_ascii=False, indent=2) for i, t in TWO]
CSV = 'id,text\r\na,één αβγ\r\nb,"zwei, ""quoted""\nlines 👩‍👩‍👧"\r\n'
MARKS = {"utf-8-sig": b"", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff", "utf-32-le": b"\xff\xfe\0\0", "utf-32-be": b"\0\0\xfe\xff"}  # fmt: skip
UNPAIRED = b"\x3d\xd8"  # half of a character in UTF-16-LE
GOOD = b'{"id": "a", "text": "x"}\n'
ALSO_GOOD = b'{"id": "c", "text": "z"}\n'
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def marked(text: str, encoding: str) -> bytes:
    return MARKS[encoding] + text.encode(encoding)


def line(text: str) -> bytes:
    return f'{{"id": "b", {text}}}\n'.encode()


def between(middle: bytes) -> bytes:
    return GOOD + middle + ALSO_GOOD


def around(*middle: Any) -> list[Any]:
    return [("a", "x"), *middle, ("c", "z")]


def table(ids: Any = None, texts: Any = ("x", "y"), **options: Any) -> bytes:
    ids = pa.array(["a", "b"]) if ids is None else ids
    return parquet(pa.table({"id": ids, "text": pa.array(texts) if isinstance(texts, tuple) else texts}), **options)  # fmt: skip


def parquet(of: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(of, file, **options)
    return file.getvalue()


def ids(*values: Any, type_: pa.DataType | None = None, **options: Any) -> bytes:
    return table(pa.array(values, type_), pa.array(["x"] * len(values)), **options)


def identified(*texts: str) -> list[Any]:
    return [(text, "x") for text in texts]


def json_ids(*values: str) -> bytes:
    return "".join(f'{{"id": {value}, "text": "x"}}\n' for value in values).encode()


def by_duckdb(path: Path) -> Documents:
    reader = "read_parquet" if ".parquet" in path.name else "read_json" if ".json" in path.name else "read_csv"  # fmt: skip
    options = ", all_varchar = true, header = true" if reader == "read_csv" else ""
    found = duckdb.sql(f"SELECT id::VARCHAR, text FROM {reader}('{path}'{options})").fetchall()
    return [(id_, text) for id_, text in found]


def by_json(path: Path) -> Documents:
    return [(row["id"], row["text"]) for row in json.loads(path.read_bytes())]


def by_json_lines(encoding: str) -> Callable[[Path], Documents]:
    def read(path: Path) -> Documents:
        found = [json.loads(line) for line in path.read_bytes().decode(encoding).splitlines()]
        return [(row["id"], row["text"]) for row in found]

    return read


def by_csv(encoding: str) -> Callable[[Path], Documents]:
    def read(path: Path) -> Documents:
        found = csv.DictReader(io.StringIO(path.read_bytes().decode(encoding), newline=""))
        return [(row["id"], row["text"]) for row in found]

    return read


def by_arrow_json(path: Path) -> Documents:
    found = pyarrow.json.read_json(path).to_pylist()
    return [(row["id"], row["text"]) for row in found]


def encrypted() -> bytes:
    """The magic of a file whose footer is encrypted, and bytes that nobody can read."""
    return b"PARE" + bytes(range(200)) + struct.pack("<I", 200) + b"PARE"


def archive(data: bytes) -> bytes:
    file, member = io.BytesIO(), tarfile.TarInfo("a.jsonl")
    member.size = len(data)
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def zero_row_groups() -> bytes:
    file, schema = io.BytesIO(), pa.schema({"id": pa.string(), "text": pa.string()})
    with pq.ParquetWriter(file, schema) as writer:
        for n_rows in (0, 1, 0, 1, 0):
            row = pa.record_batch([["a"] * n_rows, ["x"] * n_rows], schema=schema)
            writer.write_table(pa.Table.from_batches([row]), row_group_size=10)
    return file.getvalue()


NO_SCALARS: dict[str, list[Any]] = {"truth values": [True, None], "lists": [[1], None], "structs": [{"n": 1}, None]}  # fmt: skip
KINDS = [
    # marks of an encoding
    *(Kind(f"JSON Lines, {e}", "a.jsonl", marked(LINES, e), TWO, by_json_lines(e.removesuffix("-le").removesuffix("-be"))) for e in MARKS),
    *(Kind(f"array, {e}", "a.json", marked(PRETTY, e), TWO, by_json) for e in MARKS),
    *(Kind(f"CSV, {e}", "a.csv", marked(CSV, e), TWO, by_csv(e.removesuffix("-le").removesuffix("-be"))) for e in MARKS),
    *(Kind(f"text, {e}", "a.txt", marked("één αβγ\r\n", e), [("", "één αβγ\r\n")]) for e in MARKS),
    Kind("UTF-16 in gzip", "a.jsonl.gz", gzip.compress(marked(LINES, "utf-16-be")), TWO),
    Kind("UTF-16 in Zstandard", "a.csv.zst", zstandard.compress(marked(CSV, "utf-16-le")), TWO),
    Kind("UTF-16 text in gzip", "a.txt.gz", gzip.compress(marked("αβγ", "utf-16-le")), [("", "αβγ")]),
    Kind("files with marks, joined", "a.jsonl", 2 * marked('{"id": "a", "text": "x"}\n', "utf-8-sig"), [("a", "x")] * 2),
    Kind("UTF-16 without a mark: JSON Lines", "a.jsonl", LINES.encode("utf-16-le"), ["not_text"]),
    Kind("UTF-16 without a mark: big end", "a.jsonl", LINES.encode("utf-16-be"), ["not_text"]),
    Kind("UTF-16 without a mark: CSV", "a.csv", CSV.encode("utf-16-le"), ["not_text"]),
    Kind("UTF-16 without a mark: text", "a.txt", "plain".encode("utf-16-le"), ["not_text"]),
    Kind("half a character of UTF-16 in one line", "a.jsonl", b"\xff\xfe" + b"".join(part if part == UNPAIRED else part.decode().encode("utf-16-le") for part in (GOOD, b'{"id": "b", "text": "', UNPAIRED, b'"}\n', ALSO_GOOD)), around("invalid_utf8")),
    Kind("half a character of UTF-16 in one CSV row", "a.csv", b"\xff\xfe" + "id,text\na,x\nb,".encode("utf-16-le") + UNPAIRED + "\nc,z\n".encode("utf-16-le"), around("invalid_utf8")),
    Kind("UTF-16 text that ends amid a character", "a.txt", marked("ab", "utf-16-le")[:-1], ["invalid_utf8"]),
    Kind("UTF-32 beyond Unicode", "a.txt", marked("ab", "utf-32-le") + b"\0\0\x11\0", ["invalid_utf8"]),
    # arrays and objects over many lines
    Kind("array in one line", "a.json", ARRAY.encode(), TWO, by_duckdb),
    Kind("array over many lines", "a.json", PRETTY.encode(), TWO, by_duckdb),
    Kind("array that is called JSON Lines", "a.jsonl", PRETTY.encode(), TWO),
    Kind("array in gzip", "a.json.gz", gzip.compress(PRETTY.encode()), TWO),
    Kind("array behind blank lines", "a.json", b"\n \r\n" + PRETTY.encode(), TWO, by_duckdb),
    Kind("empty array", "a.json", b"[ ]\n", []),
    Kind("arrays, one a line", "a.json", 2 * f"{ARRAY}\n".encode(), TWO + TWO),
    Kind("array of arrays", "a.json", b'[["a", "x"], ["b", "y"]]', ["not_an_object"] * 2),
    Kind("array that ends early", "a.json", PRETTY[:-60].encode(), [TWO[0], "damaged_file"]),
    Kind("array with a wrong value in it", "a.json", b'[{"id": "a", "text": "x"}, {"id": nope}, {"id": "c", "text": "z"}]', around("invalid_json")),
    Kind("array with a comma too many", "a.json", b'[{"id": "a", "text": "x"}, ]', [("a", "x"), "invalid_json"]),
    Kind("array without a comma", "a.json", b'[{"id": "a", "text": "x"}, {"id": "b"} {"id": "b"}, {"id": "c", "text": "z"}]', around("invalid_json")),
    Kind("array with a bracket too many", "a.json", b'[{"id": "a", "text": "x"}}, {"id": "c", "text": "z"}]', [("a", "x"), "damaged_file"]),
    Kind("array of strings", "a.json", b'[\n"x",\n"y"\n]\n', ["not_an_object"] * 2),
    Kind("lines of arrays", "a.jsonl", b'["a", "x"]\n["b", "y"]\n', ["not_an_object"] * 2),
    Kind("array and then something else", "a.json", ARRAY.encode() + b"\ntrailer", [*TWO, "damaged_file"]),
    Kind("brackets, quotes and escapes in an array's strings", "a.json", json.dumps([{"id": "a", "text": '[{"\\"}],\\'}]).encode(), [("a", '[{"\\"}],\\')], by_json),
    Kind("object over many lines", "a.json", OBJECTS[0].encode(), [TWO[0]], by_duckdb),
    Kind("objects over many lines", "a.json", "\n".join(OBJECTS).encode(), TWO, by_duckdb),
    Kind("objects over many lines, in JSON Lines", "a.ndjson", "\n".join(OBJECTS).encode(), TWO),
    Kind("objects over many lines, CRLF", "a.json", "\n".join(OBJECTS).replace("\n", "\r\n").encode(), TWO),
    Kind("objects with commas between them", "a.json", ",\n".join(LINES.splitlines()).encode(), TWO),
    Kind("objects in one line", "a.json", LINES.replace("\n", "").encode(), TWO, by_duckdb),
    Kind("JSON Lines with CR alone", "a.jsonl", LINES.replace("\n", "\r").encode(), TWO),
    Kind("JSON Lines without a last line end", "a.jsonl", LINES.strip().encode(), TWO, by_arrow_json),
    Kind("JSON Lines whose first line was cut", "a.jsonl", b'{"id": "0",\n' + GOOD + ALSO_GOOD, ["invalid_json", ("a", "x"), ("c", "z")]),
    Kind("JSON Lines behind a line of a log", "a.jsonl", b"[INFO] starting\n" + GOOD, ["invalid_json", ("a", "x")]),
    # names and values of JSON
    Kind("a name twice: text", "a.jsonl", between(line('"text": "x", "text": "y"')), around("repeated_name")),
    Kind("a name twice: id", "a.jsonl", between(line('"id": "d", "text": "y"')), around("repeated_name")),
    Kind("a name twice, once escaped", "a.jsonl", between(line(r'"text": "x", "t\u0065xt": "y"')), around("repeated_name")),
    Kind("a name twice in an array", "a.json", b"[" + line('"text": "x", "text": "y"') + b"]", ["repeated_name"]),
    Kind("a name twice that is not read", "a.jsonl", between(line('"n": 1, "n": 2, "text": "y"')), around(("b", "y")), by_json_lines("utf-8")),
    Kind("a name twice within a value", "a.jsonl", between(line('"m": {"text": 1, "text": 2}, "text": "y"')), around(("b", "y")), by_json_lines("utf-8")),
    Kind("a name in another case", "a.jsonl", between(line('"Text": "y"')), around("no_column")),
    Kind("both cases of a name", "a.jsonl", between(line('"Text": "Y", "text": "y"')), around(("b", "y")), by_json_lines("utf-8")),
    Kind("escaped character beyond the first plane", "a.jsonl", between(line(r'"text": "\ud83d\ude00"')), around(("b", "😀")), by_arrow_json),
    Kind("escaped half of a character", "a.jsonl", between(line(r'"text": "\ud83d"')), around("invalid_utf8")),
    Kind("half of a character in UTF-8", "a.jsonl", between(b'{"id": "b", "text": "\xed\xa0\xbd"}\n'), around("invalid_utf8")),
    Kind("escaped NUL", "a.jsonl", between(line(r'"text": "p\u0000q"')), around(("b", "p\0q")), by_json_lines("utf-8")),
    Kind("U+2028 and U+0085 in a text", "a.jsonl", between(line('"text": "p\u2028q\u0085r"')), around(("b", "p\u2028q\u0085r")), by_arrow_json),
    Kind("NaN elsewhere", "a.jsonl", between(line('"n": NaN, "text": "y"')), around(("b", "y"))),
    Kind("comma before the end", "a.jsonl", between(line('"text": "y",')), around("invalid_json")),
    Kind("single quotes", "a.jsonl", between(b"{'id': 'b', 'text': 'y'}\n"), around("invalid_json")),
    Kind("comment", "a.jsonl", between(b"// a comment\n"), around("invalid_json")),
    Kind("raw line end in a string", "a.jsonl", between(b'{"id": "b", "text": "p\tq"}\n'), around("invalid_json")),
    Kind("number of 5,000 digits elsewhere", "a.jsonl", between(line(f'"n": {"9" * 5000}, "text": "y"')), around("invalid_json")),
    Kind("nesting of 100,000", "a.jsonl", between(line(f'"n": {"[" * 100_000}{"]" * 100_000}, "text": "y"')), around("invalid_json")),
    Kind("line of only null", "a.jsonl", between(b"null\n"), around("not_an_object")),
    Kind("blank lines with spaces and tabs", "a.jsonl", between(b"  \t \r\n"), around(), by_arrow_json),
    Kind("zeros where a disk lost a block", "a.jsonl", between(bytes(500) + b"\n"), around("invalid_json")),
    *(Kind(f"nothing but a mark: {name}, {e}", name, (MARKS[e] or b"\xef\xbb\xbf"), []) for name in ("a.jsonl", "a.json", "a.csv") for e in MARKS),
    Kind("Ctrl-Z at the end", "a.jsonl", GOOD + b"\x1a", [("a", "x"), "invalid_json"]),
    Kind("Latin-1 in one line", "a.jsonl", between('{"id": "b", "text": "größe"}\n'.encode("latin-1")), around("invalid_utf8")),
    # names of files that don't say what they are
    Kind("gzip without its ending", "a.jsonl", gzip.compress(LINES.encode()), ["not_text"]),
    Kind("Zstandard without its ending", "a.csv", zstandard.compress(CSV.encode()), ["not_text"]),
    Kind("gzip twice", "a.jsonl.gz", gzip.compress(gzip.compress(LINES.encode())), ["not_text"]),
    Kind("tar in gzip", "a.jsonl.gz", gzip.compress(archive(GOOD)), ["not_text"]),
    Kind("plain with gzip's ending", "a.jsonl.gz", LINES.encode(), ["damaged_file"]),
    Kind("Parquet as JSON Lines", "a.jsonl", table(), ["not_text"]),
    Kind("JSON Lines as Parquet", "a.parquet", LINES.encode(), Refused("a.parquet: not readable as parquet")),
    Kind("image as text", "a.txt", PNG, ["not_text"]),
    Kind("PDF as text", "a.txt", b"%PDF-1.7\n", ["not_text"]),
    Kind("text that begins as ORC does", "a.txt", b"ORCHESTRA and choir", [("", "ORCHESTRA and choir")]),
    Kind("bzip2 without its ending", "a.csv", bz2.compress(CSV.encode()), ["not_text"]),
    Kind("NUL in a text", "a.txt", b"one\0two", ["not_text"]),
    Kind("Git LFS pointer as text", "a.md", LFS, ["not_text"]),
    Kind("Git LFS pointer as JSON Lines", "a.jsonl", LFS, ["not_text"]),
    Kind("Git LFS pointer as Parquet", "a.parquet", LFS, Refused("a.parquet: not readable as parquet")),
    Kind("workbook as CSV", "a.csv", b"PK\x03\x04\x14\0\6\0", ["not_text"]),
    Kind("Latin-1 text", "a.txt", "größe".encode("latin-1"), ["invalid_utf8"]),
    Kind("text with CRLF, CR and form feeds", "a.txt", b"a\r\nb\rc\fd\n", [("", "a\r\nb\rc\fd\n")]),
    Kind("gzip members and zeros behind them", "a.jsonl.gz", gzip.compress(GOOD) + gzip.compress(b"") + gzip.compress(ALSO_GOOD) + bytes(512), around()),
    Kind("Zstandard frames and one to skip", "a.jsonl.zst", zstandard.compress(GOOD) + b"\x50\x2a\x4d\x18\4\0\0\0skip" + zstandard.compress(ALSO_GOOD), around()),
    # CSV
    Kind("quoted header", "a.csv", b'\xef\xbb\xbf"id","text"\na,x\n', [("a", "x")], by_csv("utf-8-sig")),
    Kind("CR alone", "a.csv", b"id,text\ra,x\rc,z\r", around(), by_csv("utf-8")),
    Kind("CRLF and blank lines within quotes", "a.csv", b'id,text\r\na,"x\r\n\r\ny"\r\n', [("a", "x\r\n\r\ny")], by_csv("utf-8")),
    Kind("line ends of other alphabets", "a.csv", "id,text\na,p\u2028q\u0085r\vs\ft\n".encode(), [("a", "p\u2028q\u0085r\vs\ft")], by_csv("utf-8")),
    Kind("semicolons", "a.csv", b"id;text\na;x\n", Refused(r"a\.csv: a semicolon is between the columns \('id;text'\); expected a comma")),
    Kind("tabs, UTF-16, as a spreadsheet saves", "a.csv", marked("id\ttext\r\na\tx\r\n", "utf-16-le"), Refused("a tab is between")),
    Kind("bars", "a.csv", b"id|text\na|x\n", Refused("a bar is between")),
    Kind("header twice", "a.csv", b"id,text,text\na,x,y\n", Refused(r"a\.csv: the header has 'text' 2 times; expected it once: rename")),
    Kind("header twice: id", "a.csv", b"id,text,id\na,x,y\n", Refused("the header has 'id' 2 times")),
    Kind("header twice in gzip", "a.csv.gz", gzip.compress(b"id,text,text\na,x,y\n"), Refused("the header has 'text' 2 times")),
    Kind("header twice in UTF-16", "a.csv", marked("id,text,text\na,x,y\n", "utf-16-be"), Refused("the header has 'text' 2 times")),
    Kind("header twice behind 100,000 columns", "a.csv.zst", zstandard.compress((",".join(f"column{i}" for i in range(100_000)) + ",id,text,text\n1\n").encode()), Refused("the header has 'text' 2 times")),
    Kind("header twice of what is not read", "a.csv", b"id,n,text,n\na,1,x,2\n", [("a", "x")], by_csv("utf-8")),
    Kind("header again, where files were joined", "a.csv", b"id,text\na,x\nid,text\nc,z\n", around("repeated_header")),
    Kind("header again, with a mark", "a.csv", b"\xef\xbb\xbf" + b'"id","text"\na,x\n' + b"\xef\xbb\xbf" + b'"id","text"\nc,z\n', around("repeated_header")),
    Kind("header with blanks", "a.csv", b"id, text\na, x\n", ["no_column"]),
    Kind("comma at each end", "a.csv", b"id,text,\na,x,\n", [("a", "x")], by_csv("utf-8")),
    Kind("comma at the ends of rows only", "a.csv", b"id,text\na,x,\n", ["ragged_row"]),
    Kind("backslashes before quotes", "a.csv", b'id,text\na,x\nb,"say \\"hi\\""\nc,z\n', around("invalid_csv")),
    Kind("backslash at the end of a text", "a.csv", b'id,text\na,"x\\"\n', [("a", "x\\")], by_csv("utf-8")),
    Kind("quotes amid a field", "a.csv", b'id,text\na,x "y" z\n', [("a", 'x "y" z')], by_csv("utf-8")),
    Kind("quote that never ends", "a.csv", b'id,text\na,x\nb,"y\nc,z\n', [("a", "x"), "invalid_csv"]),
    Kind("words that others take for null", "a.csv", b"id,text\nNA,null\nnan,None\n", [("NA", "null"), ("nan", "None")], by_csv("utf-8")),
    Kind("digits with zeros before", "a.csv", b"id,text\n007,x\n7,x\n7.0,x\n", identified("007", "7", "7.0"), by_csv("utf-8")),
    Kind("empty id", "a.csv", b"id,text\na,x\n,y\nc,z\n", around("empty_id")),
    # Parquet's texts
    *(Kind(f"Parquet {t}", "a.parquet", table(texts=pa.array(["x", "y"]).cast(t)), [("a", "x"), ("b", "y")], by_duckdb) for t in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int16(), pa.string()))),
    *(Kind(f"Parquet {c}", "a.parquet", table(compression=c), [("a", "x"), ("b", "y")], by_duckdb) for c in ("lz4", "brotli", "gzip", "zstd", "none")),
    *(Kind(f"Parquet {e}", "a.parquet", table(use_dictionary=False, column_encoding=e), [("a", "x"), ("b", "y")], by_duckdb) for e in ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN")),
    Kind("Parquet pages of version 2", "a.parquet", table(data_page_version="2.0"), [("a", "x"), ("b", "y")], by_duckdb),
    Kind("Parquet of format 1.0", "a.parquet", table(version="1.0", store_schema=False), [("a", "x"), ("b", "y")], by_duckdb),
    Kind("Parquet row groups without rows", "a.parquet", zero_row_groups(), [("a", "x")] * 2, by_duckdb),
    Kind("Parquet JSON", "a.parquet", table(texts=pa.array(['{"n": 1}', "[]"], pa.json_())), [("a", '{"n": 1}'), ("b", "[]")]),
    Kind("Parquet column of nulls", "a.parquet", table(texts=pa.nulls(2)), [("a", None), ("b", None)]),
    Kind("Parquet lists of texts", "a.parquet", table(texts=pa.array([["x"], ["y"]])), Refused("is list<element: string>; expected strings")),
    Kind("Parquet text in a struct", "a.parquet", table(texts=pa.array([{"text": "x"}] * 2)), Refused("is struct<text: string>; expected strings")),
    Kind("Parquet text of fixed size", "a.parquet", table(texts=pa.array([b"x", b"y"], pa.binary(1))), Refused(r"is fixed_size_binary\[1\]; expected strings")),
    Kind("Parquet column twice", "a.parquet", parquet(pa.Table.from_arrays([["a"], ["x"], ["y"]], names=["id", "text", "text"])), Refused("more than one column 'text'")),
    Kind("Parquet column in another case", "a.parquet", parquet(pa.table({"id": ["a"], "Text": ["x"]})), Refused("no column 'text' .*; the file has id, Text; 'Text' is another name: case and blanks count")),
    Kind("Parquet, encrypted", "a.parquet", encrypted(), Refused("a.parquet: not readable as parquet")),
    Kind("Parquet of a frame with an index", "a.parquet", parquet(pa.table({"id": ["a"], "text": ["x"], "__index_level_0__": [7]})), [("a", "x")]),
    # ids
    Kind("doubles", "a.parquet", ids(7.0, 1e16, 0.1, -0.0, -1.5, 1e-7, 2.0**70), identified("7", "10000000000000000", "0.1", "0", "-1.5", "0.0000001", "1180591620717411303424")),
    Kind("floats", "a.parquet", ids(7.0, 0.1, type_=pa.float32()), identified("7", "0.10000000149011612")),
    Kind("half floats", "a.parquet", ids(7.0, 0.5, type_=pa.float16()), identified("7", "0.5")),
    Kind("numbers that are none", "a.parquet", ids(float("nan"), float("nan"), float("inf")), ["not_an_id"] * 3),
    Kind("whole numbers of 64 bits", "a.parquet", ids(0, 2**64 - 1, type_=pa.uint64()), identified("0", str(2**64 - 1)), by_duckdb),
    Kind("decimals", "a.parquet", ids(Decimal("7.00"), Decimal("-1.50"), Decimal("100.00"), Decimal("0.00")), identified("7", "-1.5", "100", "0")),
    Kind("decimals of 76 digits", "a.parquet", ids(Decimal("1" * 76), type_=pa.decimal256(76, 0)), identified("1" * 76)),
    Kind("dates", "a.parquet", ids(date(2024, 2, 29), date(1, 1, 1)), identified("2024-02-29", "0001-01-01"), by_duckdb),
    Kind("days beyond the calendar", "a.parquet", ids(2932897, -719529, 2**31 - 1, type_=pa.date32()), identified("+10000-01-01", "-0001-12-31", "+5881580-07-11")),
    *(Kind(f"timestamps in {unit}", "a.parquet", table(pa.array([datetime(2024, 5, 1, 12, 30), None]).cast(pa.timestamp(unit))), [("2024-05-01T12:30:00", "x"), "null_id"]) for unit in ("s", "ms", "us", "ns")),
    Kind("timestamps with parts of a second", "a.parquet", ids(1_500_000_000, 1, -1, type_=pa.timestamp("ns")), identified("1970-01-01T00:00:01.5", "1970-01-01T00:00:00.000000001", "1969-12-31T23:59:59.999999999")),
    Kind("timestamps with a zone", "a.parquet", ids(0, type_=pa.timestamp("us", "Europe/Amsterdam")), identified("1970-01-01T00:00:00Z")),
    Kind("timestamps beyond the calendar", "a.parquet", ids(1_700_000_000_000, 9_223_372_036_854_775, -62_167_219_200_001, type_=pa.timestamp("ms")), identified("2023-11-14T22:13:20", "+294247-01-10T04:00:54.775", "-0001-12-31T23:59:59.999")),
    Kind("timestamps of 96 bits", "a.parquet", ids(datetime(9999, 12, 31, 23, 59, 59), datetime(1, 1, 1), datetime(2024, 5, 1, 0, 0, 0, 1), use_deprecated_int96_timestamps=True), identified("9999-12-31T23:59:59", "0001-01-01T00:00:00", "2024-05-01T00:00:00.000001")),
    Kind("timestamps of 96 bits with nanoseconds", "a.parquet", ids(1, type_=pa.timestamp("ns"), use_deprecated_int96_timestamps=True), identified("1970-01-01T00:00:00.000000001")),
    Kind("times", "a.parquet", ids(time(12, 30, 0, 500_000), time(0)), identified("12:30:00.5", "00:00:00")),
    Kind("durations", "a.parquet", ids(90_500, -1, type_=pa.duration("ms")), identified("PT90.5S", "-PT0.001S")),
    Kind("UUIDs", "a.parquet", ids(UUID(int=5).bytes, type_=pa.uuid()), identified("00000000-0000-0000-0000-000000000005"), by_duckdb),
    Kind("bytes", "a.parquet", ids(b"a", "é".encode(), b"\xff\0", b""), [*identified("a", "é"), "invalid_utf8", "empty_id"]),
    Kind("bytes of fixed size", "a.parquet", ids(b"ab", b"\xff\xfe", type_=pa.binary(2)), [("ab", "x"), "invalid_utf8"]),
    Kind("dictionary of numbers", "a.parquet", table(pa.array([7, 7]).dictionary_encode()), [("7", "x"), ("7", "y")]),
    *(Kind(f"ids of {t}", "a.parquet", ids(*v), ["not_an_id", "null_id"]) for t, v in NO_SCALARS.items()),
    Kind("empty strings", "a.parquet", ids("", " "), ["empty_id", (" ", "x")]),
    Kind("JSON numbers", "a.jsonl", json_ids("7", "7.0", "7e0", "70E-1", "1e16", "-0.0", "-0", "1.50"), identified("7", "7", "7", "7", "10000000000000000", "0", "0", "1.5")),
    Kind("JSON numbers of more digits than a double's", "a.jsonl", json_ids("0.1", "0.10000000000000000001", "12345678901234567890.5", "12345678901234567890.25", "9007199254740993", "9007199254740993.0"), identified("0.1", "0.10000000000000000001", "12345678901234567890.5", "12345678901234567890.25", "9007199254740993", "9007199254740993")),
    Kind("JSON values that identify nothing", "a.jsonl", json_ids("true", "1e400", "-1e400", "1e-9999", f"1e-{'9' * 30}", "NaN", "[1]", '{"n": 1}', "null", '""'), ["not_an_id"] * 8 + ["null_id", "empty_id"]),
    Kind("JSON strings that look like numbers", "a.jsonl", json_ids('"007"', '"7.0"'), identified("007", "7.0"), by_json_lines("utf-8")),
]  # fmt: skip

each = pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in KINDS])
EACH_OTHER = [pytest.param(kind, id=kind.name) for kind in KINDS if kind.others]


def found_in(path: Path, text_bytes: int) -> list[tuple[str, str | None] | str]:
    uri = f"file://{path}"
    rows = rows_of(path, text_bytes, id_column="id")
    return [row["reason"] or (row["id"].removeprefix(uri), row["text"]) for row in rows]


@each
@pytest.mark.parametrize("units", [5, 1])
def test_what_a_careful_person_reads(tmp_path: Path, kind: Kind, units: int) -> None:
    path, text_bytes = put(tmp_path / kind.file, kind.data), max(1, len(kind.data) // units)
    if isinstance(kind.expected, Refused):
        with pytest.raises(CorpusError, match=kind.expected.message):
            units_of(path, text_bytes, id_column="id")
    else:
        assert found_in(path, text_bytes) == kind.expected


@pytest.mark.parametrize("kind", EACH_OTHER)
def test_others_read_the_same(tmp_path: Path, kind: Kind) -> None:
    assert kind.others is not None
    assert kind.others(put(tmp_path / kind.file, kind.data)) == kind.expected


LARGE = [("a" * (1 + i % 7), f"{i} αβγ 👩‍👩‍👧" * (i % 40)) for i in range(2500)]


@pytest.mark.parametrize("encoding", [encoding for encoding in MARKS if encoding != "utf-8-sig"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_characters_that_lie_across_what_is_read_at_a_time(
    tmp_path: Path, encoding: str, compress: Callable[[bytes], bytes], name: str
) -> None:
    records = [json.dumps({"id": i, "text": t}, ensure_ascii=False) for i, t in LARGE]
    texts = {
        "a.jsonl": "\n".join(records),
        "a.json": f"[{','.join(records)}]",
        "a.csv": "id,text\n" + "".join(f"{i},{t}\n" for i, t in LARGE),
    }
    ending = {bytes: "", gzip.compress: ".gz", zstandard.compress: ".zst"}[compress]
    path = put(tmp_path / f"{name}{ending}", compress(marked(texts[name], encoding)))
    assert found_in(path, 10**6) == LARGE


def as_lines(records: Documents) -> str:
    return "".join(json.dumps({"id": i, "text": t}, ensure_ascii=False) + "\n" for i, t in records)


def as_array(records: Documents) -> str:
    return json.dumps([{"id": i, "text": t} for i, t in records], ensure_ascii=False, indent=1)


def as_objects(records: Documents) -> str:
    return "\n".join(json.dumps({"id": i, "text": t}, indent="\t") for i, t in records)


def as_csv(records: Documents) -> str:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("id", "text"), *records])
    return file.getvalue()


def as_tsv(records: Documents) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter="\t").writerows([("id", "text"), *records])
    return file.getvalue()


WAYS = {"a.jsonl": as_lines, "a.json": as_array, "b.json": as_objects, "a.csv": as_csv, "a.tsv": as_tsv}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.compress, ".zst": zstandard.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
}  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(st.tuples(st.text(min_size=1).filter(lambda id_: id_[0] != "\ufeff"), st.text())),
    way=st.sampled_from(list(WAYS)),
    encoding=st.sampled_from(["utf-8", *MARKS]),
    compression=st.sampled_from(list(COMPRESSIONS)),
    units=st.integers(1, 9),
)  # fmt: skip
def test_however_it_is_written_the_same_is_read(
    tmp_path: Path, records: Documents, way: str, encoding: str, compression: str, units: int
) -> None:
    text = WAYS[way](records)
    data = text.encode() if encoding == "utf-8" else marked(text, encoding)
    path = put(tmp_path / f"{way}{compression}", COMPRESSIONS[compression](data))
    assert found_in(path, max(1, len(data) // units)) == records


@pytest.mark.parametrize("encoding", MARKS)
def test_the_digest_is_of_the_text(tmp_path: Path, encoding: str) -> None:
    folder = CheckpointFolder.open(CHECKPOINT)
    tokenizer = Tokenizer.load(folder.spiece, folder.tokenizer_json)
    packer = Packer(tokenizer, WindowPolicy(128, "windows", 16), 128, 16)
    units = units_of(put(tmp_path / "a.jsonl", marked(LINES, encoding)), id_column="id")
    ((_, documents),) = [read for group in passes(units) for read in read_pass(STORAGE, group)]
    (records,) = packer.packs("unit", documents)["documents"].to_pylist()
    wanted = [hashlib.sha256(text.encode()).hexdigest() for _, text in TWO]
    assert [record["content_sha256"] for record in records] == wanted
