//! The registers that a goroutine keeps while others run, and the bounds of its stack.

mod common;

use std::arch::global_asm;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use common::{alone, Rng};
use go_lib::sync::WaitGroup;

// golib_test_hold(want, got, f): loads the callee-saved registers from `want`, calls `f` and stores
// them to `got`.
#[cfg(all(target_arch = "x86_64", not(windows)))]
const REGISTERS: usize = 6;
#[cfg(all(target_arch = "x86_64", not(windows)))]
global_asm!(
    ".text",
    ".globl golib_test_hold",
    "golib_test_hold:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push rsi",
    "mov rbp, [rdi]",
    "mov rbx, [rdi + 8]",
    "mov r12, [rdi + 16]",
    "mov r13, [rdi + 24]",
    "mov r14, [rdi + 32]",
    "mov r15, [rdi + 40]",
    "call rdx",
    "pop rsi",
    "mov [rsi], rbp",
    "mov [rsi + 8], rbx",
    "mov [rsi + 16], r12",
    "mov [rsi + 24], r13",
    "mov [rsi + 32], r14",
    "mov [rsi + 40], r15",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
);

// As above; xmm6 to xmm15 are kept too.
#[cfg(all(target_arch = "x86_64", windows))]
const REGISTERS: usize = 8 + 2 * 10;
#[cfg(all(target_arch = "x86_64", windows))]
global_asm!(
    ".text",
    ".globl golib_test_hold",
    ".seh_proc golib_test_hold",
    "golib_test_hold:",
    "push rbp",
    ".seh_pushreg rbp",
    "push rbx",
    ".seh_pushreg rbx",
    "push rsi",
    ".seh_pushreg rsi",
    "push rdi",
    ".seh_pushreg rdi",
    "push r12",
    ".seh_pushreg r12",
    "push r13",
    ".seh_pushreg r13",
    "push r14",
    ".seh_pushreg r14",
    "push r15",
    ".seh_pushreg r15",
    "sub rsp, 216",
    ".seh_stackalloc 216",
    "movaps [rsp + 32], xmm6",
    ".seh_savexmm xmm6, 32",
    "movaps [rsp + 48], xmm7",
    ".seh_savexmm xmm7, 48",
    "movaps [rsp + 64], xmm8",
    ".seh_savexmm xmm8, 64",
    "movaps [rsp + 80], xmm9",
    ".seh_savexmm xmm9, 80",
    "movaps [rsp + 96], xmm10",
    ".seh_savexmm xmm10, 96",
    "movaps [rsp + 112], xmm11",
    ".seh_savexmm xmm11, 112",
    "movaps [rsp + 128], xmm12",
    ".seh_savexmm xmm12, 128",
    "movaps [rsp + 144], xmm13",
    ".seh_savexmm xmm13, 144",
    "movaps [rsp + 160], xmm14",
    ".seh_savexmm xmm14, 160",
    "movaps [rsp + 176], xmm15",
    ".seh_savexmm xmm15, 176",
    ".seh_endprologue",
    "mov [rsp + 192], rdx",
    "movups xmm6, [rcx + 64]",
    "movups xmm7, [rcx + 80]",
    "movups xmm8, [rcx + 96]",
    "movups xmm9, [rcx + 112]",
    "movups xmm10, [rcx + 128]",
    "movups xmm11, [rcx + 144]",
    "movups xmm12, [rcx + 160]",
    "movups xmm13, [rcx + 176]",
    "movups xmm14, [rcx + 192]",
    "movups xmm15, [rcx + 208]",
    "mov rbp, [rcx + 0]",
    "mov rbx, [rcx + 8]",
    "mov rsi, [rcx + 16]",
    "mov rdi, [rcx + 24]",
    "mov r12, [rcx + 32]",
    "mov r13, [rcx + 40]",
    "mov r14, [rcx + 48]",
    "mov r15, [rcx + 56]",
    "call r8",
    "mov rdx, [rsp + 192]",
    "mov [rdx + 0], rbp",
    "mov [rdx + 8], rbx",
    "mov [rdx + 16], rsi",
    "mov [rdx + 24], rdi",
    "mov [rdx + 32], r12",
    "mov [rdx + 40], r13",
    "mov [rdx + 48], r14",
    "mov [rdx + 56], r15",
    "movups [rdx + 64], xmm6",
    "movups [rdx + 80], xmm7",
    "movups [rdx + 96], xmm8",
    "movups [rdx + 112], xmm9",
    "movups [rdx + 128], xmm10",
    "movups [rdx + 144], xmm11",
    "movups [rdx + 160], xmm12",
    "movups [rdx + 176], xmm13",
    "movups [rdx + 192], xmm14",
    "movups [rdx + 208], xmm15",
    "movaps xmm6, [rsp + 32]",
    "movaps xmm7, [rsp + 48]",
    "movaps xmm8, [rsp + 64]",
    "movaps xmm9, [rsp + 80]",
    "movaps xmm10, [rsp + 96]",
    "movaps xmm11, [rsp + 112]",
    "movaps xmm12, [rsp + 128]",
    "movaps xmm13, [rsp + 144]",
    "movaps xmm14, [rsp + 160]",
    "movaps xmm15, [rsp + 176]",
    "add rsp, 216",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rdi",
    "pop rsi",
    "pop rbx",
    "pop rbp",
    "ret",
    ".seh_endproc",
);

