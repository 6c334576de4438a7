/* Switching groups of patched builtins on and off; the rules are in patch_groups.h. */
#include "patch_line.h"
#include "patch_table.h"

#include <math.h>
#include <string.h>

/* All groups. Each has a file of its own. */
static const golib_group *const groups[] = GOLIB_GROUPS;
enum { N_GROUPS = sizeof groups / sizeof *groups };

static int is_patched[N_GROUPS];

const golib_waits *golib_waits_table;
const golib_lines *golib_lines_table;

void golib_set_lines(const golib_lines *lines)
{
    golib_lines_table = lines;
}

void golib_set_waits(const golib_waits *waits)
{
    golib_waits_table = waits;
}

/* ---- calling what was there before ---- */

#define AS(type, function) ((type)(void (*)(void))(function))

/* In the section of patch_file.c: it keeps nothing of an OS thread. */
GOLIB_MOVABLE_TEXT PyObject *golib_original(const golib_invocation *call)
{
    const golib_patch *p = &call->p->patch;
    switch (p->flags) {
    case METH_VARARGS | METH_KEYWORDS: return golib_call_three(p, call->self, call->packed, call->kw);
    case METH_FASTCALL: return golib_call_fast(p, call->self, call->args, call->n);
    case METH_FASTCALL | METH_KEYWORDS: return golib_call_fast_kw(p, call->self, call->args, call->n, call->kw);
    case METH_FASTCALL | METH_KEYWORDS | METH_METHOD:
        return AS(golib_method, p->original)(call->self, call->cls, call->args, call->n, call->kw);
    default: return golib_call_two(p, call->self, call->packed);
    }
}

PyObject *golib_call_original(const golib_parking *p, const golib_invocation *like, PyObject *self,
                              PyObject *const *args, Py_ssize_t n)
{
    golib_invocation call = {
        .p = p, .self = self, .args = args, .n = n, .packed = n ? args[0] : NULL, .cls = like ? like->cls : NULL};
    if (!(p->patch.flags & METH_VARARGS))
        return golib_original(&call);
    call.packed = PyTuple_New(n);
    if (!call.packed)
        return NULL;
    for (Py_ssize_t i = 0; i < n; i++)
        PyTuple_SET_ITEM(call.packed, i, Py_NewRef(args[i]));
    PyObject *result = golib_original(&call);
    Py_DECREF(call.packed);
    return result;
}

PyObject *golib_argument(const golib_invocation *call, Py_ssize_t at, const char *name)
{
    if (at < call->n)
        return call->args[at];
    if (!call->kw || !name)
        return NULL;
    if (PyDict_Check(call->kw))
        return PyDict_GetItemString(call->kw, name);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(call->kw); i++) {
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(call->kw, i), name) == 0)
            return call->args[call->n + i];
    }
    return NULL;
}

Py_ssize_t golib_keywords(const golib_invocation *call)
{
    if (!call->kw)
        return 0;
    return PyDict_Check(call->kw) ? PyDict_GET_SIZE(call->kw) : PyTuple_GET_SIZE(call->kw);
}

int golib_small_int(PyObject *number)
{
    if (!PyLong_Check(number))
        return -1;
    int overflow;
    long value = PyLong_AsLongAndOverflow(number, &overflow);
    return overflow || value < 0 || value > INT_MAX ? -1 : (int)value;
}

int64_t golib_until(double seconds)
{
    const double most = 4.6e9;      /* about 146 years */
    if (!(seconds < most))
        return GOLIB_FOR_EVER;
    return golib_waits_table->now() + (int64_t)ceil(seconds * 1e9);
}

/* ---- finding ---- */

/* The holder of the builtin: a module, a type, or the type of the object that "name()" returns. New reference. */
static PyObject *holder_of(const golib_parking *p)
{
    PyObject *module = PyImport_ImportModule(p->module), *holder = NULL;
    size_t n = p->type ? strlen(p->type) : 0;
    if (module && n > 2 && !strcmp(p->type + n - 2, "()")) {
        PyObject *name = PyUnicode_FromStringAndSize(p->type, (Py_ssize_t)n - 2);
        PyObject *instance = name ? PyObject_CallMethodNoArgs(module, name) : NULL;
        holder = instance ? Py_NewRef((PyObject *)Py_TYPE(instance)) : NULL;
        Py_XDECREF(instance);
        Py_XDECREF(name);
    }
    else if (module)
        holder = p->type ? PyObject_GetAttrString(module, p->type) : Py_NewRef(module);
    Py_XDECREF(module);
    return holder;
}

