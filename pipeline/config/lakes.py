"""The job file's section `publish`: the lake tables that every snapshot is committed to."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from pipeline.config.values import Name, Settings

SECRET = re.compile(r"secret|token|password|credential|access[-_.]key|account[-_.]key|private", re.IGNORECASE)


def _identifier(value: str) -> str:
    if len(parts := value.split(".")) < 2 or not all(parts):
        raise ValueError("expected namespace.table, such as predictions.topics")
    return value


def _without_secrets(properties: dict[str, str]) -> dict[str, str]:
    for name, value in properties.items():
        if SECRET.search(name) or urlsplit(value).password:
            raise ValueError(
                f"{name!r} holds a secret, and a job file is copied into every manifest; put it into pyiceberg's own "
                f"configuration (~/.pyiceberg.yaml, or PYICEBERG_CATALOG__<CATALOG>__{name.upper().replace('-', '_')})"
            )
    return properties


class IcebergSettings(Settings):
    """A table of an Iceberg catalog. Needs the extra `iceberg`."""

    table: Annotated[Name, AfterValidator(_identifier)] = Field(
        description="The table, as `namespace.table`; both are made where there are none. It is this table's alone: "
        "one that somebody else made is refused.",
        examples=["predictions.topics"],
    )
    catalog: Name = Field(
        default="rookery",
        description="The catalog's name, under which pyiceberg's own configuration (`~/.pyiceberg.yaml`, "
        "`PYICEBERG_CATALOG__…`) is looked up: REST, Glue, Hive, SQL and others, and all secrets.",
    )
    properties: Annotated[dict[str, str], AfterValidator(_without_secrets)] = Field(
        default={},
        description="Properties of the catalog that go over that configuration, such as `uri` and `warehouse`; no "
        "secrets. With a `warehouse` and no `uri` or `type`, the catalog is an SQLite file, `catalog.db`, in that "
        "local folder.",
        examples=[{"uri": "https://catalog.example.com", "warehouse": "s3://my-lake"}],
    )


class DeltaSettings(Settings):
    """A Delta table. Needs the extra `delta`."""

    uri: Name = Field(
        description="The table's folder, in the same stores as `table.uri` and outside of it; it is made where there "
        "is none.",
        examples=["s3://my-lake/topics"],
    )


class PublishSettings(Settings):
    """Where every published snapshot is committed to, beside the table."""

    iceberg: IcebergSettings | None = Field(default=None, description="An Iceberg table that follows this one.")
    delta: DeltaSettings | None = Field(default=None, description="A Delta table that follows this one.")
