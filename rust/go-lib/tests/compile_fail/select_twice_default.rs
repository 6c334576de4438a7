//! A select waits forever, for a time, or not at all.

fn main() {
    let (_tx, rx) = go_lib::chan::chan::<u8>(1);
    go_lib::select! {
        default => (),
        recv(rx) -> _v => (),
        timeout(std::time::Duration::ZERO) => (),
    }
}
