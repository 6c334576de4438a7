"""golib.context: deadlines, cancellation and values for a tree of calls. Go's package context.

A Context can be passed along and asked, as in Go. It can also be made ambient: in `with ctx:` (and in
golib.timeout, golib.scope, and a goroutine after Goroutine.cancel()) every golib operation that would
wait raises golib.Cancelled once the context is done. It is raised at blocking points only, again at
each one, until the block is left.

>>> ctx, cancel = golib.context.with_cancel(golib.context.background())
>>> done = golib.Chan(1)
>>> stop = golib.context.after_func(ctx, done.send, 'cancelled')
>>> cancel()
>>> done.recv(), ctx.err()
('cancelled', Canceled('context canceled'))
"""

from golib._errors import Canceled, DeadlineExceeded
from golib._golib import (
    CancelFunc,
    Context,
    StopFunc,
    after_func,
    background,
    cause,
    current,
    todo,
    with_cancel,
    with_cancel_cause,
    with_deadline,
    with_timeout,
    with_value,
    without_cancel,
)
from golib._names import answer as _answer

__all__ = [
    "CancelFunc",
    "Canceled",
    "Context",
    "DeadlineExceeded",
    "StopFunc",
    "after_func",
    "background",
    "cause",
    "current",
    "todo",
    "with_cancel",
    "with_cancel_cause",
    "with_deadline",
    "with_timeout",
    "with_value",
    "without_cancel",
]

_answer(globals())
