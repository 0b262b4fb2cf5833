"""`rookery review`: documents for people to judge, and what they have judged as a labelled corpus."""

import re
from typing import Annotated

import typer

from jobs.command_group import example_lines
from jobs.terminal.review_output import print_review_exported, print_review_imported
from pipeline.errors import ConfigError
from pipeline.review.choosing import ReviewSize, choose_documents
from pipeline.review.review_export import ReviewFormat, review_uris, write_review
from pipeline.review.review_import import import_review
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Snapshots

review_commands = typer.Typer(
    help="Have people judge the least sure documents, and train on what they say.",
    no_args_is_help=True,
    add_completion=False,
)
_EXPORT_EXAMPLES = example_lines(
    "rookery review export s3://my-tables/topics review.json --documents 200",
    "rookery review export s3://my-tables/topics review.jsonl --format jsonl",
)
_IMPORT_EXAMPLES = example_lines("rookery review import s3://my-tables/topics back.json reviewed.parquet")
_TABLE = "The table's folder: `table.uri` of its job."
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


@review_commands.command("export", epilog=_EXPORT_EXAMPLES)
def export_for_review(
    table: Annotated[str, typer.Argument(help=_TABLE)],
    to: Annotated[str, typer.Argument(help="The file to write, .json for Label Studio or .jsonl; path or URI.")],
    format_: Annotated[ReviewFormat, typer.Option("--format", help="The form of the documents.")] = "label-studio",
    documents: Annotated[int, typer.Option("--documents", min=1, help="How many.")] = 200,
    per_label: Annotated[
        int | None,
        typer.Option("--per-label", min=1, help="Of the least sure, so many at most for each label that is in doubt."),
    ] = None,
    control: Annotated[
        str, typer.Option("--control", help="The share of them that is drawn at random from the whole table.")
    ] = "10%",
    seed: Annotated[int, typer.Option("--seed", help="Another one draws others.")] = 0,
    snapshot: Annotated[
        int | None, typer.Option("--snapshot", help="This snapshot; by default the newest complete one.")
    ] = None,
    overwrite: _Overwrite = False,
) -> None:
    """Write the documents whose label is least sure, and some at random, with their text, for people to judge."""
    storage, uris = Storage(), review_uris(to, format_)
    for uri in uris:
        check_free(storage, uri, overwrite=overwrite)
    snapshots = Snapshots(storage, table)
    manifest = snapshots.get(snapshot)
    chosen = choose_documents(snapshots, manifest, ReviewSize(documents, _share(control), per_label, seed))
    print_review_exported(write_review(storage, uris, format_, manifest, chosen))


@review_commands.command("import", epilog=_IMPORT_EXAMPLES)
def import_from_review(
    table: Annotated[str, typer.Argument(help=_TABLE)],
    reviewed: Annotated[str, typer.Argument(help="What came back: Label Studio's JSON, or our JSON Lines.")],
    to: Annotated[str, typer.Argument(help="The labelled corpus to write, .parquet or .jsonl; path or URI.")],
    overwrite: _Overwrite = False,
) -> None:
    """Make a labelled corpus of what people have judged, without who judged it, for train and evaluate."""
    check_free(Storage(), to, overwrite=overwrite)
    snapshots = Snapshots(Storage(), table)
    print_review_imported(to, import_review(snapshots, snapshots.get(), reviewed, to))


def check_free(storage: Storage, uri: str, *, overwrite: bool) -> None:
    """Raises ConfigError for a file that is there already, or that can't be written."""
    if not overwrite and storage.stat(uri):
        raise ConfigError(f"{uri}: is there already; give --overwrite to replace it, or name another place")
    storage.check_writable(uri.rpartition("/")[0] if "/" in uri else ".", uri)


def _share(given: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", given)
    share = float(match[1]) / 100 if match else -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f"--control {given}: expected a share such as 10%")
    return share
