"""The gateway against the description that it serves: whatever that allows or forbids is asked."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode

from hermod.http.openapi import describe
from hermod.kinds.registry import KINDS
from hermod.providers.registry import KNOWN_PROVIDERS
from tests.fuzz.asking import OUR_OWN, Session, aim, built_in
from tests.support.program import Gateway

EXAMPLES, EXAMPLES_LONG = 5, 60
"""Good requests of each operation, and as many bad ones."""
FEW: Final = 2
"""The same of operations for admins, in a short run."""
COVERING: Final = 60
"""Of the requests that try each value and each boundary, one of so many in a short run."""
SLOW_AND_PICKY: Final = (
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
)
LABELS: Final = tuple(
    f"{way.upper()} {path}"
    for path, ways in describe(KINDS, KNOWN_PROVIDERS, "")["paths"].items()
    for way in ways
    if way != "x-also-at"
)
MANAGING: Final = tuple(label for label in LABELS if " /api/" in label)
"""What changes the gateway. Its requests go to one of their own, as they may forbid all others."""
Ask = Callable[[schemathesis.Case], None]


@pytest.fixture(scope="module")
def described(gateway: Gateway) -> schemathesis.BaseSchema:
    """The document of the running gateway."""
    config = schemathesis.Config.from_dict({"seed": 1})
    return schemathesis.openapi.from_url(f"{gateway.url}/openapi.json", config=config)


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    """The document of a gateway that everybody here may manage."""
    with Gateway(tmp_path_factory.mktemp("managed") / "data") as running:
        config = schemathesis.Config.from_dict({"seed": 1})
        yield schemathesis.openapi.from_url(f"{running.url}/openapi.json", config=config)
        assert running.process.poll() is None, running.output
        assert "Traceback" not in running.output
        assert " ERROR " not in running.output


@pytest.fixture(scope="module")
def ask(described: schemathesis.BaseSchema, figure: Callable[[str], None]) -> Iterator[Ask]:
    """Has a case answered and judged. Times are told, not judged."""
    checks = [*built_in(), *OUR_OWN]
    with Session(described.raw_schema) as session:

        def asked(case: schemathesis.Case) -> None:
            aim(case)
            case.call_and_validate(session=session, checks=checks, timeout=30)

        yield asked
        slow = sorted(session.slowest.items(), key=lambda item: -item[1])[:3]
        told = ", ".join(f"{path} {took_s * 1000:.0f} ms" for path, took_s in slow)
        figure(f"{session.asked} requests; slowest answers: {told}")


@pytest.mark.time_limit(1200)
@pytest.mark.parametrize("label", [label for label in LABELS if label not in MANAGING])
def test_an_operation_is_as_it_is_described(
    label: str, described: schemathesis.BaseSchema, ask: Ask, is_long: bool
) -> None:
    _ask_everything(described, label, ask, EXAMPLES_LONG if is_long else EXAMPLES)


@pytest.mark.time_limit(1200)
@pytest.mark.parametrize("label", MANAGING)
def test_managing_is_as_it_is_described(
    label: str, managed: schemathesis.BaseSchema, is_long: bool
) -> None:
    with Session(managed.raw_schema) as session:

        def asked(case: schemathesis.Case) -> None:
            case.call_and_validate(session=session, checks=[*built_in(), *OUR_OWN], timeout=30)

        _ask_everything(managed, label, asked, EXAMPLES_LONG if is_long else FEW)


def _ask_everything(described: schemathesis.BaseSchema, label: str, ask: Ask, number: int) -> None:
    operation = described.find_operation_by_label(label)
    assert operation is not None
    modes = list(GenerationMode)
    covering = _covering(described, operation)
    for case in islice(covering, 0, None, 1 if number == EXAMPLES_LONG else COVERING):
        ask(case)
    examples = operation.get_strategies_from_examples()
    good, bad = (operation.as_strategy(generation_mode=mode) for mode in modes)
    for cases in (*examples, good):
        _ask_all(cases, ask, number)
    try:
        _ask_all(bad, ask, number)
    except Unsatisfiable:
        assert not operation.body  # a path and headers that may be any text cannot be wrong


@pytest.mark.time_limit(1200)
def test_what_a_submit_links_to_is_there(described: schemathesis.BaseSchema, is_long: bool) -> None:
    checks = [*built_in(), *OUR_OWN]
    machine = described.exclude(path_regex="^/api/").as_state_machine()

    class Chains(machine):
        def before_call(self, case: schemathesis.Case) -> None:
            aim(case)

        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"session": session, "timeout": 30}

        def validate_response(
            self,
            response: schemathesis.Response,
            case: schemathesis.Case,
            additional_checks: list[Any] | None = None,
            **sent: Any,
        ) -> None:
            case.validate_response(
                response, checks, transport_kwargs=sent, recorder=getattr(self, "recorder", None)
            )

    with Session(described.raw_schema) as session:
        Chains.run(
            settings=settings(
                max_examples=100 if is_long else 10,
                stateful_step_count=6,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=SLOW_AND_PICKY,
            )
        )
        assert session.asked


def _covering(
    schema: schemathesis.BaseSchema, operation: schemathesis.APIOperation
) -> Iterator[schemathesis.Case]:
    """Requests with every value and every boundary that the description knows; and the methods
    that it does not."""
    for mode in GenerationMode:
        try:
            yield from schema.iter_coverage_cases(
                operation,
                generation_modes=[mode],
                generation_config=schema.config.generation_for(operation=operation),
            )
        except ValueError as error:
            # A file beside something that must not be is more than it can judge.
            assert "Unsupported type: 'Binary'" in str(error)


def _ask_all(cases: SearchStrategy[Any], ask: Ask, number: int) -> None:
    @settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=SLOW_AND_PICKY,
    )
    @given(case=cases)
    def each(case: schemathesis.Case) -> None:
        ask(case)

    each()
