/* golib.patch("dns"): getaddrinfo, gethostbyname, gethostbyname_ex, gethostbyaddr, getnameinfo.
 *
 * The C library looks a name up in the thread that asks. So another goroutine asks, in a thread of its own, and a limited number
 * do so at once. A numeric address needs no look-up. The goroutine that waits for the answer is parked and can leave; the look-up
 * then runs to its end and its answer is dropped.
 */
#include "patch_elsewhere.h"

#include <arpa/inet.h>

static golib_elsewhere_limit limit = {.most = 10};

/* Is it no host, or a numeric address, which is answered at once? */
static int is_numeric(PyObject *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (host == Py_None)
        return 1;
    const char *text = PyUnicode_Check(host) ? PyUnicode_AsUTF8(host)
                       : PyBytes_Check(host) ? PyBytes_AS_STRING(host)
                                             : NULL;
    if (!text) {
        PyErr_Clear();
        return 0;
    }
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static PyObject *look_up_body(golib_invocation *call, const golib_caller *record)
{
    int ways = call->p->patch.flags;
    int is_reverse = call->p->detail != NULL;
    if (!golib_on_goroutine() || !(ways & (METH_VARARGS | METH_FASTCALL)) ||
        (!is_reverse && call->n && is_numeric(call->args[0])))
        return golib_original(call);
    return golib_elsewhere(call, &limit, record);
}

static void in_child(void)
{
    limit.running = 0;
}

/* The functions that look up the name of an address. */
static const char reverse[] = "";
GOLIB_PARKS(getaddrinfo, "_socket", NULL, "getaddrinfo", look_up_body, 0, NULL);
GOLIB_PARKS(gethostbyname, "_socket", NULL, "gethostbyname", look_up_body, 0, NULL);
GOLIB_PARKS(gethostbyname_ex, "_socket", NULL, "gethostbyname_ex", look_up_body, 0, NULL);
GOLIB_PARKS(gethostbyaddr, "_socket", NULL, "gethostbyaddr", look_up_body, 0, reverse);
GOLIB_PARKS(getnameinfo, "_socket", NULL, "getnameinfo", look_up_body, 0, reverse);

static golib_parking *const calls[] = {&getaddrinfo, &gethostbyname, &gethostbyname_ex, &gethostbyaddr, &getnameinfo};

const golib_group golib_group_dns = {
    .name = "dns", GOLIB_GROUP_CALLS(calls), .probe = golib_elsewhere_ready, .in_child = in_child};