static int find(golib_parking *p)
{
    if (p->patch.def)
        return 0;
    PyObject *holder = holder_of(p);
    if (!holder) {
        if (!p->patch.optional || PyErr_ExceptionMatches(PyExc_MemoryError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    int found = golib_patch_find(&p->patch, holder);
    Py_DECREF(holder);
    return found;
}

/* 1: this CPython is built without the module that the group is about, so there is nothing to patch. -1: an exception. */
static int is_absent(const golib_group *group)
{
    PyObject *module = group->may_lack ? PyImport_ImportModule(group->may_lack) : NULL;
    Py_XDECREF(module);
    if (module || !group->may_lack)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_ModuleNotFoundError))
        return -1;
    PyErr_Clear();
    return 1;
}

static int prepare(const golib_group *group)
{
    int absent = is_absent(group);
    if (absent)
        return absent < 0 ? -1 : 0;
    for (int i = 0; i < group->n_calls; i++) {
        if (find(group->calls[i]) < 0)
            return -1;
    }
    return group->probe ? group->probe() : 0;
}

/* ---- on and off ---- */

static void apply(int g)
{
    const golib_group *group = groups[g];
    is_patched[g] = 1;
    for (int i = 0; i < group->n_calls; i++) {
        golib_parking *p = group->calls[i];
        if (!p->applied && p->patch.def) {
            p->applied = 1;
            golib_patch_swap(&p->patch);
        }
    }
    if (group->applied)
        group->applied();
}

/* Notes the tables of a group, and the groups that it needs. 0, or -1 with an exception set. */
static int want(PyObject *name, int wanted[N_GROUPS])
{
    int known = 0;
    for (int g = 0; PyUnicode_Check(name) && g < N_GROUPS; g++) {
        if (groups[g]->name[0] == '.' || PyUnicode_CompareWithASCIIString(name, groups[g]->name) != 0)
            continue;
        known = 1;
        wanted[g] = !is_patched[g];
        for (int k = 0; groups[g]->uses_fds && k < N_GROUPS; k++) {
            if (groups[k] == GOLIB_CLOSING_GROUP)
                wanted[k] = !is_patched[k];
        }
    }
    if (!known)
        PyErr_Format(PyExc_ValueError, "golib.patch: unknown group %R", name);
    return known ? 0 : -1;
}

int golib_groups_apply(PyObject *names)
{
    int wanted[N_GROUPS] = {0};
    PyObject *list = PySequence_List(names);
    if (!list)
        return -1;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        if (want(PyList_GET_ITEM(list, i), wanted) < 0) {
            Py_DECREF(list);
            return -1;
        }
    }
    Py_DECREF(list);
    for (int g = 0; g < N_GROUPS; g++) {
        if (wanted[g] && prepare(groups[g]) < 0)
            return -1;
    }
    for (int g = 0; g < N_GROUPS; g++) {
        if (wanted[g] && !is_patched[g])
            apply(g);
    }
    return 0;
}

void golib_groups_take_back(void)
{
    for (int g = 0; g < N_GROUPS; g++) {
        const golib_group *group = groups[g];
        if (!is_patched[g])
            continue;
        is_patched[g] = 0;
        for (int i = 0; i < group->n_calls; i++) {
            golib_parking *p = group->calls[i];
            if (p->applied)
                golib_patch_swap_back(&p->patch);
            p->applied = 0;
        }
        if (group->taken_back && !golib_interpreter_is_gone())
            group->taken_back();
    }
}

void golib_groups_in_child(void)
{
    for (int g = 0; g < N_GROUPS; g++) {
        if (groups[g]->in_child)
            groups[g]->in_child();
    }
}

static PyObject *names_of(int only_patched)
{
    PyObject *list = PyList_New(0);
    for (int g = 0; list && g < N_GROUPS; g++) {
        if (groups[g]->name[0] == '.' || (only_patched && !is_patched[g]))
            continue;
        PyObject *name = PyUnicode_FromString(groups[g]->name);
        int there = name ? PySequence_Contains(list, name) : -1;
        if (there < 0 || (!there && PyList_Append(list, name) < 0))
            Py_CLEAR(list);
        Py_XDECREF(name);
    }
    PyObject *names = list ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    return names;
}

PyObject *golib_groups_known(void)
{
    return names_of(0);
}

PyObject *golib_groups_patched(void)
{
    return names_of(1);
}
