/* See patch_elsewhere.h. */
#include "patch_elsewhere.h"

static PyObject *go, *run;

/* A function to be called, in a capsule. */
typedef struct {
    void (*work)(void *);
    void *argument;
} errand;

static const char errand_name[] = "golib.errand", call_name[] = "golib.call";

static void free_errand(PyObject *capsule)
{
    PyMem_Free(PyCapsule_GetPointer(capsule, errand_name));
}

static PyObject *run_errand(PyObject *self, PyObject *capsule)
{
    errand *e = PyCapsule_GetPointer(capsule, errand_name);
    (void)self;
    if (!e)
        return NULL;
    e->work(e->argument);
    Py_RETURN_NONE;
}

int golib_elsewhere_ready(void)
{
    static PyMethodDef def = {"elsewhere", run_errand, METH_O, NULL};
    PyObject *golib = run && go ? NULL : PyImport_ImportModule("golib._golib");
    if (golib && !run)
        run = PyCFunction_New(&def, NULL);
    if (golib && !go)
        go = PyObject_GetAttrString(golib, "go");
    Py_XDECREF(golib);
    return run && go ? 0 : -1;
}

int golib_elsewhere_do(void (*work)(void *), void *argument)
{
    errand *e = PyMem_Malloc(sizeof *e);
    PyObject *capsule = e ? PyCapsule_New(e, errand_name, free_errand) : PyErr_NoMemory();
    if (!capsule) {
        PyMem_Free(e);
        return -1;
    }
    *e = (errand){work, argument};
    PyObject *handle = PyObject_CallFunctionObjArgs(go, run, capsule, NULL);
    Py_DECREF(capsule);
    Py_XDECREF(handle);
    return handle ? 0 : -1;
}

/* ---- a builtin's call ---- */

/* A call, in a capsule that the two goroutines share. */
typedef struct {
    golib_invocation call;
    golib_elsewhere_limit *limit;
    PyObject *args, *kw;            /* what call borrows from */
    PyObject *result, *type, *value, *traceback;
    int is_done;
} shared_call;

static void free_call(PyObject *capsule)
{
    shared_call *c = PyCapsule_GetPointer(capsule, call_name);
    Py_XDECREF(c->args);
    Py_XDECREF(c->kw);
    Py_XDECREF(c->call.self);
    Py_XDECREF(c->result);
    Py_XDECREF(c->type);
    Py_XDECREF(c->value);
    Py_XDECREF(c->traceback);
    PyMem_Free(c);
}

/* A copy of the call that owns its arguments. NULL with an exception set. */
static PyObject *copy_of(const golib_invocation *call, golib_elsewhere_limit *limit)
{
    shared_call *c = PyMem_Calloc(1, sizeof *c);
    PyObject *capsule = c ? PyCapsule_New(c, call_name, free_call) : PyErr_NoMemory();
    if (!capsule) {
        PyMem_Free(c);
        return NULL;
    }
    int follow = call->kw && PyTuple_Check(call->kw);
    Py_ssize_t n = call->n + (follow ? PyTuple_GET_SIZE(call->kw) : 0);
    c->limit = limit;
    c->call = *call;
    Py_XINCREF(c->call.self);
    c->kw = Py_XNewRef(call->kw);
    c->args = PyTuple_New(n);
    for (Py_ssize_t i = 0; c->args && i < n; i++)
        PyTuple_SET_ITEM(c->args, i, Py_NewRef(call->args[i]));
    if (!c->args) {
        Py_DECREF(capsule);
        return NULL;
    }
    c->call.args = ((PyTupleObject *)c->args)->ob_item;
    c->call.packed = call->p->patch.flags == METH_O ? c->call.args[0] : c->args;
    return capsule;
}

static void no_longer(golib_elsewhere_limit *limit)
{
    limit->running--;
    golib_lot_wake(limit, 1);
}

/* Runs in the goroutine that makes the call and owns the capsule. */
static void make_call(void *capsule)
{
    shared_call *c = PyCapsule_GetPointer(capsule, call_name);
    c->result = golib_original(&c->call);
    if (!c->result)
        PyErr_Fetch(&c->type, &c->value, &c->traceback);
    c->is_done = 1;
    no_longer(c->limit);
    golib_lot_wake(c, 1);
    Py_DECREF((PyObject *)capsule);
}

static PyObject *answer(shared_call *c)
{
    PyObject *result = c->result;
    c->result = NULL;
    if (!result)
        PyErr_Restore(c->type, c->value, c->traceback);
    c->type = c->value = c->traceback = NULL;
    return result;
}

static int start(PyObject *capsule, golib_elsewhere_limit *limit)
{
    limit->running++;
    Py_INCREF(capsule);
    if (golib_elsewhere_do(make_call, capsule) == 0)
        return 0;
    Py_DECREF(capsule);
    no_longer(limit);
    return -1;
}

PyObject *golib_elsewhere(const golib_invocation *call, golib_elsewhere_limit *limit, const golib_caller *record)
{
    PyObject *capsule = copy_of(call, limit), *result = NULL;
    if (!capsule)
        return NULL;
    shared_call *c = PyCapsule_GetPointer(capsule, call_name);
    int outcome = GOLIB_WOKEN;
    while (outcome == GOLIB_WOKEN && limit->running >= limit->most)
        outcome = golib_waits_table->lot_wait(limit, GOLIB_FOR_EVER, GOLIB_FOR_SEMAPHORE, 0, record);
    if (outcome == GOLIB_WOKEN && start(capsule, limit) == 0) {
        while (outcome == GOLIB_WOKEN && !c->is_done)
            outcome = golib_waits_table->lot_wait(c, GOLIB_FOR_EVER, GOLIB_FOR_IO, 0, record);
        if (outcome == GOLIB_WOKEN)
            result = answer(c);
    }
    Py_DECREF(capsule);
    return result;
}
