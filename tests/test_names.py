"""One name for one idea: no public name is defined in two modules, and no two modules are named alike."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = [path for room in ("pipeline", "jobs") for path in (ROOT / room).rglob("*.py")]

SEVERAL_NAMES = {
    "every_row": "the two sides of a seam have one signature (bigbird/operators.py chooses)",
    "first_rows": "as every_row",
    "main": "where a command starts",
    "A": "a type variable",
    "B": "a type variable",
}
SEVERAL_MODULES = {
    "__init__": "a package",
    "__main__": "where `python -m` starts",
    "label": "a command, and its job file in config/",
    "evaluate": "a command, and its job file in config/",
    "train": "a command, and its job file in config/",
    "config": "the command that shows a job file, and a checkpoint's config.json",
    "errors": "the command that lists documents without a prediction, and the exceptions",
    "plan": "the command that estimates a run, and what a run has to do",
    "publish": "the command that lets a candidate through, and how every snapshot is published",
    "rollback": "a command, and what it does to a table",
    "snapshots": "the command that lists them, and a table's versions",
    "vacuum": "a command, and what it does to a table",
    "memory": "the command that measures it, and what a computation needs of it",
}


def public_names(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case ast.Assign(targets=targets):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            case _:
                names = []
        yield from (name for name in names if not name.startswith("_"))


def test_no_public_name_is_defined_in_two_modules():
    defined = defaultdict(set)
    for path in MODULES:
        for name in public_names(path):
            defined[name].add(str(path.relative_to(ROOT)))
    twice = {name: sorted(paths) for name, paths in defined.items() if len(paths) > 1}
    assert {name: paths for name, paths in twice.items() if name not in SEVERAL_NAMES} == {}
    assert set(SEVERAL_NAMES) <= set(twice)  # an exception that nothing needs any more goes


def test_no_two_modules_are_named_alike():
    places = defaultdict(list)
    for path in MODULES:
        places[path.stem].append(str(path.relative_to(ROOT)))
    twice = {stem: sorted(paths) for stem, paths in places.items() if len(paths) > 1}
    assert {stem: paths for stem, paths in twice.items() if stem not in SEVERAL_MODULES} == {}
    assert set(SEVERAL_MODULES) <= set(twice)
