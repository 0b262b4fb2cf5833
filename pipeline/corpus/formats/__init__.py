"""File formats: one file and one line of FORMATS each. What each has to say of itself is in format.py."""

from pipeline.corpus.formats.csv import Csv, Tsv
from pipeline.corpus.formats.format import Format
from pipeline.corpus.formats.jsonl import JsonLines
from pipeline.corpus.formats.parquet import Parquet
from pipeline.corpus.formats.text import PlainText
from pipeline.terms import FormatName

# The names stand in job files and in units' ids: they stay.
FORMATS: dict[FormatName, Format] = {
    "parquet": Parquet(),
    "jsonl": JsonLines(),
    "csv": Csv(),
    "tsv": Tsv(),
    "text": PlainText(),
}
