import io

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.tables.repeatable_parquet import parquet_bytes, read_parquet

TABLE = pa.table({"id": ["a", "b"], "label": ["x", "x"]})


def test_the_same_table_gives_the_same_bytes():
    assert parquet_bytes(TABLE) == parquet_bytes(pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)]).combine_chunks())


def test_no_arrow_schema_inside():
    assert b"ARROW:schema" not in parquet_bytes(TABLE)


def test_the_order_is_declared_where_it_holds():
    def declared(*, sorted_by_id: bool = False) -> list[int]:
        metadata = pq.read_metadata(io.BytesIO(parquet_bytes(TABLE, sorted_by_id=sorted_by_id)))
        return [column.column_index for column in metadata.row_group(0).sorting_columns]

    assert declared() == []
    assert declared(sorted_by_id=True) == [0]


def test_a_footer_is_kept_beside_the_rows():
    data = parquet_bytes(TABLE.replace_schema_metadata({"units": "one"}))
    assert pq.read_metadata(io.BytesIO(data)).metadata == {b"units": b"one"}
    assert read_parquet(data).equals(read_parquet(parquet_bytes(TABLE)))
