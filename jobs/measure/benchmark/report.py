"""The figures as text."""

from collections.abc import Sequence
from typing import Any


def text(figures: dict[str, Any]) -> str:
    """Every table, for a terminal of 110 columns."""
    facts = figures["machine"]
    parts = [
        f"{facts['device']}, {facts['threads']} threads of {facts['cores']} cores, torch {facts['torch']}, "
        f"transformers {facts['transformers']}; medians of {figures['rounds']} interleaved runs",
        _comparison("Real mix of lengths", figures["real_mix"]),
        *(_comparison(f"{length} tokens", found) for length, found in figures["lengths"].items()),
        _stages(figures["stages"], figures["dtype"]),
        *([_agreement(figures["agreement"])] if "agreement" in figures else []),
        _ratios(figures["ratios"]),
    ]
    return "\n\n".join(parts)


def _comparison(title: str, found: dict[str, Any]) -> str:
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
    return f"{title}: {found['documents']} documents, {found['tokens']:,} tokens\n" + _table([head, *rows])


def _stages(found: dict[str, Any], dtype: str) -> str:
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
    return (
        f"Stages of one pass, {found['tokens']:,} tokens in windows of 4,096, {dtype}\n"
        + _table([("", "ms", "of the pass", "floor, ms", "of the floor"), *rows])
        + f"\nbare products, GFLOP/s: {rates}; copy: {found['bandwidth'] / 1e9:,.0f} GB/s"
    )


def _agreement(found: list[dict[str, Any]]) -> str:
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
    return "Beside fp32, the sample's checkpoint on real documents\n" + _table([head, *rows])


def _ratios(ratios: dict[str, float]) -> str:
    return "Ratios\n" + _table([(name, f"{ratio:.2f}") for name, ratio in ratios.items()])


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
