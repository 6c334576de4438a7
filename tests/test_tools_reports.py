"""What reports on a running program: logs, CPython's own dumps, OpenTelemetry, Sentry; and the page of all tools."""

import importlib.util
import re
from pathlib import Path

import pytest

import support


def needs(module):
    found = importlib.util.find_spec(module.partition(".")[0]) and importlib.util.find_spec(module)
    return pytest.mark.skipif(not found, reason=f"{module} has no wheel for this Python")


def test_faulthandler_and_tracemalloc_see_goroutines():
    result = support.run_script(
        """
        import faulthandler, golib, time, tracemalloc
        def waits(ch):
            ch.recv()
        def blocks():
            time.sleep(0.3)
        def allocates(kept):
            for _ in range(3):
                kept.append(bytearray(1_000_000))
                golib.sleep(0.001)
        ch, kept = golib.Chan(), []
        golib.go(waits, ch)
        golib.go(blocks)
        golib.sleep(0.1)
        faulthandler.dump_traceback(all_threads=True)
        tracemalloc.start()
        golib.go(allocates, kept).join()
        largest = tracemalloc.take_snapshot().statistics("lineno")[0]
        print(largest.traceback[0].lineno, largest.size > 3_000_000)
        """
    )
    assert (result.rc, result.out) == (0, "9 True\n"), result
    for place in ("line 4 in waits", "line 6 in blocks"):
        assert result.err.count(place) == 1, result.err


def test_a_log_record_has_the_goroutines_name():
    out = support.run_ok(
        """
        import golib, logging, sys
        logging.basicConfig(format="%(threadName)s: %(message)s", stream=sys.stdout)
        golib.spawn(logging.error, ("late",), name="crawler").join()
        """
    )
    assert out == "crawler: late\n"


@needs("opentelemetry.sdk")
def test_opentelemetry_spans_nest_across_goroutines():
    out = support.run_ok(
        """
        import golib
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("test")

        def crawl(n):
            with tracer.start_as_current_span(f"crawl-{n}"):
                golib.sleep(0.01)
                with tracer.start_as_current_span(f"parse-{n}"):
                    golib.sleep(0.01)

        def main():
            with tracer.start_as_current_span("main"), golib.scope() as s:
                for n in range(3):
                    s.go(crawl, n)

        golib.run(main)
        provider.force_flush()
        spans = exporter.get_finished_spans()
        names = {span.context.span_id: span.name for span in spans}
        for span in sorted(spans, key=lambda span: span.name):
            print(span.name, names.get(span.parent.span_id) if span.parent else None)
        provider.shutdown()
        """
    )
    assert out.split("\n")[:-1] == [
        *[f"crawl-{n} main" for n in range(3)],
        "main None",
        *[f"parse-{n} crawl-{n}" for n in range(3)],
    ]


@needs("sentry_sdk")
def test_sentry_gets_exceptions_of_goroutines_with_their_own_tags():
    out = support.run_ok(
        """
        import golib, sentry_sdk
        from sentry_sdk.transport import Transport

        events = []
        class Keeps(Transport):
            def capture_envelope(self, envelope):
                events.extend(item.get_event() for item in envelope.items if item.get_event())

        sentry_sdk.init(dsn="http://key@localhost/1", transport=Keeps)
        golib.set_panic_handler(lambda g, error: sentry_sdk.capture_exception(error))

        def task(n):
            with sentry_sdk.isolation_scope() as scope:
                scope.set_tag("n", n)
                golib.sleep(0.01)
                if n < 2:
                    sentry_sdk.capture_message("read")
            if n == 2:
                raise ValueError("unread")

        for n in range(3):
            golib.go(task, n)
        while len(events) < 3:
            golib.sleep(0.001)
        for event in events:
            kinds = [value["type"] for value in event.get("exception", {}).get("values", [])]
            print(event.get("message"), event.get("tags"), kinds)
        """
    )
    assert sorted(out.splitlines()) == [
        "None None ['ValueError']",
        "read {'n': 0} []",
        "read {'n': 1} []",
    ]


def test_the_page_of_tools_names_each_tool_that_is_tried_here():
    page = (Path(__file__).parent.parent / "docs/tools.md").read_text("utf-8")
    tried = "".join(
        path.read_text("utf-8") for path in Path(__file__).parent.glob("test_tools*.py")
    )
    rows = re.findall(r"^\| \[([\w. ,-]+?)\]\(#", page, re.MULTILINE)
    assert len(rows) >= 12
    for tool in ", ".join(rows).split(", "):
        name = re.sub(r"\W", "_", tool.lower()).removesuffix("_py")
        assert re.search(rf"def test_\w*{name}", tried), tool
