/* The parts of identity.c for which Windows has nothing, or nothing yet: no process forks, greenlet's thread-local objects
 * are not followed, and states of other interpreters ask the system for their stack. Signals come
 * from the console. */
#include "imports.h"
#include "patch.h"

int golib_forks_watch(void)
{
    return 0;
}

int golib_fork_hook_child(PyObject *hook)
{
    (void)hook;
    return 0;
}

void golib_greenlet_ready(PyObject *module)
{
    (void)module;
}

int golib_kills_find(void)
{
    return 0;
}

/* Ctrl-C and Ctrl-Break. The system calls handlers on a thread that it makes, the newest first, so CPython's, which
 * notes the signal, comes after ours: another thread waits for that. It then wakes the main thread, or run()'s main
 * goroutine, which no signal interrupts. */
static DWORD WINAPI pass_on(void *unused)
{
    enum { LOOKS = 1000 };
    (void)unused;
    for (int look = 0; look < LOOKS && !golib_tripped(); look++)
        Sleep(1);
    if (golib_tripped() && !golib_finalizing()) {
        PyGILState_STATE state = PyGILState_Ensure();
        if (golib_runtime_table->signal_sent)
            golib_runtime_table->signal_sent();
        PyGILState_Release(state);
    }
    return 0;
}

static BOOL WINAPI console_event(DWORD event)
{
    if (event == CTRL_C_EVENT || event == CTRL_BREAK_EVENT) {
        HANDLE thread = CreateThread(NULL, 0, pass_on, NULL, 0, NULL);
        if (thread)
            CloseHandle(thread);
    }
    return FALSE; /* the next handler is asked */
}

void golib_kills_apply(void)
{
    SetConsoleCtrlHandler(console_event, TRUE);
}

int golib_greenlet_registers(void (*destroy)(void *), void *object, void *library)
{
    (void)destroy;
    (void)object;
    (void)library;
    return 0;
}

void golib_greenlet_known(int known)
{
    (void)known;
}

void golib_imports_replace(golib_import *imports, int n)
{
    (void)imports;
    (void)n;
}

void golib_stack_apply(void)
{
}

void golib_identity_leave(PyThreadState *ts)
{
    (void)ts;
}
