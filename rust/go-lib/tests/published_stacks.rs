//! What the crate's published line (up to 0.6.3) got wrong about stacks: they were copied with a conservative scan for
//! pointers, and preemption lost half of each AVX register.

#![cfg_attr(not(target_arch = "x86_64"), allow(unused_imports, reason = "one test is of that CPU"))]

mod common;

use std::hint::black_box;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::alone;
use go_lib::chan::chan;
use go_lib::sync::WaitGroup;
/// Runs the test `name` of this file alone in a process with `part` set, for what ends it.
fn process(name: &str, part: &str) -> Output {
    let exe = std::env::current_exe().expect("our own path");
    common::program(&exe)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("GOLIB_TEST_PART", part)
        .output()
        .expect("it starts")
}

/// The part that this process is to play, if it was started by [`process`].
fn part() -> Option<String> {
    std::env::var("GOLIB_TEST_PART").ok()
}

#[test]
fn references_to_locals_hold_across_deep_recursion() {
    /// Each frame has a local, and a chain of references through all of them; at the bottom a
    /// scope's goroutine uses it, and values that look like addresses of the stack.
    struct Link<'a> {
        value: u64,
        up: Option<&'a Link<'a>>,
    }
    fn sum(link: &Link) -> u64 {
        let (mut at, mut sum) = (Some(link), 0);
        while let Some(l) = at {
            sum += l.value;
            at = l.up;
        }
        sum
    }
    fn down(depth: u64, up: &Link, total: &mut u64) -> u64 {
        let padding = black_box([depth; 16]);
        let looks_like_an_address = black_box(std::ptr::from_ref(&padding).addr());
        let link = Link { value: depth, up: Some(up) };
        if depth == 0 {
            *total = go_lib::scope(|s| {
                let by_scope = s.go(|| sum(&link));
                go_lib::gosched();
                by_scope.join().expect("no panic")
            });
            return sum(&link);
        }
        let below = down(depth - 1, &link, total);
        assert_eq!(looks_like_an_address, std::ptr::from_ref(&padding).addr());
        assert_eq!(padding, [depth; 16]);
        below
    }
    alone(|| {
        go_lib::run(|| {
            let mut total = 0;
            let top = Link { value: 7, up: None };
            assert_eq!(down(20_000, &top, &mut total), 20_000 * 20_001 / 2 + 7);
            assert_eq!(total, 20_000 * 20_001 / 2 + 7);
        });
    });
}

