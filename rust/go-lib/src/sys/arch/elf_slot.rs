//! With glibc: the thread's M slot, a word of initial-exec thread-local storage.
//!
//! An access is a few instructions and no call, even in a library that is loaded later, because glibc
//! sets some storage aside for such libraries. Other C libraries do not (musl refuses to load the
//! library); see `sys/tls.rs` for those.

use std::arch::global_asm;

global_asm!(
    ".pushsection .tbss.golib_tls_m,\"awT\",@nobits",
    ".globl golib_tls_m",
    ".hidden golib_tls_m",
    ".type golib_tls_m,@object",
    ".size golib_tls_m, 8",
    ".p2align 3",
    "golib_tls_m:",
    ".zero 8",
    ".popsection",
);
