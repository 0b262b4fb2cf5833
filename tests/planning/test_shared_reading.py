"""What several tables lack of a corpus, file by file: what all of it together is, of which one file's is held."""

from collections.abc import Iterator

from hypothesis import given, strategies as st

from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.slices import Reading, RowGroups, Rows, Unit
from pipeline.corpus.streams import passes
from pipeline.planning.shared_reading import SharedPass, TableShare, passes_in_order, shared_passes
from pipeline.storage.listings import StoredFile

SLICES = [RowGroups(0, 1, 0), Rows(1, 0, 5, 10), Rows(1, 5, 9, 10), RowGroups(2, 3, 19)]
FILES = [CorpusFile(StoredFile(f"s3://b/{name}", 1, "v"), "parquet", None, ()) for name in "abcd"]
UNITS = [Unit(file, slice_, Reading("id", ("text",))) for file in FILES for slice_ in SLICES]
LACKING = st.lists(st.lists(st.sampled_from(range(len(UNITS))), unique=True).map(sorted), min_size=1, max_size=3)


@given(LACKING)
def test_what_is_shared_is_the_same_file_by_file(tables: list[list[int]]):
    def shares(table: int) -> Iterator[TableShare]:
        return (TableShare(table, units) for units in passes(UNITS[n] for n in tables[table]))

    in_order = list(passes_in_order(shares(table) for table in range(len(tables))))
    files = [one.units[0].file.uri for one in in_order]
    assert files == sorted(files)
    together = shared_passes(share for table in range(len(tables)) for share in shares(table))
    assert sorted(in_order, key=_place) == sorted(together, key=_place)


def _place(one: SharedPass) -> tuple[str, int]:
    return one.units[0].file.uri, one.units[0].slice.first_position


def test_only_the_units_of_one_file_are_taken_beforehand():
    taken: list[str] = []

    def shares() -> Iterator[TableShare]:
        for unit in UNITS:
            taken.append(unit.file.uri)
            yield TableShare(0, (unit,))

    next(passes_in_order([shares()]))
    assert set(taken) <= {FILES[0].uri, FILES[1].uri}
