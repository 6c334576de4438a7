"""Scenarios: imports, asyncio, and extension modules that call back (PyO3, Cython)."""

from __future__ import annotations

import asyncio
import atexit
import importlib.util
import pathlib
import sys
import tempfile
from typing import Any

import golib
from golib import Chan, go
from storm import scenario

#: Where the modules to import are written; removed at exit.
_directory = tempfile.TemporaryDirectory(prefix="golib-soak-")
atexit.register(_directory.cleanup)
_modules = pathlib.Path(_directory.name)
sys.path.insert(0, _directory.name)


@scenario(goroutines=30, tolerance=2000)
def one_module_imported_by_thirty(park, i, rng):
    name = f"soak_module_{_generation()}"
    module = __import__(name)
    assert module.whole is True
    park()
    assert __import__(name) is module


_imports = 0
_writing = golib.sync.Mutex()


def _generation() -> int:
    """A new module for every thirty imports. It is complete before its name is known."""
    global _imports
    with _writing:
        generation, k = divmod(_imports, 30)
        if k == 0:
            (_modules / f"soak_module_{generation}.py").write_text(
                "import golib\nhalf = True\ngolib.sleep(0.001)\nimport json.tool\ngolib.gosched()\nwhole = True\n"
            )
            importlib.invalidate_caches()
        _imports += 1
    return generation


@scenario()
def event_loops(park, i, rng):
    async def child(k):
        await asyncio.sleep(0)
        park()
        await asyncio.sleep(0.0005)
        return k

    async def main():
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 60  # the development mode reports slower ones
        park()
        assert asyncio.get_running_loop() is loop
        results = await asyncio.gather(*(child(k) for k in range(3)))
        inner = go(_has_no_loop)
        assert inner.join() is True
        async with asyncio.timeout(60):
            fut = loop.create_future()
            loop.call_soon(lambda: park() or fut.set_result("f"))
            assert await fut == "f"
        return results

    assert asyncio.run(main()) == [0, 1, 2]
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise AssertionError("the loop still runs")


def _has_no_loop():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


if importlib.util.find_spec("pydantic"):
    import pydantic

    class Model(pydantic.BaseModel):
        """Validators and serializers that park below pydantic-core (Rust, PyO3)."""

        x: int
        names: list[str] = []

        @pydantic.field_validator("x", mode="before")
        @classmethod
        def before(cls, v: Any) -> Any:
            golib.gosched()
            return v

        @pydantic.field_validator("names")
        @classmethod
        def after(cls, v: Any) -> Any:
            golib.sleep(0)
            return v

        @pydantic.model_validator(mode="wrap")
        @classmethod
        def around(cls, data: Any, handler: Any) -> Any:
            golib.gosched()
            model = handler(data)
            golib.gosched()
            return model

        @pydantic.field_serializer("x")
        def serialize(self, x: int) -> str:
            golib.gosched()
            return str(x)

    @scenario()
    def pydantic_models(park, i, rng):
        m = Model(x=str(i), names=["a"])
        park()
        assert m.model_dump() == {"x": str(i), "names": ["a"]}
        assert Model.model_validate_json(m.model_dump_json()) == m
        try:
            Model(x="no number")
        except pydantic.ValidationError as error:
            park()
            assert error.error_count() == 1

        adapter = pydantic.TypeAdapter(list[int])
        assert adapter.validate_python(park() or k for k in range(3)) == [0, 1, 2]


if importlib.util.find_spec("rpds"):
    import rpds

    class Key:
        """Hashes and compares with a park, below rpds (Rust, PyO3)."""

        def __init__(self, k: int) -> None:
            self.k = k

        def __hash__(self) -> int:
            if self.k == 0:  # each of these parks keeps its thread, and there are thousands
                golib.gosched()
            return hash(self.k % 3)

        def __eq__(self, other: object) -> bool:
            golib.gosched()
            return isinstance(other, Key) and self.k == other.k

    @scenario()
    def rpds_maps(park, i, rng):
        m = rpds.HashTrieMap({Key(k): k for k in range(5)})
        park()
        m2 = m.insert(Key(9), 9).remove(Key(0))
        assert m2[Key(9)] == 9
        assert Key(0) not in m2
        assert len(m) == 5
        assert len(rpds.HashTrieSet(Key(k % 4) for k in range(8))) == 4
        assert m == rpds.HashTrieMap({Key(k): k for k in range(5)})


if importlib.util.find_spec("lxml"):
    from lxml import etree

    @scenario()
    def lxml_callbacks(park, i, rng):
        class Target:
            def __init__(self):
                self.tags = []

            def start(self, tag, attrib):
                park()
                self.tags.append(tag)

            def data(self, data):
                park()

            def end(self, tag):
                park()

            def close(self):
                park()
                return self.tags

        tags = etree.fromstring("<a><b>x</b><c/></a>", etree.XMLParser(target=Target()))
        assert tags == ["a", "b", "c"]
        root = etree.fromstring(f"<a><b n='{i}'/><b n='2'/></a>")
        park()

        def twice(_, value):
            park()
            return float(value[0]) * 2

        find = etree.XPath(
            "mine:twice(b/@n)",
            namespaces={"mine": "urn:mine"},
            extensions={("urn:mine", "twice"): twice},
        )
        assert find(root) == 2.0 * i
        for _, element in etree.iterwalk(root, events=("start",)):
            park()
            assert element.tag in "ab"


@scenario()
def threads_and_queues_of_the_standard_library(park, i, rng):
    import queue
    import threading

    q: queue.SimpleQueue[int] = queue.SimpleQueue()
    done = threading.Event()
    g = go(lambda: (park_here(), q.put(i), done.set())[1])
    assert q.get() == i
    assert done.wait(60)
    g.join()
    park()
    ch = Chan(1)
    ch.send(i)
    assert ch.recv() == i


def park_here():
    golib.gosched()
