"""An actor whose node is about to be taken away, as a spot machine is.

Ray marks the node as draining when its `ray start --block` gets SIGTERM, or by `ray drain-node`, and sends no new work
there. What its actors were sent before, they would still begin, and lose when the node goes.
"""

import os
import time

import ray
from ray._private.state import state

REPLIED_S = 1.0  # in which what was computed before is surely reported: Ray would have it computed again


def leave_draining_node() -> None:
    """Ends this actor's process where its node is draining; for the moment between two units.

    Ray starts it elsewhere, and does not count it against `max_restarts`; units that wait for it go there too. They
    were not begun, so nothing suspects them.
    """
    if ray.is_initialized() and ray.get_runtime_context().get_node_id() in state.get_draining_nodes():
        time.sleep(REPLIED_S)
        os._exit(0)  # an orderly exit would end the actor for good
