"""How the tests run: coroutines on uvloop, each with a time limit, and a word on the stores."""

import asyncio
import faulthandler
import inspect
from collections.abc import Iterator

import apsw
import pytest
import uvloop

TIME_LIMIT_S = 120.0
"""Of one test. Far above what any needs: it turns a hang into a failure that says where."""


def pytest_report_header() -> str:
    """Which stores the contract suite runs on."""
    return f"stores: sqlite {apsw.sqlite_lib_version()}"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def limited() -> None:
        async with asyncio.timeout(TIME_LIMIT_S):
            await pyfuncitem.obj(**arguments)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(limited())
    return True


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """End the run, with every thread's stack, when a test hangs beyond all limits."""
    faulthandler.dump_traceback_later(4 * TIME_LIMIT_S, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
