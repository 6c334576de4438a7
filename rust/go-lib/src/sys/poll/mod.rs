//! The kernel's readiness queue: which file descriptors can be read or written.
//!
//! # The contract of a backend
//! One type, `Poller`, with
//!
//! | function | does |
//! |---|---|
//! | `new()` | makes a queue, and what `wake` needs |
//! | `open(fd, tag)` | reports both directions of `fd` under `tag`, once per edge, and at once if they are ready already; where `ASKS` is set, only those asked for |
//! | `ask(tag, bits)` | asks for a report of the next edge in these directions, or at once if they are ready already; only where `ASKS` is set |
//! | `reopen(fd, tag)` | like `open`, for a descriptor that is in the queue: from now on it is reported under this tag (POSIX) |
//! | `close(fd, tag)` | stops the reports; events that a `poll` has already returned stay valid |
//! | `poll(until, events)` | waits for a report, a `wake`, a signal or `until`, and fills `events` |
//! | `wake()` | ends the `poll` with a wait that is under way, or the next one; any thread may call it |
//! | `forget()` | in a forked child: closes its copies of the queue's descriptors, and leaves the parent's queue alone (POSIX) |
//!
//! | backend | where |
//! |---|---|
//! | `epoll` | Linux |
//! | `kqueue` | macOS and the BSDs; Linux under `--cfg golib_kqueue`, for tests (`make test-kqueue`) |
//! | `afd` | Windows, for sockets |
//!
//! # Invariants
//! 1. An edge is reported to one `poll`. At most one thread is in a `poll` with a wait. Meanwhile others
//!    may poll without one, which never takes a `wake` away.
//! 2. The backend only carries tags; their meaning is the caller's.
//! 3. A descriptor is in the queue at most once, and leaves it by `close` before it is closed itself.

#[cfg(windows)]
mod afd;
#[cfg(all(target_os = "linux", not(golib_kqueue)))]
mod epoll;
#[cfg(any(
    all(target_os = "linux", golib_kqueue),
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd",
))]
mod kqueue;
#[cfg(all(test, not(golib_loom)))]
mod tests;

#[cfg(windows)]
pub(crate) use afd::Poller;
#[cfg(all(target_os = "linux", not(golib_kqueue)))]
pub(crate) use epoll::Poller;
#[cfg(any(golib_kqueue, not(any(target_os = "linux", windows))))]
pub(crate) use kqueue::Poller;

/// The ready directions, as bits of [`Event::ready`].
pub(crate) const READ: u8 = 1;
/// See [`READ`].
pub(crate) const WRITE: u8 = 2;
/// The peer has shut down its side, or the connection is broken: reads tell which, without another edge.
pub(crate) const HANGUP: u8 = 4;

/// One report.
#[derive(Clone, Copy, Default)]
pub(crate) struct Event {
    pub(crate) tag: u64,
    pub(crate) ready: u8,
}

/// How many events one `poll` takes.
pub(crate) const BATCH: usize = 128;

/// The reports of one `poll`.
pub(crate) struct Events {
    pub(crate) len: usize,
    pub(crate) list: [Event; BATCH],
}

impl Events {
    pub(crate) fn new() -> Self {
        Events { len: 0, list: [Event::default(); BATCH] }
    }

    fn push(&mut self, event: Event) {
        self.list[self.len] = event;
        self.len += 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Event> {
        self.list[..self.len].iter()
    }
}

/// How long a `poll` waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Until {
    /// Not at all.
    Now,
    /// Until a time of the monotonic clock.
    At(i64),
    /// Forever.
    Woken,
}
