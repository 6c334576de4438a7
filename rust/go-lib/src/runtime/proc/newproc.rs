//! Making goroutines.
//!
//! Go: runtime/proc.go (newproc, newproc1)

use std::io;
use std::panic::Location;
use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::g::{CreatedBy, Kind, GDEAD, GRUNNABLE};
use crate::runtime::object::gref::GRef;
use crate::runtime::object::start::Start;
use crate::runtime::proc::gfree::{add_gcount, gfget, gfput, next_goid};
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{enter_rt, leave_rt, newm, park, procs, stacks, syscall, wake};
use crate::runtime::sched::{sched, Sched};
use crate::sys::errno;

/// Makes a goroutine of a Rust function. Panics with a message if there is no thread or no stack
/// for it; `f` is dropped before.
pub(crate) fn newproc_go(f: Start, stack_bytes: usize, location: &'static Location<'static>) {
    park::yield_if_asked();
    syscall::regain_p();
    let made = newproc(Kind::Go, f, ptr::null_mut(), stack_bytes, Some(location), false);
    if let Err(e) = made {
        std::panic::panic_any(refusal_text(&e));
    }
}

/// Makes a goroutine of a Rust function, on a stack of the usual size, even if a thread or a stack has
/// been refused: it then waits for them in its queue. For callers that could not report a failure, such
/// as an alarm; `f` is not dropped here.
pub(crate) fn newproc_late(f: Start, location: &'static Location<'static>) {
    // A goroutine with a stack of the usual size gets it at its first run: nothing here can fail.
    let s = procs::ensure_started();
    let _ = newproc1(s, Kind::Go, f, ptr::null_mut(), 0, Some(location), false);
}

/// Makes a goroutine of the host.
///
/// # Safety
/// See `embedder::spawn`.
pub(crate) unsafe fn newproc_host(
    host: *mut (),
    stack_bytes: usize,
    system: bool,
) -> io::Result<GRef> {
    newproc(Kind::Host, Start::NONE, host, stack_bytes, None, system)
}

fn newproc(
    kind: Kind,
    f: Start,
    host: *mut (),
    stack_bytes: usize,
    location: Option<&'static Location<'static>>,
    system: bool,
) -> io::Result<GRef> {
    let s = procs::ensure_started();
    if s.refused.load(Ordering::Relaxed) != 0 {
        report_refusal(s, kind)?;
    }
    newproc1(s, kind, f, host, stack_bytes, location, system)
}

/// `newproc` without a look at what was refused before. Fails only for a stack of unusual size.
#[inline]
fn newproc1(
    s: &'static Sched,
    kind: Kind,
    f: Start,
    host: *mut (),
    stack_bytes: usize,
    location: Option<&'static Location<'static>>,
    system: bool,
) -> io::Result<GRef> {
    let size = s.stacks.size_for(stack_bytes);
    let m = enter_rt();
    let gp = gfget(m, s);
    // SAFETY: gp is dead and off every list: ours.
    let g = unsafe { &*gp };
    let parent = m.curg.get();
    g.created.set(CreatedBy {
        // SAFETY: curg is valid.
        goid: if parent.is_null() { 0 } else { unsafe { (*parent).goid.load(Ordering::Relaxed) } },
        location,
    });
    g.kind.set(kind);
    g.system.set(system);
    g.lock_depth.set(0);
    g.syscalls.store(0, Ordering::Relaxed);
    g.wait.take_pending();
    g.stack_bytes.store(size, Ordering::Relaxed);
    if size != s.stacks.default_size() {
        // Unusual sizes are not cached: the caller learns at once whether there is such a stack.
        if let Err(e) = stacks::give(m, gp) {
            gfput(m, s, gp);
            if !m.curg.get().is_null() {
                leave_rt(m);
            }
            return Err(e);
        }
    }
    g.host.store(host, Ordering::Relaxed);
    // SAFETY: as above.
    unsafe { *g.start.get() = f };
    // Release: publishes the payload; pairs with the Acquire of GRef::is_alive.
    g.goid.store(next_goid(m, s), Ordering::Release);
    if !system {
        add_gcount(m, s, 1);
    }
    g.sched_sp.set(0);
    casgstatus(g, GDEAD, GRUNNABLE);
    let r = GRef::new(gp);
    // SAFETY: runnable, in no queue.
    unsafe { wake::runqput_any(m, gp, kind == Kind::Go) };
    if !m.curg.get().is_null() {
        leave_rt(m);
    }
    Ok(r)
}

/// A message that says why a spawn was refused.
#[cold]
fn refusal_text(e: &io::Error) -> String {
    match e.raw_os_error() {
        Some(errno::ENOMEM) => format!("go: {}", stacks::limit_text()),
        errno => {
            let why = newm::limit_text(sched(), errno.unwrap_or(0));
            format!("go: no thread to run a goroutine: {why}")
        }
    }
}

/// A thread or a stack was refused since the last spawn: reports it if that is still so.
#[cold]
fn report_refusal(s: &'static Sched, kind: Kind) -> io::Result<()> {
    // `refused` stays set meanwhile, so that a refusal of the probe is reported to the caller and not on stderr.
    let errno = s.refused.load(Ordering::Relaxed) as i32;
    let served = match errno {
        errno::ENOMEM => stacks::probe(s, kind).map(|()| true)?,
        _ => procs::probe_thread(s)?,
    };
    if served {
        s.refused.store(0, Ordering::Relaxed);
    }
    Ok(())
}
