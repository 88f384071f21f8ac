"""What request types are called in the description."""

from hermod.kinds.kind import AnyKind


def spoken(kind: AnyKind) -> str:
    """As in `chat completion`."""
    return kind.request_type.replace("_", " ").removesuffix("s")


def request_name(kind: AnyKind) -> str:
    """As in `ChatCompletionRequest`."""
    return _camel(kind) + "Request"


def result_name(kind: AnyKind) -> str:
    """As in `ChatCompletionResult`."""
    return _camel(kind) + "Result"


def _camel(kind: AnyKind) -> str:
    return spoken(kind).title().replace(" ", "")
