//! Programs that use each public name of the crate's published line, 0.4 to 0.6, as it was used there.
//!
//! They compile against the published 0.6.3 (`line_0_6`) and 0.5.0 (`line_0_5`) as they stand. Not carried over:
//! - `Receiver::try_recv` was `Option<Option<T>>`; here `None` also stands for closed, and
//!   `try_recv_ok` tells the two apart.
//! - Matching on std's lock results: `if let Ok(guard) = mutex.lock()`; `try_lock` gives an `Option`.
//! - The parts that the old `select!` was made of (`selectgo`, `SCase`): safe functions over raw
//!   pointers.
//! - A scoped goroutine that borrows a local of the scope's own closure, which is gone first.
//! - A channel stayed open when its last sender was dropped, against what its documentation said.

#![allow(dead_code, unused_mut, reason = "compiled as others wrote them")]

mod line_0_6 {
    use go_lib::chan::{chan, Receiver, Sender};
    use go_lib::context::{self, CancelFn, Context, ContextError};
    use go_lib::sync::{Cond, Mutex, RwLock, WaitGroup};
    use go_lib::{go, select};
    use std::process::ExitCode;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// An entry with parameters and a value.
    #[go_lib::main]
    pub fn total(numbers: Vec<u32>, workers: usize) -> u32 {
        let (tx, rx): (Sender<u32>, Receiver<u32>) = chan::<u32>(workers);
        let numbers = Arc::new(numbers);
        for w in 0..workers {
            let (tx, numbers) = (tx.clone(), Arc::clone(&numbers));
            go!(move || tx.send(numbers.iter().skip(w).step_by(workers).sum()));
        }
        drop(tx);
        let mut total = 0;
        while let Some(n) = rx.clone().recv() {
            total += n;
        }
        total
    }

    #[go_lib::main]
    pub fn exit_code() -> ExitCode {
        ExitCode::from(u8::from(go_lib::gomaxprocs() == 0))
    }

    #[go_lib::main]
    pub fn parse(word: &'static str) -> Result<i64, std::num::ParseIntError> {
        let n: i64 = word.parse()?;
        Ok(n + 1)
    }

    #[go_lib::main]
    pub fn channels() {
        let (tx, rx) = chan(1);
        assert!(tx.try_send(1));
        assert!(!tx.try_send(2));
        tx.close();
        assert_eq!(rx.recv(), Some(1));
        assert_eq!(rx.recv(), None);
    }

    /// The shapes of `select!`: bodies in braces, with and without commas between them.
    #[go_lib::main]
    pub fn selects() -> Vec<String> {
        let mut seen = Vec::new();
        let (tx, rx) = chan::<i32>(1);
        let (tx2, rx2) = chan::<&'static str>(1);
        let (tx3, rx3) = chan::<u8>(0);
        tx.send(1);
        select! {
            recv(rx) -> v => { seen.push(format!("{v:?}")) }
        }
        select! {
            recv(rx) -> _v => { unreachable!() }
            default => { seen.push("nothing".to_string()) }
        }
        tx2.send("two");
        select! {
            recv(rx) -> _v => { unreachable!() },
            recv(rx2) -> v => { seen.push(format!("{v:?}")) },
        }
        select! {
            recv(rx) -> _v => { unreachable!() }
            recv(rx2) -> _v => { unreachable!() }
            recv(rx3) -> _v => { unreachable!() }
            default => { seen.push("none of three".to_string()) }
        }
        select! {
            send(tx, 5) => { seen.push("sent".to_string()) }
            default => { unreachable!() }
        }
        select! {
            recv(rx3) -> _v => { unreachable!() }
            send(tx2, "sent too") => { seen.push("sent".to_string()) }
        }
        go!(move || {
            let _ = tx3.try_send(0);
            tx3.send(3)
        });
        let mut left = 3;
        while left > 0 {
            select! {
                recv(rx) -> v => { seen.push(format!("{v:?}")); left -= 1; }
                recv(rx2) -> v => { seen.push(format!("{v:?}")); left -= 1; }
                recv(rx3) -> v => {
                    if v.is_none() { continue; }
                    seen.push(format!("{v:?}"));
                    left -= 1;
                }
                send(tx, 9) => { seen.push("nine".to_string()); break; }
            }
        }
        seen
    }

