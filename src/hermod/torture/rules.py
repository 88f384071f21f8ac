"""The checker: a pure function of a history.

Rules have the numbers of reliability.md 5. H7 (idempotency keys), H8 (webhooks) and H11
(cancelling) speak of what a run does not do.
"""

from collections.abc import Callable, Iterator

from hermod.torture import rules_calls, rules_jobs, rules_money, rules_store
from hermod.torture.history import History, Violation

Rule = Callable[[History], Iterator[Violation]]
RULES: tuple[Rule, ...] = (
    rules_jobs.h1_nothing_accepted_is_lost,
    rules_jobs.h1_what_was_accepted_is_on_the_disk,
    rules_jobs.h1_a_submit_makes_one_job,
    rules_jobs.h2_every_job_ends,
    rules_jobs.h2_a_job_ends_once,
    rules_jobs.h3_no_state_goes_backwards,
    rules_jobs.h3_an_end_reads_the_same_for_ever,
    rules_jobs.h3_no_row_goes_backwards,
    rules_jobs.h4_a_result_is_the_winners,
    rules_calls.h5_every_call_has_its_attempt,
    rules_calls.h5_an_attempt_is_on_record_before_its_call,
    rules_calls.h5_attempts_are_counted_and_bounded,
    rules_calls.h5_a_repeated_call_is_explained,
    rules_calls.h6_only_the_last_attempt_finishes,
    rules_calls.h6_attempts_do_not_overlap,
    rules_calls.h6_a_lease_is_kept_until_it_ends,
    rules_money.h9_nothing_stays_reserved,
    rules_money.h9_what_is_reserved_is_held,
    rules_money.h9_the_books_balance,
    rules_money.h9_attempts_cost_their_price,
    rules_money.h9_a_budget_is_a_cap,
    rules_money.h9_limits_hold,
    rules_money.h9_everybody_pays_for_his_own,
    rules_money.h9_nobody_is_refused_with_money_left,
    rules_jobs.h10_no_answer_leaks,
    rules_store.h12_nobody_waits_or_runs_past_the_end,
    rules_store.h13_counters_are_true,
    rules_money.course_somebody_answers_every_job,
    rules_jobs.wire_answers_are_the_expected_ones,
    rules_store.drain_leaves_nothing_running,
    rules_store.exit_is_by_our_hand_and_clean,
    rules_store.integrity_of_the_database,
)


def check(history: History) -> list[Violation]:
    """Every broken promise, by rule; empty when all is well."""
    return [violation for rule in RULES for violation in rule(history)]
