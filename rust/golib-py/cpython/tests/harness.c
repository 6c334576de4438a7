/* A scheduler of two hundred lines to try the shim without the rest of golib: `harness.go(fn, *args)`, `gosched()`,
 * `run(ms)`. With one M goroutines are swapped on one OS thread; with more, every movable goroutine is handed to the
 * next M at each gosched. No timers, no exit handling. What the tests ask and measure is in harness_probes.c.
 * See run.py. */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MS = 8 };
static size_t stack_bytes = 1 << 20;
void harness_switch(void **save, void *to);
#if defined(__x86_64__)
enum { SWITCH_WORDS = 8, SWITCH_TO = 6 };
__asm__(".text\n.globl harness_switch\n.hidden harness_switch\nharness_switch:\n"
        "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "movq %rsp,(%rdi)\n movq %rsi,%rsp\n"
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n");
#elif defined(__aarch64__)
enum { SWITCH_WORDS = 20, SWITCH_TO = 1 };
__asm__(".text\n.globl harness_switch\n.hidden harness_switch\nharness_switch:\n"
        "sub sp, sp, #160\n stp x29, x30, [sp]\n stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n"
        "stp x23, x24, [sp, #48]\n stp x25, x26, [sp, #64]\n stp x27, x28, [sp, #80]\n"
        "stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n"
        "mov x9, sp\n str x9, [x0]\n mov sp, x1\n"
        "ldp x29, x30, [sp]\n ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, #32]\n"
        "ldp x23, x24, [sp, #48]\n ldp x25, x26, [sp, #64]\n ldp x27, x28, [sp, #80]\n"
        "ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n ldp d14, d15, [sp, #144]\n"
        "add sp, sp, #160\n ret\n");
#else
#error "a switch for this CPU"
#endif

static __thread M *tls_m;
M *__attribute__((noinline)) harness_m(void)
{
    __asm__ volatile("");
    return tls_m;
}

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cv[MS];
static struct {
    G *head, *tail;
} q[MS];
static int ms = 1;
static uint64_t ids;
static G *pool_g;
static PyThreadState *pool_ts[4096];
static M one;
static int stopping;
struct harness_counts harness_counts;

static void push(int m, G *g)
{
    g->next = NULL;
    if (q[m].tail)
        q[m].tail->next = g;
    else
        q[m].head = g;
    q[m].tail = g;
}

static G *pop(int m)
{
    G *g = q[m].head;
    if (g) {
        q[m].head = g->next;
        if (!q[m].head)
            q[m].tail = NULL;
    }
    return g;
}

static void gmain(void)
{
    G *g = harness_m()->cur;
    if (g->is_main)
        golib_main_begin(g->ts);
    PyObject *r = golib_call(g->ts, g, g->fn, g->args, NULL);
    if (!r)
        PyErr_WriteUnraisable(g->fn);
    Py_XDECREF(r);
    Py_CLEAR(g->fn);
    Py_CLEAR(g->args);
    if (g->is_main)
        golib_main_end();
    if (!golib_ts_scrub(g->ts))
        g->done = 2;
    else
        g->done = 1;
    void *junk;
    harness_switch(&junk, harness_m()->sp);
    abort();
}

static void start(G *g)
{
    if (!g->stack) {
        g->stack = mmap(NULL, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        mprotect(g->stack, 4096, PROT_NONE);
    }
    if (!(g->ts = harness_counts.pool ? pool_ts[--harness_counts.pool] : golib_ts_new()))
        abort();
    golib_ts_set_ident(g->ts, golib_ident_of(g->id));
    golib_ts_set_vars(g->ts, g->ctx);
    g->ctx = NULL;
    uint64_t *sp = (uint64_t *)golib_ts_arm(g->ts, g->stack + 4096, g->stack + stack_bytes);
    sp -= SWITCH_WORDS;
    memset(sp, 0, SWITCH_WORDS * sizeof *sp);
    sp[SWITCH_TO] = (uint64_t)gmain;
    g->sp = sp;
    g->done = 0;
}

static void finish(G *g)
{
    if (harness_counts.pool < 4096 && g->done == 1)
        pool_ts[harness_counts.pool++] = g->ts;
    else {
        harness_counts.strict++;
        golib_ts_delete(g->ts);
    }
    g->ts = NULL;
    g->next = pool_g;
    pool_g = g;
    harness_counts.live--;
}

static PyObject *make(PyObject *const *a, Py_ssize_t n, int is_main)
{
    if (golib_identity_install() < 0)
        return NULL;
    pthread_mutex_lock(&mu);
    G *g = pool_g;
    if (g)
        pool_g = g->next;
    else
        g = calloc(1, sizeof *g);
    g->id = ++ids;
    g->fn = Py_NewRef(a[0]);
    g->args = PyTuple_New(n - 1);
    for (Py_ssize_t i = 1; i < n; i++)
        PyTuple_SET_ITEM(g->args, i - 1, Py_NewRef(a[i]));
    g->sp = NULL;
    g->holds = 0;
    g->is_main = is_main;
    if (golib_vars_copy(&g->ctx) < 0)
        abort();
    harness_counts.live++;
    M *m = harness_m();
    push(m ? m->id : 0, g);
    pthread_cond_signal(&cv[0]);
    pthread_mutex_unlock(&mu);
    Py_RETURN_NONE;
}

static PyObject *h_go(PyObject *self, PyObject *const *a, Py_ssize_t n)
{
    (void)self;
    return make(a, n, 0);
}

/* On the main thread, for which the goroutine stands in. */
static PyObject *h_go_main(PyObject *self, PyObject *const *a, Py_ssize_t n)
{
    (void)self;
    golib_main_lend(PyThreadState_Get());
    return make(a, n, 1);
}

static void nothing(int number)
{
    (void)number;
}

/* Gets the OS thread of the main goroutine out of its system call. */
static PyObject *h_disturb(PyObject *self, PyObject *x)
{
    struct sigaction action = {.sa_handler = nothing};
    (void)self;
    (void)x;
    sigaction(SIGURG, &action, NULL);
    golib_main_tell();
    if (golib_main.thread)
        pthread_kill((pthread_t)golib_main.thread, SIGURG);
    Py_RETURN_NONE;
}

/* ---- one M: swaps ---- */

static PyObject *h_gosched_at(PyObject *self, PyObject *x, const golib_caller *at)
{
    M *m = harness_m();
    G *g = m ? m->cur : NULL;
    (void)self;
    (void)x;
    if (!g)
        Py_RETURN_NONE;
    g->may_move = golib_may_migrate(g->ts, (void *)at, at->ret) && !g->holds;
    if (ms == 1) {
        if (stopping) {
            harness_switch(&g->sp, m->sp);
            abort();
        }
        G *n = pop(0);
        if (!n)
            Py_RETURN_NONE;
        push(0, g);
        if (!n->sp)
            start(n);
        m->cur = n;
        golib_ts_swap(g->ts, n->ts);
        harness_switch(&g->sp, n->sp);
        Py_RETURN_NONE;
    }
    harness_switch(&g->sp, m->sp);
    Py_RETURN_NONE;
}
GOLIB_ENTRY_NOARGS(h_gosched, h_gosched_at)

static PyObject *h_gosched1_at(PyObject *self, PyObject *x, const golib_caller *at)
{
    PyObject *r = h_gosched_at(self, NULL, at);
    Py_XDECREF(r);
    return Py_NewRef(x);
}
GOLIB_ENTRY_O(h_gosched1, h_gosched1_at)

static void run_one(void)
{
    PyThreadState *base = PyThreadState_Get();
    tls_m = &one;
    one.id = 0;
    for (G *g; (g = pop(0)) != NULL;) {
        if (!g->sp)
            start(g);
        one.cur = g;
        golib_ts_swap(base, g->ts);
        harness_switch(&one.sp, g->sp);
        g = one.cur;
        golib_ts_swap(g->ts, base);
        one.cur = NULL;
        if (g->done)
            finish(g);
        if (stopping)
            break;
    }
    tls_m = NULL;
}

/* ---- several Ms: attach and detach ---- */

static void *mloop(void *arg)
{
    M *m = arg;
    tls_m = m;
    for (;;) {
        pthread_mutex_lock(&mu);
        G *g;
        while (!(g = pop(m->id)) && harness_counts.live)
            pthread_cond_wait(&cv[m->id], &mu);
        if (!g) {
            for (int i = 0; i < ms; i++)
                pthread_cond_broadcast(&cv[i]);
            pthread_mutex_unlock(&mu);
            return NULL;
        }
        if (!g->sp)
            start(g);
        pthread_mutex_unlock(&mu);
        m->cur = g;
        golib_ts_attach(g->ts);
        harness_switch(&m->sp, g->sp);
        g = m->cur;
        m->cur = NULL;
        if (PyThreadState_Get() != g->ts || PyGILState_GetThisThreadState() != g->ts)
            abort();
        if (g->done == 2) {
            PyThreadState *ts = g->ts;
            golib_ts_delete_current(ts);
            pthread_mutex_lock(&mu);
            g->next = pool_g;
            pool_g = g;
            harness_counts.live--;
            harness_counts.strict++;
            g = NULL;
        }
        else {
            golib_ts_detach(g->ts);
            pthread_mutex_lock(&mu);
            if (g->done) {
                finish(g);
                g = NULL;
            }
        }
        if (g) {
            int to = g->may_move ? (m->id + 1) % ms : m->id;
            harness_counts.migrations += g->may_move;
            harness_counts.pinned += !g->may_move;
            push(to, g);
            pthread_cond_signal(&cv[to]);
        }
        pthread_mutex_unlock(&mu);
    }
}

static PyObject *h_run(PyObject *self, PyObject *arg)
{
    static M many[MS];
    pthread_t th[MS];
    (void)self;
    ms = (int)PyLong_AsLong(arg);
    if (ms == 1) {
        run_one();
        Py_RETURN_NONE;
    }
    PyThreadState *me = golib_thread_save();
    for (int i = 0; i < ms; i++) {
        pthread_cond_init(&cv[i], NULL);
        many[i].id = i;
    }
    for (int i = 0; i < ms; i++)
        pthread_create(&th[i], NULL, mloop, &many[i]);
    for (int i = 0; i < ms; i++)
        pthread_join(th[i], NULL);
    golib_thread_restore(me);
    ms = 1;
    return Py_BuildValue("lli", harness_counts.migrations, harness_counts.pinned, harness_counts.strict);
}

static void runtime_pin(int delta)
{
    M *m = harness_m();
    if (m && m->cur)
        m->cur->holds += delta;
}
static unsigned long long runtime_goroutine(void)
{
    M *m = harness_m();
    return m ? (uintptr_t)m->cur : 0;
}
static unsigned long runtime_pthread_of(unsigned long ident)
{
    M *m = harness_m();
    return m && m->cur && golib_ts_ident(m->cur->ts) == ident ? (unsigned long)pthread_self() : 0;
}
static const golib_runtime runtime = {
    .pin = runtime_pin, .goroutine = runtime_goroutine, .pthread_of = runtime_pthread_of};

/* For goroutines that get a new stack from now on. */
static PyObject *h_stack(PyObject *self, PyObject *bytes)
{
    (void)self;
    stack_bytes = PyLong_AsSize_t(bytes);
    Py_RETURN_NONE;
}

/* Makes run(1) return with all goroutines parked forever. */
static PyObject *h_stop(PyObject *self, PyObject *x)
{
    (void)self;
    (void)x;
    stopping = 1;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"stack", h_stack, METH_O, NULL},
    {"stop", h_stop, METH_NOARGS, NULL},
    {"go", (PyCFunction)(void *)h_go, METH_FASTCALL, NULL},
    {"go_main", (PyCFunction)(void *)h_go_main, METH_FASTCALL, NULL},
    {"disturb", h_disturb, METH_NOARGS, NULL},
    {"gosched", h_gosched, METH_NOARGS, NULL},
    {"gosched1", h_gosched1, METH_O, NULL},
    {"run", h_run, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "harness", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_harness(void)
{
    if (golib_shim_init() < 0)
        return NULL;
    golib_set_runtime(&runtime);
    PyObject *harness = PyModule_Create(&module);
    if (harness && PyModule_AddFunctions(harness, harness_probes) < 0)
        Py_CLEAR(harness);
    return harness;
}
