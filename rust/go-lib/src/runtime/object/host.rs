//! The host's hooks, as data: the table by which a host gives goroutines an exclusive interpreter.
//!
//! A *host goroutine* runs with the interpreter attached. At most one does so at a time, on the P
//! that has the right (P 0). While its M goes from one host goroutine to the next it keeps the
//! interpreter and only swaps the goroutines' states.
//!
//! # Invariants
//! 1. `attach`, `detach`, `swap` and `discard` are called on g0, with no lock held and every
//!    scheduler structure consistent: they may wait for the interpreter, and other threads run
//!    runtime code meanwhile. `swap_at_once` and `may_migrate` are called on a goroutine's stack; the
//!    next goroutine may also begin with the state of the one that has just ended, still attached.
//! 2. A state is attached on at most one thread. It is detached before its P is given away. The runtime does not know
//!    what a state is: a thread state that the host makes current, or a record that `attach` restores, and in which `detach`
//!    and `swap` save.
//! 3. `main` runs on the goroutine's stack with the state attached. No frame of this crate below it
//!    has a landing pad, so a host may end the thread there by forced unwinding.

use crate::prim::Ordering;
use crate::runtime::object::gref::GRef;

/// The host's functions. All are `unsafe`: the runtime keeps the module's invariants.
pub struct Embedder {
    /// A goroutine got the stack `[lo, hi)`: makes a state for it. Returns the state and the
    /// address below which the goroutine's frames start. Runs on g0, interpreter held or not.
    pub bind: unsafe fn(lo: usize, hi: usize) -> Option<(*mut (), usize)>,
    /// Attaches `state` to this thread, waiting for the interpreter.
    pub attach: unsafe fn(state: *mut ()),
    /// Detaches `state` and gives the interpreter up.
    pub detach: unsafe fn(state: *mut ()),
    /// Attaches `to` instead of `from`, keeping the interpreter.
    pub swap: unsafe fn(from: *mut (), to: *mut ()),
    /// As `swap`, if that needs neither waiting nor giving the interpreter up; false: nothing has
    /// happened. Called on the stack of the goroutine that leaves, for which `from` is.
    pub swap_at_once: unsafe fn(from: *mut (), to: *mut ()) -> bool,
    /// Runs the goroutine whose payload is `host`. True: the state may serve the next goroutine.
    pub main: unsafe extern "C-unwind" fn(host: *mut (), state: *mut ()) -> bool,
    /// Deletes the attached `state` after its goroutine ended; the interpreter is given up.
    pub discard: unsafe fn(state: *mut ()),
    /// May the parked goroutine with `state` resume on another thread? `caller` is the value that the host
    /// set by [`set_caller`](crate::runtime::embedder::set_caller) before the operation.
    pub may_migrate: unsafe fn(state: *mut (), caller: *const ()) -> bool,
    /// True if nobody holds the interpreter: the running host goroutine is in a call outside.
    pub is_free: unsafe fn() -> bool,
    /// A thread of the host is about to sleep in the runtime; the token goes to `thread_unpark`.
    pub thread_park: unsafe fn() -> *mut (),
    /// It woke up.
    pub thread_unpark: unsafe fn(token: *mut ()),
    /// Whether a signal came that this thread must handle; None: it handles none. Called without
    /// the interpreter.
    pub thread_signal: unsafe fn() -> Option<bool>,
    /// A signal came while it slept: true if the operation must return interrupted. Called with the
    /// interpreter given up; takes it for itself if it needs it.
    pub thread_poll: unsafe fn(token: *mut ()) -> bool,
    /// Every goroutine and every thread the runtime knows is asleep for good. The host looks
    /// whether somebody else could wake them: a thread of its own, or one that nobody knows
    /// ([`strangers`](crate::runtime::embedder::strangers)). If not it ends the main wait by [`GRef::deadlock`](crate::runtime::embedder::GRef::deadlock). Called on sysmon's thread;
    /// may take the interpreter. False: it wants to be asked again, since nobody tells when those are gone.
    pub deadlock: unsafe fn() -> bool,
    /// Who holds the interpreter. Called on sysmon's thread, for `GOLIB_DEBUG=blocked`.
    pub holder: unsafe fn() -> Holder,
    /// A goroutine has kept its OS thread for longer than `GOLIB_DEBUG=blocked` allows: the host reports it. Called on
    /// sysmon's thread, which must not wait for the interpreter. False: it could not be seen where the goroutine is, and
    /// the host wants to be asked again.
    pub overstays: unsafe fn(Overstay) -> bool,
    /// A thread of the host's that is no goroutine has kept the interpreter, with this state, from those that wait for it
    /// for so many nanoseconds. As [`overstays`](Embedder::overstays).
    pub monopolizes: unsafe fn(*mut (), i64) -> bool,
}

/// The host's answer to who holds the interpreter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The state that is attached, of a goroutine or of a thread of the host's; null if the interpreter is free.
    pub state: *mut (),
    /// Differs if the interpreter has changed hands meanwhile.
    pub changes: u64,
    /// Others wait for it.
    pub is_wanted: bool,
}

impl Holder {
    /// The interpreter is free.
    pub const NOBODY: Holder = Holder { state: std::ptr::null_mut(), changes: 0, is_wanted: false };
}

/// A goroutine of the host's that has kept its OS thread for long.
#[derive(Clone, Copy, Debug)]
pub struct Overstay {
    /// The goroutine.
    pub g: GRef,
    /// For how long it has neither waited nor yielded.
    pub ns: i64,
    /// It holds the interpreter now.
    pub holds: bool,
    /// In how much of that time it held the interpreter, by what the looks saw.
    pub held_ns: i64,
    /// For how long nobody else has had the interpreter, if it holds it now.
    pub kept_ns: i64,
}

/// std's also in models: a static cannot be loom's.
static TABLE: std::sync::atomic::AtomicPtr<Embedder> =
    std::sync::atomic::AtomicPtr::new(std::ptr::null_mut());

/// Installs the host's table, once, before its first goroutine.
pub fn install(table: &'static Embedder) {
    // Release: publishes the table; pairs with Acquire in `table`.
    TABLE.store(table as *const Embedder as *mut Embedder, Ordering::Release);
}

/// The installed table.
#[inline(always)]
pub(crate) fn table() -> Option<&'static Embedder> {
    // Acquire: pairs with install. SAFETY: only install writes it, from a 'static reference.
    unsafe { TABLE.load(Ordering::Acquire).as_ref() }
}
