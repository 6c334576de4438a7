//! A channel may pass its values to any thread.

use std::rc::Rc;

fn main() {
    let (tx, rx) = go_lib::chan::chan::<Rc<u8>>(1);
    go_lib::go!(move || tx.send(Rc::new(1)));
    rx.recv();
}
