//! A guard of std's belongs to its thread, and so does the one that keeps a goroutine on its
//! thread.

use std::sync::{Mutex, MutexGuard};

static M: Mutex<u8> = Mutex::new(1);

fn main() {
    let guard: MutexGuard<'static, u8> = M.lock().unwrap();
    go_lib::go!(move || drop(guard));
    let here = go_lib::lock_os_thread();
    go_lib::go!(move || drop(here));
}
