"""One step in a process of its own, so that a GPU that one has brought to a stop is another's from its beginning.

`python -m jobs.measure.gpu.one_step NAME` writes its rows to standard output, one JSON list a line, as they come; all
that is printed goes to standard error.
"""

import json
import os
import sys


def main(name: str) -> None:
    """Runs a step."""
    # Only here: feeding processes begin with this module, and need no torch.
    import torch

    from jobs.measure.gpu.scope import scope_of_this_machine
    from jobs.measure.gpu.steps import STEPS

    rows = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    scope = scope_of_this_machine()
    if scope.device == "cpu":
        torch.set_num_threads(1)  # the interpreter computes one kernel at a time
    for row in STEPS[name].measure(scope):
        print(json.dumps(row), file=rows, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
