"""The engines that scripts are run by, for real: each runs a script, and gives the rows of its table."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import duckdb

from pipeline.tables.repeatable_parquet import read_parquet
from pipeline.warehouses.script import EngineName
from tests.warehouses.tables import NAME

COLUMNS = 'id, content_sha256, label, score, n_tokens, truncated, decision_key, "order", "group"'
POSTGRES = Path("/usr/lib/postgresql")


class EngineError(Exception):
    """A script failed; what the engine said of it."""


class Warehouse(Protocol):
    name: EngineName

    def run(self, script: str) -> None: ...
    def rows(self, columns: str = COLUMNS) -> list[tuple[Any, ...]]: ...
    def break_off(self, script: str) -> None:
        """Runs a script that ends in the middle, as of a program that was killed."""

    def close(self) -> None: ...


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class DuckDB:
    name: EngineName = "duckdb"

    def __init__(self, _folder: Path) -> None:
        self.database = duckdb.connect()

    def run(self, script: str) -> None:
        try:
            self.database.execute(script)
        except duckdb.Error as error:
            self.database.rollback()
            raise EngineError(error) from error

    def break_off(self, script: str) -> None:
        self.database.execute(script[: script.index("COMMIT;")])
        self.database.rollback()  # as closing the connection does

    def rows(self, columns: str = COLUMNS) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self.database.execute(
            f"SELECT {columns} FROM {quoted(NAME)} ORDER BY id"
        ).fetchall()
        return rows

    def close(self) -> None:
        self.database.close()


class ClickHouse:
    name: EngineName = "clickhouse"

    def __init__(self, folder: Path) -> None:
        from chdb import session

        self.session = session.Session(str(folder / "clickhouse"))
        self.run("CREATE DATABASE warehouse ENGINE = Atomic; USE warehouse")

    def run(self, script: str) -> None:
        try:
            self.session.query(script)
        except RuntimeError as error:
            raise EngineError(error) from error

    def break_off(self, script: str) -> None:
        self.run(script[: script.index("EXCHANGE TABLES")])

    def rows(self, columns: str = COLUMNS) -> list[tuple[Any, ...]]:
        self.session.query("SET output_format_parquet_string_as_string = 1")
        data = self.session.query(f"SELECT {columns} FROM {quoted(NAME)} ORDER BY id", "Parquet").bytes()
        return [tuple(row.values()) for row in read_parquet(data).to_pylist()]

    def close(self) -> None:
        self.session.close()


class Postgres:
    name: EngineName = "postgres"

    def __init__(self, _folder: Path) -> None:
        self.programs = max(POSTGRES.glob("*/bin"))
        self.folder = Path(tempfile.mkdtemp(prefix="rookery-postgres-"))  # below /tmp: a socket's path is short
        if os.getuid() == 0:  # who may not run a server
            shutil.chown(self.folder, "postgres", "postgres")
        self._serve("initdb", "-D", "data", "-E", "UTF8", "--no-locale", "-A", "trust", "-U", "postgres", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self._serve("pg_ctl", "-D", "data", "-w", "-o", options, "-l", "log", "start")

    def _serve(self, program: str, *arguments: str) -> None:
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        command = [*user, str(self.programs / program), *arguments]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=60)

    def run(self, script: str) -> None:
        command = [str(self.programs / "psql"), "-X", "-q", "-h", str(self.folder), "-U", "postgres"]
        ended = subprocess.run(command, input=script.encode(), capture_output=True, check=False, timeout=60)
        if ended.returncode:
            raise EngineError(ended.stderr.decode())

    def break_off(self, script: str) -> None:
        self.run(script[: script.rindex("\\.\n")])  # which psql takes for the end of the rows

    def rows(self, columns: str = COLUMNS) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(f"host={self.folder} user=postgres dbname=postgres") as connection:
            query = f'SELECT {columns} FROM {quoted(NAME)} ORDER BY id COLLATE "C"'
            return connection.execute(query).fetchall()

    def close(self) -> None:
        self._serve("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(self.folder)


ENGINES: dict[str, Callable[[Path], Warehouse]] = {"duckdb": DuckDB, "clickhouse": ClickHouse, "postgres": Postgres}


@contextlib.contextmanager
def warehouse(name: str, folder: Path) -> Iterator[Warehouse]:
    engine = ENGINES[name](folder)
    try:
        yield engine
    finally:
        engine.close()
