"""Makes schemas/*.json of published CustomResourceDefinitions, small enough to keep and strict about unknown fields.

    .venv/bin/python -m tests.deploy.crds ray.io_rayjobs.yaml … > tests/deploy/schemas/kuberay.json

Descriptions, the status and what only Kubernetes' server judges (CEL rules, defaults) are left out, and what occurs
several times is written once: a RayJob's schema has every pod's in it four times.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

JUDGED = {"type", "required", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems"}
SHARED_CHARACTERS = 150  # from this length on a reference is shorter


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A structural schema as JSON Schema that refuses what it doesn't name."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    kept = {key: value for key, value in schema.items() if key in JUDGED}
    if "items" in schema:
        kept["items"] = strict(schema["items"])
    if "properties" in schema:
        kept["properties"] = {name: strict(child) for name, child in schema["properties"].items()}
        kept["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    elif "additionalProperties" in schema:
        kept["additionalProperties"] = strict(schema["additionalProperties"])
    return kept


def resource_schema(definition: dict[str, Any]) -> dict[str, Any]:
    """The schema of one kind, in the version that is stored."""
    (version,) = (version for version in definition["spec"]["versions"] if version["storage"])
    schema = strict(version["schema"]["openAPIV3Schema"])
    del schema["properties"]["status"]
    schema["properties"]["metadata"] = {"type": "object"}  # Kubernetes' own
    return schema


def shared(schemas: dict[str, Any]) -> dict[str, Any]:
    """The schemas by kind, below `$defs`, with what is in them several times beside them."""
    counts: Counter[str] = Counter()

    def count(node: Any) -> None:
        text = json.dumps(node, sort_keys=True)
        if isinstance(node, dict):
            if "type" in node and len(text) >= SHARED_CHARACTERS:
                counts[text] += 1
                if counts[text] > 1:
                    return
            for child in node.values():
                count(child)

    def referring(node: Any, *, is_definition: bool = False) -> Any:
        if not isinstance(node, dict):
            return node
        name = names.get(json.dumps(node, sort_keys=True))
        if name and not is_definition:
            return {"$ref": f"#/$defs/{name}"}
        return {key: referring(child) for key, child in node.items()}

    count(schemas)
    names = {text: f"s{n}" for n, text in enumerate(text for text, times in counts.items() if times > 1)}
    definitions = {name: referring(json.loads(text), is_definition=True) for text, name in names.items()}
    return {"$defs": referring(schemas) | definitions}


def main() -> None:
    definitions = [yaml.safe_load(Path(path).read_text()) for path in sys.argv[1:]]
    schemas = {each["spec"]["names"]["kind"]: resource_schema(each) for each in definitions}
    sys.stdout.write(json.dumps(shared(schemas), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
