/* What the harness's scheduler (harness.c) and its probes (harness_probes.c) share. */
#ifndef GOLIB_HARNESS_H
#define GOLIB_HARNESS_H

#include "internal.h"
#include "movable.h"

typedef struct G {
    void *sp;
    PyThreadState *ts;
    PyObject *fn, *args, *ctx;
    struct G *next;
    char *stack;
    int done, may_move, holds, pinned_to, is_main;
    uint64_t id;
} G;

typedef struct {
    G *cur;
    void *sp;
    int id;
    G *handed;
} M;

/* This OS thread's; NULL: it is none. */
M *harness_m(void);

extern struct harness_counts {
    long live, migrations, pinned;
    int pool;       /* states for the next goroutines */
    int strict;     /* scrub failures */
} harness_counts;

/* Functions of the module. */
extern PyMethodDef harness_probes[];

/* Those of places.c. */
PyObject *h_places(PyObject *self, PyObject *function);
PyObject *h_places_of_other(PyObject *self, PyObject *still);
PyObject *h_look_often(PyObject *self, PyObject *on);
PyObject *h_gil_waiters(PyObject *self, PyObject *x);

#endif
