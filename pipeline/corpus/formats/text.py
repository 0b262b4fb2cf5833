"""Plain text: a file is one document, whose id is the file's URI."""

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pipeline.corpus.formats.characters import CharacterFormat
from pipeline.corpus.formats.encodings import NUL_BYTES, Utf8
from pipeline.corpus.rows import Row, text_row, unreadable_row
from pipeline.corpus.slices import Unit
from pipeline.storage.objects import Storage


class PlainText(CharacterFormat):
    """Text files, whatever is in them."""

    title = "text"
    endings = (".txt", ".text", ".md")
    lies_beside_data = True
    has_columns_in_records = False

    def cut(self, storage: Storage, whole: Unit, columns: Mapping[str, str], text_bytes: int) -> Iterator[Unit]:
        """Yield the file, which is one document."""
        yield replace(whole, documents=1)

    def documents(self, text: Utf8, unit: Unit) -> Iterator[Row]:
        """Yield the file's text, without its mark of UTF-8."""
        data = text.buffered().read(unit.reading.max_document_bytes + 1)  # one more than may be
        if b"\0" in data:
            yield unreadable_row(unit, 0, "not_text", NUL_BYTES, self.file_id(unit))
        else:
            yield text_row(unit, 0, self.file_id(unit), data.removeprefix(codecs.BOM_UTF8))

    def file_id(self, unit: Unit) -> str:
        """The file's URI."""
        return unit.file.uri
