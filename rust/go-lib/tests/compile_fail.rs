//! What must not compile does not, and says why.

#[test]
fn what_is_unsound_or_meaningless_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
