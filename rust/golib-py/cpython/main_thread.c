/* Which OS thread is CPython's main thread.
 *
 * CPython runs signal handlers, and the calls of Py_AddPendingCall, on one OS thread: _PyRuntime.main_thread. During
 * run() that thread waits in golib and runs no Python code; the main goroutine stands in for it. main_thread is then
 * whatever OS thread the goroutine runs on, so that signals interrupt its calls, handlers run in it and raise in it, and
 * signal.signal() works in it, as in a plain program. From 3.13 on CPython tells the state main_tstate of signals: it is
 * the goroutine's, from the beginning of run() to its end.
 *
 * The kernel still delivers a process's signals to its first thread, which wakes from its wait and disturbs the goroutine
 * (golib-py/src/module/run.rs).
 *
 * # Invariants
 * 1. golib_main and main_thread are written with the GIL held.
 * 2. While golib_main.state is set, main_thread is the OS thread on which that state is attached, or was when C code
 *    on that thread gave the GIL up; the thread that waits in run() if there is none, or while that has its part back.
 * 3. So no other goroutine ever runs on main_thread: it is given back before another state is attached there.
 */
#include "internal.h"

golib_main_record golib_main;

/* From now on CPython tells the eval loop of `ts`. A teller that still reads the old state has already written its news
 * (SeqCst, with the order of CPython's C handler: it writes, then reads main_tstate). */
static void tell_from_now_on(PyThreadState *ts)
{
#if GOLIB_DROP_BIT_IN_STATE
    __atomic_store_n(&GOLIB_MAIN_TSTATE, ts, __ATOMIC_SEQ_CST);
#endif
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    golib_tell_main(GOLIB_TELLS(ts));
}

void golib_main_lend(PyThreadState *main_state)
{
    golib_main.main_state = main_state;
    golib_main.main_thread = _PyRuntime.main_thread;
}

void golib_main_begin(PyThreadState *ts)
{
    golib_main.state = ts;
    golib_main.is_back = 0;
    golib_main_comes();
    tell_from_now_on(ts);
}

void golib_main_end(void)
{
    golib_main.state = NULL;
    golib_main.is_back = 0;
    golib_main_goes();
    tell_from_now_on(golib_main.main_state);
}

void golib_main_take_back(void)
{
    golib_main.is_back = 1;
    _PyRuntime.main_thread = golib_main.main_thread;
    tell_from_now_on(golib_main.main_state);
}

void golib_main_give_again(void)
{
    if (!golib_main.state)
        return;     /* it has ended meanwhile */
    golib_main.is_back = 0;
    _PyRuntime.main_thread = golib_main.thread ? golib_main.thread : golib_main.main_thread;
    tell_from_now_on(golib_main.state);
}

void golib_main_tell(void)
{
#if !GOLIB_DROP_BIT_IN_STATE
    /* CPython's C handler computes the flag for the thread that it runs on. */
    golib_tell_main(PyInterpreterState_Main());
#endif
}

int golib_main_has_news(void)
{
    return golib_tripped() || golib_main_calls(PyInterpreterState_Main());
}

int golib_is_main_thread(void)
{
    return golib_this_thread() == _PyRuntime.main_thread;
}

/* From 3.13 on CPython leaves main_tstate at the parent's, whose state it is about to free. */
void golib_main_after_fork(PyThreadState *ts)
{
    golib_main.state = NULL;
    golib_main.is_back = 0;
    golib_main.main_state = ts;
    golib_main.main_thread = _PyRuntime.main_thread = golib_this_thread();
    tell_from_now_on(ts);
}
