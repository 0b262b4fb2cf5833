import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.config.label import TextSettings, parse_job
from pipeline.errors import CheckpointError, ConfigError, CorpusError
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.scoring import open_scorer, window_policy
from pipeline.storage.objects import Storage
from pipeline.text.windows import WindowPolicy
from tests.corpus.files import read
from tests.s3 import S3Server


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "checkpoint"))


def plan(checkpoint: Path, *overrides: str, corpus: object = CORPUS, limit: int | None = None) -> Plan:
    settings = [
        f"corpus.uris={corpus}",
        f"checkpoint.uri={checkpoint}",
        f"table.uri={checkpoint.parent}/table",
    ]
    return make_plan(parse_job("", ["corpus.id_column=id", *settings, *overrides]), limit)


def say(checkpoint: Path, **settings: object) -> CheckpointFolder:
    """Writes rookery.json."""
    (checkpoint / "rookery.json").write_text(json.dumps(settings))
    return CheckpointFolder.open(checkpoint)


def policy(settings: TextSettings, folder: CheckpointFolder) -> WindowPolicy:
    return window_policy(settings, folder.windows, folder.encoder.max_positions)


def test_the_checkpoint_s_window_policy_holds_where_the_job_says_nothing(checkpoint: Path):
    folder = say(checkpoint, windows={"max_tokens": 512, "overlap": 64, "aggregation": "max"})
    assert policy(TextSettings(), folder) == WindowPolicy(512, "windows", 64, aggregation="max")
    job = TextSettings(max_tokens=1024, aggregation="first", long_documents="head")
    assert policy(job, folder) == WindowPolicy(1024, "head", 64, aggregation="first")


def test_defaults_where_neither_says_anything(checkpoint: Path):
    folder = CheckpointFolder.open(checkpoint)
    assert policy(TextSettings(), folder) == WindowPolicy(4096, "windows", 128, aggregation="mean")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TextSettings(max_tokens=5000), "text.max_tokens 5000: the checkpoint has 4096 positions"),
        (TextSettings(max_tokens=100, overlap=98), "text.overlap 98: expected less than"),
    ],
    ids=["too long", "no way forward"],
)
def test_a_window_policy_that_cannot_be(checkpoint: Path, settings: TextSettings, message: str):
    with pytest.raises(ConfigError, match=message):
        policy(settings, CheckpointFolder.open(checkpoint))


@pytest.mark.parametrize(
    "override",
    [
        "text.max_tokens=512",
        "text.long_documents=head",
        "text.overlap=0",
        "text.aggregation=max",
        "compute.dtype=bf16",
    ],
)
def test_what_decides_the_scores_changes_the_scoring_key(checkpoint: Path, override: str):
    assert (
        plan(checkpoint, "compute.dtype=fp32").scoring.key
        != plan(checkpoint, "compute.dtype=fp32", override).scoring.key
    )


@pytest.mark.parametrize(
    "override",
    [
        "compute.actors=7",
        "compute.num_cpus=3",
        "units.text_bytes=1MB",
        "table.buckets=3",
        "corpus.text_column=title",
        "compute.token_budget=4096",
    ],
)
def test_what_does_not_decide_the_scores_leaves_the_scoring_key(checkpoint: Path, override: str):
    assert plan(checkpoint).scoring.key == plan(checkpoint, override).scoring.key


def test_thresholds_change_the_decision_and_not_the_scores(checkpoint: Path):
    before = plan(checkpoint)
    say(checkpoint, thresholds=dict.fromkeys(before.checkpoint.head.labels, 0.9))
    after = plan(checkpoint)
    assert after.scoring.key == before.scoring.key
    assert after.task.key != before.task.key
    assert after.publication.content != before.publication.content


def as_question_answering(checkpoint: Path, sep_token_id: int) -> None:
    """The plan reads no weights."""
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"sep_token_id": sep_token_id}))
    say(checkpoint, pooling="tokens", head="question_answering")


SEP = 5  # of the sample's tokenizer
QUESTIONS = "task.questions=['Who wrote it?', 'Which version is it for?']"


def test_questions_change_the_scores_and_their_threshold_the_decision(checkpoint: Path):
    as_question_answering(checkpoint, SEP)
    before, after = plan(checkpoint, "task.questions=Who?"), plan(checkpoint, QUESTIONS)
    assert before.scoring.key != after.scoring.key
    assert after.scoring.questions == ("Who wrote it?", "Which version is it for?")
    strict = plan(checkpoint, QUESTIONS, "task.no_answer_threshold=-3")
    assert strict.scoring.key == after.scoring.key
    assert strict.task.key != after.task.key


