/* Tells the interpreter where the stack is that it runs on, when it asks the C library.
 *
 * Since 3.14 a thread state knows the bounds of its C stack. A goroutine's own state is told (tstate.c), but a state that
 * CPython makes meanwhile, for another interpreter, asks the C library for the bounds of the OS thread's stack. Outside of
 * those CPython takes the stack to be exhausted: it frees nothing whose type may nest until the thread ends, so files are
 * not written and destructors not run. The interpreter's import of that question is replaced.
 */
#include "imports.h"
#include "internal.h"
#include "patch.h"

#if GOLIB_HAS_STACK_LIMITS

#include <pthread.h>

static int stack_of(pthread_t thread, pthread_attr_t *attr)
{
    int error = pthread_getattr_np(thread, attr);
    PyThreadState *ts = golib_runtime_table->state ? golib_runtime_table->state() : NULL;
    if (error || !ts || !pthread_equal(thread, pthread_self()))
        return error;
    const _PyThreadStateImpl *impl = golib_private_part(ts);
    uintptr_t lo = impl->c_stack_hard_limit - _PyOS_STACK_MARGIN_BYTES;
    /* CPython leaves out the guard, which lies below what a goroutine's state was told. */
    error = pthread_attr_setguardsize(attr, 0);
    return error ? error : pthread_attr_setstack(attr, (void *)lo, impl->c_stack_top - lo);
}

void golib_stack_apply(void)
{
    static golib_import_words question;
    if (!question.n && golib_import_find(&question, (const void *)&PyEval_EvalCode, "pthread_getattr_np"))
        golib_import_write(&question, (void *)stack_of);
}

#else

void golib_stack_apply(void)
{
}

#endif
