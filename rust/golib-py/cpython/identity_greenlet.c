/* greenlet keeps which greenlet runs in a C++ thread-local variable. A goroutine that has used it stays on its OS
 * thread, and has that thread to itself, until it ends; then the thread's state of greenlet ends too. So to greenlet
 * each goroutine is a thread: its greenlets cannot be switched to in another goroutine, nor after it has ended
 * (greenlet.error).
 *
 * # How the use is noticed
 * C++ makes a thread-local variable on the thread's first use of it, and registers how to destroy it at the thread's
 * end, by __cxa_thread_atexit. golib replaces that import of greenlet's (identity_modules.c), so it notices every way of
 * using greenlets, gevent's and SQLAlchemy's C code included, and none costs anything after the first use.
 *
 * # Why the variable does not move along
 * In greenlet's own functions, a word on the stack of a waiting greenlet may be the variable's address.
 *
 * # At the goroutine's end
 * The variable is destroyed, as at a thread's end, and greenlet's thread-local storage gets its initial contents back. So
 * the next goroutine on this thread that uses greenlets makes the variable anew, and is noticed.
 */
#include "patch.h"

#include <link.h>
#include <stdlib.h>
#include <string.h>

/* glibc's function with which C++ libraries register destructors. musl has none, and leaves it to the C++ library. */
extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *) __attribute__((weak));

typedef int registrar(void (*)(void *), void *, void *);

/* The thread-local storage of one library on one thread. */
typedef struct {
    char *at;
    size_t bytes;
    const char *image;      /* its first contents; zeros follow */
    size_t image_bytes;
} storage;

/* A goroutine that uses greenlets. */
typedef struct user {
    struct user *next;
    PyThreadState *ts;
    void (*destroy)(void *);
    void *object;
    storage storage;
} user;

/* Guarded by the GIL. */
static user *users;

/* ---- storage ---- */

struct storage_search {
    const char *object;
    storage *found;
};

static int find_storage(struct dl_phdr_info *library, size_t size, void *arg)
{
    struct storage_search *search = arg;
    const char *at = library->dlpi_tls_data;
    (void)size;
    for (int i = 0; at && i < library->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &library->dlpi_phdr[i];
        if (ph->p_type == PT_TLS && (size_t)(search->object - at) < ph->p_memsz) {
            const char *image = (const char *)library->dlpi_addr + ph->p_vaddr;
            *search->found = (storage){(char *)at, ph->p_memsz, image, ph->p_filesz};
            return 1;
        }
    }
    return 0;
}

static int storage_of(const void *object, storage *found)
{
    struct storage_search search = {object, found};
    return dl_iterate_phdr(find_storage, &search);
}

static void reset(const storage *s)
{
    memcpy(s->at, s->image, s->image_bytes);
    memset(s->at + s->image_bytes, 0, s->bytes - s->image_bytes);
}

/* ---- users ---- */

/* In a forked child the other goroutines and their threads are gone. */
static void forget_others(void)
{
    PyThreadState *ts = golib_runtime_table->state ? golib_runtime_table->state() : NULL;
    for (user **at = &users; *at;) {
        user *u = *at;
        if (u->ts == ts)
            at = &u->next;
        else {
            *at = u->next;
            free(u);
        }
    }
}

int golib_greenlet_registers(void (*destroy)(void *), void *object, void *library)
{
    static int watches_forks;
    PyThreadState *ts = golib_runtime_table->state ? golib_runtime_table->state() : NULL;
    user *u = ts ? malloc(sizeof *u) : NULL;
    if (!u || !storage_of(object, &u->storage)) {
        free(u);
        registrar *impl = __cxa_thread_atexit_impl;
        if (!impl)
            impl = (registrar *)golib_greenlet_registrar();
        return impl ? impl(destroy, object, library) : -1;
    }
    if (!watches_forks)
        watches_forks = pthread_atfork(NULL, NULL, forget_others) == 0;
    u->ts = ts;
    u->destroy = destroy;
    u->object = object;
    u->next = users;
    users = u;
    golib_runtime_table->pin(1);
    return 0;
}

static void leave(PyThreadState *ts)
{
    for (user *u = users; u; u = u->next) {
        if (u->ts == ts)
            u->destroy(u->object);
    }
    for (user **at = &users; *at;) {
        user *u = *at;
        if (u->ts != ts) {
            at = &u->next;
            continue;
        }
        *at = u->next;
        reset(&u->storage);
        golib_runtime_table->pin(-1);
        free(u);
    }
}

void golib_identity_leave(PyThreadState *ts)
{
    if (GOLIB_UNLIKELY(users != NULL))
        leave(ts);
}

/* ---- a greenlet that cannot be seen ---- */

static int is_known;
static newfunc original_new;

void golib_greenlet_known(int known)
{
    is_known = known;
}

static PyObject *refuse(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (golib_runtime_table->state && golib_runtime_table->state()) {
        PyErr_SetString(PyExc_RuntimeError, "golib cannot tell where this build of greenlet keeps its state: "
                                            "use greenlets in threads, not in goroutines");
        return NULL;
    }
    return original_new(type, args, kwargs);
}

void golib_greenlet_ready(PyObject *module)
{
    PyObject *type = is_known || original_new ? NULL : PyObject_GetAttrString(module, "greenlet");
    if (type && PyType_Check(type)) {
        original_new = ((PyTypeObject *)type)->tp_new;
        ((PyTypeObject *)type)->tp_new = refuse;
        PyType_Modified((PyTypeObject *)type);
    }
    Py_XDECREF(type);
}
