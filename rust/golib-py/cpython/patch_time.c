/* golib.patch("time"): time.sleep. */
#include "patch_groups.h"

/* Is it of a type that CPython reads directly? */
static int is_number(PyObject *seconds)
{
    return PyFloat_Check(seconds) || PyLong_CheckExact(seconds);
}

/* Is it of a type that CPython converts first? It refuses all others. */
static int is_converted(PyObject *seconds)
{
    if (is_number(seconds))
        return 0;
    if (PyIndex_Check(seconds))
        return 1;
    const PyNumberMethods *as_number = Py_TYPE(seconds)->tp_as_number;
    return GOLIB_SLEEPS_REAL_NUMBERS && as_number && as_number->nb_float;
}

/* 0 if the sleep ends at `*until`; 1 if the original must answer at once. */
static int ends_at(PyObject *seconds, int64_t *until)
{
    const double most = 9e9;    /* CPython refuses what does not fit its 64 bits of nanoseconds */
    double value = PyFloat_Check(seconds) ? PyFloat_AS_DOUBLE(seconds) : PyLong_AsDouble(seconds);
    if (value == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return 1;
    }
    if (!(value >= 0 && value < most))
        return 1;
    *until = value == 0 ? 0 : golib_until(value);
    return 0;
}

/* Raises CPython's audit event, which comes first. If the original must answer after a conversion, it has been raised. */
static int audit(PyObject *seconds)
{
#if GOLIB_SLEEP_IS_AUDITED
    return PySys_Audit("time.sleep", "O", seconds);
#else
    (void)seconds;
    return 0;
#endif
}

static PyObject *sleep_until(int64_t until, const golib_caller *record)
{
    int outcome = until ? golib_waits_table->sleep(until, record) : golib_waits_table->gosched(record);
    if (outcome < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Sleeps for an object that must be converted, which happens once. */
static PyObject *sleep_converted(golib_invocation *call, const golib_caller *record)
{
    PyObject *seconds = call->packed;
    int64_t until;
    if (audit(seconds) < 0)
        return NULL;
    PyObject *number = PyIndex_Check(seconds) ? PyNumber_Index(seconds) : PyNumber_Float(seconds);
    if (!number)
        return NULL;
    if (!ends_at(number, &until)) {
        Py_DECREF(number);
        return sleep_until(until, record);
    }
    call->packed = number;
    PyObject *result = golib_original(call);    /* and raises */
    call->packed = seconds;
    Py_DECREF(number);
    return result;
}

static PyObject *sleep_body(golib_invocation *call, const golib_caller *record)
{
    PyObject *seconds = call->packed;
    int64_t until;
    if (!golib_on_goroutine())
        return golib_original(call);
    if (is_converted(seconds))
        return sleep_converted(call, record);
    if (!is_number(seconds) || ends_at(seconds, &until))
        return golib_original(call);
    if (audit(seconds) < 0)
        return NULL;
    return sleep_until(until, record);
}

GOLIB_PARKS(time_sleep, "time", NULL, "sleep", sleep_body, 0, NULL);

static golib_parking *const calls[] = {&time_sleep};

const golib_group golib_group_time = {.name = "time", GOLIB_GROUP_CALLS(calls)};