def test_the_labels_of_tokens_change_the_scores_and_the_least_score_the_decision(checkpoint: Path):
    say(checkpoint, pooling="tokens", head="linear")
    before, after = plan(checkpoint), plan(checkpoint, "task.min_score=0.5")
    assert before.scoring.key == after.scoring.key
    assert before.task.key != after.task.key
    say(checkpoint, pooling="tokens", head="linear", labels=list("ABCDE"))
    assert plan(checkpoint).scoring.key != before.scoring.key


def test_questions_that_leave_no_room_end_the_plan(checkpoint: Path):
    as_question_answering(checkpoint, SEP)
    with pytest.raises(ConfigError, match=r"task\.questions: .* has . tokens; expected from 1 to 6"):
        plan(checkpoint, QUESTIONS, "text.max_tokens=16", "text.overlap=1")


def test_another_column_is_another_unit(checkpoint: Path):
    assert not set(plan(checkpoint).unit_ids) & set(plan(checkpoint, "corpus.text_column=title").unit_ids)


@pytest.mark.parametrize("limit", [1, 49, 50, 51, 100, 117, 500, 10_000])
def test_a_limit_takes_the_first_documents(checkpoint: Path, limit: int):
    limited = plan(checkpoint, "units.text_bytes=500kB", limit=limit)
    everything = [id_ for unit in plan(checkpoint).units for id_ in read(limited.storage, unit)["id"].to_pylist()]
    taken = [id_ for unit in limited.units for id_ in read(limited.storage, unit)["id"].to_pylist()]
    assert taken == everything[:limit]
    assert sum(unit.documents or 0 for unit in limited.units) == len(taken)


def test_a_limit_counts_documents_that_no_footer_counts(checkpoint: Path, tmp_path: Path):
    for name in "ab":
        lines = [json.dumps({"id": f"{name}{n}", "text": "x"}) for n in range(5)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    limited = plan(checkpoint, corpus=f"{tmp_path}/*.jsonl", limit=7)
    assert [len(read(limited.storage, unit)) for unit in limited.units] == [5, 2]


def test_units_whole_under_a_limit_are_those_of_a_full_run(checkpoint: Path):
    full, limited = plan(checkpoint), plan(checkpoint, limit=120)
    assert set(limited.unit_ids[:-1]) <= set(full.unit_ids)
    assert limited.unit_ids[-1] not in full.unit_ids


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["table.partition_by=[label]"], "which is one of the columns of the table"),
        (["table.partition_by=[nope]"], r"no such hive key; found \['label'\]"),
        ([], "'label' of file:.* can't be told from 'label', which is one of the columns"),
    ],
    ids=["partition", "unknown key", "carried"],
)
def test_hive_keys_that_clash_with_the_table(checkpoint: Path, tmp_path: Path, overrides: list[str], message: str):
    (tmp_path / "corpus" / "label=x").mkdir(parents=True)
    pq.write_table(pa.table({"id": ["a"], "text": ["t"]}), tmp_path / "corpus" / "label=x" / "a.parquet")
    with pytest.raises(ConfigError, match=message):
        plan(checkpoint, *overrides, corpus=tmp_path / "corpus")
    assert plan(checkpoint, "corpus.carry=[]", corpus=tmp_path / "corpus").publication.layout.carried == ()


def test_a_column_that_json_lines_do_not_have(checkpoint: Path, tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"id": 1, "body": "x"}\n')
    with pytest.raises(CorpusError, match="no column 'text'; the record has 'body', 'id'"):
        plan(checkpoint, corpus=tmp_path / "a.jsonl")


def test_a_corrupt_tokenizer_is_found_by_the_plan(checkpoint: Path):
    (checkpoint / "spiece.model").write_bytes(b"not a model")
    with pytest.raises(CheckpointError, match=r"spiece\.model: not a sentencepiece model"):
        plan(checkpoint)


