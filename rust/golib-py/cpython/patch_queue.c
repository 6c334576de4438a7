/* golib.patch("queue"): _queue.SimpleQueue. queue.Queue is made of locks (patch_locks.c).
 *
 * On a goroutine get() waits in a line while the queue is empty, and calls the original when it is not, which then does not
 * wait. put() wakes the line; a thread that waits in the original get() is woken by the original put().
 */
#include "patch_line.h"

static golib_parking queue_get, queue_empty;

typedef struct {
    const golib_invocation *call;
    PyObject *value;
} wanted;

/* Takes a value if there is one. */
static int attempt_get(void *argument)
{
    wanted *w = argument;
    PyObject *empty = golib_call_original(&queue_empty, NULL, w->call->self, NULL, 0), *no = Py_False;
    if (!empty)
        return -1;
    Py_DECREF(empty);
    if (empty == Py_True)
        return 0;
    w->value = golib_call_original(&queue_get, w->call, w->call->self, &no, 1);
    return w->value ? 1 : -1;
}

/* get(block=True, timeout=None): 1 if it may wait until `*until`; 0 if the original answers at once; -1 with an exception set. */
static int is_to_wait(const golib_invocation *call, int64_t *until)
{
    *until = GOLIB_FOR_EVER;
    if (GOLIB_LIKELY(call->n == 0 && !call->kw))
        return 1;
    PyObject *block = golib_argument(call, 0, "block"), *timeout = golib_argument(call, 1, "timeout");
    if (call->n + golib_keywords(call) != (block != NULL) + (timeout != NULL))
        return 0;
    int yes = !block || block == Py_True ? 1 : PyObject_IsTrue(block);
    if (yes <= 0 || !timeout || timeout == Py_None)
        return yes;
    double seconds = PyFloat_Check(timeout)  ? PyFloat_AS_DOUBLE(timeout)
                     : PyLong_Check(timeout) ? PyLong_AsDouble(timeout)
                                             : 0;
    if (PyErr_Occurred())
        PyErr_Clear();
    if (!(seconds > 0 && seconds <= (double)PY_TIMEOUT_MAX / 1e6))
        return 0;
    *until = golib_until(seconds);
    return 1;
}

/* The rest of a wait after the patch was taken back; also raises the exception when the time is over. */
static PyObject *get_originally(const golib_invocation *call, int64_t until)
{
    int64_t left = until == GOLIB_FOR_EVER ? 0 : until - golib_waits_table->now();
    if (until == GOLIB_FOR_EVER)
        return golib_call_original(&queue_get, call, call->self, NULL, 0);
    PyObject *args[] = {left > 0 ? Py_True : Py_False, left > 0 ? PyFloat_FromDouble((double)left / 1e9) : NULL};
    if (left > 0 && !args[1])
        return NULL;
    PyObject *result = golib_call_original(&queue_get, call, call->self, args, left > 0 ? 2 : 1);
    Py_XDECREF(args[1]);
    return result;
}

static PyObject *get_body(golib_invocation *call, const golib_caller *record)
{
    wanted w = {.call = call};
    int64_t until;
    if (!golib_on_goroutine())
        return golib_original(call);
    int waits = is_to_wait(call, &until);
    if (waits <= 0)
        return waits < 0 ? NULL : golib_original(call);
    int got = golib_line_may_pass(call->self) ? attempt_get(&w) : 0;
    if (!got) {
        golib_waiting waiting = {.attempt = attempt_get, .argument = &w, .until = until, .reason = GOLIB_FOR_VALUE};
        got = golib_lines_table->wait(call->self, &waiting, record);
    }
    if (got == GOLIB_LINE_TIMED_OUT) {
        PyObject *no = Py_False;
        return golib_call_original(&queue_get, call, call->self, &no, 1);   /* raises Empty */
    }
    return got == GOLIB_LINE_TAKEN_BACK ? get_originally(call, until) : got < 0 ? NULL : w.value;
}

/* Not replaced, only called. */
static PyObject *empty_body(golib_invocation *call, const golib_caller *record)
{
    (void)record;
    return golib_original(call);
}

GOLIB_PARKS(queue_get, "_queue", "SimpleQueue", "get", get_body, 0, NULL);
GOLIB_PARKS(queue_put, "_queue", "SimpleQueue", "put", golib_gives_body, 0, NULL);
GOLIB_PARKS(queue_put_nowait, "_queue", "SimpleQueue", "put_nowait", golib_gives_body, 0, NULL);
GOLIB_PARKS(queue_empty, "_queue", "SimpleQueue", "empty", empty_body, 0, NULL);

static void taken_back(void)
{
    golib_lines_table->empty();
}

static golib_parking *const calls[] = {&queue_get, &queue_put, &queue_put_nowait, &queue_empty};

const golib_group golib_group_queue = {.name = "queue", GOLIB_GROUP_CALLS(calls), .taken_back = taken_back};
