//! A host whose state is a saved record: it has one register, which `attach` fills from the record of the goroutine that goes
//! on, and `detach` and `swap` save there. Each goroutine finds in it what it put there, however it was left.

mod common;

use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Once};

use common::{alone, interpreter};
use go_lib::chan::chan;
use go_lib::runtime::embedder::{self, Embedder};
use go_lib::sync::WaitGroup;

type Record = AtomicU64;
/// Must not panic: no goroutine of a host may unwind.
type Job = Box<dyn FnOnce() + Send>;

/// The interpreter's register.
static REGISTER: AtomicU64 = AtomicU64::new(0);

static HOST: Embedder = Embedder {
    bind: |_, hi| Some((Box::into_raw(Box::new(Record::new(0))).cast(), hi)),
    attach: |state| {
        interpreter::hold();
        swap(ptr::null_mut(), state);
    },
    detach: |state| {
        swap(state, ptr::null_mut());
        interpreter::let_go();
    },
    swap,
    swap_at_once: |from, to| {
        swap(from, to);
        true
    },
    main,
    ..interpreter::PLAIN
};

fn swap(from: *mut (), to: *mut ()) {
    interpreter::change(from, to);
    // SAFETY: records that `bind` made, which are never freed.
    let (from, to) = unsafe { (from.cast::<Record>().as_ref(), to.cast::<Record>().as_ref()) };
    if let Some(record) = from {
        record.store(REGISTER.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    // What is nobody's has a value that nobody puts there.
    let value = to.map_or(u64::MAX, |record| record.load(Ordering::Relaxed));
    REGISTER.store(value, Ordering::Relaxed);
}

unsafe extern "C-unwind" fn main(host: *mut (), _state: *mut ()) -> bool {
    // SAFETY: what `spawn` made.
    unsafe { Box::from_raw(host.cast::<Job>())() };
    REGISTER.store(0, Ordering::Relaxed); // clean, for the next one
    true
}

fn spawn(job: impl FnOnce() + Send + 'static) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| embedder::install(&HOST));
    let job: Job = Box::new(job);
    // SAFETY: `main` takes it.
    unsafe { embedder::spawn(Box::into_raw(Box::new(job)).cast(), 0) }.unwrap();
}

#[test]
fn each_goroutine_finds_its_own_in_the_one_register() {
    const N: u64 = 40;
    alone(|| {
        let (wg, wrong) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
        let (tx, rx) = chan(0);
        for me in 1..=N {
            wg.add(1);
            let (wg, wrong, tx, rx) = (wg.clone(), wrong.clone(), tx.clone(), rx.clone());
            spawn(move || {
                let begins_clean = REGISTER.swap(me, Ordering::Relaxed) == 0;
                let mut right = begins_clean;
                for round in 0..50 {
                    match (me + round) % 3 {
                        0 => go_lib::gosched(),
                        1 => tx.send(me),
                        _ => _ = rx.recv_timeout(std::time::Duration::from_millis(1)),
                    }
                    right &= REGISTER.load(Ordering::Relaxed) == me;
                }
                wrong.fetch_add(usize::from(!right), Ordering::Relaxed);
                wg.done();
            });
        }
        // Rust goroutines between them have the interpreter given up.
        while wg.wait_timeout(std::time::Duration::from_millis(1)).is_err() {
            let rx = rx.clone();
            go_lib::run(move || while rx.try_recv().is_some() {});
        }
        assert_eq!(wrong.load(Ordering::Relaxed), 0);
    });
}
