"""The corpus, of every job."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipeline.config.values import Name, Names, Settings, Size, distinct
from pipeline.terms import FormatName

TEXT_SEPARATOR = "\n\n"
MAX_DOCUMENT_BYTES = 256 * 2**20
DuplicateIds = Literal["refuse", "keep"]
DeclaredFormat = Literal["auto", FormatName]


class CorpusSettings(Settings):
    """What to label."""

    uris: Annotated[Names, Field(min_length=1)] = Field(
        description="Files, folders of one format, or globs (`**` crosses folders), in local paths or any fsspec "
        "scheme; `hf://datasets/owner/name@revision` for a data set of a hub; lake tables as "
        "`iceberg://catalog/namespace.table` or `delta://folder`, at `@version` or the newest. One, or a list.",
        examples=["s3://my-corpus/**/*.parquet", ["documents/2024", "documents/2025"], "iceberg://lake/news.articles"],
    )
    format: DeclaredFormat = Field(
        default="auto",
        description="The files' format. `auto` goes by their endings. Another one takes those files of a folder that "
        "have its ending, or all of them where not one has.",
    )
    id_column: Name | None = Field(
        default=None,
        description="The column with a document's id, or a path such as `meta.id` into Parquet's structs and JSON's "
        "objects. Without one, a document's id is its file's URI and row.",
        examples=["id"],
    )
    text_column: Annotated[Names, Field(min_length=1)] = Field(
        default=("text",),
        description="The column with a document's text, or a path into one; not used for plain text files. Of several "
        "the texts are joined in their order; null and empty ones are left out.",
        examples=["doc.body.text", ["title", "abstract", "body"]],
    )
    text_separator: str = Field(
        default=TEXT_SEPARATOR,
        description="What is between the texts of several columns; by default an empty line.",
        examples=["\n"],
    )
    carry: Names | None = Field(
        default=None,
        description="Hive keys of the corpus's paths (`year=2024/`) to carry into the table; by default every one "
        "found.",
        examples=[["year", "collection"]],
    )
    columns: Annotated[Names, AfterValidator(distinct)] = Field(
        default=(),
        description="Columns of the corpus's files to carry into the table, with their types. A changed value costs no "
        "scoring.",
        examples=[["url", "published_at"]],
    )
    max_document_bytes: Size = Field(
        default=MAX_DOCUMENT_BYTES,
        le=2**30,
        description="The largest document that is read, in bytes. A larger one becomes an error and is not held in "
        "memory; of Parquet a page is decoded whole before anybody knows how long its values are.",
        examples=["64MiB"],
    )
    duplicate_ids: DuplicateIds = Field(
        default="refuse",
        description="What `rookery label` does where several documents have one id: `refuse` publishes nothing and "
        "shows ten of them, `keep` publishes them all, for readers who go by `source_uri` and `source_position`.",
    )


class LabelledCorpusSettings(CorpusSettings):
    """Documents of which somebody says what they are."""

    label_column: Name = Field(
        description="Where the label is: a column, or a hive key of the paths. A label is a string, a list of strings "
        "(multi-label) or a number (regression).",
        examples=["topic"],
    )
    split_column: Name | None = Field(
        default=None,
        description="Where a document's split is said, such as train or test: a column, or a hive key of the paths.",
        examples=["split"],
    )
    unlabelled: Literal["refuse", "skip", "keep"] = Field(
        default="refuse",
        description="What becomes of documents whose label is null, empty or an empty list. `refuse` ends the run, "
        "`skip` leaves them out; with `keep` an empty list says that none of several labels applies, and the "
        "others are refused.",
    )
