/* golib.patch("dns"): getaddrinfo, gethostbyname, gethostbyname_ex, gethostbyaddr, getnameinfo.
 *
 * The C library looks names up in the thread that asks. So another goroutine asks, in a thread of its own, and only so many
 * do at once; a number needs no look-up. Whoever waits for the answer is parked, and can leave; the look-up then runs to its end for nobody.
 */
#include "patch_groups.h"

#include <arpa/inet.h>

enum { MOST_AT_ONCE = 10 };

static int at_once;
static PyObject *go, *run;

/* One look-up; in a capsule that the two goroutines share. */
typedef struct {
    golib_invocation call;
    PyObject *args, *kw;            /* what call borrows from */
    PyObject *result, *type, *value, *traceback;
    int is_done;
} look_up;

static const char capsule_name[] = "golib.look_up";

static void free_look_up(PyObject *capsule)
{
    look_up *l = PyCapsule_GetPointer(capsule, capsule_name);
    Py_XDECREF(l->args);
    Py_XDECREF(l->kw);
    Py_XDECREF(l->call.self);
    Py_XDECREF(l->result);
    Py_XDECREF(l->type);
    Py_XDECREF(l->value);
    Py_XDECREF(l->traceback);
    PyMem_Free(l);
}

/* In the goroutine that asks. */
static PyObject *run_look_up(PyObject *self, PyObject *capsule)
{
    look_up *l = PyCapsule_GetPointer(capsule, capsule_name);
    (void)self;
    if (!l)
        return NULL;
    l->result = golib_original(&l->call);
    if (!l->result)
        PyErr_Fetch(&l->type, &l->value, &l->traceback);
    l->is_done = 1;
    at_once--;
    golib_lot_wake(&at_once, 1);
    golib_lot_wake(l, 1);
    Py_RETURN_NONE;
}

/* A copy of the call that owns its arguments. NULL with an exception set. */
static PyObject *copy_of(const golib_invocation *call)
{
    look_up *l = PyMem_Calloc(1, sizeof *l);
    PyObject *capsule = l ? PyCapsule_New(l, capsule_name, free_look_up) : PyErr_NoMemory();
    if (!capsule) {
        PyMem_Free(l);
        return NULL;
    }
    int follow = call->kw && PyTuple_Check(call->kw);
    Py_ssize_t n = call->n + (follow ? PyTuple_GET_SIZE(call->kw) : 0);
    l->call = *call;
    Py_XINCREF(l->call.self);
    l->kw = Py_XNewRef(call->kw);
    l->args = PyTuple_New(n);
    for (Py_ssize_t i = 0; l->args && i < n; i++)
        PyTuple_SET_ITEM(l->args, i, Py_NewRef(call->args[i]));
    if (!l->args)
        Py_CLEAR(capsule);
    else {
        l->call.args = ((PyTupleObject *)l->args)->ob_item;
        l->call.packed = l->args;
    }
    return capsule;
}

static PyObject *answer(look_up *l)
{
    PyObject *result = l->result;
    l->result = NULL;
    if (!result)
        PyErr_Restore(l->type, l->value, l->traceback);
    l->type = l->value = l->traceback = NULL;
    return result;
}

static int start(PyObject *capsule)
{
    at_once++;
    PyObject *handle = PyObject_CallFunctionObjArgs(go, run, capsule, NULL);
    if (!handle) {
        at_once--;
        golib_lot_wake(&at_once, 1);
    }
    Py_XDECREF(handle);
    return handle ? 0 : -1;
}

/* No host, or an address in numbers: answered at once. */
static int is_numeric(PyObject *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (host == Py_None)
        return 1;
    const char *text = PyUnicode_Check(host) ? PyUnicode_AsUTF8(host)
                       : PyBytes_Check(host) ? PyBytes_AS_STRING(host)
                                             : NULL;
    if (!text) {
        PyErr_Clear();
        return 0;
    }
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static PyObject *look_up_body(golib_invocation *call, const golib_caller *record)
{
    int ways = call->p->patch.flags;
    int is_reverse = call->p->detail != NULL;
    if (!golib_on_goroutine() || !(ways & (METH_VARARGS | METH_FASTCALL)) ||
        (!is_reverse && call->n && is_numeric(call->args[0])))
        return golib_original(call);
    PyObject *capsule = copy_of(call), *result = NULL;
    if (!capsule)
        return NULL;
    look_up *l = PyCapsule_GetPointer(capsule, capsule_name);
    int outcome = GOLIB_WOKEN;
    while (outcome == GOLIB_WOKEN && at_once >= MOST_AT_ONCE)
        outcome = golib_waits_table->lot_wait(&at_once, GOLIB_FOR_EVER, GOLIB_FOR_SEMAPHORE, 0, record);
    if (outcome == GOLIB_WOKEN && start(capsule) == 0) {
        while (outcome == GOLIB_WOKEN && !l->is_done)
            outcome = golib_waits_table->lot_wait(l, GOLIB_FOR_EVER, GOLIB_FOR_IO, 0, record);
        if (outcome == GOLIB_WOKEN)
            result = answer(l);
    }
    Py_DECREF(capsule);
    return result;
}

static int probe(void)
{
    static PyMethodDef def = {"look_up", run_look_up, METH_O, NULL};
    PyObject *golib = run && go ? NULL : PyImport_ImportModule("golib._golib");
    if (golib && !run)
        run = PyCFunction_New(&def, NULL);
    if (golib && !go)
        go = PyObject_GetAttrString(golib, "go");
    Py_XDECREF(golib);
    return run && go ? 0 : -1;
}

static void in_child(void)
{
    at_once = 0;
}

/* They look up the name of an address. */
static const char reverse[] = "";
GOLIB_PARKS(getaddrinfo, "_socket", NULL, "getaddrinfo", look_up_body, 0, NULL);
GOLIB_PARKS(gethostbyname, "_socket", NULL, "gethostbyname", look_up_body, 0, NULL);
GOLIB_PARKS(gethostbyname_ex, "_socket", NULL, "gethostbyname_ex", look_up_body, 0, NULL);
GOLIB_PARKS(gethostbyaddr, "_socket", NULL, "gethostbyaddr", look_up_body, 0, reverse);
GOLIB_PARKS(getnameinfo, "_socket", NULL, "getnameinfo", look_up_body, 0, reverse);

static golib_parking *const calls[] = {&getaddrinfo, &gethostbyname, &gethostbyname_ex, &gethostbyaddr, &getnameinfo};

const golib_group golib_group_dns = {.name = "dns", GOLIB_GROUP_CALLS(calls), .probe = probe, .in_child = in_child};
