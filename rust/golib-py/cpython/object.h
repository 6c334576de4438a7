/* For the extension's Python types; see object.c. The GIL is held. */
#ifndef GOLIB_OBJECT_H
#define GOLIB_OBJECT_H

typedef struct _object PyObject;

/* Runs body(op), or postpones it if deallocations are nested too deep. `op` is untracked; `dealloc` is its tp_dealloc,
 * which called this. */
void golib_trashcan(PyObject *op, void (*dealloc)(PyObject *), void (*body)(PyObject *));

/* The code that runs now, `skip` Python frames below the newest: a new reference and the offset of its instruction;
 * NULL if there is none. */
PyObject *golib_origin(int skip, int *lasti);

/* Is it a function or method defined by `async def`? */
int golib_is_async(PyObject *fn);

/* The qualified name of a Python function or method, a new reference; NULL (no exception) for other callables. */
PyObject *golib_qualname(PyObject *fn);

/* The name of the module of a Python function, a method or a partial of either, a new reference; NULL (no exception)
   for other callables. */
PyObject *golib_module_of(PyObject *fn);

/* Whether a signal has come whose Python handler has not run yet. Callable without the GIL. */
int golib_signal_tripped(void);

#endif
