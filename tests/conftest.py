"""How the tests run: coroutine tests on uvloop, a time limit for each, and on which stores."""

import asyncio
import inspect
import signal
from collections.abc import Callable, Generator, Iterator
from types import FrameType

import apsw
import pytest
import uvloop

from tests.support.postgres import Cluster
from tests.support.postgres_wheel import NoPostgres, folder_in_memory, server_version

TIME_LIMIT_S = 120
"""Of one test. Far above what most need: it turns a hang into a failure that says where."""

CANCEL_GRACE_S = 10
"""How long a coroutine test may take to end once it is cancelled at its limit."""


def pytest_report_header() -> str:
    """Which stores the contract suite runs on. Without PostgreSQL its tests are errors."""
    try:
        postgres = server_version()
    except NoPostgres as error:
        postgres = f"MISSING: {error}"
    return f"stores: sqlite {apsw.sqlite_lib_version()}, postgresql {postgres}"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The PostgreSQL that all tests share; who wants to stop or freeze one starts their own.

    It may lose everything in a power cut, which makes it fast. Nothing is vacuumed or analyzed
    behind a test's back.
    """
    settings = {
        "fsync": "off",
        "full_page_writes": "off",
        "autovacuum": "off",
        "max_connections": 300,
        "shared_buffers": "64MB",
        "max_wal_size": "128MB",
    }
    with Cluster(settings, folder_in_memory()) as started:
        yield started


@pytest.fixture
def start_cluster(request: pytest.FixtureRequest) -> Callable[[], Cluster]:
    """The shared cluster, for those who may not need it."""
    return lambda: request.getfixturevalue("cluster")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    names = inspect.signature(test).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    limit_s = _time_limit_s(pyfuncitem)

    async def limited() -> None:
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                await test(**arguments)
        except TimeoutError:
            if limit.expired():
                pytest.fail(_too_long(limit_s))
            raise

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(limited())
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """End a test that blocks, wherever it is, with the stack of where it was."""
    limit_s = _time_limit_s(item)

    def ring(_number: int, _frame: FrameType | None) -> None:
        pytest.fail(_too_long(limit_s))

    is_async = isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj)
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s + (CANCEL_GRACE_S if is_async else 0))
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _time_limit_s(item: pytest.Item) -> float:
    """`@pytest.mark.time_limit(seconds)`, or the limit of all."""
    mark = item.get_closest_marker("time_limit")
    return TIME_LIMIT_S if mark is None else float(mark.args[0])


def _too_long(limit_s: float) -> str:
    return f"not done within its time limit of {limit_s:g} s"
