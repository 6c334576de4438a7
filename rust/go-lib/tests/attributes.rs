//! `#[go_lib::main]` and `#[go_lib::run]`: parameters, values, `?`, panics, nesting.

mod common;

use common::{alone, panic_text};

#[go_lib::run]
fn goroutines() -> usize {
    go_lib::num_goroutine()
}

#[go_lib::run]
fn joined(mut words: Vec<String>, (a, b): (u32, u32), sep: &'static str) -> String {
    words.push((a + b).to_string());
    words.join(sep)
}

#[go_lib::run]
fn parsed(word: &'static str) -> Result<u32, std::num::ParseIntError> {
    let n: u32 = word.parse()?;
    if n > 100 {
        return Ok(100);
    }
    Ok(n)
}

/// Its attributes, its visibility and its generics stay.
#[must_use]
#[go_lib::run]
pub fn twice<T>(value: T) -> (T, T)
where
    T: Clone + Send + 'static,
{
    (value.clone(), value)
}

#[go_lib::run]
fn panics() {
    std::panic::resume_unwind(Box::new("inside"));
}

#[go_lib::run]
fn nested(n: u32) -> u32 {
    if n == 0 {
        0
    } else {
        1 + nested(n - 1)
    }
}

/// As a program's `main`, which need not be called so.
#[go_lib::main]
fn start() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}

#[test]
fn a_function_runs_in_a_goroutine_and_its_value_comes_back() {
    alone(|| {
        assert!(goroutines() > 0);
        assert_eq!(joined(vec!["a".into()], (1, 2), "-"), "a-3");
        assert_eq!((parsed("7"), parsed("700")), (Ok(7), Ok(100)));
        assert!(parsed("seven").is_err());
        assert_eq!(twice("x"), ("x", "x"));
        assert_eq!(nested(10), 10);
        assert_eq!(format!("{:?}", start()), format!("{:?}", std::process::ExitCode::SUCCESS));
    });
}

#[test]
fn its_panic_is_the_callers() {
    alone(|| assert_eq!(panic_text(panics), "inside"));
}
