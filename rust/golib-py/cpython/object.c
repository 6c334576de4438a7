/* Access to CPython's private layouts for the extension's Python types. */
#include "internal.h"
#include "object.h"

#include <string.h>

void golib_trashcan(PyObject *op, void (*dealloc)(PyObject *), void (*body)(PyObject *))
{
    (void)dealloc;  /* 3.14+ does not ask for it */
    Py_TRASHCAN_BEGIN(op, dealloc)
    body(op);
    Py_TRASHCAN_END
}

/* The newest frame of `ts` that runs Python code. */
static _PyInterpreterFrame *python_frame(PyThreadState *ts)
{
#if PY_VERSION_HEX >= 0x030c0000
    return _PyThreadState_GetFrame(ts);
#else
    _PyInterpreterFrame *f = ts->cframe->current_frame;
    while (f && _PyFrame_IsIncomplete(f))
        f = f->previous;
    return f;
#endif
}

PyObject *golib_origin(int skip, int *lasti)
{
    _PyInterpreterFrame *f = python_frame(golib_ts_current());
    while (f && skip-- > 0) {
        f = f->previous;
        while (f && _PyFrame_IsIncomplete(f))
            f = f->previous;
    }
    if (!f)
        return NULL;
    *lasti = _PyInterpreterFrame_LASTI(f) * (int)sizeof(_Py_CODEUNIT);
    return Py_NewRef(golib_frame_code(f));
}

static int has_async_code(PyObject *fn)
{
    if (PyMethod_Check(fn))
        fn = PyMethod_GET_FUNCTION(fn);
    if (!PyFunction_Check(fn))
        return 0;
    PyCodeObject *code = (PyCodeObject *)PyFunction_GET_CODE(fn);
    return (code->co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR)) != 0;
}

static int is_partial(PyObject *fn)
{
    return !PyFunction_Check(fn) && !strcmp(Py_TYPE(fn)->tp_name, "functools.partial");
}

/* The function inside the partial `fn`, or `fn` itself: a new reference, or NULL with an exception. */
static PyObject *without_partials(PyObject *fn)
{
    Py_INCREF(fn);
    while (fn && is_partial(fn))
        Py_SETREF(fn, PyObject_GetAttrString(fn, "func"));
    return fn;
}

int golib_is_async(PyObject *fn)
{
    fn = without_partials(fn);
    int async = fn && has_async_code(fn);
    if (!fn)
        PyErr_Clear();
    Py_XDECREF(fn);
    return async;
}

PyObject *golib_qualname(PyObject *fn)
{
    if (PyMethod_Check(fn))
        fn = PyMethod_GET_FUNCTION(fn);
    return PyFunction_Check(fn) ? Py_NewRef(((PyFunctionObject *)fn)->func_qualname) : NULL;
}

PyObject *golib_module_of(PyObject *fn)
{
    fn = without_partials(fn);
    if (!fn) {
        PyErr_Clear();
        return NULL;
    }
    PyObject *function = PyMethod_Check(fn) ? PyMethod_GET_FUNCTION(fn) : fn;
    PyObject *module = PyFunction_Check(function) ? Py_XNewRef(PyFunction_GET_MODULE(function)) : NULL;
    Py_DECREF(fn);
    return module;
}

int golib_signal_tripped(void)
{
    return golib_tripped();
}
