"""What of the site is generated: keys of job files, the command line, columns, each from what the program itself uses.

A page says where by a comment, `<!-- generated: columns -->`, and is filled when Sphinx reads it.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Literal, TypeGuard, get_args, get_origin

import pyarrow as pa
from typer.main import get_command

from jobs.cli import COMMANDS, app
from jobs.command_group import load_command
from jobs.config import JOBS
from pipeline.schema import described, errors_schema, predictions_schema
from pipeline.tasks.classification import DECISIONS
from pipeline.tasks.embedding import Embedding
from pipeline.tasks.question_answering import ANSWERS
from pipeline.tasks.token_classification import ENTITIES

TASK_COLUMNS: dict[str, list[pa.Field]] = {
    "Classification, single label": DECISIONS["single_label"],
    "Classification, multi-label": DECISIONS["multi_label"],
    "Classification, binary": DECISIONS["binary"],
    "Regression": DECISIONS["regression"],
    "Question answering": [ANSWERS],
    "Token classification": [ENTITIES],
    "Embedding": Embedding(dimension=768).fields,
}
SIZES = {"MiB": 2**20, "MB": 10**6}  # no default but of bytes is as large
WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "object": "mapping",
}


def job_keys(command: str) -> str:
    """Markdown: every key of a command's job file, a section after the other."""
    return "\n\n".join(_sections(command, JOBS[command].model_json_schema()))


def _sections(command: str, schema: dict[str, Any]) -> Iterator[str]:
    sections = {name: model for name, field in schema["properties"].items() if (model := _model(schema, field))}
    values = {name: field for name, field in schema["properties"].items() if name not in sections}
    shared = {name: other for name in sections if (other := _shared(command, name))}
    if shared:
        links = ", ".join(f"[`{name}`](#{other}-{name})" for name, other in shared.items())
        yield f"With the keys that are described above: {links}."
    for name in (name for name in sections if name not in shared):
        needed = "Required." if name in schema.get("required", []) else "Optional."
        yield f"### {command}: `{name}`"
        yield " ".join(
            filter(None, [needed, sections[name]["description"], schema["properties"][name].get("description")])
        )
        yield _keys(command, name, sections[name] | {"$defs": schema["$defs"]})
    if values:
        yield f"### {command}: at the top level"
        yield _keys(command, "", schema | {"properties": values})


def _shared(command: str, section: str) -> str | None:
    """An earlier command of the page whose file has the very same section."""
    wanted = JOBS[command].model_fields[section].annotation
    for other in JOBS:
        if other == command:
            return None
        field = JOBS[other].model_fields.get(section)
        if field and field.annotation == wanted:
            return other
    return None


