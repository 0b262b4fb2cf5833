"""A corpus that upstream jobs add to, edit, delete from, rename, sort and compact."""

import gzip
import json
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq


class Document(NamedTuple):
    """One document of the corpus."""

    id: str
    text: str


@dataclass
class LivingCorpus:
    """Files of documents below a folder, Parquet and compressed JSON Lines; `unseen` are the documents still to come.

    Every change rewrites the files that it touches, and no others. A file that is written has a time that no file had
    before, for two nights may be one second apart.
    """

    folder: Path
    unseen: Iterator[Document]
    dice: random.Random
    files: dict[str, list[Document]] = field(default_factory=dict)
    _times: Iterator[int] = field(default_factory=lambda: count(1_700_000_000))
    _names: Iterator[int] = field(default_factory=count)

    @property
    def documents(self) -> list[Document]:
        """All of them, in the order of the files."""
        return [document for documents in self.files.values() for document in documents]

    def add(self, documents: int, files: int = 1) -> None:
        """New files with documents that were never seen."""
        new = [next(self.unseen) for _ in range(documents)]
        for number in range(files):
            ending = (".parquet", ".jsonl.gz")[next(self._names) % 2]
            self._write(f"new-{next(self._names):04d}{ending}", new[number::files])

    def edit(self, documents: int) -> None:
        """Other texts for some documents."""
        self._change({document.id for document in self.dice.sample(self.documents, documents)}, _edited)

    def edit_in_each_file(self) -> None:
        """Another text for one document of each file."""
        self._change({self.dice.choice(documents).id for documents in self.files.values()}, _edited)

    def delete(self, documents: int) -> None:
        """Some documents less."""
        self._change({document.id for document in self.dice.sample(self.documents, documents)}, lambda _: None)

    def delete_file(self) -> None:
        """One file less."""
        self._remove(self.dice.choice(list(self.files)))

    def rename(self) -> None:
        """The same files under other names."""
        self._rewrite((f"moved-{name}", documents) for name, documents in list(self.files.items()))

    def compact(self) -> None:
        """All documents in one file, sorted by id."""
        self._rewrite([(f"compacted-{next(self._names):04d}.parquet", sorted(self.documents))])

    def shuffle(self, files: int = 3) -> None:
        """All documents in another order, in other files of another format."""
        documents = self.documents
        self.dice.shuffle(documents)
        names = (f"shuffled-{next(self._names):04d}.jsonl.gz" for _ in range(files))
        self._rewrite((name, documents[number::files]) for number, name in enumerate(names))

    def _change(self, ids: set[str], change: "Change") -> None:
        for name, documents in list(self.files.items()):
            if ids & {document.id for document in documents}:
                changed = (change(document) if document.id in ids else document for document in documents)
                if left := [document for document in changed if document]:
                    self._write(name, left)
                else:
                    self._remove(name)

    def _rewrite(self, files: Iterable[tuple[str, list[Document]]]) -> None:
        new = list(files)
        for name in list(self.files):
            self._remove(name)
        for name, documents in new:
            self._write(name, documents)

    def _remove(self, name: str) -> None:
        del self.files[name]
        (self.folder / name).unlink()

    def _write(self, name: str, documents: list[Document]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files[name] = documents
        rows, path = [document._asdict() for document in documents], self.folder / name
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, row_group_size=64)
        else:
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            path.write_bytes(gzip.compress(lines.encode(), mtime=0))
        os.utime(path, (next(self._times),) * 2)


class Change(Protocol):
    """Makes another document of one, or none."""

    def __call__(self, document: Document, /) -> Document | None: ...


SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])


def _edited(document: Document) -> Document:
    return document._replace(text=f"{document.text}\nAnd one line more.")
