"""What the mock upstream wrote down (`hermod mock-upstream --record`)."""

import json
from pathlib import Path
from typing import Any

from hermod.torture.history import Call, Reply

_SECOND = 1_000_000_000


def read_record(path: Path) -> tuple[list[Call], list[Reply]]:
    """The calls it received, and how each of them ended. Raises OSError."""
    calls: list[Call] = []
    replies: list[Reply] = []
    for line in path.read_text("utf-8").splitlines():
        seen: dict[str, Any] = json.loads(line)
        at_s = seen["ns"] / _SECOND
        job_id, _, attempt = (seen["request_id"] or "/0").partition("/")
        if "answer" in seen:
            replies.append(Reply(at_s, job_id, int(attempt), seen["answer"]))
        else:
            told = seen["status"], seen.get("says_when", False)
            calls.append(Call(at_s, seen["nonce"], job_id, int(attempt), *told))
    return calls, replies
