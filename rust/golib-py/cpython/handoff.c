/* The hand-off of the GIL while an OS thread goes from one goroutine to the next.
 *
 * # Requests to drop the GIL (3.13+)
 * A waiter reads last_holder and sets the bit under gil->mutex, while we move last_holder without it. So the request
 * may land in a state that has just been swapped out. `from` is looked at again after last_holder has moved: a bit
 * found there is handed on to `to` (nobody has released the GIL in between, so the waiter still waits). A request that
 * slips through even that is found when the state returns: by then nobody may be waiting any more, so the GIL is
 * released without CPython's forced switch (which would wait forever for a taker), and a taker gets a bounded time.
 *
 * # Manners
 * CPython's GIL is unfair to a thread that wants it often and briefly: a waiter that asks goes back to the end of the
 * queue, so beside two threads that never wait for anything a sleeper's 1 ms becomes 10 to 30 ms at the median and 100
 * ms in the tail (measured with threads alone, all versions). Goroutines are one of the two. So the OS thread that
 * swaps goroutines gives the GIL up by itself shortly before a waiter's patience ends (GIVE_PERCENT of the switch
 * interval), and queues again only after every thread that waited has had it (sit_out). It does so, too, if the eval
 * loop was asked first and got the GIL back before them (seen_switches), and it lets a waiter go first that it overtook
 * at the holder's release.
 *
 * Rejected: broadcasting gil->cond (the winner is random, the tail stays).
 */
#include "handoff.h"

struct golib_manners golib_manners;

enum { MOST_LOOKS = 10000, GIVE_PERCENT = 80 };

/* GIL not held: returns once it has changed hands `turns` times since `start`, is free, or the time is over. */
static void sit_out(struct _gil_runtime_state *gil, unsigned long start, unsigned turns)
{
    enum { POLL_US = 100, SLACK_US = 1000, FREE_POLLS = 2 };
    unsigned long polls = turns * ((gil->interval + SLACK_US) / POLL_US);
    int idle = 0;
    while (polls-- > 0 && idle < FREE_POLLS) {
        if (__atomic_load_n(&gil->switch_number, __ATOMIC_RELAXED) - start >= turns)
            return;
        idle = golib_gil_word(gil) ? 0 : idle + 1;
        golib_pause_us(POLL_US);
    }
}

/* Has a thread waited nearly long enough to ask for the GIL? */
static int is_time_to_give(struct _gil_runtime_state *gil)
{
    uint64_t now_ns = golib_monotonic_ns();
    if (!golib_manners.waiting_since_ns)
        golib_manners.waiting_since_ns = now_ns;
    return now_ns - golib_manners.waiting_since_ns >= (uint64_t)gil->interval * (1000 * GIVE_PERCENT / 100);
}

__attribute__((cold)) void golib_handoff(PyThreadState *from, PyThreadState *to)
{
    struct _gil_runtime_state *gil = golib_gil(from->interp);
    unsigned long start = gil->switch_number;
    unsigned others = golib_gil_waiters(gil);
    int asked = golib_gil_is_asked(from), stale = golib_gil_has_stale_request(to);
    int lost = start != golib_manners.seen_switches && others >= 2;
    int give = others && is_time_to_give(gil);

    if (start != golib_manners.seen_switches && ++golib_manners.looks == MOST_LOOKS) {
        golib_manners.seen_switches = start;
        golib_manners.looks = 0;
    }
    if (!others)
        golib_manners.waiting_since_ns = 0;
    if (!asked && !stale && !lost && !give && !golib_gil_has_news(to) && golib_slot_is_known()) {
        golib_swap_stores(from, to);
        return;
    }
    golib_ts_detach(from);  /* if asked, this returns once a thread has taken the GIL */
    if (others >= 2 && (asked || stale || lost || give))
        sit_out(gil, start, others);
    else if (!asked && (stale || give))
        sit_out(gil, start, 1);
    golib_ts_attach(to);    /* take_gil clears the stale request */
    if (golib_gil_waiters(gil) && gil->switch_number - start > 1) {
        /* A waiter at this instant asked before the last holder released the GIL, and this thread was faster. */
        start = gil->switch_number;
        golib_ts_detach(to);
        sit_out(gil, start, 1);
        golib_ts_attach(to);
    }
}
