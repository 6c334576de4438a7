/* Tells the state of the GIL to threads that do not hold it. */
#include "internal.h"

int golib_gil_locked(void)
{
    return golib_gil_word(golib_gil(PyInterpreterState_Main())) > 0;
}

int golib_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030d0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

void golib_gil_settle(PyInterpreterState *interp)
{
    struct _gil_runtime_state *gil = golib_gil(interp);
    golib_mutex_lock(&gil->mutex);
    golib_mutex_unlock(&gil->mutex);
}
