"""Fixtures: the executors that the tests here compare, and a call that keeps one busy."""

from __future__ import annotations

import concurrent.futures as cf

import golib.aio
import pytest

from support import Gate

KINDS = {"threads": cf.ThreadPoolExecutor, "golib": golib.aio.Executor}


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


@pytest.fixture
def executor_class(kind):
    return KINDS[kind]


@pytest.fixture
def make(executor_class):
    """Makes an executor: `make(max_workers)`; each is shut down at the end, with its gates open."""
    made = []

    def make(*args, **kwargs):
        made.append(executor_class(*args, **kwargs))
        return made[-1]

    yield make
    for executor in made:
        executor.shutdown(cancel_futures=True)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def busy(make, gate):
    """An executor for one call at a time, busy with a call, and the future of that call."""
    executor = make(1)
    future = executor.submit(gate, "first")
    assert gate.begun.wait(20)
    yield executor, future
    gate.opened.set()
