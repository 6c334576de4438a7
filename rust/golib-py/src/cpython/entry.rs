//! Raw entries: the C functions that Python calls for every operation that can park.
//!
//! An entry pushes an ordinary frame record and hands its address on, so that the movability test knows where the walk
//! over the native frames starts. No frame of PyO3 may lie between the eval loop and a park: PyO3 counts attachments
//! per OS thread, and a parked goroutine may resume on another one.
//!
//! ```ignore
//! raw_entry!(pub(crate) fn golib_entry_chan_send(o) => chan_send);
//! unsafe extern "C-unwind" fn chan_send(slf: *mut PyObject, value: *mut PyObject, caller: *const Caller) -> *mut PyObject { … }
//! ```
//!
//! | kind | CPython's flags | the target's parameters before `*const Caller` |
//! |---|---|---|
//! | `iternext` | `tp_iternext` and other slots of one argument | `slf` |
//! | `o` | `METH_O`, `METH_NOARGS`, slots of two arguments | `slf, arg` |
//! | `fastcall` | `METH_FASTCALL` | `slf, args, n` |
//! | `keywords` | `METH_FASTCALL \| METH_KEYWORDS` | `slf, args, n, kwnames` |
//!
//! The target must not unwind (`catch_unwind` belongs into it), and must keep nothing alive that a migration invalidates.

use std::os::raw::c_void;

/// The frame record of a running entry, which its prologue pushed. It lies on the stack and is valid while the entry
/// runs.
///
/// ```text
///   higher   | caller's frame  |<- cfa (on aarch64 the record names it)
///            | return address  |   ret
///   Caller ->| frame pointer   |   frame (the caller's)
/// ```
#[repr(C)]
#[derive(Debug)]
pub struct Caller {
    frame: *const c_void,
    ret: *const c_void,
    #[cfg(target_arch = "aarch64")]
    cfa: *const c_void,
}

impl Caller {
    /// The address in the caller to which the entry returns.
    #[inline]
    pub fn ret(&self) -> *const c_void {
        self.ret
    }
}