def _keys(command: str, section: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    return "\n\n".join(
        _key(".".join(filter(None, [section, name])), command, field, schema, required=name in required)
        for name, field in schema["properties"].items()
    )


def _key(path: str, command: str, field: dict[str, Any], schema: dict[str, Any], *, required: bool) -> str:
    if model := _model(schema, field):
        see = f"A section as [label: `{path.rpartition('.')[2]}`](#label-{path.rpartition('.')[2]})"
        kind = "section, required" if required else "section, optional"
        section = _definition(path, command, kind, field.get("description") or f"{see}: {model['description']}")
        if model["title"] in _titles():
            return section
        return f"{section}\n\n{_keys(command, path, model | {'$defs': schema['$defs']})}"
    default = "required" if required else f"default {_value(field.get('default'))}"
    examples = ", ".join(f"`{_yaml(example)}`" for example in field.get("examples", []))
    text = field["description"] + (f" Example: {examples}." if examples else "")
    return _definition(path, command, f"{_type(field)}; {default}", text)


def _titles() -> set[str]:
    """Of the sections that have a heading of their own."""
    return {
        model["title"]
        for job in JOBS.values()
        for schema in [job.model_json_schema()]
        for field in schema["properties"].values()
        if (model := _model(schema, field))
    }


def _definition(path: str, command: str, kind: str, text: str) -> str:
    anchor = f"{command}-{path}".replace(".", "-").replace("_", "-")
    return f"[`{path}`]{{#{anchor}}}\n: *{kind}*\n\n  {text}"


def _model(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any] | None:
    """The section that a field is, or is a list of; None where it is a value."""
    for part in (field, field.get("items", {}), *field.get("anyOf", [])):
        if reference := part.get("$ref"):
            found: dict[str, Any] = schema["$defs"][reference.rpartition("/")[2]]
            return found
    return None


def _type(field: dict[str, Any]) -> str:
    """A JSON Schema's type in words: `whole number, at least 1`."""
    if "anyOf" in field:
        words = [_type(part) for part in field["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "const" in field:
        return f"`{_yaml(field['const'])}`"
    if "enum" in field:
        return " or ".join(f"`{_yaml(value)}`" for value in field["enum"])
    if field["type"] == "array":
        return "list of texts"
    if field["type"] == "object":
        return f"mapping of names to {_type(field['additionalProperties'])}s"
    return f"{WORDS[field['type']]}{_bounds(field)}"


def _bounds(field: dict[str, Any]) -> str:
    if "minimum" in field and "maximum" in field:
        return f" from {field['minimum']} to {field['maximum']}"
    limits = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    found = [f"{words} {field[key]}" for key, words in limits.items() if key in field]
    return f" ({' and '.join(found)})" if found else ""


def _value(default: object) -> str:
    if default is None or default == []:
        return "not set" if default is None else "empty"
    size = next((f"{default // unit}{name}" for name, unit in SIZES.items() if _is_whole(default, unit)), None)
    return f"`{size or _yaml(default)}`"


def _is_whole(default: object, unit: int) -> TypeGuard[int]:
    return isinstance(default, int) and default >= unit and default % unit == 0


def _yaml(value: object) -> str:
    """As it would stand in a job file, in one line."""
    return value if isinstance(value, str) else json.dumps(value)


def command_line() -> str:
    """Markdown: every command with its arguments and options."""
    return "\n\n".join(_command(name, command) for name, command in all_commands().items())


def all_commands() -> dict[str, Any]:
    """Gives every command by its words: `label`, `review export`."""
    commands: dict[str, Any] = {}
    for name, listed in get_command(app).commands.items():  # type: ignore[attr-defined]
        command = load_command(name, COMMANDS[name]) if name in COMMANDS else listed
        inner = getattr(command, "commands", None)
        commands |= {f"{name} {word}": part for word, part in inner.items()} if inner else {name: command}
    return commands


def _command(name: str, command: Any) -> str:
    if name == "benchmark":
        from jobs.measure.benchmark.command import argument_parser  # it imports torch

        actions = [action for action in argument_parser()._actions if action.dest != "help"]
        options = [_option(a.option_strings, a.help or "", a.choices or a.type, a.nargs == 0) for a in actions]
    else:
        options = [
            _option(p.opts, p.help, p.type_descriptor.annotation, p.type_descriptor.annotation is bool, p.required)
            for p in command.params
        ]
    arguments = " ".join(p.name.upper() for p in command.params if not p.opts[0].startswith("-"))
    usage = f"```text\nrookery {name} {arguments + ' ' if arguments else ''}[options]\n```"
    examples = [f"```bash\n{lines}\n```" for lines in _examples(command)]
    return "\n\n".join([f"## rookery {name}", command.help, usage, *examples, *options])


def _examples(command: Any) -> Iterator[str]:
    """What stands at the end of its help, below the heading."""
    if command.epilog:
        yield "\n".join(line.strip() for line in command.epilog.splitlines()[1:])


def _option(names: Sequence[str], text: str, kind: Any, is_flag: bool, required: bool = False) -> str:
    name = max(names, key=len)
    shown = name if name.startswith("-") else name.upper()
    values = "" if is_flag else f" {_values(kind)}"
    return f"`{shown}{values if shown.startswith('-') else ''}`{' *required*' if required else ''}\n: {text}"


def _values(kind: Any) -> str:
    options = get_args(kind) if get_origin(kind) is Literal else kind if isinstance(kind, tuple | list) else ()
    if options:
        return "|".join(map(str, options))
    name = getattr(kind, "__name__", None) or str(kind)
    return {"int": "N", "float": "X", "Path": "PATH"}.get(name, "TEXT")


def columns() -> str:
    """Markdown: the columns of every task's table."""
    own = {field.name for fields in TASK_COLUMNS.values() for field in fields}
    common = [field for field in predictions_schema([], []) if field.name not in own]
    parts = ["### Every task", _columns(common)]
    for task, fields in TASK_COLUMNS.items():
        parts += [f"### {task}", _columns(fields)]
    return "\n\n".join(parts)


def error_columns() -> str:
    """Markdown: the columns of the errors."""
    return _columns(errors_schema([]))


def _columns(fields: Iterable[pa.Field]) -> str:
    rows = [f"| `{c['name']}` | {_arrow(c['type'])} | {c['meaning']} |" for c in described(fields)]
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *rows])


def _arrow(type_: str) -> str:
    """`list<element: string>` -> `list<string>`: the element's name is of no use to a reader."""
    return f"`{re.sub(r'list<(?:element|item): ', 'list<', type_)}`"


def python_api() -> str:
    """Markdown that has Sphinx document the module `rookery`, where there is one."""
    if not find_spec("rookery"):
        return "There is none yet: the commands are the interface."
    return "```{eval-rst}\n.. automodule:: rookery\n   :members:\n```"


GENERATED: dict[str, Callable[[], str]] = {
    **{f"{command} keys": lambda command=command: job_keys(command) for command in JOBS},  # type: ignore[misc]
    "command line": command_line,
    "columns": columns,
    "error columns": error_columns,
    "python api": python_api,
}


def filled(text: str) -> str:
    """A page with what it asks for. Raises KeyError for what nobody generates."""
    return re.sub(r"<!-- generated: ([\w ]+) -->", lambda match: GENERATED[match[1]](), text)


def setup(sphinx: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    sphinx.connect("source-read", lambda _, __, source: source.__setitem__(0, filled(source[0])))
    return {"parallel_read_safe": True}
