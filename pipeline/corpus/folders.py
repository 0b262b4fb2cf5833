"""Formats by a file's ending, and the one format of a folder that is named without a pattern.

A folder is taken for one data set. What is known to lie beside data (prose, pictures, check sums, the card of a hub) is
left out, and said; a second data format, or an ending that nobody knows, may be half of the corpus and is refused.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Literal, NamedTuple

from pipeline.config.corpus import DeclaredFormat
from pipeline.corpus.corpus_file import Compression
from pipeline.corpus.formats import FORMATS
from pipeline.errors import CorpusError
from pipeline.packed import PackedList
from pipeline.storage.listings import StoredFile
from pipeline.terms import FormatName

FORMATS_BY_ENDING = {ending: name for name, format_ in FORMATS.items() for ending in format_.endings}
COMPRESSIONS: dict[str, Compression] = {
    ".gz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bzip2", ".xz": "xz",
}  # fmt: skip
BESIDE_ENDINGS = frozenset((
    ".rst", ".html", ".htm", ".pdf", ".yaml", ".yml", ".toml", ".cff", ".bib", ".py", ".ipynb", ".sh", ".png", ".jpg",
    ".jpeg", ".gif", ".svg", ".md5", ".sha256", ".sha512", ".crc", ".asc", ".sig",
))  # fmt: skip
# JSON about data, as hubs and libraries put it beside them; and LICENSE, NOTICE, SHA256SUMS
BESIDE_NAMES = re.compile(r"dataset_infos?\.json|dataset_dict\.json|config\.json|[A-Z][A-Z0-9_-]*")


def endings(uri: str) -> tuple[str, Compression | None]:
    """The ending in lower case, without a compression's; and the compression."""
    stem, dot, ending = uri.rpartition("/")[2].rpartition(".")
    compression = COMPRESSIONS.get(f"{dot}{ending}".lower())
    if compression:
        dot, ending = stem.rpartition(".")[1:]
    return f"{dot}{ending}".lower() if dot else "", compression


def format_of(uri: str) -> FormatName | None:
    """The format that a file's ending tells, if it tells one."""
    return FORMATS_BY_ENDING.get(endings(uri)[0])


class KindOfFile(NamedTuple):
    """How many files of a folder have one format, or an ending that nobody knows; and the first of their URIs."""

    files: int
    first: str


def of_one_format(
    uri: str, files: Sequence[StoredFile], declared: DeclaredFormat
) -> tuple[Sequence[StoredFile], list[StoredFile]]:
    """A folder's files of its one format, and those that are left out; `declared` is `corpus.format`.

    Raises CorpusError where more than one format may be meant.
    """
    kinds: dict[FormatName | None, KindOfFile] = {}
    formats: list[FormatName | Literal["beside"] | None] = []  # of each file
    for file in files:
        if _lies_beside(file.uri):
            formats.append("beside")
            continue
        formats.append(format_ := format_of(file.uri))
        before, first = kinds.get(format_, KindOfFile(0, file.uri))
        kinds[format_] = KindOfFile(before + 1, min(first, file.uri))
    if declared != "auto" and declared not in kinds:
        return files, []  # not one has its ending: then endings say nothing
    wanted = declared if declared != "auto" else _one_of(uri, kinds)
    if wanted is not None and None in kinds:
        raise CorpusError(
            f"{_folder_with(uri, {wanted: kinds[wanted]})} and {_counted(kinds[None], 'file')} whose format the ending "
            "doesn't "
            f"tell; name what you mean by a pattern such as {uri.rstrip('/')}/**/*{_ending(kinds[wanted])}"
        )
    is_taken = [format_ == wanted for format_ in formats]
    if all(is_taken):
        return files, []
    left_out = [file for file, taken in zip(files, is_taken, strict=True) if not taken]
    return PackedList(compress(files, is_taken)), left_out


def _one_of(uri: str, kinds: Mapping[FormatName | None, KindOfFile]) -> FormatName | None:
    """The data format, where there is one, else what may lie beside data; None where nothing is known."""
    data = {name: kinds[name] for name in FORMATS if name in kinds and not FORMATS[name].lies_beside_data}
    if len(data) > 1:
        some = next(iter(data.values()))
        raise CorpusError(
            f"{_folder_with(uri, data)}, and one named without a pattern holds one format; name what you mean by a "
            "pattern such "
            f"as {uri.rstrip('/')}/**/*{_ending(some)}, or set corpus.format"
        )
    return next(iter(data), next((name for name in FORMATS if name in kinds), None))


def _lies_beside(uri: str) -> bool:
    name = uri.rpartition("/")[2]
    return endings(uri)[0] in BESIDE_ENDINGS or BESIDE_NAMES.fullmatch(name) is not None


def _folder_with(uri: str, kinds: Mapping[FormatName, KindOfFile]) -> str:
    counts = " and ".join(_counted(kind, f"{FORMATS[name].title} file") for name, kind in kinds.items())
    return f"corpus.uris {uri}: this folder has {counts}"


def _counted(kind: KindOfFile, what: str) -> str:
    return f"{kind.files:,} {what}{'' if kind.files == 1 else 's'} ({kind.first.rpartition('/')[2]})"


def _ending(kind: KindOfFile) -> str:
    parts = kind.first.rpartition("/")[2].rsplit(".", 2 if endings(kind.first)[1] else 1)
    return "." + ".".join(parts[1:])
