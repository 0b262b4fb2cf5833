"""Values are told apart wherever the parts of a file begin, and one too large is not held."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pipeline.corpus.corpus_file import MalformedContentsError
from pipeline.corpus.formats.json_values import holds_lines, split

LIMIT = 10_000
SPACE = st.text(" \t\r\n", max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(['"', "\\", "[{", "]}", ","]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def parts_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def values_of(data: bytes, size: int = LIMIT, limit: int = LIMIT) -> list[Any]:
    return [None if v is None else json.loads(v) for v in split(parts_of(data, size), limit)]


@given(st.lists(JSON, max_size=5), SPACE, st.booleans(), st.integers(1, 20))
def test_an_array_s_elements_are_as_json_reads_them(elements: list[Any], space: str, ascii_: bool, size: int) -> None:
    written = [json.dumps(element, ensure_ascii=ascii_) for element in elements]
    data = f"{space}[{space}{f'{space},{space}'.join(written)}{space}]{space}".encode()
    assert values_of(data, size) == json.loads(data)


@given(st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3), max_size=4), st.sampled_from(["", "\n", ",\n", "\r"]), st.sampled_from([None, 1]), st.integers(1, 20))  # fmt: skip
def test_objects_are_told_apart(objects: list[Any], between: str, indent: int | None, size: int) -> None:
    data = between.join(json.dumps(value, indent=indent) for value in objects).encode()
    assert values_of(data, size) == objects


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_value_that_is_too_large_costs_itself_only(size: int) -> None:
    data = b'[1, "' + b"x" * 200 + b'", {"n": "' + b"[" * 200 + b'"}, 2]'
    assert values_of(data, size, limit=100) == [1, None, None, 2]


def test_a_value_that_is_too_large_is_not_held() -> None:
    parts = (part for part in [b'[{"text": "', *[b"x" * 2**16] * 500, b'"}, 1]'])
    tracemalloc.start()
    assert [value is None for value in split(parts, 2**17)] == [True, False]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**19  # of 33 MB


@pytest.mark.parametrize(
    ("data", "whole", "problem"),
    [
        (b'[1, {"n": 2', 1, "it ends inside an array or an object"),
        (b"[1, 2", 1, "it ends inside an array or an object"),
        (b"[1] junk", 1, "expected an object or an array"),
        (b"[1, 2}", 2, "an array ends with }"),
        (b"{} ]", 1, "expected an object or an array, found ]"),
        (b'{} "x"', 1, 'expected an object or an array, found "'),
    ],
)
def test_what_lies_before_the_damage_is_given(data: bytes, whole: int, problem: str) -> None:
    found = split([data], LIMIT)
    assert [next(found) for _ in range(whole)]
    with pytest.raises(MalformedContentsError, match=problem):
        next(found)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b'{"text": "x"}\n{"text": "y"}\n', True),
        (b'{"text": "x"}', True),
        (b'\n  \n{"text": "x"}\n', True),
        (b'{"text": "' + b"x" * 1000, True),
        (b'{"text": ]\n{"text": "y"}\n', True),
        (b'{"text": "x\n{"text": "y"}\n', True),
        (b'{"text":\n{"text": "y"}\n', True),
        (b"null\n", True),
        (b"", True),
        (b"[INFO] x\n", True),
        (b'["x", "y"]\n["z"]\n', True),
        (b'["x", {"text": "x"}]\n', False),
        (b'["x",\n{"text": "x"}]\n', False),
        (b'[{"text": "x"}}, {"text": "y"}]', False),
        (b'{\n  "text": "x"\n}', False),
        (b'{\r\n"text": "x"\r\n}', False),
        (b'{"id": 1,\n "text": "x"}', False),
        (b"{\n}", False),
        (b'{"text": "x"},\n{"text": "y"}', False),
        (b'{"text": "x"}{"text": "y"}', False),
        (b'[{"text": "x"}]', False),
        (b'\xef\xbb\xbf\n[\n{"text": "x"}]', False),
        (b"[", False),
        (b"[]", False),
    ],
)
def test_the_first_line_tells_whether_there_are_lines(head: bytes, expected: bool) -> None:
    assert holds_lines(head) == expected
