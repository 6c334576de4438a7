/* Start-up, which checks that this build fits the interpreter; and the interpreter's end. */
#include "patch_groups.h"
#include "handoff.h"

#include <stdlib.h>
#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

/* By how many bytes patch releases may change a thread state. A larger difference means another structure. */
enum { MOST_GROWTH = 64 };

#if defined(__GLIBC__)
enum { USERS_WORD_UNTIL_2_40 = 9, USERS_WORD_SINCE_2_41 = 7 };

unsigned golib_users_word = USERS_WORD_UNTIL_2_40;

/* Reads digits. With newer headers strtoul is a function that older glibc lacks. */
static unsigned read_number(const char **p)
{
    unsigned n = 0;
    for (; **p >= '0' && **p <= '9'; ++*p)
        n = n * 10 + (unsigned)(**p - '0');
    return n;
}

/* The headers describe the glibc that this was compiled with, but the layout depends on the one that runs. */
static void find_users_word(void)
{
    const char *version = gnu_get_libc_version();
    unsigned major = read_number(&version);
    if (major > 2 || (major == 2 && *version++ == '.' && read_number(&version) >= 41))
        golib_users_word = USERS_WORD_SINCE_2_41;
}
#endif

int golib_check_interpreter(void)
{
    if (PyInterpreterState_Get() == PyInterpreterState_Main())
        return 0;
    PyErr_SetString(PyExc_ImportError, "golib works in the main interpreter only");
    return -1;
}

/* True once Py_Finalize() has been called after the import: everything kept of the interpreter is gone, as are the threads'
 * states. */
static int interpreter_is_gone;

int golib_interpreter_is_gone(void)
{
    return interpreter_is_gone;
}

static void at_end_of_interpreter(void)
{
    interpreter_is_gone = 1;
    golib_groups_take_back();
    golib_patches_take_back();
}

static int watch_end_of_interpreter(void)
{
    static int watched;
    if (interpreter_is_gone) {
        PyErr_SetString(PyExc_ImportError,
                        "golib cannot be imported again after Py_Finalize(): one process can use it in "
                        "one interpreter only");
        return -1;
    }
    if (!watched && Py_AtExit(at_end_of_interpreter) < 0) {
        PyErr_SetString(PyExc_ImportError,
                        "golib needs one of the functions that Py_AtExit() takes, and all are in use");
        return -1;
    }
    watched = 1;
    return 0;
}

int golib_shim_init(void)
{
    unsigned long running = Py_Version;
    if ((running >> 16) != (PY_VERSION_HEX >> 16)) {
        PyErr_Format(PyExc_ImportError, "this golib was built for CPython %d.%d and cannot run on %lu.%lu",
                     PY_MAJOR_VERSION, PY_MINOR_VERSION, running >> 24, (running >> 16) & 0xff);
        return -1;
    }
    PyObject *flags = PySys_GetObject("abiflags");  /* borrowed */
    if (flags && PyUnicode_Check(flags)) {
        Py_ssize_t n = PyUnicode_GET_LENGTH(flags);
        for (Py_ssize_t i = 0; i < n; i++) {
            if (PyUnicode_READ_CHAR(flags, i) == 't') {
                PyErr_SetString(PyExc_ImportError, "golib does not support free-threaded CPython yet");
                return -1;
            }
        }
    }
#if PY_VERSION_HEX >= 0x030d0000
    ptrdiff_t growth = golib_state_growth();
    if (growth % (ptrdiff_t)sizeof(void *) != 0 || growth < -MOST_GROWTH || growth > MOST_GROWTH) {
        PyErr_Format(PyExc_ImportError,
                     "this golib was built for CPython %s and does not know the thread states of %.10s", PY_VERSION,
                     Py_GetVersion());
        return -1;
    }
#endif
#if defined(__GLIBC__)
    find_users_word();
#endif
    if (watch_end_of_interpreter() < 0 || golib_check_interpreter() < 0 || golib_swap_init() < 0 ||
        golib_call_init() < 0 || golib_fork_init() < 0)
        return -1;
    return 0;
}

/* ---- the end ---- */

#if PY_VERSION_HEX < 0x030e0000

/* The interpreter calls an array's functions from the last to the first. */
int golib_atexit_last(void)
{
    struct atexit_state *state = &PyInterpreterState_Get()->atexit;
    int last = state->ncallbacks - 1;
    if (last > 0) {
        void *mine = state->callbacks[last];
        memmove(&state->callbacks[1], &state->callbacks[0], (size_t)last * sizeof state->callbacks[0]);
        state->callbacks[0] = mine;
    }
    return 0;
}

#else

/* The interpreter calls a list's functions from the first to the last. */
int golib_atexit_last(void)
{
    PyObject *callbacks = PyInterpreterState_Get()->atexit.callbacks;   /* borrowed */
    if (PyList_GET_SIZE(callbacks) < 2)
        return 0;
    PyObject *mine = Py_NewRef(PyList_GET_ITEM(callbacks, 0));
    int failed = PyList_Append(callbacks, mine) < 0 || PyList_SetSlice(callbacks, 0, 1, NULL) < 0;
    Py_DECREF(mine);
    return failed ? -1 : 0;
}

#endif
