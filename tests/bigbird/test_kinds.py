from typing import Any, get_args

import pytest

from pipeline.bigbird.kinds import HEADS, POOLINGS
from pipeline.terms import HeadKind, PoolingKind


@pytest.mark.parametrize(("table", "kinds"), [(HEADS, HeadKind), (POOLINGS, PoolingKind)], ids=["heads", "poolings"])
def test_every_kind_that_has_a_name_has_a_class(table: dict[str, type], kinds: Any) -> None:
    """What isn't a kind's name mypy refuses in the tables; what is missing in them it can't see."""
    assert table.keys() == set(get_args(kinds))
