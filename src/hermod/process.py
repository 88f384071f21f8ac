"""What a serving process asks of the system and of the interpreter."""

import gc
import resource
import sys
from typing import Final

_MAX_FILES: Final = 20_000
_SWITCH_S: Final = 0.0005
"""How long the event loop may keep the interpreter from the writer's thread, which asks for it
after every statement. Python's 5 ms would be the latency of a commit."""


def max_connections() -> int:
    """Half of the files we may open, once we may open as many as the system lets us; the other
    half is for upstreams. A listener out of files cannot even refuse."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(files // 2, 1)


def calm_the_collector() -> None:
    """Nothing built so far will ever be garbage, and requests make next to no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    sys.setswitchinterval(_SWITCH_S)
