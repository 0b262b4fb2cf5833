import pytest

from pipeline.errors import CorpusError
from pipeline.tasks.targets import found_labels, targets
from pipeline.terms import Label


def test_single_label():
    labels = ["rook", "crow", "rook"]
    names = found_labels("single_label", labels)
    assert names == ("crow", "rook")
    assert targets("single_label", names, labels).tolist() == [1, 0, 1]


def test_whole_numbers_name_labels_too():
    assert found_labels("single_label", [2, 0, 1]) == ("0", "1", "2")


def test_multi_label():
    labels = [("rook", "crow"), ("crow",), ()]
    names = found_labels("multi_label", labels)
    assert names == ("crow", "rook")
    assert targets("multi_label", names, labels).tolist() == [[1, 1], [1, 0], [0, 0]]


def test_regression_takes_what_csv_holds():
    assert found_labels("regression", [1, "0.5"]) == ("value",)
    assert targets("regression", ("value",), [1, "0.5"]).tolist() == [[1.0], [0.5]]


def test_labels_that_the_checkpoint_does_not_know():
    with pytest.raises(CorpusError, match=r"2 documents .* does not know: jackdaw; it knows crow, rook"):
        targets("single_label", ("crow", "rook"), ["jackdaw", "rook", "jackdaw"])


@pytest.mark.parametrize("labels", [[], ["rook", "rook"]], ids=["none", "one"])
def test_a_single_class_is_nothing_to_learn(labels: list[Label]):
    with pytest.raises(CorpusError, match="nothing to tell apart"):
        found_labels("single_label", labels)


@pytest.mark.parametrize(
    ("problem_type", "label", "expected"),
    [
        ("single_label", ("a", "b"), "expected one label"),
        ("single_label", 0.5, "expected one label"),
        ("multi_label", "a", "expected a list of strings"),
        ("regression", "a", "expected a number"),
        ("regression", "nan", "expected a number"),
        ("regression", float("inf"), "expected a number"),
        ("regression", ("a",), "expected a number"),
    ],
)
def test_labels_of_another_problem(problem_type, label, expected):
    with pytest.raises(CorpusError, match=expected):
        targets(problem_type, ("a", "b"), [label])
