"""`rookery export`: a snapshot's rows as files for other programs."""

import sys
from typing import Annotated

import typer

from jobs.terminal.export_output import print_exported
from pipeline.errors import ConfigError
from pipeline.exporting.exported import PART_ROWS, Target, export_snapshot
from pipeline.exporting.file_formats import ExportFormat, form_of
from pipeline.exporting.selection import Selection
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Snapshots


def export(
    table: Annotated[str, typer.Argument(help="The table's folder: `table.uri` of its job.")],
    to: Annotated[
        str,
        typer.Argument(help="A file, a folder for several (with a slash at its end), or `-` for stdout; path or URI."),
    ],
    format_: Annotated[
        ExportFormat | None, typer.Option("--format", help="The format; by default the ending of TO says it.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", help="What to export of each row, as in DuckDB's SELECT; by default every column."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", help="Only rows for which this holds, as in DuckDB's WHERE: `label = 'rust'`."),
    ] = None,
    snapshot: Annotated[
        int | None, typer.Option("--snapshot", help="This snapshot; by default the newest complete one.")
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(
            "--since",
            help="Only what differs from the same export of this older snapshot, with a column `change`: added, "
            "changed or removed.",
        ),
    ] = None,
    with_text: Annotated[
        bool,
        typer.Option(
            "--with-text",
            help="Add a column `text` from the corpus, and sort the rows as they lie there. Text leaves the corpus.",
        ),
    ] = False,
    part_rows: Annotated[
        int | None,
        typer.Option("--part-rows", min=1, help=f"Rows of a file, where TO is a folder; by default {PART_ROWS:,}."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    allow_formulas: Annotated[
        bool,
        typer.Option(
            "--allow-formulas", help="CSV: leave cells as they are that a spreadsheet would take for a formula."
        ),
    ] = False,
    bom: Annotated[
        bool, typer.Option("--bom", help="CSV: begin with a byte order mark, which some spreadsheets need for UTF-8.")
    ] = False,
) -> None:
    """Export a snapshot's predictions as CSV, JSON Lines, Arrow or Parquet, whole or not at all."""
    if part_rows and not to.endswith("/"):
        raise ConfigError(f"--part-rows: {to} is one file; end TO with a slash for a folder of several")
    snapshots = Snapshots(Storage(), table)
    manifest = snapshots.get(snapshot)
    if since is not None and since > manifest.snapshot:
        raise ConfigError(
            f"--since {since}: is newer than snapshot {manifest.snapshot}, whose difference to it is asked"
        )
    selection = Selection(columns, where, snapshots.get(since) if since is not None else None, with_source=with_text)
    form = form_of(to, format_, formulas=allow_formulas, bom=bom)
    file = sys.stdout.buffer if to == "-" else None
    target = Target(to, form, overwrite=overwrite, part_rows=part_rows or PART_ROWS, file=file)
    print_exported(to, since, export_snapshot(snapshots, manifest, selection, target))
