"""The deadline of a call: it alone is told as a time-out, and it leaves its task as it found it."""

from __future__ import annotations

import asyncio

import pytest

from rpc.dispatch import Deadline


async def within(seconds: float, work: asyncio.Future[None]) -> str:
    """Wait for something and say how that ended."""
    deadline = Deadline(asyncio.get_running_loop(), seconds)
    try:
        await work
        return "done"
    except asyncio.CancelledError:
        if not deadline.is_the_cause():
            raise
        return "timed out"
    finally:
        deadline.end()


async def test_what_takes_too_long_times_out_and_its_task_goes_on() -> None:
    assert await within(0.01, asyncio.get_running_loop().create_future()) == "timed out"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0.02)


async def test_what_ends_in_time_is_cancelled_by_nothing_later() -> None:
    work = asyncio.get_running_loop().create_future()
    work.set_result(None)
    assert await within(0.01, work) == "done"
    await asyncio.sleep(0.03)


async def test_a_cancellation_from_outside_is_no_time_out() -> None:
    task = asyncio.create_task(within(5.0, asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_from_outside_at_the_same_moment_wins() -> None:
    work = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(within(0.0, work))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), 5)
