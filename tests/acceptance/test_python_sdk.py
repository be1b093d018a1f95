"""What the official Python SDK requires of a service (T1 to T12), asked by the SDK itself."""

from __future__ import annotations

import pytest

from .sdk import Sdk

PROGRAM = "requirements"
COUNTS = (200, pytest.param(2000, marks=pytest.mark.slow))
"""The SDK's own tests put 2000 in every run; these look closer."""


def test_t1_attributes_and_truncate_on_both_queues_even_when_empty(sdk: Sdk) -> None:
    sdk.run(PROGRAM, "t1")


def test_t2_a_client_may_put_text_into_the_sink(sdk: Sdk) -> None:
    sdk.run(PROGRAM, "t2")


def test_t3_get_by_request_id_finds_exactly_that_item(sdk: Sdk) -> None:
    sdk.run(PROGRAM, "t3")


def test_t4_get_by_the_answered_index_finds_exactly_that_item(sdk: Sdk) -> None:
    sdk.run(PROGRAM, "t4")


def test_t5_truncating_beyond_the_last_index_empties_at_once(sdk: Sdk) -> None:
    sdk.run(PROGRAM, "t5")


def test_t6_an_auto_committing_watch_ignores_its_window_and_empties_the_sink(sdk: Sdk) -> None:
    sdk.run(PROGRAM, "t6")


def test_t7_the_sink_is_empty_immediately_after_the_last_commit(sdk: Sdk) -> None:
    sdk.run(PROGRAM, "t7")


def test_t8_a_hundred_tasks_through_the_service_leave_an_empty_sink(sdk: Sdk) -> None:
    sdk.run(PROGRAM, "t8")


@pytest.mark.parametrize("count", COUNTS)
def test_t9_concurrent_puts_reach_the_watch_exactly_once(sdk: Sdk, count: int) -> None:
    sdk.run(PROGRAM, "t9", count=count)


@pytest.mark.parametrize("count", COUNTS)
def test_t10_the_request_id_survives_the_service(sdk: Sdk, count: int) -> None:
    sdk.run(PROGRAM, "t10", count=count)


def test_t11_a_second_watch_on_one_client_is_refused_and_the_first_goes_on(sdk: Sdk) -> None:
    sdk.run(PROGRAM, "t11")


def test_t12_the_same_uid_watches_again_right_after_closing(sdk: Sdk) -> None:
    sdk.run(PROGRAM, "t12")


def test_the_sdks_own_tests_in_their_order_and_with_their_shared_clients(sdk: Sdk) -> None:
    assert sdk.run("own_tests", "every_test") == {"run": 9, "skipped": 0}