    /// Everything of `scope`, by the function and by the module.
    #[go_lib::main]
    pub fn scopes() -> u32 {
        fn start<'scope, 'env>(
            s: &'scope go_lib::scope::Scope<'scope, 'env>,
            part: &'scope [u32],
        ) -> go_lib::scope::ScopedJoinHandle<'scope, u32> {
            s.go(move || part.iter().sum())
        }
        let numbers = [1, 2, 3, 4];
        let by_function = go_lib::scope(|s| {
            let halves = [start(s, &numbers[..2]), start(s, &numbers[2..])];
            halves.into_iter().map(|h| h.join().expect("no panic")).sum::<u32>()
        });
        let by_module = go_lib::scope::scope(|s| {
            let failed = s.go(|| -> () { std::panic::resume_unwind(Box::new("as expected")) });
            let payload: Box<dyn std::any::Any + Send> = failed.join().unwrap_err();
            assert_eq!(payload.downcast_ref::<&str>(), Some(&"as expected"));
            numbers[0]
        });
        by_function + by_module
    }

    static SHARED: Mutex<u32> = Mutex::new(0);

    /// `sync::Mutex` and `sync::RwLock` were std's.
    #[go_lib::main]
    pub fn locks() -> u32 {
        let wg = Arc::new(WaitGroup::new());
        let table = Arc::new(RwLock::new(vec![0; 4]));
        for i in 0..4 {
            wg.add(1);
            let (wg, table) = (Arc::clone(&wg), Arc::clone(&table));
            go!(move || {
                *SHARED.lock().unwrap() += 1;
                table.write().unwrap()[i] = 2;
                wg.done();
            });
        }
        wg.wait();
        let sum: u32 = table.read().unwrap().iter().sum();
        let guard = SHARED.lock().expect("not poisoned");
        let first = table.write().unwrap_or_else(|e| e.into_inner())[0];
        sum + *guard + first
    }

    #[go_lib::main]
    pub fn condition() -> u32 {
        let ours = Arc::new((Mutex::new(0), Cond::new()));
        let (mu, cond) = (Arc::new(std::sync::Mutex::new(false)), Arc::new(Cond::default()));
        let (ours2, mu2, cond2) = (ours.clone(), Arc::clone(&mu), Arc::clone(&cond));
        go!(move || {
            *mu2.lock().unwrap() = true;
            cond2.notify_one();
            *ours2.0.lock().unwrap() = 7;
            ours2.1.notify_all();
        });
        let mut ready = mu.lock().unwrap();
        while !*ready {
            ready = cond.wait(&mu, ready);
        }
        let mut n = ours.0.lock().unwrap();
        while *n == 0 {
            n = ours.1.wait(&ours.0, n);
        }
        *n
    }

    #[go_lib::main]
    pub fn contexts() {
        let root: Context = context::background();
        let (ctx, cancel): (Context, CancelFn) = context::with_cancel(&root);
        let (child, _cancel) = context::with_timeout(&ctx, Duration::from_secs(60));
        let (late, _cancel2) = context::with_deadline(&root, Instant::now());
        assert!(!child.is_done() && child.deadline().is_some() && root.err().is_none());
        let waiting = child.clone();
        let cancel2 = cancel.clone();
        go!(move || cancel2.cancel());
        select! {
            recv(waiting.done()) -> v => { assert!(v.is_none()) }
        }
        cancel.cancel();
        assert_eq!(child.err(), Some(ContextError::Cancelled));
        late.done().recv();
        match late.err() {
            Some(ContextError::DeadlineExceeded) => {}
            other => panic!("{other:?}"),
        }
        assert!(!format!("{}", ContextError::Cancelled.clone()).is_empty());
    }

    #[go_lib::main]
    pub fn net() -> std::io::Result<usize> {
        use go_lib::net::{TcpListener, TcpStream};
        use std::io::{Read, Write};

        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let addr = listener.local_addr()?;
        #[cfg(unix)]
        let fds: [std::os::fd::RawFd; 1] = [listener.as_raw_fd()];
        #[cfg(windows)]
        let fds: [std::os::windows::io::RawSocket; 1] = [listener.as_raw_socket()];
        assert!(fds[0] > 2);
        go!(move || {
            let mut conn = listener.accept().unwrap();
            let mut buf = [0; 64];
            while let Ok(n @ 1..) = conn.read(&mut buf) {
                if conn.write_all(&buf[..n]).is_err() {
                    break;
                }
            }
        });
        let mut stream = TcpStream::connect(addr)?;
        assert_eq!(stream.peer_addr()?, addr);
        assert_ne!(stream.local_addr()?, addr);
        let mut reader = stream.try_clone()?;
        assert_eq!(stream.write(b"published")?, 9);
        (&stream).flush()?;
        let mut answer = [0; 9];
        reader.read_exact(&mut answer)?;
        assert_eq!(&answer, b"published");
        Ok(answer.len())
    }

    #[go_lib::main]
    pub fn the_rest() -> usize {
        static PANICS: AtomicU32 = AtomicU32::new(0);
        go_lib::set_panic_handler(|payload| {
            if payload.downcast_ref::<&str>() == Some(&"expected")
                || payload.downcast_ref::<String>().is_some_and(|s| s == "expected")
            {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
        });
        go!(|| {
            std::panic::resume_unwind(Box::new("expected"));
        });
        let old = go_lib::set_gomaxprocs(2);
        while PANICS.load(Ordering::SeqCst) == 0 {
            go_lib::gosched();
            go_lib::sleep(Duration::from_millis(1));
        }
        go_lib::set_gomaxprocs(old);
        fn worker(tx: Sender<u8>, n: u8) -> impl FnOnce() + Send + 'static {
            move || tx.send(n)
        }
        let (tx, rx) = chan(0);
        go!(worker(tx, 5));
        assert_eq!(rx.recv(), Some(5));
        let (tx, rx) = chan(0);
        go_lib::spawn_with_stack(1 << 20, move || tx.send(()));
        rx.recv();
        let n = go_lib::with_syscall(|| std::fs::read_dir(".").map(|d| d.count()));
        n.unwrap_or(0)
    }
}

