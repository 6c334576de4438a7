//! How assembly names a function in each format of object files.
//!
//! In ELF the functions lie in a section of their own, near each other, and have types and sizes. Mach-O has one section for
//! code, splits it at its symbols, and puts an underscore before C's names.

/// Begins the function `$name`, which only this library can call.
#[cfg(not(target_vendor = "apple"))]
#[rustfmt::skip]
macro_rules! function {
    ($name:literal) => {
        concat!(
            ".pushsection .text.golib_switch,\"ax\",@progbits\n",
            ".globl ", $name, "\n.hidden ", $name, "\n.type ", $name, ",@function\n",
            ".p2align 4\n", $name, ":\n.cfi_startproc"
        )
    };
}

/// Ends the function `$name`.
#[cfg(not(target_vendor = "apple"))]
macro_rules! end {
    ($name:literal) => {
        concat!(".cfi_endproc\n.size ", $name, ", . - ", $name, "\n.popsection")
    };
}

/// Begins the function `$name`, which only this library can call.
#[cfg(target_vendor = "apple")]
#[rustfmt::skip]
macro_rules! function {
    ($name:literal) => {
        concat!(
            ".section __TEXT,__text,regular,pure_instructions\n",
            ".globl _", $name, "\n.private_extern _", $name, "\n",
            ".p2align 4\n_", $name, ":\n.cfi_startproc"
        )
    };
}

/// Ends the function `$name`.
#[cfg(target_vendor = "apple")]
macro_rules! end {
    ($name:literal) => {
        ".cfi_endproc"
    };
}

pub(super) use {end, function};
