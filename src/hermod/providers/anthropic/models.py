"""What each generation of Claude understands of thinking and sampling.

Source: Anthropic's documentation as of November 2026: "Thinking" (the table of models), "Effort",
"Models overview", and the migration guides from Claude 4.7 on. Only models that are behind us are
listed: one that is not known here is new, and is asked the way the newest are. Clouds write the
same names with their own ends (`us.anthropic.claude-sonnet-4-5-20250929-v1:0`,
`claude-sonnet-4-5@20250929`).
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from hermod.providers.adapter import CannotCarry
from hermod.providers.chat_words import must_be_known

MAX_TOKENS: Final = 32_000
"""Where the request sets no limit and Anthropic wants one: the least that any model since Claude
3.7 may write, thinking included. None refuses it, and an answer is hardly ever cut by it."""
_OLD_MAX_TOKENS: Final = 4_096
"""The most that the first models of Claude 3 write."""
_LEAST_BUDGET: Final = 1_024
"""Tokens; less is refused."""

_first_models = re.compile(r"claude-(?:instant|v?[12](?!\d)|3(?!-7|\.7|\d))").search
_thinks_by_budget = re.compile(
    r"claude-(?:instant|v?[123](?!\d)|4-(?:opus|sonnet)"
    r"|(?:opus|sonnet|haiku)-4(?:[-.][0-5](?!\d)|[-@]\d{8}|$))"
).search
_takes_both = re.compile(r"claude-(?:opus|sonnet)-4[-.]6(?!\d)").search
_thinks_when_asked = re.compile(r"claude-(?:opus|sonnet)-4[-.][78](?!\d)").search
_thinks_between_tools = re.compile(r"claude-sonnet-5[-.]5(?!\d)").search

_BUDGETS: Final[Mapping[str, int]] = {
    "minimal": _LEAST_BUDGET,
    "low": 4_096,
    "medium": 16_384,
    "high": 24_576,
    "xhigh": 28_672,
    "max": 28_672,
}
"""Tokens of thinking for an effort, where there is no word for efforts; all leave room for an
answer in `MAX_TOKENS`."""
_EFFORT_OF_BUDGET: Final = ((4_096, "low"), (16_384, "medium"))
"""The same limits the other way round, where there is no word for budgets."""


class Thinking(NamedTuple):
    """What is asked of the model's thinking."""

    config: dict[str, object] | None
    """The member `thinking`; None leaves it to the model."""
    effort: str | None
    """The member `output_config.effort`."""
    max_tokens: int
    """The limit for thinking and answer together."""

    @property
    def is_on(self) -> bool:
        """Whether the request asks for it."""
        return self.config is not None and self.config["type"] in ("adaptive", "enabled")


def samples_freely(model: str) -> bool:
    """Whether `temperature`, `top_p` and `top_k` may be set. Since Claude 4.7 they may not.

    A deployment whose name does not say which model it is gets the benefit of the doubt.
    """
    return "claude" not in model or bool(_thinks_by_budget(model) or _takes_both(model))


def default_max_tokens(model: str) -> int:
    """The limit of an answer to a request that sets none."""
    return _OLD_MAX_TOKENS if _first_models(model) else MAX_TOKENS


def thinking_of(
    model: str, effort: str | None, budget: int | None, max_tokens: int | None
) -> Thinking:
    """How to ask `model` to think, given what a request says (None: nothing).

    `budget` is in tokens, 0 for no thinking, negative for as much as the model likes.

    Raises:
        CannotCarry: the limit of the answer leaves no room for thinking, or the effort is none.
    """
    limit = default_max_tokens(model) if max_tokens is None else max_tokens
    if budget is not None and budget < 0:
        budget, effort = None, effort or "medium"
    if budget == 0 or (effort == "none" and budget is None):
        return Thinking(_unthinking(model), None, limit)
    if budget is None and effort is None:
        return Thinking(None, None, limit)
    if _thinks_by_budget(model) or (budget is not None and _takes_both(model)):
        return _by_budget(effort, budget, max_tokens, limit)
    if effort is None:
        assert budget is not None
        effort = next((word for most, word in _EFFORT_OF_BUDGET if budget <= most), "high")
    if _takes_both(model):
        return Thinking({"type": "adaptive"}, _named(effort) if effort != "xhigh" else "max", limit)
    # Since Claude 4.7 the text of the thinking is left out unless it is asked for.
    return Thinking({"type": "adaptive", "display": "summarized"}, _named(effort), limit)


def _named(effort: str) -> str:
    return "low" if effort == "minimal" else effort


def _unthinking(model: str) -> dict[str, object] | None:
    """How to ask for no thinking. The models that cannot do without refuse it in clear words."""
    if _thinks_by_budget(model) or _takes_both(model) or _thinks_when_asked(model):
        return None
    return {"type": "between_tools" if _thinks_between_tools(model) else "disabled"}


def _by_budget(
    effort: str | None, budget: int | None, max_tokens: int | None, limit: int
) -> Thinking:
    if budget is None:
        must_be_known(effort)
        budget = _BUDGETS.get(effort or "", _BUDGETS["medium"])
        if max_tokens is not None:
            # A share for the answer, as OpenAI's limit is one for both as well.
            budget = max(min(budget, max_tokens * 4 // 5), _LEAST_BUDGET)
    budget = max(budget, _LEAST_BUDGET)
    if max_tokens is None:
        limit = max(limit, budget + _OLD_MAX_TOKENS)
    elif budget >= max_tokens:
        raise CannotCarry(
            f"a limit of {max_tokens} tokens leaves no room for thinking: it takes at least "
            f"{_LEAST_BUDGET}, and has to end before the answer's limit",
            param="max_completion_tokens",
        )
    return Thinking({"type": "enabled", "budget_tokens": budget}, None, limit)
