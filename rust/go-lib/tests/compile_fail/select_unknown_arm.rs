//! The error names what is not an arm.

fn main() {
    let (_tx, rx) = go_lib::chan::chan::<u8>(1);
    go_lib::select! {
        recv(rx) -> _v => (),
        receive(rx) -> _v => (),
    }
}
