/* Preloaded into programs under qemu's emulation of user programs (.ci/get-aarch64-python): hides from them the emulator's own
 * thread, which the kernel lists among theirs in /proc/self/task. golib would wait for it before it reports a deadlock, and
 * tests count threads.
 *
 * Before the program's first thread begins, the emulator's are those that are not the main one; so too in a forked child. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 8 };

/* The names of their entries. */
static char hidden[MOST][256];
static int n_hidden;
static struct dirent *(*next_entry)(DIR *);

static void look(void)
{
    DIR *tasks = opendir("/proc/self/task");
    char mine[16];
    snprintf(mine, sizeof mine, "%d", (int)getpid());
    n_hidden = 0;
    for (struct dirent *entry; tasks && (entry = next_entry(tasks));) {
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, mine) && n_hidden < MOST)
            snprintf(hidden[n_hidden++], sizeof *hidden, "%s", entry->d_name);
    }
    if (tasks)
        closedir(tasks);
}

__attribute__((constructor)) static void begin(void)
{
    next_entry = (struct dirent * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir");
    unsetenv("LD_PRELOAD"); /* it is not for programs that this one starts */
    look();
    pthread_atfork(NULL, NULL, look);
}

static int lists_tasks(DIR *directory)
{
    char link[64], path[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd(directory));
    ssize_t n = readlink(link, path, sizeof path - 1);
    return n > 5 && !memcmp(path + n - 5, "/task", 5);
}

struct dirent *readdir(DIR *directory)
{
    int tasks = lists_tasks(directory);
    struct dirent *entry;
    do {
        entry = next_entry(directory);
        int is_hidden = 0;
        for (int i = 0; entry && tasks && i < n_hidden; i++)
            is_hidden |= !strcmp(entry->d_name, hidden[i]);
        if (!is_hidden)
            break;
    } while (entry);
    return entry;
}

struct dirent64 *readdir64(DIR *directory)
{
    return (struct dirent64 *)readdir(directory);
}
