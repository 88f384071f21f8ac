"""When two JSON texts are the same value."""

import hashlib
import json


def fingerprint(value: object) -> str:
    """16 hex digits that are equal for equal JSON values, whatever their spelling and order.

    Raises ValueError or TypeError for what is no JSON value.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
