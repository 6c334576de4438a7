//! A panic handler lives as long as the process.

fn main() {
    let mut n = 0;
    go_lib::set_panic_handler(|_| n += 1);
}
