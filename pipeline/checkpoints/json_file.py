"""A JSON file of a checkpoint folder, read field by field; what is wrong is named with its file."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from pipeline.errors import CheckpointError

Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class JsonFile:
    """The object in a file, or one nested in it (then `prefix` leads to it, as in `windows.`).

    A field that is absent or null has its default. Every method raises `CheckpointError`.
    """

    path: Path
    values: Mapping[str, Any]
    prefix: str = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a file that holds one object."""
        values = _parsed(path)
        if not isinstance(values, dict):
            raise CheckpointError(f"{path}: expected a JSON object, found {type(values).__name__}")
        return cls(path, values)

    @classmethod
    def read_list(cls, path: Path) -> list[Self]:
        """The objects of a file that holds a list of them."""
        values = _parsed(path)
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise CheckpointError(f"{path}: expected a JSON list of objects")
        return [cls(path, value, f"{number}.") for number, value in enumerate(values)]

    def get(self, key: str) -> Any:
        """Gives the value as it stands in the file; None where it is absent or null."""
        return self.values.get(key)

    def wrong(self, key: str, expected: str) -> CheckpointError:
        """Builds the error that says what a key's value is and what was expected."""
        return CheckpointError(f"{self.path}: {self.prefix}{key} is {self.get(key)!r}; expected {expected}")

    def refuse_unknown_keys(self, accepted: Collection[str]) -> None:
        """Raises for the first key that is not among those accepted."""
        for key in self.values:
            if key not in accepted:
                raise CheckpointError(
                    f"{self.path}: unknown key {self.prefix + key!r}; expected "
                    f"{', '.join(accepted)}: correct or remove it"
                )

    def nested(self, key: str) -> "JsonFile":
        """Reads the object under a key; an empty one where it is absent or null."""
        values = self.get(key)
        if values is None:
            values = {}
        if not isinstance(values, dict):
            raise self.wrong(key, "an object")
        return JsonFile(self.path, values, f"{self.prefix}{key}.")

    def integer(self, key: str, default: int, *, minimum: int = 1) -> int:
        """Reads a whole number of at least `minimum`, or the default."""
        value = self.optional_integer(key, minimum=minimum)
        return default if value is None else value

    def optional_integer(self, key: str, *, minimum: int) -> int | None:
        """Reads a whole number of at least `minimum`, or None."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise self.wrong(key, f"a whole number of at least {minimum}")
        return value

    def number(self, key: str, default: float) -> float:
        """Reads a finite number, or the default."""
        value = self.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, "a number")
        if not math.isfinite(value):
            raise self.wrong(key, "a finite number")
        return float(value)

    def boolean(self, key: str, default: bool) -> bool:
        """Reads true or false, or the default."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def choice(self, key: str, choices: Sequence[Choice], default: Choice) -> Choice:
        """Reads one of the choices, or the default."""
        value = self.get(key)
        if value is None:
            return default
        if value not in choices:
            raise self.wrong(key, f"one of {', '.join(map(str, choices))}")
        return choices[choices.index(value)]


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or not JSON
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}); fetch the file again") from error