/// Sixteen whole vector registers keep their values while nothing is called, for `rounds` rounds of
/// the loop; returns the lost ones.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn vector_registers_kept(seed: u64, rounds: u64) -> Vec<usize> {
    let before: [[u64; 4]; 16] = std::array::from_fn(|i| {
        std::array::from_fn(|j| seed.wrapping_mul(i as u64 * 4 + j as u64 + 1))
    });
    let mut after = [[0u64; 4]; 16];
    // SAFETY: reads and writes the two arrays; every register that changes is named.
    unsafe {
        std::arch::asm!(
            "vmovdqu ymm0, [{b}]", "vmovdqu ymm1, [{b} + 32]",
            "vmovdqu ymm2, [{b} + 64]", "vmovdqu ymm3, [{b} + 96]",
            "vmovdqu ymm4, [{b} + 128]", "vmovdqu ymm5, [{b} + 160]",
            "vmovdqu ymm6, [{b} + 192]", "vmovdqu ymm7, [{b} + 224]",
            "vmovdqu ymm8, [{b} + 256]", "vmovdqu ymm9, [{b} + 288]",
            "vmovdqu ymm10, [{b} + 320]", "vmovdqu ymm11, [{b} + 352]",
            "vmovdqu ymm12, [{b} + 384]", "vmovdqu ymm13, [{b} + 416]",
            "vmovdqu ymm14, [{b} + 448]", "vmovdqu ymm15, [{b} + 480]",
            "2:", "dec {n}", "jnz 2b",
            "vmovdqu [{a}], ymm0", "vmovdqu [{a} + 32], ymm1",
            "vmovdqu [{a} + 64], ymm2", "vmovdqu [{a} + 96], ymm3",
            "vmovdqu [{a} + 128], ymm4", "vmovdqu [{a} + 160], ymm5",
            "vmovdqu [{a} + 192], ymm6", "vmovdqu [{a} + 224], ymm7",
            "vmovdqu [{a} + 256], ymm8", "vmovdqu [{a} + 288], ymm9",
            "vmovdqu [{a} + 320], ymm10", "vmovdqu [{a} + 352], ymm11",
            "vmovdqu [{a} + 384], ymm12", "vmovdqu [{a} + 416], ymm13",
            "vmovdqu [{a} + 448], ymm14", "vmovdqu [{a} + 480], ymm15",
            "vzeroupper",
            b = in(reg) &before, a = in(reg) &mut after, n = inout(reg) rounds => _,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack),
        );
    }
    (0..16).filter(|&i| before[i] != after[i]).collect()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn avx_registers_survive_the_loss_of_the_processor() {
    if !std::is_x86_feature_detected!("avx") {
        return;
    }
    alone(|| {
        let procs = go_lib::set_gomaxprocs(2);
        go_lib::run(|| {
            let wg = WaitGroup::new();
            let lost = Arc::new(Mutex::new(Vec::new()));
            for seed in 1..=6 {
                let lost = lost.clone();
                wg.go(move || {
                    // Some tens of milliseconds each: several slices, with goroutines waiting.
                    for _ in 0..3 {
                        // SAFETY: detected.
                        let now = unsafe { vector_registers_kept(seed, 60_000_000) };
                        lost.lock().unwrap().extend(now);
                        go_lib::gosched();
                    }
                });
            }
            wg.wait();
            assert_eq!(*lost.lock().unwrap(), []);
        });
        go_lib::set_gomaxprocs(procs);
    });
}

fn recurse(bytes: usize) -> usize {
    let mut frame = [0u8; 64 << 10];
    black_box(&mut frame)[bytes % 4096] = 1;
    let below = if bytes <= frame.len() { 0 } else { recurse(bytes - frame.len()) };
    below + usize::from(black_box(&frame)[bytes % 4096])
}

#[test]
fn a_goroutine_recurses_to_512_mib() {
    alone(|| {
        let (tx, rx) = chan(0);
        go_lib::spawn_with_stack(1 << 30, move || tx.send(recurse(512 << 20)));
        assert_eq!(rx.recv(), Some(8192));
        // The default is enough for what a thread's main stack is not.
        assert_eq!(go_lib::run(|| recurse(48 << 20)), 768);
    });
}

#[test]
fn a_stack_overflow_is_reported_and_ends_the_process_with_status_2() {
    fn no_end(n: usize) -> usize {
        let frame = black_box([n; 32]);
        let below = if n == usize::MAX { 0 } else { no_end(n + 1) };
        below + black_box(&frame)[3]
    }
    let name = "a_stack_overflow_is_reported_and_ends_the_process_with_status_2";
    if part().is_some() {
        go_lib::spawn_with_stack(256 << 10, || no_end(black_box(0)));
        std::thread::sleep(Duration::from_secs(20));
    }
    let output = process(name, "overflow");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("runtime: goroutine stack exceeds 262144-byte limit"), "{text}");
    assert!(text.contains("fatal error: stack overflow\n\ngoroutine "), "{text}");
}

#[test]
fn the_largest_stack_can_be_limited() {
    alone(|| {
        let name = "the_largest_stack_can_be_limited";
        if part().is_some() {
            go_lib::debug::set_max_stack(1 << 20);
            go_lib::spawn_with_stack(1 << 30, || recurse(2 << 20));
            std::thread::sleep(Duration::from_secs(20));
        }
        let output = process(name, "overflow");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(" 1048576-byte limit"), "{text}");
    });
}
