"""Files of the corpus that change while a run reads them."""

import random

import pytest

from tests.faults import faults
from tests.faults.world import World


@pytest.mark.ray
@pytest.mark.parametrize(
    ("change", "when", "store"),
    [("deleted", "before", "local"), ("appended", "after", "local"), ("replaced", "after", "s3")],
)
def test_a_file_that_changes_after_the_plan_is_told(world: World, change: str, when: str, store: str):
    faults.corpus_changes(world, random.Random(1), change, when, store)
