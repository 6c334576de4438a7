/* Which groups of patched builtins each system has. */
#ifndef GOLIB_PATCH_TABLE_H
#define GOLIB_PATCH_TABLE_H

#include "patch_groups.h"

extern const golib_group golib_group_time, golib_group_lock, golib_group_queue, golib_group_thread;

#if defined(_WIN32)

/* What waits for descriptors is not there: the runtime's poller serves none of a host's. */
#define GOLIB_GROUPS                                                                                                   \
    {                                                                                                                  \
        &golib_group_time,                                                                                             \
        &golib_group_lock,                                                                                             \
        &golib_group_queue,                                                                                            \
        &golib_group_thread,                                                                                           \
    }
#define GOLIB_CLOSING_GROUP ((const golib_group *)NULL)

#else

extern const golib_group golib_group_closing, golib_group_socket, golib_group_accept, golib_group_connect,
    golib_group_dns, golib_group_ssl, golib_group_select, golib_group_os, golib_group_file, golib_group_subprocess,
    golib_group_sendfile, golib_group_timeouts;

#define GOLIB_GROUPS                                                                                                   \
    {                                                                                                                  \
        &golib_group_closing,    &golib_group_socket,   &golib_group_connect,  &golib_group_dns,                       \
        &golib_group_ssl,        &golib_group_time,     &golib_group_select,   &golib_group_os,                        \
        &golib_group_file,       &golib_group_lock,     &golib_group_queue,    &golib_group_thread,                    \
        &golib_group_subprocess, &golib_group_sendfile, &golib_group_timeouts, &golib_group_accept,                    \
    }
#define GOLIB_CLOSING_GROUP (&golib_group_closing)

#endif

#endif
