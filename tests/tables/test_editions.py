from pathlib import Path

from pipeline.storage.objects import Storage
from pipeline.tables.editions import Editions


def test_the_newest_of_each_unit_counts(tmp_path: Path):
    editions = Editions(Storage(), str(tmp_path))
    assert editions.read() == {}
    editions.write({"ab12": 1, "cd34": 1})
    editions.write({"ab12": 2})
    editions.write({"ab12": 2})
    assert editions.read() == {"ab12": 2, "cd34": 1}
