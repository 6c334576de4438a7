//! Programs that must not compile fail with the right message. That does not depend on the CPU, and takes a compiler
//! beside the test, which one that is cross-built has not.
#![cfg(all(target_arch = "x86_64", unix, not(golib_kqueue)))]

#[test]
fn what_is_unsound_or_meaningless_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