/// Names that 0.6 removed again.
mod line_0_5 {
    use go_lib::chan::chan;

    #[go_lib::run]
    pub fn attribute() -> Result<u32, String> {
        let (tx, rx) = chan::<u32>(0);
        go_lib::go!(move || tx.send(4));
        rx.recv().ok_or("closed".to_string())
    }

    pub fn function() -> u32 {
        go_lib::run(|| {
            let (tx, rx) = chan::<u32>(0);
            go_lib::go!(move || tx.send(5));
            rx.recv().unwrap()
        })
    }
}

#[test]
fn programs_of_the_published_line_run() {
    assert_eq!(line_0_6::total((1..=100).collect(), 7), 5050);
    assert_eq!(
        format!("{:?}", line_0_6::exit_code()),
        format!("{:?}", std::process::ExitCode::SUCCESS)
    );
    assert_eq!(line_0_6::parse("41"), Ok(42));
    assert!(line_0_6::parse("x").is_err());
    line_0_6::channels();
    let seen = line_0_6::selects();
    assert_eq!(seen[..5], ["Some(1)", "nothing", "Some(\"two\")", "none of three", "sent"]);
    assert_eq!(line_0_6::scopes(), 11);
    assert_eq!(line_0_6::locks(), 14);
    assert_eq!(line_0_6::condition(), 7);
    line_0_6::contexts();
    assert_eq!(line_0_6::net().unwrap(), 9);
    assert!(line_0_6::the_rest() > 0);
    assert_eq!(line_0_5::attribute(), Ok(4));
    assert_eq!(line_0_5::function(), 5);
}

#[test]
fn the_entry_of_the_published_attribute_is_there() {
    assert_eq!(go_lib::__main_entry(|| 6 * 7), 42);
    go_lib::__main_entry(|| go_lib::__spawn(|| ()));
}
