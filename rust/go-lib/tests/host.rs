//! Goroutines of a host, whose interpreter is a lock: the state in which one finds itself that
//! follows another directly, on its own stack or, when new, on that of one that has ended.

mod common;

use std::arch::asm;
use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};

use common::{alone, interpreter};
use go_lib::debug::set_max_stack;
use go_lib::runtime::embedder::{self, Embedder};
use go_lib::sync::WaitGroup;

/// The state that the host makes once for each stack.
struct State {
    lo: usize,
    hi: usize,
}

impl State {
    /// The size of the stack with its guard, which takes half at most.
    fn stack_bytes(&self) -> usize {
        (self.hi - self.lo).next_power_of_two()
    }
}

/// Must not panic: no goroutine of a host may unwind.
type Job = Box<dyn FnOnce(&State) + Send>;

/// Stacks of [`SMALL`] bytes that were bound.
static SMALL_STACKS: AtomicUsize = AtomicUsize::new(0);
const SMALL: usize = 256 << 10;
/// The host has no memory for a state on a stack of this size; where such stacks were.
const REFUSED: usize = 512 << 10;
static REFUSED_AT: Mutex<Vec<usize>> = Mutex::new(Vec::new());

static HOST: Embedder = Embedder {
    bind: |lo, hi| {
        let state = State { lo, hi };
        if state.stack_bytes() == REFUSED {
            REFUSED_AT.lock().unwrap().push(lo);
            return None;
        }
        SMALL_STACKS.fetch_add(usize::from(state.stack_bytes() == SMALL), Ordering::Relaxed);
        Some((Box::into_raw(Box::new(state)).cast(), hi))
    },
    main,
    ..interpreter::PLAIN
};

unsafe extern "C-unwind" fn main(host: *mut (), state: *mut ()) -> bool {
    // SAFETY: the pointers that `spawn` and `bind` made.
    unsafe { Box::from_raw(host.cast::<Job>())(&*state.cast()) };
    true
}

/// A new goroutine of the host.
fn spawn(job: impl FnOnce(&State) + Send + 'static) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| embedder::install(&HOST));
    let job: Job = Box::new(job);
    // SAFETY: `main` takes it.
    unsafe { embedder::spawn(Box::into_raw(Box::new(job)).cast(), 0) }.unwrap();
}

/// Runs `first` as a goroutine of the host; returns when the wait group that it gets is done.
fn run(first: impl FnOnce(&WaitGroup) + Send + 'static) {
    let wg = WaitGroup::new();
    wg.add(1);
    let theirs = wg.clone();
    spawn(move |_| {
        first(&theirs);
        theirs.done();
    });
    wg.wait();
}

/// The control bits of mxcsr, and the x87 control word.
#[cfg(target_arch = "x86_64")]
type ControlWords = [u32; 2];
/// As a process starts.
#[cfg(target_arch = "x86_64")]
const AS_NEW: ControlWords = [0x1f80, 0x37f];
/// Each word changed alone, and both: other roundings.
#[cfg(target_arch = "x86_64")]
const CHANGED: [ControlWords; 3] = [[0x3f80, 0x37f], [0x1f80, 0xf7f], [0x5f80, 0xb7f]];

#[cfg(target_arch = "x86_64")]
fn control_words() -> ControlWords {
    let (mut mxcsr, mut x87) = (0u32, 0u16);
    // SAFETY: reads two registers.
    unsafe {
        asm!("stmxcsr [{0}]", "fnstcw [{1}]", in(reg) &raw mut mxcsr, in(reg) &raw mut x87,
             options(nostack, preserves_flags));
    }
    [mxcsr & 0xffc0, u32::from(x87)]
}

#[cfg(target_arch = "x86_64")]
fn set_control_words([mxcsr, x87]: ControlWords) {
    // SAFETY: valid words; the goroutine computes nothing from here on.
    unsafe {
        asm!("ldmxcsr [{0}]", "fldcw [{1}]", in(reg) &raw const mxcsr, in(reg) &raw const x87,
             options(nostack, preserves_flags, readonly));
    }
}

/// fpcr.
#[cfg(target_arch = "aarch64")]
type ControlWords = u64;
/// As a process starts.
#[cfg(target_arch = "aarch64")]
const AS_NEW: ControlWords = 0;
/// Other roundings.
#[cfg(target_arch = "aarch64")]
const CHANGED: [ControlWords; 3] = [0x40_0000, 0x80_0000, 0xc0_0000];

#[cfg(target_arch = "aarch64")]
fn control_words() -> ControlWords {
    let fpcr;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {0}, fpcr", out(reg) fpcr, options(nostack, preserves_flags)) };
    fpcr
}

#[cfg(target_arch = "aarch64")]
fn set_control_words(fpcr: ControlWords) {
    // SAFETY: a valid word; the goroutine computes nothing from here on.
    unsafe { asm!("msr fpcr, {0}", in(reg) fpcr, options(nostack, preserves_flags)) };
}

