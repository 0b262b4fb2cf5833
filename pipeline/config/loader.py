"""Reads a job file of any kind, and knows no field of it.

Precedence: defaults of the model < the file < `--set path=value` on the command line. An unknown key, a wrong type or a
missing field is a ConfigError that names the path, the value and what was expected.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigError
from pipeline.messages import did_you_mean

Kind = TypeVar("Kind", bound=BaseModel)


def load_settings(kind: type[Kind], path: Path, overrides: list[str]) -> Kind:
    """Reads a job's file of any kind. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        there = [near.name for near in path.parent.iterdir()] if path.parent.is_dir() else []
        near = did_you_mean(path.name, there)
        raise ConfigError(
            f"job file {path}: cannot be read ({error}); give an existing YAML file to --config{near}"
        ) from error
    return parse_settings(kind, text, overrides, str(path))


def parse_settings(kind: type[Kind], text: str, overrides: list[str], source: str) -> Kind:
    """Text and `path=value` overrides -> settings of a kind. Raises ConfigError."""
    try:
        tree = yaml.load(text, _Loader) or {}
    except yaml.YAMLError as error:
        places = str(error).replace('"<unicode string>"', source)
        raise ConfigError(f"{source}: not valid YAML: {places}; look at the indentation there") from error
    if not isinstance(tree, dict):
        *keys, last = (name for name, field in kind.model_fields.items() if field.is_required())
        raise ConfigError(f"{source}: expected keys such as {', '.join(keys)} and {last}, found {type(tree).__name__}")
    for override in overrides:
        _override(tree, override)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{source}:\n" + "\n".join(_explain(kind, e) for e in error.errors())) from error


class _Loader(yaml.SafeLoader):
    """YAML takes the last of two equal keys in silence; a job file with two corpora is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key!r} is there twice",
                    problem_mark=node.value[number][0].start_mark,
                )
        return super().construct_mapping(node, deep)


def _override(tree: dict[str, Any], override: str) -> None:
    path, separator, value = override.partition("=")
    if not separator or not path:
        raise ConfigError(f"--set {override!r}: expected path=value, for example --set table.uri=s3://bucket/table")
    *sections, key = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {override!r}: {section!r} is a value in the job file, not a section")
    try:
        tree[key] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is not valid YAML: {error}") from error


def _explain(kind: type[BaseModel], error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if not path:  # of several sections together: what was given is the whole file
        return f"  job: {error['msg'].removeprefix('Value error, ')}"
    if error["type"] == "missing":
        return f"  {path}: missing; it is required"
    if error["type"] == "extra_forbidden":
        section = _section(kind, error["loc"][:-1])
        expected = f"expected one of {', '.join(section.model_fields)}{_near_key(kind, section, path)}"
        return f"  {path}: unknown key (value {error['input']!r}); {expected}"
    if error["type"] == "model_type":
        section = _section(kind, error["loc"])
        return f"  {path}: expected a section with {', '.join(section.model_fields)} (got {error['input']!r})"
    return f"  {path}: {error['msg'].removeprefix('Value error, ')} (got {error['input']!r})"


def _near_key(kind: type[BaseModel], section: type[BaseModel], path: str) -> str:
    """A key of this section that is spelled nearly so, or one of another section that is spelled so."""
    above, dot, name = path.rpartition(".")
    elsewhere = [known for known in _paths(kind) if known.rpartition(".")[2] == name]
    if elsewhere and not get_close_matches(name, section.model_fields):
        return f"; did you mean {elsewhere[0]}?"
    return did_you_mean(name, section.model_fields, above + dot)


def _paths(kind: type[BaseModel]) -> Iterator[str]:
    """Every key of a kind of file, by its path; those that lie higher first."""
    yield from kind.model_fields
    for name, field in kind.model_fields.items():
        for model in filter(_is_model, (field.annotation, *get_args(field.annotation))):
            yield from (f"{name}.{path}" for path in _paths(model))


def _section(kind: type[BaseModel], loc: tuple[Any, ...]) -> type[BaseModel]:
    for part in (part for part in loc if isinstance(part, str)):  # and not a place in a list of sections
        annotation = kind.model_fields[part].annotation
        models = [a for a in (annotation, *get_args(annotation)) if _is_model(a)]
        kind = models[0]
    return kind


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
