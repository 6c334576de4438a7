//! A scope that is known outside could start goroutines after it has waited.

fn main() {
    let escaped = go_lib::scope(|s| s);
    escaped.go(|| ());
}