#[cfg(target_arch = "aarch64")]
const REGISTERS: usize = 18;
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".text",
    ".globl golib_test_hold",
    "golib_test_hold:",
    "stp x29, x30, [sp, #-176]!",
    "stp x19, x20, [sp, #16]",
    "stp x21, x22, [sp, #32]",
    "stp x23, x24, [sp, #48]",
    "stp x25, x26, [sp, #64]",
    "stp x27, x28, [sp, #80]",
    "stp d8, d9, [sp, #96]",
    "stp d10, d11, [sp, #112]",
    "stp d12, d13, [sp, #128]",
    "stp d14, d15, [sp, #144]",
    "str x1, [sp, #160]",
    "ldp x19, x20, [x0]",
    "ldp x21, x22, [x0, #16]",
    "ldp x23, x24, [x0, #32]",
    "ldp x25, x26, [x0, #48]",
    "ldp x27, x28, [x0, #64]",
    "ldp d8, d9, [x0, #80]",
    "ldp d10, d11, [x0, #96]",
    "ldp d12, d13, [x0, #112]",
    "ldp d14, d15, [x0, #128]",
    "blr x2",
    "ldr x1, [sp, #160]",
    "stp x19, x20, [x1]",
    "stp x21, x22, [x1, #16]",
    "stp x23, x24, [x1, #32]",
    "stp x25, x26, [x1, #48]",
    "stp x27, x28, [x1, #64]",
    "stp d8, d9, [x1, #80]",
    "stp d10, d11, [x1, #96]",
    "stp d12, d13, [x1, #112]",
    "stp d14, d15, [x1, #128]",
    "ldp x19, x20, [sp, #16]",
    "ldp x21, x22, [sp, #32]",
    "ldp x23, x24, [sp, #48]",
    "ldp x25, x26, [sp, #64]",
    "ldp x27, x28, [sp, #80]",
    "ldp d8, d9, [sp, #96]",
    "ldp d10, d11, [sp, #112]",
    "ldp d12, d13, [sp, #128]",
    "ldp d14, d15, [sp, #144]",
    "ldp x29, x30, [sp], #176",
    "ret",
);

type Registers = [u64; REGISTERS];

unsafe extern "C" {
    fn golib_test_hold(want: *const Registers, got: *mut Registers, f: extern "C" fn());
}

extern "C" fn park() {
    go_lib::gosched();
    go_lib::sleep(std::time::Duration::from_nanos(1));
}

