//! The scheduler's hands: the only code that moves a G between states and queues.
//!
//! | file | holds |
//! |---|---|
//! | `status` | casgstatus and the table of legal transitions |
//! | `rt` | whose M this is; entering and leaving the runtime |
//! | `park`, `threadpark` | gopark, gosched; the waits of OS threads |
//! | `leave`, `ready` | what is done with a goroutine off its stack; goready |
//! | `direct`, `relay` | from one goroutine to the next without g0: the host's, Rust's |
//! | `schedule`, `run`, `attach` | the loop of an M; a goroutine begins to run or resumes; the host's state there |
//! | `find`, `looks` | find_runnable: where the next G comes from; how often it is asked |
//! | `wake`, `stop`, `lists` | where a runnable G goes, startm, wakep, handoffp; stopm; the idle lists, which M holds which P |
//! | `idle` | Ms that have nothing to do for long end |
//! | `inject`, `wakelist` | readying several goroutines at once, also without a P; waiters claimed under a lock |
//! | `newproc`, `gfree` | making goroutines; dead Gs, numbers, counts |
//! | `firstrun`, `entry` | a goroutine's stack and first frame; its first function, its end, who follows on its stack |
//! | `stacks`, `stackless` | which goroutine gets which stack; those that wait for one |
//! | `locked` | goroutines that keep their M |
//! | `syscall` | announced blocking calls |
//! | `sysmon`, `pace`, `kick` | taking Ps back; how often it looks; what it is told |
//! | `checkdead` | deadlock detection |
//! | `procs`, `newm`, `upcall` | start-up, GOMAXPROCS; new threads; what the start hands to the lower half |
//! | `thread` | foreign OS threads |
//! | `guard` | a stack's guard was hit |
//! | `exit`, `fork` | the end of the host, a forked child |
//! | `firstthread` | the process's first thread ends, and the process does not |
//! | `stats`, `schedtrace` | counters; a line of them every so often |
//! | `waitsince`, `watch` | since when goroutines wait; which keep their OS thread for long |
//! | `fatal` | the end of the process by the runtime's fault, or the program's |
//!
//! # Invariants
//! 1. On g0 `in_rt` is 1: nobody takes the P of an M that schedules.
//! 2. A G enters a queue only after its context is saved, on g0 or by the next one (`relay`); or, if it
//!    is the host's, while its M holds P 0 inside the runtime (`direct`).
//! 3. A host state is attached only by `schedule` and `direct`, and detached before the P is given away.
//!
//! Go: runtime/proc.go

pub(crate) mod attach;
pub(crate) mod checkdead;
pub(crate) mod direct;
pub(crate) mod entry;
pub(crate) mod exit;
mod fatal;
pub(crate) mod find;
pub(crate) mod firstrun;
#[cfg(all(unix, not(golib_loom)))]
mod firstthread;
#[cfg(all(unix, not(golib_loom)))]
pub(crate) mod fork;
pub(crate) mod gfree;
pub(crate) mod guard;
pub(crate) mod idle;
pub(crate) mod inject;
pub(crate) mod kick;
pub(crate) mod leave;
pub(crate) mod lists;
pub(crate) mod locked;
pub(crate) mod looks;
pub(crate) mod newm;
pub(crate) mod newproc;
pub(crate) mod pace;
pub(crate) mod park;
pub(crate) mod procs;
pub(crate) mod ready;
pub(crate) mod relay;
mod rt;
pub(crate) mod run;
pub(crate) mod schedtrace;
pub(crate) mod schedule;
pub(crate) mod stackless;
pub(crate) mod stacks;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod syscall;
pub(crate) mod sysmon;
pub(crate) mod thread;
pub(crate) mod threadpark;
pub(crate) mod upcall;
pub(crate) mod waitsince;
pub(crate) mod wake;
pub(crate) mod wakelist;
pub(crate) mod watch;

pub(crate) use fatal::{fatal, throw};
pub(crate) use rt::{
    caller, current_goroutine, enter_rt, enter_rt_on, getg, getm, leave_rt, pinned_by_panic,
    set_caller, take_p,
};
