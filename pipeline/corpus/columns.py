"""The columns that a job names, among those that a file has."""

from collections.abc import Iterable, Sequence

from pipeline.config.corpus import CorpusSettings, LabelledCorpusSettings

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


def named_columns(settings: CorpusSettings) -> dict[str, str]:
    """The columns that a job names, each with the first setting that names it."""
    named = [("corpus.id_column", settings.id_column)]
    named += [("corpus.text_column", column) for column in settings.text_column]
    if isinstance(settings, LabelledCorpusSettings):
        named += [("corpus.label_column", settings.label_column), ("corpus.split_column", settings.split_column)]
    columns: dict[str, str] = {}
    for setting, column in named:
        if column is not None:
            columns.setdefault(column, setting)
    return columns


def repeated(names: Sequence[str], wanted: Iterable[str]) -> str | None:
    """The first of the wanted names that is there twice."""
    return next((name for name in wanted if names.count(name) > 1), None)


def almost(column: str, names: Iterable[str]) -> str:
    """A hint at the name that was perhaps meant, or nothing."""
    wanted = column.strip().casefold()
    meant = next((name for name in names if name.strip().casefold() == wanted), None)
    return "" if meant is None else f"; {meant!r} is another name: case and blanks count"


def other_delimiter(header: Sequence[str], column: str) -> str | None:
    """The character between the names of a header that is one name to us."""
    if len(header) != 1:
        return None
    return next((other for other in DELIMITERS if other in header[0] and column in header[0].split(other)), None)
