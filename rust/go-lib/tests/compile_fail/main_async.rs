//! A goroutine is not a future.

#[go_lib::main]
async fn main() {}
