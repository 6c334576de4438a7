/* contextvars: a goroutine starts in a copy of its spawner's context. */
#include "internal.h"

int golib_vars_copy(PyObject **out)
{
    PyThreadState *ts = golib_ts_current();
    PyContext *now = (PyContext *)ts->context;
    *out = NULL;
    /* To a reader no context and an empty one are the same; neither costs anything. */
    if (!now || (now->ctx_vars && now->ctx_vars->h_count == 0))
        return 0;
    *out = PyContext_CopyCurrent();     /* O(1): the copy shares the map */
    return *out ? 0 : -1;
}

void golib_ts_set_vars(PyThreadState *ts, PyObject *ctx)
{
    PyObject *old = ts->context;
    if (!ctx && !old)
        return;
    ts->context = ctx;
    ts->context_ver++;  /* only ever grows: ContextVar caches by (state id, version) */
    Py_XDECREF(old);
}
