//! Goroutines and threads that do what they are told, one operation at a time, so that it is
//! determined what each comes to.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use go_lib::chan::{chan, Sender};
use go_lib::runtime::embedder::{current_or_thread, GRef};

use super::{start, until, Kind, Peer};

pub type Job<R> = Box<dyn FnOnce() -> R + Send>;

/// The words of a panic; empty if it had none.
pub fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref().map(|s: &&str| s.to_string())).unwrap_or_default()
}

/// Starts `f`, and returns when it waits for this reason.
pub fn start_waiting<R: Send + 'static>(
    kind: Kind,
    reason: &str,
    f: impl FnOnce() -> R + Send + 'static,
) -> Peer<R> {
    let (tx, rx) = chan::<GRef>(1);
    let peer = start(kind, move || {
        tx.send(current_or_thread());
        f()
    });
    let gref = rx.recv().unwrap();
    until(|| gref.status_text() == reason);
    peer
}

/// The outcome of a job, or the message of its panic.
type End<R> = Result<R, String>;

/// A goroutine or thread that does jobs.
pub struct Actor<R> {
    jobs: Sender<Job<R>>,
    gref: GRef,
    begun: Arc<AtomicUsize>,
    end: Arc<Mutex<Option<End<R>>>>,
    peer: Peer<()>,
}

impl<R: Clone + Send + 'static> Actor<R> {
    pub fn new(kind: Kind) -> Self {
        let ((jobs, todo), (tx, rx)) = (chan::<Job<R>>(0), chan(1));
        let end = Arc::new(Mutex::new(None));
        let end2 = end.clone();
        let peer = start(kind, move || {
            tx.send(current_or_thread());
            for job in todo {
                let end = catch_unwind(AssertUnwindSafe(job)).map_err(|p| text_of(p.as_ref()));
                *end2.lock().unwrap() = Some(end);
            }
        });
        Actor { jobs, gref: rx.recv().unwrap(), begun: Arc::default(), end, peer }
    }

    /// Starts a job; returns when it has done what it can. By then everything that it woke is runnable, except a
    /// thread, which says so itself when it wakes: see `await_end`.
    pub fn begin(&self, job: Job<R>) {
        let (begun, has_begun) = (self.begun.clone(), self.begun.load(Ordering::SeqCst) + 1);
        self.jobs.send(Box::new(move || {
            begun.fetch_add(1, Ordering::SeqCst);
            job()
        }));
        soon(|| self.begun.load(Ordering::SeqCst) == has_begun);
        self.settle();
    }

    /// Returns when it waits: for a peer, or for its next job.
    pub fn settle(&self) {
        soon(|| !matches!(self.status(), "runnable" | "running"));
    }

    pub fn status(&self) -> &'static str {
        self.gref.status_text()
    }

    /// Returns when it waits for this reason.
    pub fn await_status(&self, reason: &str) {
        soon(|| self.status() == reason);
    }

    /// Returns when its job has ended.
    pub fn await_end(&self) {
        soon(|| self.end.lock().unwrap().is_some());
    }

    pub fn end(&self) -> Option<End<R>> {
        self.end.lock().unwrap().clone()
    }

    pub fn take_end(&self) -> Option<End<R>> {
        self.end.lock().unwrap().take()
    }

    pub fn join(self) {
        drop(self.jobs);
        self.peer.join();
    }
}

/// Waits for an event that must happen now; the caller checks whether it has happened after seconds.
fn soon(mut ready: impl FnMut() -> bool) {
    let (mut looks, begin) = (0, Instant::now());
    while !ready() && (looks < 1000 || begin.elapsed() < Duration::from_secs(5)) {
        looks += 1;
        if looks < 1000 {
            go_lib::gosched();
        } else {
            go_lib::sleep(Duration::from_micros(50));
        }
    }
}