/// Defines an entry and its symbol; see the module's documentation.
macro_rules! raw_entry {
    ($(#[$meta:meta])* $vis:vis fn $name:ident(iternext) => $target:path) => {
        $crate::cpython::entry::raw_entry!(@asm "rsi", "x1", "mov rdx, rbp", $name, $target);
        unsafe extern "C" {
            $(#[$meta])* $vis fn $name(slf: *mut ::pyo3::ffi::PyObject) -> *mut ::pyo3::ffi::PyObject;
        }
        const _: unsafe extern "C-unwind" fn(
            *mut ::pyo3::ffi::PyObject, *const $crate::cpython::Caller,
        ) -> *mut ::pyo3::ffi::PyObject = $target;
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident(o) => $target:path) => {
        $crate::cpython::entry::raw_entry!(@asm "rdx", "x2", "mov r8, rbp", $name, $target);
        unsafe extern "C" {
            $(#[$meta])* $vis fn $name(
                slf: *mut ::pyo3::ffi::PyObject, arg: *mut ::pyo3::ffi::PyObject,
            ) -> *mut ::pyo3::ffi::PyObject;
        }
        const _: unsafe extern "C-unwind" fn(
            *mut ::pyo3::ffi::PyObject, *mut ::pyo3::ffi::PyObject, *const $crate::cpython::Caller,
        ) -> *mut ::pyo3::ffi::PyObject = $target;
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident(fastcall) => $target:path) => {
        $crate::cpython::entry::raw_entry!(@asm "rcx", "x3", "mov r9, rbp", $name, $target);
        unsafe extern "C" {
            $(#[$meta])* $vis fn $name(
                slf: *mut ::pyo3::ffi::PyObject, args: *mut *mut ::pyo3::ffi::PyObject, n: ::pyo3::ffi::Py_ssize_t,
            ) -> *mut ::pyo3::ffi::PyObject;
        }
        const _: unsafe extern "C-unwind" fn(
            *mut ::pyo3::ffi::PyObject, *mut *mut ::pyo3::ffi::PyObject, ::pyo3::ffi::Py_ssize_t,
            *const $crate::cpython::Caller,
        ) -> *mut ::pyo3::ffi::PyObject = $target;
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident(keywords) => $target:path) => {
        $crate::cpython::entry::raw_entry!(@asm "r8", "x4", "mov [rsp + 32], rbp", $name, $target);
        unsafe extern "C" {
            $(#[$meta])* $vis fn $name(
                slf: *mut ::pyo3::ffi::PyObject, args: *const *mut ::pyo3::ffi::PyObject, n: ::pyo3::ffi::Py_ssize_t,
                kwnames: *mut ::pyo3::ffi::PyObject,
            ) -> *mut ::pyo3::ffi::PyObject;
        }
        const _: unsafe extern "C-unwind" fn(
            *mut ::pyo3::ffi::PyObject, *const *mut ::pyo3::ffi::PyObject, ::pyo3::ffi::Py_ssize_t,
            *mut ::pyo3::ffi::PyObject, *const $crate::cpython::Caller,
        ) -> *mut ::pyo3::ffi::PyObject = $target;
    };
    // A call, not a jump: the record must stay on the stack while the target runs.
    (@asm $x86:literal, $arm:literal, $windows:literal, $name:ident, $target:path) => {
        #[cfg(all(target_arch = "x86_64", not(windows)))]
        ::core::arch::global_asm!(
            ".text",
            ".p2align 4",
            concat!(".globl ", stringify!($name)),
            concat!(".hidden ", stringify!($name)),
            concat!(".type ", stringify!($name), ", @function"),
            concat!(stringify!($name), ":"),
            ".cfi_startproc",
            "endbr64",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            concat!("mov ", $x86, ", rsp"),
            "call {target}",
            "pop rbp",
            ".cfi_def_cfa rsp, 8",
            "ret",
            ".cfi_endproc",
            concat!(".size ", stringify!($name), ", . - ", stringify!($name)),
            target = sym $target,
        );
        // The callee may use 32 bytes above its return address, and a fifth argument lies above those.
        #[cfg(all(target_arch = "x86_64", windows))]
        ::core::arch::global_asm!(
            ".text",
            ".p2align 4",
            concat!(".def ", stringify!($name), "\n.scl 2\n.type 32\n.endef"),
            concat!(".globl ", stringify!($name)),
            concat!(".seh_proc ", stringify!($name)),
            concat!(stringify!($name), ":"),
            "push rbp",
            ".seh_pushreg rbp",
            "mov rbp, rsp",
            "sub rsp, 48",
            ".seh_stackalloc 48",
            ".seh_endprologue",
            $windows,
            "call {target}",
            "add rsp, 48",
            "pop rbp",
            "ret",
            ".seh_endproc",
            target = sym $target,
        );
        #[cfg(target_arch = "aarch64")]
        ::core::arch::global_asm!(
            ".text",
            ".p2align 4",
            concat!(".globl ", stringify!($name)),
            concat!(".hidden ", stringify!($name)),
            concat!(".type ", stringify!($name), ", %function"),
            concat!(stringify!($name), ":"),
            ".cfi_startproc",
            "stp x29, x30, [sp, #-32]!",
            ".cfi_def_cfa_offset 32",
            ".cfi_offset x29, -32",
            ".cfi_offset x30, -24",
            "mov x29, sp",
            ".cfi_def_cfa_register x29",
            "add x16, sp, #32",
            "str x16, [sp, #16]",
            concat!("mov ", $arm, ", sp"),
            "bl {target}",
            "ldp x29, x30, [sp], #32",
            ".cfi_def_cfa sp, 0",
            "ret",
            ".cfi_endproc",
            concat!(".size ", stringify!($name), ", . - ", stringify!($name)),
            target = sym $target,
        );
    };
}
pub(crate) use raw_entry;
