"""Two snapshots compared: every figure against scikit-learn, or counted by hand from the rows."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix, jaccard_score

from pipeline.errors import ConfigError
from pipeline.schema import DOCUMENT_LOGITS, DOCUMENT_RECORD
from pipeline.storage.objects import Storage
from pipeline.tables.comparison import FLOOR, Comparison, Flip, compare_snapshots, kappa, psi
from pipeline.tables.error_budget import ErrorBudget
from pipeline.tables.fragments import Fragments, fragment
from pipeline.tables.groups import TableLayout
from pipeline.tables.publication_rules import PublicationRules
from pipeline.tables.publish import Publication, publish
from pipeline.tables.snapshots import Manifest, Snapshots
from pipeline.tables.source_units import SourceUnit
from pipeline.tasks.classification import Classification
from pipeline.tasks.embedding import Embedding
from pipeline.tasks.task import Task

LABELS = ("cat", "dog", "emu")
ONE = Classification("single_label", LABELS)
SEVERAL = Classification("multi_label", LABELS)
Documents = dict[str, list[float] | None]  # logits by id; None for an error


def table(
    folder: Path, files: dict[str, Documents], task: Task = ONE, *, keep: bool = False, key: str = "part"
) -> tuple[Snapshots, Manifest]:
    """A published table, with one file of documents in each partition."""
    fragments = Fragments(Storage(), str(folder), "key", task.output)
    units = []
    for number, (part, documents) in enumerate(files.items()):
        error = {"stage": "read", "reason": "null_text", "message": "the text is null"}
        fine = {"n_tokens": 3, "n_windows": 1, "truncated": False, "content_sha256": "0" * 64}
        rows = [
            {"id": id_, "position": position} | (error if logits is None else fine)
            for position, (id_, logits) in enumerate(documents.items())
        ]
        logits = pa.array([logits or [0.0] * 3 for logits in documents.values()], DOCUMENT_LOGITS.type)
        records = pa.Table.from_struct_array(pa.array(rows, DOCUMENT_RECORD))
        id_ = f"{number:032d}"
        fragments.write(id_, fragment(records, logits.cast(task.output.type), task.output))
        units.append(SourceUnit(id_, f"s3://b/{part}.jsonl", ((key, part),), len(rows)))
    rules = PublicationRules(ErrorBudget(1.0), duplicate_ids="keep" if keep else "refuse")
    layout = TableLayout(partition_by=(key,), carried=(), buckets=None)
    snapshots = Snapshots(Storage(), str(folder))
    publication = Publication(tuple(units), layout, task, "key", False, rules, {"uri": f"s3://m/{folder.name}"})
    return snapshots, publish(snapshots, fragments, publication, {})


def logits(label: int, strength: float = 4.0) -> list[float]:
    return [strength if n == label else 0.0 for n in range(3)]


@pytest.fixture(scope="module")
def random_tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, tuple[int, int]], Comparison]:
    """Labels before and after by id, of documents that are in both; and the comparison."""
    folder, random = tmp_path_factory.mktemp("random"), np.random.default_rng(0)
    drawn = {f"{n:03d}": (int(random.integers(3)), int(random.integers(3))) for n in range(300)}
    drawn |= {id_: (one, one) for id_, (one, _) in list(drawn.items())[:200]}
    sides: list[dict[str, Documents]] = []
    for side in (0, 1):
        files: dict[str, Documents] = {"a": {}, "b": {}}
        for id_, labels in drawn.items():
            files["a" if int(id_) % 3 else "b"][id_] = logits(labels[side], 4.0 - side)
        sides.append(files)
    sides[0]["a"] |= {"gone-1": logits(0), "gone-2": logits(1), "failed": logits(2)}
    sides[1]["a"] |= {"new": logits(2), "failed": None}
    return drawn, compare_snapshots(table(folder / "before", sides[0]), table(folder / "after", sides[1]))


def test_documents_are_joined_by_id(random_tables: tuple[dict[str, tuple[int, int]], Comparison]):
    _, found = random_tables
    assert (found.both, found.only_before, found.only_after) == (300, 3, 1)
    assert found.coverage == 300 / 304
    assert (found.before.predictions, found.after.predictions, found.after.errors) == (303, 301, 1)


def test_agreement_kappa_and_flips(random_tables: tuple[dict[str, tuple[int, int]], Comparison]):
    drawn, found = random_tables
    before, after = zip(*drawn.values(), strict=True)
    assert found.agreement == pytest.approx(np.mean(np.array(before) == np.array(after)))
    assert found.kappa == pytest.approx(cohen_kappa_score(before, after))
    matrix = confusion_matrix(before, after)
    assert {(flip.before, flip.after): flip.documents for flip in found.flips} == {
        (LABELS[i], LABELS[j]): matrix[i, j] for i in range(3) for j in range(3) if i != j
    }
    assert [flip.documents for flip in found.flips] == sorted((flip.documents for flip in found.flips), reverse=True)
    for flip in found.flips:
        ids = [id_ for id_, (i, j) in drawn.items() if (LABELS[i], LABELS[j]) == (flip.before, flip.after)]
        assert flip.examples == sorted(ids)[:3]


def test_shares_are_of_all_predictions_of_each_side(random_tables: tuple[dict[str, tuple[int, int]], Comparison]):
    drawn, found = random_tables
    before, after = (Counter(LABELS[labels[side]] for labels in drawn.values()) for side in (0, 1))
    before.update(["cat", "dog", "emu"])
    after.update(["emu"])
    assert {share.label: (share.before, share.after) for share in found.labels} == {
        label: (before[label], after[label]) for label in LABELS
    }
    changes = [abs(share.share_after - share.share_before) for share in found.labels]
    assert changes == sorted(changes, reverse=True)
    shares = [(before[label] / 303, after[label] / 301) for label in LABELS]
    assert found.label_psi == pytest.approx(sum((a - b) * math.log(a / b) for b, a in shares))


def test_scores_move(random_tables: tuple[dict[str, tuple[int, int]], Comparison]):
    _, found = random_tables
    before, after = (math.exp(x) / (math.exp(x) + 2) for x in (4, 3))
    assert found.scores is not None
    assert found.scores.mean_before == pytest.approx(before)
    assert found.scores.mean_absolute_change == pytest.approx(before - after)
    assert (int(before * 10), int(after * 10)) == (9, 9)
    assert found.scores.psi == 0  # all in one bin, before and after


def test_partitions(random_tables: tuple[dict[str, tuple[int, int]], Comparison]):
    drawn, found = random_tables
    assert {change.partition["part"]: change.documents for change in found.partitions} == {"a": 200, "b": 100}
    for change in found.partitions:
        own = [labels for id_, labels in drawn.items() if (int(id_) % 3 > 0) == (change.partition["part"] == "a")]
        assert change.agreement == pytest.approx(sum(i == j for i, j in own) / len(own))
    assert found.partitions[0].agreement <= found.partitions[1].agreement


def test_a_snapshot_agrees_with_itself(tmp_path: Path):
    one = table(tmp_path / "t", {"a": {"x": logits(0), "y": logits(1)}})
    found = compare_snapshots(one, one)
    assert (found.agreement, found.kappa, found.label_psi, found.flips) == (1, 1, 0, [])
    assert found.coverage == 1


def test_two_classes_that_swap_are_no_change_of_shares(tmp_path: Path):
    """Why PSI alone judges nothing."""
    before = table(tmp_path / "before", {"a": {f"{n}": logits(n % 2) for n in range(40)}})
    after = table(tmp_path / "after", {"a": {f"{n}": logits(1 - n % 2) for n in range(40)}})
    found = compare_snapshots(before, after)
    assert (found.label_psi, found.agreement, found.kappa) == (0, 0, -1)


def test_several_labels_at_once_are_compared_as_a_set_and_counted_each(tmp_path: Path):
    both, first, none = [3.0, 3.0, -3.0], [3.0, -3.0, -3.0], [-3.0, -3.0, -3.0]
    before = table(tmp_path / "before", {"a": {"x": both, "y": first, "z": none}}, SEVERAL)
    after = table(tmp_path / "after", {"a": {"x": both, "y": both, "z": first}}, SEVERAL)
    found = compare_snapshots(before, after)
    assert found.agreement == pytest.approx(1 / 3)
    assert found.flips == [Flip("", "cat", 1, ["z"]), Flip("cat", "cat, dog", 1, ["y"])]
    assert {share.label: (share.before, share.after) for share in found.labels} == {"cat": (2, 3), "dog": (1, 2)}
    assert found.scores is None


def test_ids_of_several_documents_are_paired_in_order(tmp_path: Path):
    sides = [
        table(tmp_path / name, {"a": {"x": logits(0)}, "b": {"x": logits(label)}}, keep=True)
        for name, label in (("before", 1), ("after", 2))
    ]
    found = compare_snapshots(*sides)
    assert (found.both, found.only_before, found.only_after) == (2, 0, 0)
    assert found.flips == [Flip("dog", "emu", 1, ["x"])]


def test_a_hive_key_may_hold_what_sql_quotes(tmp_path: Path):
    documents: dict[str, Documents] = {"a": {"x": logits(0)}, "b": {"y": logits(1)}}
    one = table(tmp_path / "t", documents, key='a "b')
    found = compare_snapshots(one, one)
    assert [change.partition for change in found.partitions] == [{'a "b': "a"}, {'a "b': "b"}]


def test_nothing_in_common(tmp_path: Path):
    found = compare_snapshots(
        table(tmp_path / "b", {"a": {"x": logits(0)}}), table(tmp_path / "a", {"a": {"y": logits(0)}})
    )
    assert (found.both, found.agreement, found.kappa, found.scores, found.coverage) == (0, None, None, None, 0)


def test_tables_that_can_not_be_compared(tmp_path: Path):
    one = table(tmp_path / "one", {"a": {"x": logits(0)}})
    several = table(tmp_path / "several", {"a": {"x": logits(0)}}, SEVERAL)
    vectors = table(tmp_path / "vectors", {"a": {"x": logits(0)}}, Embedding(3))
    for other, expected in ((several, "'label' and 'labels'"), (vectors, "'label' and 'no labels'")):
        with pytest.raises(ConfigError, match=expected):
            compare_snapshots(one, other)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_kappa_is_scikit_learn_s(drawn: list[tuple[int, int]]):
    pairs = Counter((str(one), str(other)) for one, other in drawn)
    found = kappa(pairs)  # type: ignore[arg-type]
    if len({label for pair in drawn for label in pair}) == 1:
        assert found is None
    else:
        assert found == pytest.approx(cohen_kappa_score(*zip(*drawn, strict=True)), abs=1e-12)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=20))
def test_psi_is_finite_never_negative_and_the_same_both_ways(shares: list[tuple[float, float]]):
    assert 0 <= psi(shares) < len(shares) * math.log(1 / FLOOR) + 1
    assert psi(shares) == pytest.approx(psi((after, before) for before, after in shares))
    assert psi((share, share) for share, _ in shares) == 0


def test_what_became_of_each_label_is_counted_from_the_rows(
    random_tables: tuple[dict[str, tuple[int, int]], Comparison],
):
    drawn, found = random_tables
    pairs = list(drawn.values())
    for share in found.labels:
        label = LABELS.index(share.label)
        had, has = [one == label for one, _ in pairs], [other == label for _, other in pairs]
        table_of_label = confusion_matrix(had, has)
        assert [share.kept, share.lost, share.gained] == [
            table_of_label[1, 1],
            table_of_label[1, 0],
            table_of_label[0, 1],
        ]
        assert share.flips == pytest.approx(1 - jaccard_score(had, has))
    same = {unchanged.label: unchanged.documents for unchanged in found.unchanged}
    assert same == {LABELS[n]: sum(pair == (n, n) for pair in pairs) for n in range(3)}
    assert found.scores is not None
    assert [sum(counts) for counts in zip(*found.scores.bins, strict=True)] == [300, 300]
    assert found.rows == []


def test_of_several_labels_each_is_counted_by_itself(tmp_path: Path):
    before: Documents = {"x": [3.0, 3.0, -3.0], "y": [-3.0, -3.0, -3.0]}
    after: Documents = {"x": [3.0, -3.0, 3.0], "y": [-3.0, -3.0, 3.0]}
    found = compare_snapshots(
        table(tmp_path / "a", {"a": before}, SEVERAL), table(tmp_path / "b", {"a": after}, SEVERAL), rows=1
    )
    counts = {share.label: (share.kept, share.lost, share.gained) for share in found.labels}
    assert counts == {"cat": (1, 0, 0), "dog": (0, 1, 0), "emu": (0, 0, 2)}
    assert [(row.id, row.before, row.after) for row in found.rows] == [("x", "cat, dog", "cat, emu")]
