/* The parts of identity.c for which Windows has nothing, or nothing yet: no process forks, greenlet's thread-local objects
 * are not followed, and states of other interpreters ask the system for their stack. */
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

void golib_kills_apply(void)
{
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
