//! The seam's model side: loom's atomics, and a futex that loom can explore.

pub(crate) use loom::hint::spin_loop as spin_hint;
pub(crate) use loom::sync::atomic::{
    fence, AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
};

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;

use super::{FutexWait, Ordering};

/// Under loom both halves of the asymmetric fence are full fences: this one pairs with [`heavy_fence`].
pub(crate) fn light_fence() {
    fence(Ordering::SeqCst);
}

/// Pairs with [`light_fence`].
pub(crate) fn heavy_fence() {
    fence(Ordering::SeqCst);
}

std::thread_local! {
    /// The current model's action where the product saves a goroutine's context.
    static ON_SAVE: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Has `f` called where a goroutine's context is saved, in the execution under way.
pub(crate) fn on_save(f: impl Fn() + 'static) {
    ON_SAVE.set(Some(Rc::new(f)));
}

/// A goroutine's context would have been saved by now.
pub(crate) fn context_is_saved() {
    let f = ON_SAVE.with_borrow(Clone::clone);
    if let Some(f) = f {
        f();
    }
}

struct Waiter {
    word: usize,
    thread: loom::thread::Thread,
    woken: Rc<Cell<bool>>,
}

std::thread_local! {
    /// The sleepers of the current execution. All threads of a model run on one OS thread and take
    /// turns only at loom's operations, so what happens between two of them is atomic.
    static WAITERS: RefCell<Vec<Waiter>> = const { RefCell::new(Vec::new()) };
}

/// Sleeps while `word` holds `expected`, until `futex_wake`, as the kernel does: a wake-up that is
/// forgotten shows as a deadlock. Time does not pass in a model: a wait with a deadline ends at
/// once, one without never does.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, deadline_ns: Option<i64>) -> FutexWait {
    // The kernel compares under its lock: the newest value, hence an RMW. Relaxed: it orders
    // nothing for the caller.
    if word.fetch_add(0, Ordering::Relaxed) != expected {
        return FutexWait::Woken;
    }
    if deadline_ns.is_some() {
        return FutexWait::TimedOut;
    }
    let woken = Rc::new(Cell::new(false));
    WAITERS.with_borrow_mut(|all| {
        all.push(Waiter {
            word: ptr::from_ref(word).addr(),
            thread: loom::thread::current(),
            woken: woken.clone(),
        });
    });
    while !woken.get() {
        loom::thread::park();
    }
    FutexWait::Woken
}

/// Wakes at most `count` sleepers of `word`, the oldest first.
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) {
    let at = ptr::from_ref(word).addr();
    for _ in 0..count {
        let waiter = WAITERS
            .with_borrow_mut(|all| all.iter().position(|w| w.word == at).map(|i| all.remove(i)));
        let Some(waiter) = waiter else { return };
        waiter.woken.set(true);
        waiter.thread.unpark();
    }
}