#[test]
fn a_goroutine_on_a_used_stack_starts_with_the_control_words_of_a_new_one() {
    alone(|| {
        let found = Arc::new(Mutex::new(Vec::new()));
        let theirs = found.clone();
        run(move |wg| {
            // They wait behind one another until their maker ends.
            for i in 0..100 {
                wg.add(1);
                let (wg, found) = (wg.clone(), theirs.clone());
                spawn(move |_| {
                    found.lock().unwrap().push(control_words());
                    wg.done();
                    set_control_words(CHANGED[i % CHANGED.len()]);
                });
            }
        });
        assert_eq!(*found.lock().unwrap(), vec![AS_NEW; 100]);
    });
}

#[test]
fn a_goroutine_finds_its_control_words_after_others_that_have_other_ones() {
    alone(|| {
        let wrong = Arc::new(Mutex::new(Vec::new()));
        let theirs = wrong.clone();
        run(move |wg| {
            for i in 0..10 {
                wg.add(1);
                let (wg, wrong) = (wg.clone(), theirs.clone());
                spawn(move |_| {
                    let words = [&CHANGED[..], &[AS_NEW]].concat()[i % 4];
                    set_control_words(words);
                    for _ in 0..100 {
                        go_lib::gosched();
                        if control_words() != words {
                            wrong.lock().unwrap().push((control_words(), words));
                        }
                    }
                    wg.done();
                });
            }
        });
        assert_eq!(*wrong.lock().unwrap(), []);
    });
}

#[test]
fn under_set_max_stack_each_runs_on_a_stack_of_its_size_and_none_is_lost() {
    const ROUND: usize = 60;
    /// Each of two kinds follows each.
    fn is_small(i: usize) -> bool {
        [false, false, true, true, true, false][i % 6]
    }
    /// Runs goroutines of which some have small stacks; while they follow one another `limit` is in
    /// force. Each one's findings: (its number, its stack's size, whether it ran there).
    fn round(limit: usize) -> Vec<(usize, usize, bool)> {
        let found = Arc::new(Mutex::new(Vec::new()));
        let theirs = found.clone();
        run(move |wg| {
            for i in 0..ROUND {
                set_max_stack(if is_small(i) { SMALL } else { usize::MAX });
                wg.add(1);
                let (wg, found) = (wg.clone(), theirs.clone());
                spawn(move |state| {
                    let local = 0u8;
                    let here = ptr::from_ref(black_box(&local)).addr();
                    let is_here = (state.lo..state.hi).contains(&here);
                    found.lock().unwrap().push((i, state.stack_bytes(), is_here));
                    wg.done();
                });
            }
            set_max_stack(limit);
        });
        let mut found = std::mem::take(&mut *found.lock().unwrap());
        // One whose P was taken may have been overtaken.
        found.sort();
        found
    }
    alone(|| {
        let unlimited = set_max_stack(usize::MAX);
        let mut stacks = Vec::new();
        for limit in [SMALL, unlimited, SMALL, unlimited] {
            let found = round(limit);
            set_max_stack(unlimited);
            let usual = found[0].1;
            assert!(usual > SMALL);
            let size = |i| if is_small(i) { SMALL } else { usual };
            assert_eq!(found, (0..ROUND).map(|i| (i, size(i), true)).collect::<Vec<_>>());
            stacks.push(SMALL_STACKS.load(Ordering::Relaxed));
        }
        // The last one of a round may still be about to give its stack back in the next one.
        let needed = (0..ROUND).filter(|i| is_small(*i)).count();
        assert!(stacks[0] == needed && stacks[3] <= needed + 3, "stacks were lost: {stacks:?}");
    });
}

#[test]
fn goroutines_of_the_host_and_of_rust_do_not_starve_one_another_on_one_processor() {
    const TURNS: usize = 200;
    alone(|| {
        let old = go_lib::set_gomaxprocs(1);
        // Each kind continues until the other has had its turns too.
        let turns = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let go_on = move |turns: &[AtomicUsize; 2], kind: usize| {
            turns[kind].fetch_add(1, Ordering::Relaxed);
            go_lib::gosched();
            turns.iter().any(|turns| turns.load(Ordering::Relaxed) < TURNS)
        };
        let rust = WaitGroup::new();
        for _ in 0..3 {
            let turns = turns.clone();
            rust.go(move || while go_on(&turns, 0) {});
        }
        let theirs = turns.clone();
        run(move |wg| {
            for _ in 0..3 {
                wg.add(1);
                let (wg, turns) = (wg.clone(), theirs.clone());
                spawn(move |_| {
                    while go_on(&turns, 1) {}
                    wg.done();
                });
            }
        });
        rust.wait();
        assert!(turns.iter().all(|turns| turns.load(Ordering::Relaxed) >= TURNS));
        go_lib::set_gomaxprocs(old);
    });
}

#[test]
fn a_stack_for_which_the_host_has_no_state_serves_the_next_one() {
    alone(|| {
        run(|_| ());
        for _ in 0..3 {
            // SAFETY: it is refused, so that `main` is never called.
            let refused = unsafe { embedder::spawn(ptr::null_mut(), REFUSED) };
            assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::OutOfMemory);
        }
        let at = REFUSED_AT.lock().unwrap();
        assert!(
            at.len() == 3 && at.iter().all(|lo| *lo == at[0]),
            "address space is lost: {at:x?}"
        );
    });
}
