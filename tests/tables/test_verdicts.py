"""What gates say: figures at their limits, few documents, and which label is named."""

from collections.abc import Callable

import pytest

from pipeline.config.gates import GateSettings
from pipeline.tables.comparison import compare_snapshots
from pipeline.tables.verdicts import Verdict, judge_comparison, judge_gold, judgement, verdict_line, verdicts_of
from tests.tables.test_comparison import Documents, logits, table

Judged = Callable[..., dict[str, Verdict]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Of 100 documents 40 are cats, 50 dogs and 10 emus; then 4 cats are dogs, and 6 emus and 6 dogs have swapped."""
    folder = tmp_path_factory.mktemp("gates")
    before: Documents = {f"{n:02d}": logits(0 if n < 40 else 1 if n < 90 else 2) for n in range(100)}
    after = before | {f"{n:02d}": logits(1) for n in (0, 1, 2, 3, 90, 91, 92, 93, 94, 95)}
    after |= {f"{n:02d}": logits(2) for n in range(40, 46)}
    comparison = compare_snapshots(table(folder / "a", {"a": before}), table(folder / "b", {"a": after}))

    def judged(**gates: object) -> dict[str, Verdict]:
        verdicts = judge_comparison(GateSettings.model_validate(gates), comparison)
        return {verdict.gate: verdict for verdict in verdicts}

    return judged


def test_every_figure_is_told_and_none_is_judged_unless_asked(found: Judged):
    verdicts = found()
    assert {verdict.outcome for verdict in verdicts.values()} == {"told"}
    assert verdicts["min_agreement"].figure == pytest.approx(0.84)
    assert (verdicts["max_share_change"].label, verdicts["max_share_change"].documents) in {("cat", 100), ("dog", 100)}
    assert verdicts["max_share_change"].figure == pytest.approx(0.04)
    flips = found(min_label_documents=50)["max_label_flips"]  # emus are too few; 44 of 60 are dogs in both
    assert (flips.label, flips.documents) == ("dog", 60)
    assert flips.figure == pytest.approx(16 / 60)


@pytest.mark.parametrize(
    ("gate", "kept", "broken"),
    [
        ("min_agreement", 0.84, 0.85),
        ("min_agreement", "84%", "84.1%"),
        ("max_share_change", 0.0401, 0.0399),
        ("max_psi", 0.02, 0.001),
    ],
)
def test_a_figure_at_its_limit_is_kept(found: Judged, gate: str, kept: object, broken: object):
    assert found(**{gate: kept})[gate].outcome == "kept"
    verdict = found(**{gate: broken})[gate]
    assert verdict.outcome == "broken"
    assert verdict.is_broken
    assert found(**{gate: broken}, min_documents=101)[gate].outcome == "too few"


def test_labels_that_swap_their_documents_break_flips_where_psi_sees_nothing(found: Judged):
    """Of the 16 that are emus in one or both, 12 are in one only; the share of emus is what it was."""
    verdicts = found(max_label_flips=0.5, max_share_change=0.05, max_psi=0.1, min_label_documents=10)
    flips = verdicts["max_label_flips"]
    assert (flips.label, flips.figure, flips.documents, flips.outcome) == ("emu", 0.75, 16, "broken")
    assert {verdicts[gate].outcome for gate in ("max_share_change", "max_psi")} == {"kept"}
    assert verdict_line(flips) == (
        "label 'emu': 75.00% of the 16 documents that have it in either have it in one only; gates.max_label_flips "
        "allows at most 50.00%"
    )


def test_of_few_documents_it_says_that_it_does_not_judge(found: Judged):
    flips = found(max_label_flips=0.1, min_label_documents=80)["max_label_flips"]
    assert flips.outcome == "too few"
    assert "too few documents to judge it by gates.max_label_flips, at most 10.00%" in verdict_line(flips)


def test_a_gold_corpus():
    gates = GateSettings.model_construct(min_gold_macro_f1=0.8, min_gold_documents=20)
    assert [judge_gold(gates, figure, n).outcome for figure, n in ((0.8, 20), (0.79, 20), (0.1, 19), (None, 50))] == [
        "kept",
        "broken",
        "too few",
        "too few",
    ]
    assert verdict_line(judge_gold(gates, 0.79, 20)) == (
        "macro F1 0.7900 on 20 documents of the gold corpus; gates.min_gold_macro_f1 allows at least 0.8000"
    )


def test_a_manifest_holds_what_was_found(found: Judged):
    verdicts = list(found(min_agreement=0.9).values())
    assert verdicts_of(judgement("digest", 3, verdicts)) == verdicts
    assert verdicts_of({}) == []
