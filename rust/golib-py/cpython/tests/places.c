/* Functions of the harness for frames.c: frames seen without the GIL's help. */
#include "harness.h"

#include "frames.h"
#include "handoff.h"

#include <pthread.h>
#include <signal.h>

static PyObject *list_of(const golib_places *places)
{
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < places->n; i++) {
        const golib_place *at = &places->at[i];
        PyObject *item = Py_BuildValue("(ssi)", at->file, at->function, at->line);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list ? Py_BuildValue("(Nsi)", list, places->name, places->has_more) : NULL;
}

/* places(function): of the caller, as its own thread sees it. */
PyObject *h_places(PyObject *self, PyObject *function)
{
    (void)self;
    golib_places places;
    uint64_t changes;
    int is_wanted;
    PyThreadState *ts = PyThreadState_Get();
    if (golib_gil_holder(&changes, &is_wanted) != ts || !golib_places_within(ts, NULL, function, &places))
        Py_RETURN_NONE;
    return list_of(&places);
}

/* How many threads wait for the GIL. */
PyObject *h_gil_waiters(PyObject *self, PyObject *x)
{
    (void)self;
    (void)x;
    return PyLong_FromUnsignedLong(golib_gil_waiters(golib_gil(PyInterpreterState_Main())));
}

static int yes(void *arg)
{
    return *(int *)arg;
}

/* places_of_other(still): of the other thread, which has released the GIL; None if `still` is false. */
PyObject *h_places_of_other(PyObject *self, PyObject *still)
{
    (void)self;
    golib_places places;
    PyThreadState *mine = PyThreadState_Get(), *ts = PyInterpreterState_ThreadHead(mine->interp);
    if (ts == mine)
        ts = PyThreadState_Next(ts);
    int answer = PyObject_IsTrue(still), unused = 1;
    if (!ts || golib_places_outside(mine, NULL, NULL, yes, &unused, &places))
        Py_RETURN_NONE;     /* one that is attached is not looked at from outside */
    if (!golib_places_outside(ts, NULL, NULL, yes, &answer, &places))
        Py_RETURN_NONE;
    return list_of(&places);
}

/* ---- a thread that is looked at all the time ---- */

static struct {
    PyThreadState *ts;
    pthread_t looked_at, looker;
    unsigned long looks, seen; /* asked for; those that saw the state attached */
    int ends;
} often;

static void look(int signal)
{
    golib_places places;
    (void)signal;
    often.seen += golib_places_within(often.ts, NULL, NULL, &places);
    __atomic_add_fetch(&often.looks, 1, __ATOMIC_RELEASE);
}

static void *keep_looking(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&often.ends, __ATOMIC_ACQUIRE)) {
        unsigned long before = __atomic_load_n(&often.looks, __ATOMIC_ACQUIRE);
        pthread_kill(often.looked_at, SIGURG);
        while (__atomic_load_n(&often.looks, __ATOMIC_ACQUIRE) == before &&
               !__atomic_load_n(&often.ends, __ATOMIC_ACQUIRE))
            ;
    }
    return NULL;
}

/* look_often(True): from now on the calling thread's frames are noted in a signal handler, as often as can be.
 * look_often(False): ends that; how many looks saw them. */
PyObject *h_look_often(PyObject *self, PyObject *on)
{
    (void)self;
    if (PyObject_IsTrue(on)) {
        struct sigaction action = {.sa_handler = look, .sa_flags = SA_RESTART};
        sigaction(SIGURG, &action, NULL);
        often.ts = PyThreadState_Get();
        often.looked_at = pthread_self();
        often.ends = 0;
        if (pthread_create(&often.looker, NULL, keep_looking, NULL) != 0)
            return PyErr_Format(PyExc_RuntimeError, "no thread");
        Py_RETURN_NONE;
    }
    __atomic_store_n(&often.ends, 1, __ATOMIC_RELEASE);
    pthread_join(often.looker, NULL);
    return PyLong_FromUnsignedLong(often.seen);
}
