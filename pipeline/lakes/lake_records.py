"""Which lake tables a table is committed to, kept in the table: for `rollback`, `publish`, `erase` and `vacuum`.

    _lakes/<digest>.json    one lake table, as the section `publish` of a job file; put if absent, before it is made

Somebody who stops committing to one for good removes its object; until then `vacuum` asks it what it names.
"""

import json

from pipeline.config.lakes import PublishSettings
from pipeline.identity import digest
from pipeline.lakes.delta_lake import DeltaLake
from pipeline.lakes.iceberg_lake import IcebergLake
from pipeline.lakes.lake_commit import Lake
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Snapshots

LAKES_FOLDER = "_lakes"


def lakes_of(settings: PublishSettings, storage: Storage) -> list[Lake]:
    """Gives the lake tables that a section `publish` names."""
    lakes: list[Lake] = []
    if settings.iceberg:
        lakes.append(IcebergLake(settings.iceberg, storage))
    if settings.delta:
        lakes.append(DeltaLake(settings.delta, storage))
    return lakes


def register(snapshots: Snapshots, lake: Lake) -> None:
    """Writes down that a table is committed to a lake table."""
    record = lake.record()
    path = f"{LAKES_FOLDER}/{digest('lake/1', record)[:16]}.json"
    snapshots.storage.put_if_absent(snapshots.uri(path), json.dumps(record, indent=1).encode() + b"\n")


def registered(snapshots: Snapshots) -> list[Lake]:
    """Reads which lake tables a table is committed to."""
    storage = snapshots.storage
    uris = [file.uri for file in storage.find(snapshots.uri(LAKES_FOLDER)) if file.uri.endswith(".json")]
    sections = [PublishSettings.model_validate_json(data) for data in storage.read_all(uris)]
    return [lake for section in sections for lake in lakes_of(section, storage)]
