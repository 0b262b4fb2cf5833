"""What the steps found, as `gpu.json` and `gpu.md` in a folder, written anew with each row.

So nothing is lost if it is cut off. What lies there already stays, so that several calls fill one folder.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jobs.measure.gpu.issue_bars import judged
from jobs.measure.page import markdown_table
from pipeline.atomic import written_beside

PASSED = "passed"


class ResultPage:
    """The results of the steps, by name: state, seconds, and rows."""

    def __init__(self, folder: Path, machine: Mapping[str, object], names: list[str]) -> None:
        """Take over what lies in the folder, of steps that there still are."""
        folder.mkdir(parents=True, exist_ok=True)
        self._json, self._markdown = folder / "gpu.json", folder / "gpu.md"
        before = json.loads(self._json.read_text(encoding="utf-8"))["steps"] if self._json.exists() else {}
        self._machine = machine
        self.steps: dict[str, Any] = {name: before.get(name, {"state": "not run", "rows": []}) for name in names}

    def passed(self, name: str) -> bool:
        """Tells whether a step has been through."""
        return bool(self.steps[name]["state"] == PASSED)

    def begin(self, name: str) -> None:
        """Forgets a step's rows; as long as nothing else is said it was cut off."""
        self.steps[name] = {"state": "cut off", "rows": []}
        self.write()

    def add(self, name: str, row: list[Any]) -> None:
        """Keeps a row, its name and its figures."""
        self.steps[name]["rows"].append(row)
        self.write()

    def end(self, name: str, state: str, seconds: float) -> None:
        """Says what became of a step."""
        self.steps[name] |= {"state": state, "seconds": round(seconds, 1)}
        self.write()

    def write(self) -> None:
        """Writes both files."""
        bars = [
            {
                "what": bar.title,
                "bar": bar.bound,
                "measured": value,
                "holds": None if value is None else bar.holds(value),
            }
            for bar, value in judged(self.steps)
        ]
        figures = {"machine": self._machine, "bars": bars, "steps": self.steps}
        for path, text in ((self._json, json.dumps(figures, indent=1)), (self._markdown, self.markdown())):
            with written_beside(path) as partial:
                partial.write_text(text + "\n", encoding="utf-8")

    def markdown(self) -> str:
        """The bars, what became of each step, and each step's rows."""
        machine = ", ".join(f"{name} {value}" for name, value in self._machine.items())
        parts = [f"By `bash deploy/gpu.sh` on {machine}.", _bars(self.steps), _summary(self.steps)]
        return "\n\n".join([*parts, *(_rows(name, step["rows"]) for name, step in self.steps.items() if step["rows"])])


def _bars(steps: Mapping[str, Any]) -> str:
    head = ("for one H100", "bar", "measured", "holds")
    return f"## Bars\n\n{markdown_table([head, *_judgements(steps)])}"


def _judgements(steps: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for bar, value in judged(steps):
        bound = f"{'≥' if bar.is_least else '≤'} {_number(bar.bound)}"
        if value is None:
            yield bar.title, bound, "not measured", ""
        else:
            yield bar.title, bound, _number(value), "yes" if bar.holds(value) else "no"


def _summary(steps: Mapping[str, Any]) -> str:
    rows = [
        (name, step["state"], f"{step['seconds']:.0f} s" if "seconds" in step else "") for name, step in steps.items()
    ]
    return f"## Steps\n\n{markdown_table([('step', 'what became of it', 'took'), *rows])}"


def _rows(name: str, rows: list[tuple[str, dict[str, float]]]) -> str:
    columns = list(dict.fromkeys(column for _, figures in rows for column in figures))
    cells = [(row, *(_number(figures.get(column)) for column in columns)) for row, figures in rows]
    return f"## {name}\n\n{markdown_table([('', *columns), *cells])}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.1e}"
