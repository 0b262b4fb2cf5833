"""The figures as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobs.measure.page import markdown_table


@dataclass(frozen=True, slots=True)
class Section:
    """A table with its title, and what is said below it. The first row is its header."""

    title: str
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def text(figures: dict[str, Any]) -> str:
    """Writes every table, for a terminal of 110 columns."""
    parts = [[section.title, _table(section.rows), section.note] for section in _sections(figures)]
    return "\n\n".join([machine_line(figures), *("\n".join(filter(None, part)) for part in parts)])


def markdown(figures: dict[str, Any]) -> list[str]:
    """Every table, for a page of docs/measurements."""
    return [f"## {s.title}\n\n{markdown_table(s.rows)}\n\n{s.note}".rstrip() for s in _sections(figures)]


def machine_line(figures: dict[str, Any]) -> str:
    """The device, the versions and the number of runs."""
    facts = figures["machine"]
    return (
        f"{facts['device']}, {facts['threads']} threads of {facts['cores']} cores, torch {facts['torch']}, "
        f"transformers {facts['transformers']}; medians of {figures['rounds']} interleaved runs"
    )


def _sections(figures: dict[str, Any]) -> list[Section]:
    return [
        _comparison("Real mix of lengths", figures["real_mix"]),
        *(_comparison(f"{length} tokens", found) for length, found in figures["lengths"].items()),
        _stages(figures["stages"], figures["dtype"]),
        *([_agreement(figures["agreement"])] if "agreement" in figures else []),
        _ratios(figures["ratios"]),
    ]


def _comparison(title: str, found: dict[str, Any]) -> Section:
    rows = [
        (
            contender["name"],
            f"{contender['tokens_per_second']:,.0f}",
            f"{contender['documents_per_second']:,.2f}",
            f"{contender['padding']:.1%}",
            f"{contender['worst_logit_error']:.1e}",
        )
        for contender in found["contenders"]
    ]
    head = ("", "tokens/s", "documents/s", "padding", "logits off by")
    return Section(f"{title}: {found['documents']} documents, {found['tokens']:,} tokens", [head, *rows])


def _stages(found: dict[str, Any], dtype: str) -> Section:
    whole = found["pass_seconds"]
    rows = [
        (
            stage["name"],
            f"{stage['seconds'] * 1e3:,.1f}",
            f"{stage['seconds'] / whole:.1%}",
            f"{stage['floor_seconds'] * 1e3:,.1f}",
            f"{stage['floor_seconds'] / stage['seconds']:.0%}",
        )
        for stage in found["stages"]
    ]
    total = sum(stage["seconds"] for stage in found["stages"])
    floor = sum(stage["floor_seconds"] for stage in found["stages"])
    rows.append(
        (
            "all stages",
            f"{total * 1e3:,.1f}",
            f"{total / whole:.1%}",
            f"{floor * 1e3:,.1f}",
            f"{floor / total:.0%}",
        )
    )
    rows.append(
        (
            "the pass itself",
            f"{whole * 1e3:,.1f}",
            "100.0%",
            f"{floor * 1e3:,.1f}",
            f"{floor / whole:.0%}",
        )
    )
    rates = ", ".join(f"{name} {rate / 1e9:,.0f}" for name, rate in found["gemm_rates"].items())
    return Section(
        f"Stages of one pass, {found['tokens']:,} tokens in windows of 4,096, {dtype}",
        [("", "ms", "of the pass", "floor, ms", "of the floor"), *rows],
        f"bare products, GFLOP/s: {rates}; copy: {found['bandwidth'] / 1e9:,.0f} GB/s",
    )


def _agreement(found: list[dict[str, Any]]) -> Section:
    rows = [
        (
            agreement["dtype"],
            f"{agreement['documents']:,}",
            f"{agreement['same_label']:.2%}",
            f"{agreement['worst_logit']:.3f}",
            f"{agreement['mean_logit']:.4f}",
        )
        for agreement in found
    ]
    head = ("", "documents", "same label", "worst logit", "mean logit")
    return Section("Beside fp32, the sample's checkpoint on real documents", [head, *rows])


def _ratios(ratios: dict[str, float]) -> Section:
    return Section("Ratios", [("", "ratio"), *((name, f"{ratio:.2f}") for name, ratio in ratios.items())])


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [
                f"  {row[0]:<{widths[0]}}",
                *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    )