#[test]
fn a_goroutine_finds_its_registers_as_it_left_them() {
    alone(|| {
        let mut rng = Rng::new("a_goroutine_finds_its_registers");
        go_lib::run(move || {
            let wg = WaitGroup::new();
            for _ in 0..50 {
                let mut rng = Rng(rng.next() | 1);
                wg.go(move || {
                    for _ in 0..40 {
                        let want: Registers = std::array::from_fn(|_| rng.next());
                        let mut got = [0; REGISTERS];
                        // SAFETY: both are valid; golib_test_hold keeps the ABI.
                        unsafe { golib_test_hold(&want, &mut got, park) };
                        assert_eq!(got, want);
                    }
                });
            }
            wg.wait();
        });
    });
}

#[cfg(target_arch = "x86_64")]
const ROUNDINGS: [i32; 4] = [0, 0x400, 0x800, 0xc00];
#[cfg(target_arch = "aarch64")]
const ROUNDINGS: [i32; 4] = [0, 0x40_0000, 0x80_0000, 0xc0_0000];

#[link(name = "m")]
unsafe extern "C" {
    fn fesetround(rounding: i32) -> i32;
    fn fegetround() -> i32;
}

#[test]
fn a_goroutine_rounds_as_it_set_and_a_new_one_to_nearest() {
    alone(|| {
        go_lib::run(|| {
            let wg = WaitGroup::new();
            for i in 0..40 {
                let wg2 = wg.clone();
                wg.go(move || {
                    let rounding = ROUNDINGS[i % ROUNDINGS.len()];
                    // SAFETY: no requirements.
                    assert_eq!(unsafe { (fegetround(), fesetround(rounding)) }, (ROUNDINGS[0], 0));
                    let third = || black_box(1.0_f64) / black_box(3.0);
                    let quotient = third();
                    // SAFETY: no requirements.
                    wg2.go(|| assert_eq!(unsafe { fegetround() }, ROUNDINGS[0]));
                    for _ in 0..20 {
                        park();
                        // SAFETY: no requirements.
                        assert_eq!(unsafe { fegetround() }, rounding);
                        assert_eq!(third(), quotient);
                    }
                });
            }
            wg.wait();
        });
    });
}

#[test]
fn a_backtrace_ends_at_the_goroutines_entry() {
    alone(|| {
        let (tx, rx) = go_lib::chan::chan(1);
        go_lib::go(move || tx.send(std::backtrace::Backtrace::force_capture().to_string()));
        let trace = rx.recv().unwrap();
        // A line of a frame is "  12: name", one of a place "  at file".
        let last = trace.lines().rfind(|line| !line.trim_start().starts_with("at ")).unwrap();
        assert!(last.ends_with(": golib_goentry"), "{trace}");
    });
}

#[test]
fn a_panic_runs_the_destructors_of_a_goroutine_that_has_moved() {
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn descend(depth: usize, dropped: &Arc<AtomicUsize>) {
        let _count = Count(dropped.clone());
        park();
        assert!(depth > 0, "the end");
        descend(depth - 1, dropped);
    }
    alone(|| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let peers: Vec<_> = (0..20)
            .map(|_| {
                let dropped = dropped.clone();
                common::start(common::Kind::Goroutine, move || {
                    common::panic_text(|| descend(20, &dropped))
                })
            })
            .collect();
        for peer in peers {
            assert_eq!(peer.join(), "the end");
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 20 * 21);
    });
}

#[test]
fn a_stack_that_overflows_ends_the_process_with_a_report() {
    #[allow(unconditional_recursion, reason = "what the guard is for")]
    fn down(n: u64) -> u64 {
        black_box(down(black_box(n) + 1)) + 1
    }
    if common::is_again() {
        go_lib::run(|| {
            go_lib::spawn_with_stack(256 << 10, || down(0));
            go_lib::sleep(std::time::Duration::from_secs(30));
        });
    }
    let out = common::run_again("a_stack_that_overflows_ends_the_process_with_a_report");
    let report = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{report}");
    assert!(report.contains("goroutine stack exceeds 262144-byte limit"), "{report}");
}
