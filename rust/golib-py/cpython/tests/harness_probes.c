/* What the tests of the shim ask and measure. */
#include "harness.h"

#include <time.h>

static PyObject *h_is_main(PyObject *self, PyObject *x)
{
    (void)self;
    (void)x;
    return PyBool_FromLong(golib_is_main_thread());
}

static PyObject *h_movable_at(PyObject *self, PyObject *x, const golib_caller *at)
{
    (void)self;
    (void)x;
    return PyBool_FromLong(golib_may_migrate(PyThreadState_Get(), (void *)at, at->ret));
}
GOLIB_ENTRY_NOARGS(h_movable, h_movable_at)
static PyObject *h_movable1_at(PyObject *self, PyObject *x, const golib_caller *at)
{
    return h_movable_at(self, x, at);
}
GOLIB_ENTRY_O(h_movable1, h_movable1_at)
static PyObject *h_movable_fast_at(PyObject *self, PyObject *const *a, Py_ssize_t n, const golib_caller *at)
{
    (void)a;
    (void)n;
    return h_movable_at(self, NULL, at);
}
GOLIB_ENTRY_FASTCALL(h_movable_fast, h_movable_fast_at)
static PyObject *h_movable_kw_at(PyObject *self, PyObject *const *a, Py_ssize_t n, PyObject *k, const golib_caller *at)
{
    (void)a;
    (void)n;
    (void)k;
    return h_movable_at(self, NULL, at);
}
GOLIB_ENTRY_KEYWORDS(h_movable_kw, h_movable_kw_at)

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static PyObject *h_swapbench(PyObject *self, PyObject *arg)
{
    long n = PyLong_AsLong(arg);
    PyThreadState *a = PyThreadState_Get(), *b = golib_ts_new();
    (void)self;
    double t0 = now();
    for (long i = 0; i < n; i++) {
        golib_ts_swap(a, b);
        golib_ts_swap(b, a);
    }
    double swap = (now() - t0) / (2.0 * (double)n);
    t0 = now();
    for (long i = 0; i < n / 10; i++) {
        golib_mark_bound(b, 0);
        PyThreadState_Swap(b);
        golib_mark_bound(a, 0);
        PyThreadState_Swap(a);
    }
    double slow = (now() - t0) / (2.0 * (double)n / 10);
    golib_bind(a);
    t0 = now();
    for (long i = 0; i < n; i++)
        harness_counts.strict += !golib_ts_scrub(b);
    double scrub = (now() - t0) / (double)n;
    golib_ts_delete(b);
    return Py_BuildValue("ddd", swap, slow, scrub);
}

static PyObject *h_walkbench_at(PyObject *self, PyObject *arg, const golib_caller *at)
{
    long n = PyLong_AsLong(arg);
    PyThreadState *ts = PyThreadState_Get();
    (void)self;
    double t0 = now();
    long yes = 0;
    for (long i = 0; i < n; i++)
        yes += golib_may_migrate(ts, (void *)at, at->ret);
    return Py_BuildValue("dl", (now() - t0) / (double)n, yes);
}
GOLIB_ENTRY_O(h_walkbench, h_walkbench_at)

static PyObject *h_check(PyObject *self, PyObject *x)
{
    PyGILState_STATE state = PyGILState_Ensure();
    M *m = harness_m();
    int ok = state == PyGILState_LOCKED && PyGILState_GetThisThreadState() == PyThreadState_Get() &&
             PyGILState_Check() && golib_ts_current() == PyThreadState_Get() && golib_gil_locked() &&
             !golib_finalizing() && (!m || !m->cur || m->cur->ts == PyThreadState_Get());
    PyGILState_Release(state);
    (void)self;
    (void)x;
    return PyBool_FromLong(ok);
}

static PyObject *h_stats(PyObject *self, PyObject *x)
{
    uint64_t c[3];
    (void)self;
    (void)x;
    golib_movable_counts(c);
    return Py_BuildValue("{s:i,s:K,s:K,s:K,s:l,s:l,s:i,s:i,s:k}", "direct", golib_swap_is_direct(), "quick",
                         (unsigned long long)c[0], "walked", (unsigned long long)c[1], "pinned",
                         (unsigned long long)c[2], "migrations", harness_counts.migrations, "live", harness_counts.live,
                         "deleted", harness_counts.strict, "pool", harness_counts.pool, "os",
                         (unsigned long)pthread_self());
}

static PyObject *h_holds(PyObject *self, PyObject *x)
{
    M *m = harness_m();
    (void)self;
    (void)x;
    return PyLong_FromLong(m && m->cur ? m->cur->holds : -1);
}

static PyObject *h_unlink(PyObject *self, PyObject *x)
{
    (void)self;
    (void)x;
    golib_ts_unlink_all(PyThreadState_Get());
    Py_RETURN_NONE;
}

/* Does the scan know how the library around this address gets thread-local addresses? */
static PyObject *h_knows(PyObject *self, PyObject *address)
{
    (void)self;
    return PyBool_FromLong(golib_scan_knows(PyLong_AsVoidPtr(address)));
}

PyMethodDef harness_probes[] = {
    {"is_main", h_is_main, METH_NOARGS, NULL},
    {"movable", h_movable, METH_NOARGS, NULL},
    {"movable1", h_movable1, METH_O, NULL},
    {"movable_fast", (PyCFunction)(void *)h_movable_fast, METH_FASTCALL, NULL},
    {"movable_kw", (PyCFunction)(void *)h_movable_kw, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"swapbench", h_swapbench, METH_O, NULL},
    {"walkbench", h_walkbench, METH_O, NULL},
    {"check", h_check, METH_NOARGS, NULL},
    {"stats", h_stats, METH_NOARGS, NULL},
    {"holds", h_holds, METH_NOARGS, NULL},
    {"unlink", h_unlink, METH_NOARGS, NULL},
    {"knows", h_knows, METH_O, NULL},
    {"places", h_places, METH_O, NULL},
    {"places_of_other", h_places_of_other, METH_O, NULL},
    {"look_often", h_look_often, METH_O, NULL},
    {"gil_waiters", h_gil_waiters, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
