"""Tables of the terminal, for a page."""

from rich.table import Table

from jobs.measure.page import markdown_table


def as_markdown(table: Table) -> str:
    """A table of the terminal as one of Markdown, without its sections."""
    columns = [[str(column.header), *map(str, column.cells)] for column in table.columns]
    return markdown_table(list(zip(*columns, strict=True)))
