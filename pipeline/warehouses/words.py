"""The parts of statements that every engine's script has, spelled for one of them."""

from dataclasses import dataclass

from pipeline.errors import ConfigError
from pipeline.warehouses.dialect import Dialect
from pipeline.warehouses.loads import FileBatch, Load


@dataclass(frozen=True, slots=True)
class Words:
    """What a load's statements say, in one dialect."""

    load: Load
    dialect: Dialect

    def dropped(self, name: str) -> str:
        """The statement that drops a table, if it is there; of Athena's statements such ones are Hive's."""
        dialect = Dialect("hive") if self.dialect.name == "athena" else self.dialect
        return f"DROP TABLE IF EXISTS {dialect.identifier(name)};\n"

    @property
    def table(self) -> str:
        """The table that readers know."""
        return self.dialect.identifier(self.load.table)

    @property
    def new_name(self) -> str:
        """The name of a table of what is to come, while it is loaded."""
        return f"{self.load.table}_rookery_new"

    @property
    def new(self) -> str:
        """The same, quoted."""
        return self.dialect.identifier(self.new_name)

    @property
    def gone_name(self) -> str:
        """The name of a table of ids of which every row goes."""
        return f"{self.load.table}_rookery_gone"

    @property
    def gone(self) -> str:
        """The same, quoted."""
        return self.dialect.identifier(self.gone_name)

    @property
    def id(self) -> str:
        """The column of ids."""
        return self.dialect.identifier("id")

    @property
    def names(self) -> str:
        """The names of all columns, in their order."""
        return self.dialect.names([*self.load.columns])

    @property
    def definitions(self) -> str:
        """All columns with their types."""
        return self.dialect.columns([*self.load.columns])

    def selected(self, batch: FileBatch) -> str:
        """What is selected of a batch's files: their columns, then their partition's values."""
        return ", ".join([self.dialect.names(self.load.body), *self.constants(batch)])

    def constants(self, batch: FileBatch) -> list[str]:
        """The values of a batch's partition, as the table's columns have them."""
        values = dict(batch.partition)
        return [self.dialect.constant(values[field.name], field.type) for field in self.load.partitions]

    @property
    def replaced(self) -> list[FileBatch]:
        """The files of which each id goes: the removed ones and, for a load that is done twice, the new ones."""
        return [*self.load.batches(self.load.removed), *self.load.batches(self.load.added)]

    @property
    def is_right(self) -> str:
        """The condition that a table holds the snapshot's predictions, no more and no less."""
        return f"count(*) = {self.load.rows} AND coalesce({self.dialect.digest()}, 0) = {self.load.digest}"

    @property
    def expected(self) -> str:
        """What is said of a table that does not."""
        load = self.load
        return (
            f"{load.table} does not hold snapshot {load.manifest.snapshot} of {load.table_uri}: expected {load.rows} "
            f"rows with digest {load.digest}"
        )

    @property
    def found(self) -> str:
        """The same, as a text to which the engine adds what it has found."""
        counted = f"{self.as_text('count(*)')} || ' with digest ' || {self.as_text(self.dialect.digest())}"
        return f"{self.dialect.text(self.expected + ', found ')} || {counted}"

    def as_text(self, expression: str) -> str:
        """Casts a number, or null, to a text."""
        return f"CAST(coalesce({expression}, 0) AS {'STRING' if self.dialect.name == 'bigquery' else 'VARCHAR(40)'})"


def local_path(uri: str) -> str:
    """Gives a file's path on this machine; any other URI as it is."""
    return uri.removeprefix("file://")


def without_globs(uri: str, engine: str) -> str:
    """Gives a URI back. Raises ConfigError where an engine would take a part of its name for a pattern."""
    if {*uri} & {*"*?{}[]"}:
        raise ConfigError(f"{uri}: {engine} takes *, ?, {{, }}, [ and ] for patterns; load a copy with another name")
    return uri
