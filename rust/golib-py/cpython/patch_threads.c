/* golib.patch(thread=True): builtins that start a thread start a goroutine instead (golib._goroutine_threads). */
#include "patch_groups.h"

/* Calls golib._goroutine_threads.`name` with the arguments of the call. */
static PyObject *call_python(const golib_invocation *call, const char *name)
{
    PyObject *module = PyImport_ImportModule("golib._goroutine_threads");
    PyObject *function = module ? PyObject_GetAttrString(module, name) : NULL, *result = NULL;
    Py_XDECREF(module);
    if (!function)
        return NULL;
    if (call->kw && PyDict_Check(call->kw)) {
        PyObject *args = PyTuple_New(call->n);
        for (Py_ssize_t i = 0; args && i < call->n; i++)
            PyTuple_SET_ITEM(args, i, Py_NewRef(call->args[i]));
        result = args ? PyObject_Call(function, args, call->kw) : NULL;
        Py_XDECREF(args);
    }
    else
        result = PyObject_Vectorcall(function, call->args, (size_t)call->n, call->kw);
    Py_DECREF(function);
    return result;
}

static PyObject *start(golib_invocation *call, const char *name)
{
    if (!golib_in_main_interpreter())
        return golib_original(call);
    PyObject *result = call_python(call, name);
    if (result != Py_NotImplemented)
        return result;
    Py_DECREF(result);
    return golib_original(call);
}

static PyObject *start_new_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    /* The original reports a wrong number of arguments. */
    if (call->n < 2 || call->n > 3)
        return golib_original(call);
    return start(call, "start_new_thread");
}

static PyObject *start_joinable_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    return start(call, "start_joinable_thread");
}

/* How many threads run, including goroutines, which CPython does not count. */
static PyObject *count_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    PyObject *own = golib_original(call);
    if (!own || !golib_in_main_interpreter())
        return own;
    golib_invocation whole = {.p = call->p, .args = &own, .n = 1};
    PyObject *sum = call_python(&whole, "count");
    Py_DECREF(own);
    return sum;
}

GOLIB_PARKS(start_new_thread, "_thread", NULL, "start_new_thread", start_new_body, 0, NULL);
GOLIB_PARKS(start_new, "_thread", NULL, "start_new", start_new_body, 1, NULL);
GOLIB_PARKS(start_joinable, "_thread", NULL, "start_joinable_thread", start_joinable_body, 1, NULL);

GOLIB_PARKS(count, "_thread", NULL, "_count", count_body, 0, NULL);

static golib_parking *const calls[] = {&start_new_thread, &start_new, &start_joinable, &count};

const golib_group golib_group_thread = {.name = "thread", GOLIB_GROUP_CALLS(calls)};

/* Reports the exception that is set as the one that ended a thread of `function`. */
void golib_thread_failed(PyObject *function)
{
#if PY_VERSION_HEX >= 0x030d0000
    PyErr_FormatUnraisable("Exception ignored in thread started by %R", function);
#else
    _PyErr_WriteUnraisableMsg("in thread started by", function);
#endif
}