@pytest.mark.parametrize("first", [b'{"body": 1}\n', b"[1]\n", b"\x1f\x8b broken"])
def test_a_file_of_another_kind_that_comes_first_does_not_end_the_job(checkpoint: Path, tmp_path: Path, first: bytes):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.jsonl").write_bytes(first)
    (tmp_path / "corpus" / "b.jsonl").write_text('{"id": 1, "text": "x"}\n')
    assert len(plan(checkpoint, corpus=tmp_path / "corpus").units) == 2


def test_a_partition_value_that_no_disk_can_hold_is_refused(checkpoint: Path, tmp_path: Path):
    folder = tmp_path / f"kind={'字' * 80}"  # 240 bytes here, 720 where they are escaped
    folder.mkdir()
    (folder / "a.txt").write_text("text")
    corpus = tmp_path / "kind*" / "*"
    with pytest.raises(CorpusError, match=r"'kind': .* has 725 bytes; expected at most 255: leave 'kind' out"):
        plan(checkpoint, "table.partition_by=kind", corpus=corpus)
    assert plan(checkpoint, corpus=corpus).layout.carried == ("kind",)


@pytest.mark.parametrize(
    ("folders", "overrides", "message"),
    [
        (
            ["Lang=de", "lang=en"],
            [],
            r"hive key 'lang' of .*/lang=en/a.txt can't be told from 'Lang' of .*/Lang=de/a.txt",
        ),
        (["Lang=de", "lang=en"], ["table.partition_by=lang"], "hive key 'Lang' of .* can't be told from 'lang' of"),
        (["ID=1"], [], "hive key 'ID' of .* can't be told from 'id', which is one of the columns"),
        (["SNAPSHOT=1"], ["table.partition_by=SNAPSHOT"], "'SNAPSHOT' of .* can't be told from 'snapshot', which"),
        (["Reason=1"], [], "'Reason' of .* can't be told from 'reason', which"),
        (["STRASSE=1", "straße=1"], [], "'straße' of .* can't be told from 'STRASSE'"),
    ],
    ids=["two keys", "a partition", "the id", "reserved", "of the errors", "no ASCII"],
)
def test_names_that_differ_in_case_only_are_refused(
    checkpoint: Path, tmp_path: Path, folders: list[str], overrides: list[str], message: str
):
    for folder in folders:
        (tmp_path / "corpus" / folder).mkdir(parents=True)
        (tmp_path / "corpus" / folder / "a.txt").write_text("text")
    with pytest.raises(ConfigError, match=message):
        plan(checkpoint, *overrides, corpus=tmp_path / "corpus")
    assert plan(checkpoint, "corpus.carry=[]", corpus=tmp_path / "corpus").layout.carried == ()


def test_a_key_that_the_corpus_does_not_have_is_not_carried_in_silence(checkpoint: Path, tmp_path: Path):
    (tmp_path / "lang=de").mkdir()
    (tmp_path / "lang=de" / "a.txt").write_text("text")
    with pytest.raises(ConfigError, match=r"corpus.carry 'nope': the corpus has no such hive key; found \['lang'\]"):
        plan(checkpoint, "corpus.carry=[lang, nope]", corpus=tmp_path / "lang*/*")


def test_the_table_lies_apart_from_the_corpus(checkpoint: Path, tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.txt").write_text("text")
    for table in ("corpus/table", "corpus", "."):
        with pytest.raises(ConfigError, match=r"table\.uri .* lies where corpus\.uris .*/corpus"):
            plan(checkpoint, f"table.uri={tmp_path / table}", corpus=tmp_path / "corpus")


@pytest.mark.s3
def test_a_table_whose_bucket_is_missing_is_the_job_s_mistake(s3: S3Server, checkpoint: Path, tmp_path: Path):
    (tmp_path / "a.txt").write_text("text")
    places = ["table.uri=s3://no-such-bucket/t", f"storage.endpoint_url={s3.endpoint}"]
    with pytest.raises(ConfigError, match=r"table\.uri s3://no-such-bucket/t: .* no such bucket"):
        plan(checkpoint, *places, corpus=tmp_path / "a.txt")


def test_a_dtype_that_can_not_be_names_its_setting():
    wanted = [
        "corpus.uris=x",
        f"checkpoint.uri={CHECKPOINT}",
        "table.uri=y",
        "compute.dtype=int8",
        "compute.num_gpus=1",
    ]
    with pytest.raises(ConfigError, match=r"^compute.dtype is 'int8', which is for CPUs; with GPUs use auto$"):
        open_scorer(Storage(), parse_job("", wanted))
