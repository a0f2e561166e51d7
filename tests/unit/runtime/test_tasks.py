"""Tasks that belong to somebody: a defect is reported, and none is left when their owner has waited."""

from __future__ import annotations

import asyncio

from qss.runtime.tasks import Tasks
from support.virtual_time import in_virtual_time, settled


def reporting():
    defects = []
    return Tasks(defects.append), defects


async def failing(error):
    raise error


@in_virtual_time
async def test_a_defect_is_reported_once_and_the_others_go_on():
    tasks, defects = reporting()
    error = ValueError("unforeseen")
    other = tasks.start(asyncio.sleep(5))
    tasks.start(failing(error))
    await settled()
    assert defects == [error]
    assert tasks
    await tasks.finished()
    assert other.done()
    assert not tasks
    assert defects == [error]


@in_virtual_time
async def test_a_cancelled_task_is_no_defect():
    tasks, defects = reporting()
    tasks.start(asyncio.sleep(5)).cancel()
    tasks.start(asyncio.sleep(5))
    await tasks.cancelled()
    assert not tasks
    assert defects == []
    assert asyncio.get_running_loop().time() < 5


@in_virtual_time
async def test_a_task_that_fails_while_it_is_cancelled_is_a_defect():
    tasks, defects = reporting()

    async def clumsy():
        try:
            await asyncio.sleep(5)
        finally:
            raise ValueError("unforeseen")

    tasks.start(clumsy())
    await settled()
    await tasks.cancelled()
    assert [str(defect) for defect in defects] == ["unforeseen"]


@in_virtual_time
async def test_waiting_covers_what_tasks_start_meanwhile():
    tasks, _ = reporting()
    ended = []

    async def chain(left):
        await asyncio.sleep(1)
        ended.append(left)
        if left:
            tasks.start(chain(left - 1))

    tasks.start(chain(3))
    await tasks.finished()
    assert ended == [3, 2, 1, 0]


@in_virtual_time
async def test_cancelling_waits_for_what_the_cancelled_start_and_does_not_cancel_that():
    tasks, _ = reporting()
    ended = []

    async def last_will():
        await asyncio.sleep(2)
        ended.append("last will")

    async def dying():
        try:
            await asyncio.sleep(60)
        finally:
            tasks.start(last_will())

    tasks.start(dying())
    tasks.start(dying())
    await settled()
    await tasks.cancelled()
    assert ended == ["last will", "last will"]
    assert not tasks


@in_virtual_time
async def test_a_task_that_takes_its_time_to_end_is_waited_for():
    tasks, _ = reporting()

    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(3)

    tasks.start(slow())
    await settled()
    await tasks.cancelled()
    assert asyncio.get_running_loop().time() > 3


@in_virtual_time
async def test_without_tasks_there_is_nothing_to_wait_for():
    tasks, _ = reporting()
    await tasks.finished()
    await tasks.cancelled()
