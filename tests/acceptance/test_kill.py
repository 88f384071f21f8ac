"""`kill -9` at any moment loses nothing. `make torture` is the long form."""

from collections import Counter
from pathlib import Path

from tests.support.history import History, failures
from tests.support.torture import Plan, Result, torture


async def killed(folder: Path, plan: Plan) -> Result:
    """A run that kept every promise."""
    result = await torture(plan, folder)
    assert not result.violations, result.report
    return result


def attempts_by_state(history: History) -> Counter[str]:
    return Counter(attempt.state for attempt in history.final.attempts)


async def test_every_accepted_job_ends_once_although_the_gateway_is_killed(tmp_path: Path) -> None:
    result = await killed(tmp_path, Plan(jobs=400, kills=3, seed=1, rate=200, patience_s=40))
    history = result.history
    assert len(history.accepted) >= 400, result.report
    assert len(history.kills) == 3
    assert not failures(history).keys() - {"outcome_unknown"}, result.report
    assert attempts_by_state(history)["unknown"] > 0, result.report


async def test_a_gateway_killed_while_it_starts_loses_nothing(tmp_path: Path) -> None:
    # All jobs are there at once, so every kill but the first meets a gateway that starts.
    plan = Plan(jobs=40, kills=6, seed=2, rate=2000, delay_s=1.2, patience_s=40)
    result = await killed(tmp_path, plan)
    assert len(result.history.kills) == 6


async def test_a_gateway_beside_the_killed_one_changes_nothing(tmp_path: Path) -> None:
    await killed(tmp_path, Plan(jobs=200, kills=2, beside=1, seed=3, rate=200, patience_s=40))
