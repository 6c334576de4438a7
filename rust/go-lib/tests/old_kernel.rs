//! A kernel without `membarrier` (before 4.14) and without guard markers (before 6.13): a filter on
//! system calls plays it, in a process of its own. Linux's.
#![cfg(target_os = "linux")]

mod common;

use std::hint::black_box;
use std::mem::offset_of;
use std::process::ExitStatus;
use std::time::Duration;

use go_lib::sync::WaitGroup;

/// The data that a filter sees.
#[repr(C)]
struct SeccompData {
    nr: i32,
    arch: u32,
    instruction_pointer: u64,
    args: [u64; 6],
}

const MADV_GUARD_INSTALL: u32 = 102;

/// Refuses this thread, and those that it starts, what an old kernel does not know.
fn grow_old() {
    refuse(0);
}

/// Refuses it all threads of the process, whatever they have been granted before.
fn all_grow_old() {
    refuse(libc::SECCOMP_FILTER_FLAG_TSYNC);
}

fn refuse(flags: libc::c_ulong) {
    let load = |at: usize| libc::sock_filter {
        code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        jt: 0,
        jf: 0,
        k: at as u32,
    };
    let unless_equal_skip = |k: u32, jf: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf,
        k,
    };
    let answer =
        |k: u32| libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k };
    let mut filter = [
        load(offset_of!(SeccompData, nr)),
        unless_equal_skip(libc::SYS_membarrier as u32, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        unless_equal_skip(libc::SYS_madvise as u32, 3),
        load(offset_of!(SeccompData, args) + 16), // the third one's low half
        unless_equal_skip(MADV_GUARD_INSTALL, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program outlives the calls.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let set = libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &program);
        assert_eq!(set, 0);
        assert_eq!(libc::syscall(libc::SYS_membarrier, 0, 0, 0), -1);
    }
}

/// Goroutines that sleep and wake one another, are taken off by sysmon, and find idle Ps: every pair
/// of fences is passed many times.
fn work() {
    go_lib::set_gomaxprocs(4);
    let (tx, rx) = go_lib::chan::chan(3);
    let wg = WaitGroup::new();
    for i in 0..20_u64 {
        let tx = tx.clone();
        wg.go(move || {
            for k in 0..500 {
                tx.send(i * 500 + k);
                if k % 100 == i {
                    std::thread::sleep(Duration::from_micros(300)); // not announced
                }
                if k % 50 == i {
                    go_lib::sleep(Duration::from_micros(50));
                }
            }
        });
    }
    drop(tx);
    assert_eq!(rx.iter().sum::<u64>(), (0..20 * 500).sum());
    wg.wait();
}

#[allow(unconditional_recursion, reason = "what the guard is for")]
fn overflow(n: u64) -> u64 {
    black_box(overflow(black_box(n) + 1)) + 1
}

/// Each guard splits a mapping there: the process has no more of them before all stacks are made.
fn run_out_of_mappings() {
    const MANY: usize = 200_000;
    let (tx, rx) = go_lib::chan::chan::<()>(0);
    let ended = WaitGroup::new();
    let mut refused = None;
    for n in 0..MANY {
        let (rx, ended2) = (rx.clone(), ended.clone());
        ended.add(1);
        let spawned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            go_lib::go!(move || {
                rx.recv();
                ended2.done();
            });
        }));
        if let Err(why) = spawned {
            ended.done();
            refused = Some((n, *why.downcast::<String>().unwrap()));
            break;
        }
        go_lib::gosched(); // a stack is made at the first run
    }
    let (n, why) = refused.expect("more goroutines than the process may have mappings");
    assert!(why.contains("vm.max_map_count"), "{why}");
    assert!(n > 1000, "refused after {n}");
    drop(tx);
    ended.wait();
    let again = WaitGroup::new();
    again.go(move || eprintln!("after {n} refused, and served again"));
    again.wait();
}

/// Has `body` run in a process of its own, of which the kernel is old, by the test called `test`; how that
/// process ended, and what it said. `None`: this is that process, or there cannot be one.
fn on_an_old_kernel(test: &str, body: fn()) -> Option<(ExitStatus, String)> {
    in_a_process(test, || {
        grow_old();
        go_lib::run(body);
    })
}

/// Has `body` run in a process of its own, where filters work; as [`on_an_old_kernel`].
fn in_a_process(test: &str, body: impl FnOnce()) -> Option<(ExitStatus, String)> {
    if common::emulated() {
        eprintln!("skipped: the emulator does not pass filters on system calls on to the kernel");
        return None;
    }
    if common::is_again() {
        body();
        return None;
    }
    let out = common::run_again(test);
    Some((out.status, String::from_utf8_lossy(&out.stderr).into_owned()))
}

#[test]
fn an_old_kernel_is_served_and_guards_stacks() {
    let ended = on_an_old_kernel("an_old_kernel_is_served_and_guards_stacks", || {
        work();
        eprintln!("worked");
        go_lib::spawn_with_stack(256 << 10, || overflow(0));
        go_lib::sleep(Duration::from_secs(30));
    });
    let Some((status, report)) = ended else { return };
    assert_eq!(status.code(), Some(2), "{report}");
    assert!(report.contains("worked") && report.contains("stack overflow"), "{report}");
}

#[test]
fn an_old_kernel_without_a_mapping_to_spare_refuses_in_words() {
    let test = "an_old_kernel_without_a_mapping_to_spare_refuses_in_words";
    let Some((status, report)) = on_an_old_kernel(test, run_out_of_mappings) else { return };
    assert!(status.success(), "{report}");
    assert!(report.contains("refused, and served again"), "{report}");
}

#[test]
fn a_kernel_that_refuses_what_it_granted_is_served() {
    let test = "a_kernel_that_refuses_what_it_granted_is_served";
    let ended = in_a_process(test, || {
        go_lib::run(|| {
            work();
            all_grow_old();
            work();
            eprintln!("worked twice");
        });
    });
    let Some((status, report)) = ended else { return };
    assert!(status.success() && report.contains("worked twice"), "{report}");
}
