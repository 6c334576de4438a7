//! golib's own crate, `go-lib`.
use common::Rt;
use go_lib::chan::{chan, Receiver, Sender};
use go_lib::sync::{Mutex, WaitGroup};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

struct GoLib;

impl Rt for GoLib {
    const NAME: &'static str = "golib";
    type Tx<T: Send + 'static> = Sender<T>;
    type Rx<T: Send + 'static> = Receiver<T>;
    type Lock = Mutex<u64>;
    type Wg = Arc<WaitGroup>;
    fn run(procs: usize, f: impl FnOnce() + Send + 'static) {
        std::env::set_var("GOMAXPROCS", procs.to_string());
        go_lib::run(f)
    }
    fn go(f: impl FnOnce() + Send + 'static) {
        go_lib::go!(f);
    }
    fn go_small(f: impl FnOnce() + Send + 'static) {
        go_lib::spawn_with_stack(256 << 10, f);
    }
    fn gosched() {
        go_lib::gosched()
    }
    fn sleep(d: Duration) {
        go_lib::sleep(d)
    }
    fn chan<T: Send + 'static>(cap: usize) -> (Sender<T>, Receiver<T>) {
        chan(cap)
    }
    fn send<T: Send + 'static>(tx: &Sender<T>, v: T) {
        tx.send(v)
    }
    fn recv<T: Send + 'static>(rx: &Receiver<T>) -> Option<T> {
        rx.recv()
    }
    fn select_sum(rx: [Receiver<u64>; 4], n: u64) -> u64 {
        let [a, b, c, d] = rx;
        let mut s = 0;
        for _ in 0..n {
            go_lib::select! {
                recv(a) -> v => { s += v.unwrap() }
                recv(b) -> v => { s += v.unwrap() }
                recv(c) -> v => { s += v.unwrap() }
                recv(d) -> v => { s += v.unwrap() }
            }
        }
        s
    }
    fn echo_server() -> ! {
        let listener = go_lib::net::TcpListener::bind("127.0.0.1:0").unwrap();
        println!("port={}", listener.local_addr().unwrap().port());
        loop {
            let mut stream = listener.accept().unwrap();
            go_lib::go!(move || {
                let mut buf = [0u8; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buf) {
                    if stream.write_all(&buf[..n]).is_err() {
                        break;
                    }
                }
            });
        }
    }
    fn wg_new() -> Self::Wg {
        Arc::new(WaitGroup::new())
    }
    fn wg_add(wg: &Self::Wg) -> Self::Wg {
        wg.add(1);
        wg.clone()
    }
    fn wg_done(token: Self::Wg) {
        token.done()
    }
    fn wg_wait(wg: Self::Wg) {
        wg.wait()
    }
    fn lock_new() -> Self::Lock {
        Mutex::new(0)
    }
    fn lock_incr(l: &Self::Lock) -> u64 {
        let mut g = l.lock();
        *g += 1;
        *g
    }
    fn blocking(f: impl FnOnce()) {
        go_lib::with_syscall(f)
    }
}

fn main() {
    common::main_for::<GoLib>()
}
