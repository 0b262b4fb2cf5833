"""How an engine spells names, texts, types and the check of a load: by sqlglot, and by hand where that knows less."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from pipeline.tables.rows_digest import DIGESTED, SEPARATOR

_SCALARS = {
    pa.string(): "TEXT",
    pa.large_string(): "TEXT",
    pa.string_view(): "TEXT",
    pa.bool_(): "BOOLEAN",
    pa.int8(): "SMALLINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INT",
    pa.int64(): "BIGINT",
    pa.uint8(): "SMALLINT",
    pa.uint16(): "INT",
    pa.uint32(): "BIGINT",
    pa.uint64(): "DECIMAL(20, 0)",
    pa.float16(): "FLOAT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.date64(): "DATE",
    pa.binary(): "VARBINARY",
    pa.large_binary(): "VARBINARY",
}
_NESTED_AS = {"snowflake": "VARIANT", "redshift": "SUPER"}  # instead of lists and structs
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # of a second, by Arrow's units
_DIGESTS = {  # of a text's MD5 the first 32 bits, as a number
    "duckdb": "('0x' || md5({})[:8])::BIGINT",
    "clickhouse": "reinterpretAsUInt32(reverse(substring(MD5({}), 1, 4)))",
    "postgres": "('x' || left(md5({}), 8))::bit(32)::bigint",
    "redshift": "STRTOL(LEFT(MD5({}), 8), 16)",
    "snowflake": "TO_NUMBER(LEFT(MD5({}), 8), 'XXXXXXXX')",
    "bigquery": "CAST('0x' || LEFT(TO_HEX(MD5({})), 8) AS INT64)",
    "spark": "CAST(conv(left(md5({}), 8), 16, 10) AS BIGINT)",
    "athena": "from_base(substr(to_hex(md5(to_utf8({}))), 1, 8), 16)",
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """The spelling of one engine, by the name that sqlglot has for it."""

    name: str

    def identifier(self, name: str) -> str:
        """Quotes the name of a table or a column."""
        return exp.to_identifier(name, quoted=True).sql(self.name)

    def text(self, text: str) -> str:
        """Quotes a text."""
        return exp.Literal.string(text).sql(self.name)

    def names(self, fields: list[pa.Field]) -> str:
        """Lists the names of columns."""
        return ", ".join(self.identifier(field.name) for field in fields)

    def columns(self, fields: list[pa.Field]) -> str:
        """Lists columns with their types, as a table is made of them."""
        return ",\n".join(f"  {self.identifier(field.name)} {self.column_type(field)}" for field in fields)

    def column_type(self, field: pa.Field) -> str:
        """Gives a column's type, and that it is never null where that is so."""
        type_ = self.type(field.type, nullable=field.nullable)
        return type_ if field.nullable or self.name in ("clickhouse", "hive") else f"{type_} NOT NULL"

    def type(self, type_: pa.DataType, *, nullable: bool = True) -> str:
        """Gives the type that holds every value of an Arrow type."""
        if pa.types.is_nested(type_):
            if self.name in _NESTED_AS:
                return _NESTED_AS[self.name]
            if self.name == "postgres" and not is_list_of_numbers(type_):
                return "JSONB"
        return self._data_type(type_, nullable).sql(self.name)

    def constant(self, value: str | None, type_: pa.DataType) -> str:
        """Gives a partition's value as its column has it."""
        literal = "NULL" if value is None else self.text(value)
        return f"CAST({literal} AS {self.type(type_)})"

    def digest(self) -> str:
        """Gives the sum of the rows' digests, as `rows_digest` computes it."""
        joined = f" || {self.text(SEPARATOR)} || ".join(map(self.identifier, DIGESTED))
        return f"sum({_DIGESTS[self.name].format(joined)})"

    def _data_type(self, type_: pa.DataType, nullable: bool) -> exp.DataType:
        if pa.types.is_dictionary(type_):
            return self._data_type(type_.value_type, nullable)
        if _is_list(type_):
            return _nested("ARRAY", [self._data_type(type_.value_type, True)])
        if pa.types.is_map(type_):
            return _nested("MAP", [self._data_type(type_.key_type, False), self._data_type(type_.item_type, True)])
        if pa.types.is_struct(type_):
            names = [exp.to_identifier(field.name, quoted=True) for field in type_]
            kinds = [self._data_type(field.type, True) for field in type_]
            fields = [exp.ColumnDef(this=name, kind=kind) for name, kind in zip(names, kinds, strict=True)]
            return _nested("STRUCT", fields)
        built = exp.DataType.build(self._scalar(type_), dialect=self.name)
        built.set("nullable", nullable)
        return built

    def _scalar(self, type_: pa.DataType) -> str:
        if pa.types.is_timestamp(type_):
            if self.name == "clickhouse":
                return f"DateTime64({_DIGITS[type_.unit]}{', ' + repr('UTC') if type_.tz else ''})"
            return exp.DataType.build("TIMESTAMPTZ" if type_.tz else "TIMESTAMP").sql(self.name)
        if pa.types.is_date(type_) and self.name == "clickhouse":
            return "Date32"
        if pa.types.is_decimal(type_):
            kind = "BIGNUMERIC" if self.name == "bigquery" else "DECIMAL"
            return f"{kind}({type_.precision}, {type_.scale})"
        if pa.types.is_time(type_):
            return "TIME"
        return exp.DataType.build(_SCALARS[type_]).sql(self.name)


def is_list_of_numbers(type_: pa.DataType) -> bool:
    """Tells of a type whether it is a list of numbers, as an embedding is."""
    return _is_list(type_) and (pa.types.is_integer(type_.value_type) or pa.types.is_floating(type_.value_type))


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))


def _nested(kind: str, inner: Sequence[exp.Expression]) -> exp.DataType:
    return exp.DataType(this=exp.DataType.Type[kind], expressions=list(inner), nested=True)
