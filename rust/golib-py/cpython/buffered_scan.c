/* Finds the functions of buffered files: the interpreter's code that comes from bufferedio.c.
 *
 * _io's buffered objects hold a lock that remembers its OS thread while they call the raw object. Their functions may
 * nevertheless resume on another thread, once the lock's owner has been corrected (patch_file.c), so they have a list of
 * their own. The objects' types lead to the functions; helpers are found by their callers and by where they keep the owner.
 */
#include "internal.h"
#include "code.h"
#include "patch_file.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_BUFFERED = 128, MOST_PARTS = 32 };

/* Sorted once the helpers have been added. */
static struct {
    golib_range ranges[MOST_BUFFERED];
    int n;
} known;

int golib_is_of_buffered(const uint8_t *p)
{
    for (int i = 0; i < known.n; i++) {
        if (p >= known.ranges[i].begin && p < known.ranges[i].end)
            return 1;
    }
    return 0;
}

int golib_range_compare(const void *a, const void *b)
{
    const golib_range *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static void add_function(const void *function, golib_range *into, int *n, int most)
{
    if (function && *n < most && golib_cfi_function(function, &into[*n]))
        (*n)++;
}

/* The functions of bufferedio.c: those that its types name, and whatever lies between them if they lie close together
 * (their helpers, because the compiler keeps a file's functions together). */
int golib_buffered_find(void)
{
    enum { MOST = 512, CLOSE = 4096 };
    static golib_range functions[MOST];
    static const char *const names[] = {"BufferedReader", "BufferedWriter", "BufferedRandom", "BufferedRWPair"};
    int n = 0;
    /* Bypasses builtins.__import__, which a program may have replaced. */
    PyObject *io = PyImport_ImportModuleLevel("_io", NULL, NULL, NULL, 0);
    for (size_t i = 0; io && i < sizeof names / sizeof *names; i++) {
        PyTypeObject *type = (PyTypeObject *)PyObject_GetAttrString(io, names[i]);
        if (!type || !PyType_Check(type))
            break;
        for (const PyMethodDef *m = type->tp_methods; m && m->ml_name; m++)
            add_function((const void *)m->ml_meth, functions, &n, MOST);
        for (const PyGetSetDef *g = type->tp_getset; g && g->name; g++)
            add_function((const void *)g->get, functions, &n, MOST);
        add_function((const void *)type->tp_init, functions, &n, MOST);
        add_function((const void *)type->tp_iternext, functions, &n, MOST);
        add_function((const void *)type->tp_dealloc, functions, &n, MOST);
        Py_DECREF(type);
    }
    Py_XDECREF(io);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return -1;
    }
    qsort(functions, (size_t)n, sizeof *functions, golib_range_compare);
    for (int i = 0; i < n;) {
        golib_range cluster = functions[i++];
        const void *generic[] = {(const void *)PyObject_GenericGetAttr, (const void *)PyType_GenericNew};
        for (; i < n && functions[i].begin - cluster.end < CLOSE; i++)
            cluster.end = functions[i].end > cluster.end ? functions[i].end : cluster.end;
        int shared = 0;     /* a slot that is not bufferedio.c's own */
        for (size_t g = 0; g < sizeof generic / sizeof *generic; g++)
            shared |= cluster.begin == generic[g];
        if (shared)
            continue;
        if (known.n == MOST_BUFFERED)
            return -1;
        known.ranges[known.n++] = cluster;
    }
    return 0;
}

/* Does a function of buffered files call (or end with) the one that begins here? */
static int is_called_by_buffered(const uint8_t *function)
{
    for (int i = 0; i < known.n; i++) {
        const golib_range *range = &known.ranges[i];
        for (const uint8_t *p = range->begin; p + GOLIB_DIRECT_BYTES <= range->end; p += GOLIB_CODE_ALIGN) {
            if (golib_direct_target(p) == function)
                return 1;
        }
    }
    return 0;
}

/* A link-time optimiser that sorts functions by heat puts a helper of bufferedio.c anywhere. One that takes a file's lock
 * is known by who calls it and by what it does with the answer. 1: this one is, and is among the known ones now; -1: there is
 * no room for it. */
static int add_helper(const uint8_t *asker)
{
    golib_range parts[MOST_PARTS];
    int keeps = golib_answer_is_kept_at(asker, golib_buffered_owner), is_helper = 0;
    int n = keeps ? golib_parts_of(asker, parts, MOST_PARTS) : 0;
    for (int i = 0; i < n; i++)
        is_helper |= is_called_by_buffered(parts[i].begin);
    for (int i = 0; i < n && is_helper; i++) {
        if (golib_is_of_buffered(parts[i].begin))
            continue;
        if (known.n == MOST_BUFFERED)
            return -1;
        known.ranges[known.n++] = parts[i];
    }
    return is_helper;
}

/* Helpers may call each other. */
int golib_buffered_add_helpers(const uint8_t *const *askers, int n)
{
    golib_range asks;
    for (int more = 1; more;) {
        more = 0;
        for (int i = 0; i < n; i++) {
            if (!golib_cfi_function(askers[i], &asks) || golib_is_of_buffered(asks.begin))
                continue;
            int added = add_helper(askers[i]);
            if (added < 0)
                return 0;
            more |= added;
        }
    }
    qsort(known.ranges, (size_t)known.n, sizeof *known.ranges, golib_range_compare);
    return 1;
}

int golib_scan_buffered(const golib_range **ranges)
{
    *ranges = known.ranges;
    return known.n;
}
