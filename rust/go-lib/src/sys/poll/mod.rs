//! The kernel's readiness queue: which file descriptors can be read or written.
//!
//! # The contract of a backend
//! One type, `Poller`, with
//!
//! | function | does |
//! |---|---|
//! | `new()` | makes a queue, and what `wake` needs |
//! | `open(fd, tag)` | reports both directions of `fd` under `tag`, once per edge, and at once what holds already |
//! | `close(fd)` | reports nothing more; events that a `poll` returned before stay valid |
//! | `poll(until, events)` | waits until something is ready, `wake`, a signal or `until`; fills `events` |
//! | `wake()` | ends the `poll` with a wait that is under way, or the next one; any thread |
//! | `forget()` | a forked child: closes the queue without touching what it shares with the parent |
//!
//! By kqueue: `open` is one `kevent` with EVFILT_READ and EVFILT_WRITE, both EV_ADD | EV_CLEAR, the tag
//! in `udata`; EV_EOF is `HANGUP`; `close` is EV_DELETE of both; `wake` is EVFILT_USER with NOTE_TRIGGER,
//! of which a `poll` without a wait must trigger another one if it took it; `forget` is a `close`, since
//! a kqueue is not inherited. Not written yet.
//!
//! # Invariants
//! 1. An edge is reported to one `poll`. At most one thread is in a `poll` with a wait; others may
//!    poll without one beside it, and never take a `wake` away.
//! 2. A tag is the poller's user's: the backend only carries it.

#[cfg(target_os = "linux")]
mod epoll;

#[cfg(target_os = "linux")]
pub(crate) use epoll::Poller;

/// What is ready, as bits of [`Event::ready`].
pub(crate) const READ: u8 = 1;
/// See [`READ`].
pub(crate) const WRITE: u8 = 2;
/// The peer has shut its side down, or the connection is broken: reads will tell, without an edge.
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
    /// For ever.
    Woken,
}
