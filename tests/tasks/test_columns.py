"""What a manifest says of a task's columns: all that a reader finds in a data file, each with its meaning."""

import json
from pathlib import Path

import duckdb
import pytest

from pipeline.schema import described, errors_schema, hive_key, predictions_schema
from pipeline.tables.repeatable_parquet import parquet_bytes
from pipeline.tasks.classification import DECISIONS, Classification
from pipeline.tasks.embedding import Embedding
from pipeline.tasks.question_answering import QuestionAnswering
from pipeline.tasks.task import Task
from pipeline.tasks.token_classification import TokenClassification

LABELS = ("ham", "spam")
TASKS: list[Task] = [
    *(Classification(problem_type, LABELS) for problem_type in DECISIONS),
    Embedding(768),
    TokenClassification(LABELS),
    QuestionAnswering(("who?",)),
]


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_every_published_column_has_its_type_and_meaning(task: Task, tmp_path: Path):
    for schema in (predictions_schema(task.fields, [hive_key("lang")]), errors_schema([hive_key("lang")])):
        (tmp_path / "part.parquet").write_bytes(parquet_bytes(schema.empty_table()))
        names = [row[0] for row in duckdb.sql(f"describe from '{tmp_path}/part.parquet'").fetchall()]
        columns = described(schema)
        assert [column["name"] for column in columns] == names
        assert [column["type"] for column in columns] == list(map(str, schema.types))
        assert all(len(column["meaning"]) > 10 for column in columns)


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_what_a_task_tells_of_itself_survives_json(task: Task):
    assert json.loads(json.dumps(task.facts)) == task.facts != {}


def test_thresholds_are_told_as_they_hold():
    """A label without one of its own has the default."""
    told = Classification("multi_label", LABELS, {"spam": 0.7}, 1.3).facts
    assert told == {
        "problem_type": "multi_label",
        "labels": ["ham", "spam"],
        "temperature": 1.3,
        "thresholds": {"ham": 0.5, "spam": 0.7},
    }


def test_a_vector_s_dimension_and_dtype_are_told():
    assert Embedding(768).facts == {"dimension": 768, "vector_dtype": "float32"}
    (column,) = described(Embedding(768).fields)
    assert column["meaning"].startswith("vector of 768 float32 and of length 1")
