"""`rookery erase`: the documents with some ids leave a table, with all that was kept of them."""

from typing import Annotated

import typer

from jobs.lake_commits import commit_registered
from jobs.terminal import erase_output
from jobs.terminal.lake_output import print_lake_history
from pipeline.errors import ConfigError
from pipeline.storage.objects import Storage
from pipeline.tables.erasure import erase_documents, look_for
from pipeline.tables.snapshots import Snapshots


def erase(
    table: Annotated[str, typer.Argument(help="The table's folder: `table.uri` of its job.")],
    ids_file: Annotated[str, typer.Argument(metavar="IDS", help="A text file with the ids, one a line: path or URI.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look where they are, and change nothing.")] = False,
) -> None:
    """Erase documents from every snapshot of a table and all that was kept of them, and keep them away from then on."""
    snapshots, ids = Snapshots(Storage(), table), read_ids(Storage(), ids_file)
    if dry_run:
        with erase_output.erasing_status("looking for them …"):
            places = look_for(snapshots, ids)
        erase_output.print_places(table, ids, places)
        return
    with erase_output.erasing_status("erasing …") as status:
        erased = erase_documents(snapshots, ids, status.update)
    erase_output.print_erased(table, ids, erased)
    if commit_registered(snapshots):
        print_lake_history()


def read_ids(storage: Storage, uri: str) -> list[str]:
    """Reads the ids of a file, one a line, each once. Raises ConfigError for a file that is none, or has none."""
    try:
        text = storage.read(uri).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{uri}: no such file; expected one with the ids to erase, one a line") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{uri}: at byte {error.start}: {error.reason}; expected UTF-8") from error
    # not splitlines, which also ends a line at characters that an id may hold
    ids = list(dict.fromkeys(line for line in text.replace("\r\n", "\n").split("\n") if line))
    if not ids:
        raise ConfigError(f"{uri}: is empty; expected the ids to erase, one a line")
    return ids
