"""Label Studio's forms: the tasks that it imports, the config that shows them, the annotations that it gives back."""

from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import quoteattr

from pipeline.review.choosing import LabelKind

CONTROL_TAG, OBJECT_TAG = "label", "text"  # names in the labelling config


def labelling_config(kind: LabelKind) -> str:
    """Writes the labelling config: the text, and a choice for each label."""
    choices = "\n".join(f"    <Choice value={quoteattr(label)}/>" for label in kind.labels)
    how = 'choice="multiple"' if kind.several else 'choice="single" required="true"'
    return (
        f'<View>\n  <Text name="{OBJECT_TAG}" value="$text"/>\n'
        f'  <Choices name="{CONTROL_TAG}" toName="{OBJECT_TAG}" {how}>\n{choices}\n  </Choices>\n</View>\n'
    )


def labelling_task(data: Mapping[str, Any], score: float) -> dict[str, Any]:
    """Makes a task of a document's data, with what was predicted filled in."""
    predicted = data["predicted"]
    labels = [] if predicted is None else [predicted] if isinstance(predicted, str) else list(predicted)
    region = {
        "id": "predicted",
        "from_name": CONTROL_TAG,
        "to_name": OBJECT_TAG,
        "type": "choices",
        "value": {"choices": labels},
    }
    result = [region] if labels else []
    return {
        "data": dict(data),
        "predictions": [{"model_version": data["model_version"], "score": score, "result": result}],
    }


def annotated_labels(task: Mapping[str, Any]) -> Iterator[list[str] | None]:
    """Gives the labels of each annotation of a task that came back; None for one that was skipped."""
    for annotation in task["annotations"]:
        if annotation.get("was_cancelled"):
            yield None
            continue
        regions = [region for region in annotation["result"] if region.get("from_name") == CONTROL_TAG]
        yield [label for region in regions for label in region["value"].get("choices", [])]
