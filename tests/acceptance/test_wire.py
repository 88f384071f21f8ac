"""The checklist of the wire contract (its section 12), point by point.

Points 7, 12 and 14 need virtual keys, fallbacks and tokens of tenants.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from tests.acceptance import test_contract_headers as headers
from tests.acceptance import test_contract_integrations as integrations
from tests.acceptance import test_contract_polls as polls
from tests.acceptance import test_contract_refusals as refusals
from tests.acceptance import test_contract_restart as restart
from tests.acceptance import test_contract_results as results
from tests.acceptance import test_contract_submit as submit
from tests.faults.places import PLACES, PostgresPlace, SqlitePlace

Tests = tuple[Callable[..., Any], ...]

POINTS: Final[Mapping[int, Tests]] = {
    1: (submit.test_a_minimal_body_is_accepted,),
    2: (
        submit.test_a_ttl_counts_from_the_end_and_is_announced_at_once,
        submit.test_a_ttl_that_is_no_positive_integer_means_the_default,
    ),
    3: (
        submit.test_a_ttl_counts_from_the_end_and_is_announced_at_once,
        submit.test_a_ttl_may_be_written_in_several_ways,
        submit.test_a_ttl_that_is_no_positive_integer_means_the_default,
        submit.test_the_ttl_of_a_failed_job_counts_too,
    ),
    4: (
        results.test_a_job_that_runs_is_a_202_and_never_goes_back,
        results.test_a_running_job_of_every_kind_is_a_202,
        results.test_a_job_that_waits_for_its_next_attempt_is_never_pending_again,
        results.test_a_job_completes_with_a_result_of_its_kind,
        results.test_an_upstreams_429_is_a_poll_of_200,
        results.test_everything_an_upstream_says_of_its_error_is_kept,
    ),
    5: (
        polls.test_an_expired_job_is_gone_at_once,
        polls.test_an_expired_job_is_soon_gone_from_the_database_and_others_stay,
        polls.test_a_job_that_runs_does_not_expire,
    ),
    6: (
        polls.test_a_job_is_only_there_on_its_own_route,
        polls.test_there_is_no_route_without_a_kind,
        polls.test_the_same_job_can_be_read_however_its_id_is_written,
    ),
    8: (
        submit.test_a_stream_is_refused,
        submit.test_a_stream_that_is_off_is_accepted,
        submit.test_a_kind_that_cannot_stream_does_not_look_at_stream,
        submit.test_speech_does_not_look_at_stream,
    ),
    9: (
        refusals.test_a_model_without_a_known_provider_is_refused,
        refusals.test_a_request_needs_a_model,
        refusals.test_what_is_required_is_asked_for,
        refusals.test_a_field_of_the_wrong_type_is_refused,
        refusals.test_a_body_that_is_no_json_object_is_refused,
        refusals.test_a_body_that_is_no_form_is_refused,
        refusals.test_a_refused_request_leaves_nothing_behind,
    ),
    10: (
        submit.test_a_message_may_have_a_role_and_nothing_else,
        submit.test_what_is_empty_odd_or_out_of_range_is_accepted,
    ),
    11: (
        refusals.test_a_model_without_a_known_provider_is_refused,
        results.test_a_known_provider_that_nobody_configured_fails_the_job,
        results.test_a_synchronous_call_of_such_a_provider_is_a_400_with_the_same_words,
    ),
    13: (results.test_an_upstream_that_is_too_slow_is_a_timeout,),
    15: (restart.test_jobs_of_every_kind_end_after_a_kill,),
    16: (
        refusals.test_what_is_required_is_asked_for,
        refusals.test_a_body_that_is_no_form_is_refused,
        refusals.test_an_integer_of_a_form_has_to_be_one,
    ),
    17: (
        integrations.test_a_job_is_created_and_polled_at_one_address,
        integrations.test_while_it_runs_there_is_a_placeholder,
        integrations.test_an_unknown_job_is_a_404,
        integrations.test_a_stream_of_a_job_is_refused,
        integrations.test_the_other_routes_take_no_jobs,
        integrations.test_googles_routes_take_no_jobs,
    ),
    18: (
        polls.test_the_instants_of_a_job_are_written_the_same_each_time,
        restart.test_jobs_of_every_kind_end_after_a_kill,
    ),
}
"""Which tests stand for which point."""

LATER: Final = {7, 12, 14}
MODULES: Final = (headers, integrations, polls, refusals, restart, results, submit)
BOTH_STORES: Final = {"served", "place"}
"""Fixtures that have a test run once on each store."""


def test_every_point_has_its_tests() -> None:
    assert POINTS.keys() | LATER == set(range(1, 19))
    assert all(POINTS.values())


@pytest.mark.parametrize("point", POINTS)
def test_each_of_them_names_its_points(point: int) -> None:
    for test in POINTS[point]:
        said = re.search(r"Points? [^.;:]*", test.__doc__ or "")
        assert said, test
        assert str(point) in re.findall(r"\d+", said[0]), test


def test_all_of_them_run_on_both_stores() -> None:
    assert {SqlitePlace, PostgresPlace} == set(PLACES)
    for module in MODULES:
        for name, test in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_"):
                assert BOTH_STORES & inspect.signature(test).parameters.keys(), test
