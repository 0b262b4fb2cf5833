"""Lists that are held packed: equal to plain lists in all that can be asked of them, in a fraction of the memory."""

import pickle
import tracemalloc
from itertools import compress

import numpy as np
from hypothesis import given, settings, strategies as st

from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.slices import Reading, RowGroups, Unit
from pipeline.packed import CHUNK_ITEMS, OPEN_ITEMS, PackedList
from pipeline.storage.listings import StoredFile

READING = Reading("id", ("text",))
LENGTHS = (0, 1, CHUNK_ITEMS, OPEN_ITEMS - 1, OPEN_ITEMS, OPEN_ITEMS + 1, 2 * OPEN_ITEMS + CHUNK_ITEMS)
MANY = list(range(LENGTHS[-1]))


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(LENGTHS), st.randoms(use_true_random=False), st.slices(LENGTHS[-1]))
def test_it_is_the_list_of_its_items(length: int, random: np.random.Generator, part: slice):
    plain, packed = MANY[:length], PackedList(MANY[:length])
    assert (list(packed), len(packed), packed == plain) == (plain, length, True)
    assert packed[part] == plain[part]
    for place in (random.randint(-length, length - 1) for _ in range(10 if length else 0)):  # type: ignore[attr-defined]
        assert packed[place] == plain[place]
    chosen = np.array([random.random() < 0.001 for _ in plain], bool)
    assert list(packed.compressed(chosen)) == list(compress(plain, chosen))
    assert packed != [*plain, 1]
    assert pickle.loads(pickle.dumps(packed)) == plain


def units(count: int) -> list[Unit]:
    names = (f"s3://a-bucket/corpus/documents-{n:09d}.parquet" for n in range(count))
    stored = (StoredFile(name, 16_000_000, f"{hash(name):032x}", 1.5) for name in names)
    return [Unit(CorpusFile(file, "parquet", None, ()), RowGroups(0, 1, 0), READING, 100) for file in stored]


def test_a_unit_with_its_file_takes_a_tenth():
    count = 4 * OPEN_ITEMS
    tracemalloc.start()
    plain = units(count)
    as_objects = tracemalloc.get_traced_memory()[0]
    packed = PackedList(plain)
    as_packed = tracemalloc.get_traced_memory()[0] - as_objects
    tracemalloc.stop()
    # 16 bytes of a version that nothing tells beforehand, and the little in which neighbours differ
    assert as_packed < 64 * count < as_objects / 6
    assert packed == plain
    assert {unit.id("key") for unit in packed} == {unit.id("key") for unit in plain}
