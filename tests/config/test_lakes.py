"""The section `publish`: what may stand there, and that no secret does."""

import pytest

from pipeline.config.label import parse_job
from pipeline.errors import ConfigError

REQUIRED = ["corpus.uris=x", "checkpoint.uri=x", "table.uri=x"]


def test_what_is_not_set_is_not_committed_to():
    assert parse_job("", REQUIRED).publish.model_dump() == {"iceberg": None, "delta": None}


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("publish.iceberg.table=topics", "expected namespace.table"),
        ("publish.iceberg={table: a.b, properties: {s3.secret-access-key: x}}", "put it into pyiceberg's own"),
        ("publish.iceberg={table: a.b, properties: {uri: 'postgresql://u:p@host/db'}}", "put it into pyiceberg's own"),
        ("publish.iceberg={table: a.b, properties: {token: x}}", "put it into pyiceberg's own"),
        ("publish.delta={}", "publish.delta.uri: missing"),
    ],
)
def test_what_is_refused(setting: str, reason: str):
    with pytest.raises(ConfigError, match=reason):
        parse_job("", [*REQUIRED, setting])
