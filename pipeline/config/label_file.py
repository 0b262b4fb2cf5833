"""A labelling job's file: one checkpoint and its table, or several checkpoints with a table each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core.core_schema import CoreSchema

from pipeline.config.label import CheckpointSettings, Job
from pipeline.config.loader import load_settings
from pipeline.config.values import Name, Settings


class CheckpointWithTable(Settings):
    """One of several checkpoints, and its table."""

    uri: Name = Field(description="The checkpoint, as `checkpoint.uri`.")
    table: Name = Field(description="Its own table, as `table.uri`.")


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class LabelFile(Job):
    """What `rookery label` and `rookery errors` read: one job, or a job for each of several checkpoints.

    Where there are several, `checkpoint` and `table.uri` are those of the first.
    """

    checkpoints: Annotated[tuple[CheckpointWithTable, ...], BeforeValidator(_as_tuple)] = Field(
        default=(),
        description="A list, instead of `checkpoint` and `table.uri`: each labels the corpus into a table of its own, "
        "from one reading. All other settings hold for each.",
        examples=[[{"uri": "models/topics-7", "table": "out/topics"}, {"uri": "models/spam", "table": "out/spam"}]],
    )

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, tree: Any) -> Any:
        """Every setting of a job is checked as if the first checkpoint were the only one."""
        if not isinstance(tree, Mapping) or not tree.get("checkpoints"):
            return tree
        table = tree.get("table", {})
        if "checkpoint" in tree or (isinstance(table, Mapping) and "uri" in table):
            raise ValueError("expected checkpoint and table.uri, or checkpoints, of which each has a table; found both")
        listed = tree["checkpoints"]
        first = listed[0] if isinstance(listed, list) and isinstance(listed[0], Mapping) else {}
        of_first = {"checkpoint": {"uri": first.get("uri", "?")}}
        if isinstance(table, Mapping):
            of_first["table"] = {**table, "uri": first.get("table", "?")}
        return {**tree, **of_first}

    @model_validator(mode="after")
    def _one_lake_table_for_one_table(self) -> "LabelFile":
        if self.checkpoints and (self.publish.iceberg or self.publish.delta):
            raise ValueError(
                "publish can't go with checkpoints, whose tables can't share a lake table; write a file for each"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, serialized: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A file that says the same: one or several, as it was."""
        tree: dict[str, Any] = serialized(self)
        if not self.checkpoints:
            tree.pop("checkpoints", None)
            return tree
        table = {name: value for name, value in tree["table"].items() if name != "uri"}
        return {name: value for name, value in tree.items() if name != "checkpoint"} | {"table": table}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Requires of a file one checkpoint and its table, or several, as the validators do."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema["required"] = ["corpus"]
        table = handler.resolve_ref_schema(schema["properties"]["table"])
        table["required"] = [name for name in table["required"] if name != "uri"]
        uri = {"required": ["uri"]}
        schema["oneOf"] = [
            {"required": ["checkpoint", "table"], "properties": {"table": uri, "checkpoints": {"maxItems": 0}}},
            {"required": ["checkpoints"], "properties": {"table": {"not": uri}}, "not": {"required": ["checkpoint"]}},
        ]
        return schema

    @property
    def jobs(self) -> list[Job]:
        """A job for each checkpoint, in their order: all that other parts of the program know."""
        shared = {name: getattr(self, name) for name in Job.model_fields}
        if not self.checkpoints:
            return [Job(**shared)]
        return [
            Job(
                **shared
                | {
                    "checkpoint": CheckpointSettings(uri=one.uri),
                    "table": self.table.model_copy(update={"uri": one.table}),
                }
            )
            for one in self.checkpoints
        ]


def load_jobs(path: Path, overrides: list[str] | None = None) -> list[Job]:
    """Reads a labelling job's file: a job for each of its checkpoints. Raises ConfigError."""
    return load_settings(LabelFile, path, overrides or []).jobs
