"""What `rookery review` shows: what went out, and what came back."""

from rich import box
from rich.table import Column, Table

from jobs.terminal.console import console, printable
from pipeline.review.review_export import ReviewExported
from pipeline.review.review_import import ReviewImported


def print_review_exported(exported: ReviewExported) -> None:
    """Prints how many documents went out for which reason, and where they are."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(exported.reasons.items(), reverse=True))
    total = sum(exported.reasons.values())
    console.print(f"{total:,} documents ({reasons}), with their text", soft_wrap=True)
    for uri in exported.uris:
        console.print(f"  {printable(uri)}", soft_wrap=True, markup=False)
    if exported.texts_missing:
        console.print(
            f"{exported.texts_missing:,} more were left out: their text is gone from the corpus, or is another one by "
            "now than that which was scored",
            style="yellow",
            soft_wrap=True,
        )


def print_review_imported(target: str, imported: ReviewImported) -> None:
    """Prints what people have decided, by label, how often the prediction was right, and what was left out."""
    console.print(
        f"{imported.documents:,} documents → {printable(target)}: people changed the label of {imported.changed:,}",
        soft_wrap=True,
        markup=False,
    )
    if imported.control:
        share = imported.control_right / imported.control
        console.print(
            f"control: the prediction was right for {imported.control_right:,} of {imported.control:,} documents "
            f"({share:.1%})",
            soft_wrap=True,
        )
    table = Table(
        "label", *(Column(name, justify="right") for name in ("predicted", "lost", "decided")), box=box.SIMPLE
    )
    for label in sorted(imported.predicted | imported.decided):
        counts = (imported.predicted[label], imported.changed_from[label], imported.decided[label])
        table.add_row(printable(label), *(f"{count:,}" for count in counts))
    console.print(table)
    for reason, count in imported.left_out.most_common():
        console.print(f"left out: {count:,} ({reason})", style="yellow", soft_wrap=True)
