//! Workloads shared by all blocking-style peers. A peer implements [`Rt`] and calls [`main_for`].
//! Usage of every binary: `peer WORKLOAD [procs=1] [n=...]`; it prints one line of `key=value` pairs.
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub trait Rt: Sized + 'static {
    const NAME: &'static str;
    type Tx<T: Send + 'static>: Clone + Send + 'static;
    type Rx<T: Send + 'static>: Clone + Send + 'static;
    type Lock: Send + Sync + 'static;
    type Wg: Send + 'static;
    /// Runs `f` as the first task on a runtime with `procs` processors.
    fn run(procs: usize, f: impl FnOnce() + Send + 'static);
    fn go(f: impl FnOnce() + Send + 'static);
    /// `go` with a stack of 256 KiB, where the library lets one choose.
    fn go_small(f: impl FnOnce() + Send + 'static) {
        Self::go(f)
    }
    fn gosched();
    fn sleep(d: Duration);
    fn chan<T: Send + 'static>(cap: usize) -> (Self::Tx<T>, Self::Rx<T>);
    fn send<T: Send + 'static>(tx: &Self::Tx<T>, v: T);
    fn recv<T: Send + 'static>(rx: &Self::Rx<T>) -> Option<T>;
    /// Receives `n` values in all from four channels by select; returns their sum.
    fn select_sum(rx: [Self::Rx<u64>; 4], n: u64) -> u64;
    fn wg_new() -> Self::Wg;
    /// One more task to wait for: the token it must hand to `wg_done`.
    fn wg_add(wg: &Self::Wg) -> Self::Wg;
    fn wg_done(token: Self::Wg);
    fn wg_wait(wg: Self::Wg);
    fn lock_new() -> Self::Lock;
    fn lock_incr(l: &Self::Lock) -> u64;
    /// Echoes what each connection sends, for ever; prints `port=` first.
    fn echo_server() -> !;
    /// The library's own wrapper for a blocking call, where it has one.
    fn blocking(f: impl FnOnce()) {
        f()
    }
}

pub struct Args {
    pub workload: String,
    pub procs: usize,
    pub n: Option<u64>,
    pub opt: String,
}

pub fn args() -> Args {
    let mut a = Args { workload: String::new(), procs: 1, n: None, opt: String::new() };
    for s in std::env::args().skip(1) {
        match s.split_once('=') {
            Some(("procs", v)) => a.procs = v.parse().unwrap(),
            Some(("n", v)) => a.n = Some(v.replace('_', "").parse().unwrap()),
            Some(("opt", v)) => a.opt = v.into(),
            _ => a.workload = s,
        }
    }
    a
}

/// Prints the result line and ends the process (so that leftover tasks need not be torn down).
pub fn report(peer: &str, a: &Args, n: u64, ops: u64, t: Duration, ok: bool, extra: &str) -> ! {
    println!(
        "peer={peer} wl={} procs={} n={n} secs={:.4} ns_op={:.1} check={} {extra}",
        a.workload,
        a.procs,
        t.as_secs_f64(),
        t.as_nanos() as f64 / ops as f64,
        if ok { "ok" } else { "BAD" }
    );
    use std::io::Write;
    let _ = std::io::stdout().flush();
    unsafe { libc::_exit(if ok { 0 } else { 3 }) }
}

/// (VmRSS, VmPTE, VmSize) in bytes.
pub fn mem() -> (i64, i64, i64) {
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    let f = |k: &str| {
        s.lines()
            .find(|l| l.starts_with(k))
            .and_then(|l| l.split_whitespace().nth(1))
            .map_or(0, |v| v.parse::<i64>().unwrap() * 1024)
    };
    (f("VmRSS:"), f("VmPTE:"), f("VmSize:"))
}

/// xorshift64*: deterministic delays.
pub fn rnd(mut x: u64) -> u64 {
    x = x.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
}

pub fn pct(v: &mut [u32], p: f64) -> u32 {
    v.sort_unstable();
    v[((v.len() - 1) as f64 * p) as usize]
}

#[inline(never)]
pub fn spin(iters: u64) -> u64 {
    let mut x = 88172645463325252u64;
    for _ in 0..iters {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    std::hint::black_box(x)
}

/// 300 ms in a blocking system call; returns how often a signal cut it short.
pub fn nap() -> u32 {
    let (t, mut eintr) = (Instant::now(), 0);
    loop {
        let left = Duration::from_millis(300).saturating_sub(t.elapsed()).as_micros();
        if left == 0 {
            return eintr;
        }
        if unsafe { libc::usleep(left as u32) } != 0 {
            eintr += 1;
        }
    }
}

/// Iterations of `spin` that take about `d`.
pub fn calibrate(d: Duration) -> u64 {
    spin(50_000_000); // the clock's warm-up
    let t = Instant::now();
    spin(50_000_000);
    (50_000_000.0 * d.as_secs_f64() / t.elapsed().as_secs_f64()) as u64
}

pub fn fib(n: u64) -> u64 {
    if n < 2 {
        n
    } else {
        fib(n - 1) + fib(n - 2)
    }
}

pub fn main_for<R: Rt>() {
    let a = args();
    R::run(a.procs, move || workload::<R>(a));
}

fn workload<R: Rt>(a: Args) {
    let n = |d: u64| a.n.unwrap_or(d);
    match a.workload.as_str() {
        "spawn_join" => {
            let n = n(1_000_000);
            let c = Arc::new(AtomicU64::new(0));
            let t = Instant::now();
            let wg = R::wg_new();
            for i in 0..n {
                let (w, c) = (R::wg_add(&wg), c.clone());
                R::go(move || {
                    c.fetch_add(i, Relaxed);
                    R::wg_done(w)
                });
            }
            R::wg_wait(wg);
            let t = t.elapsed();
            report(R::NAME, &a, n, n, t, c.load(Relaxed) == n * (n - 1) / 2, "")
        }
        // Waves of 1000 tasks, each joined before the next: the steady state, where stacks can be reused.
        "spawn_batch" => {
            let n = n(1_000_000) / 1000 * 1000;
            let c = Arc::new(AtomicU64::new(0));
            let t = Instant::now();
            for b in 0..n / 1000 {
                let wg = R::wg_new();
                for i in b * 1000..(b + 1) * 1000 {
                    let (w, c) = (R::wg_add(&wg), c.clone());
                    R::go(move || {
                        c.fetch_add(i, Relaxed);
                        R::wg_done(w)
                    });
                }
                R::wg_wait(wg);
            }
            let t = t.elapsed();
            report(R::NAME, &a, n, n, t, c.load(Relaxed) == n * (n - 1) / 2, "")
        }
        "yield" => {
            let n = n(2_000_000);
            let wg = R::wg_new();
            let t = Instant::now();
            for _ in 0..2 {
                let w = R::wg_add(&wg);
                R::go(move || {
                    for _ in 0..n {
                        R::gosched()
                    }
                    R::wg_done(w)
                });
            }
            R::wg_wait(wg);
            report(R::NAME, &a, n, 2 * n, t.elapsed(), true, "")
        }
        "pingpong" => {
            let n = n(500_000);
            let (ptx, prx) = R::chan::<u64>(0);
            let (qtx, qrx) = R::chan::<u64>(0);
            R::go(move || {
                while let Some(v) = R::recv(&prx) {
                    R::send(&qtx, v + 1)
                }
            });
            let (mut v, t) = (0, Instant::now());
            for _ in 0..n {
                R::send(&ptx, v);
                v = R::recv(&qrx).unwrap();
            }
            report(R::NAME, &a, n, n, t.elapsed(), v == n, "")
        }
        "prodcons" => {
            let n = n(5_000_000);
            let (tx, rx) = R::chan::<u64>(128);
            let t = Instant::now();
            R::go(move || {
                for i in 0..n {
                    R::send(&tx, i)
                }
            });
            let mut s = 0;
            for _ in 0..n {
                s += R::recv(&rx).unwrap();
            }
            report(R::NAME, &a, n, n, t.elapsed(), s == n * (n - 1) / 2, "")
        }
        "mpmc" => {
            let n = n(2_000_000) / 4 * 4;
            let (tx, rx) = R::chan::<u64>(128);
            let (stx, srx) = R::chan::<u64>(4);
            let t = Instant::now();
            for p in 0..4 {
                let tx = tx.clone();
                R::go(move || {
                    for i in 0..n / 4 {
                        R::send(&tx, i * 4 + p)
                    }
                });
                let (rx, stx) = (rx.clone(), stx.clone());
                R::go(move || {
                    let mut s = 0;
                    for _ in 0..n / 4 {
                        s += R::recv(&rx).unwrap();
                    }
                    R::send(&stx, s)
                });
            }
            let s: u64 = (0..4).map(|_| R::recv(&srx).unwrap()).sum();
            report(R::NAME, &a, n, n, t.elapsed(), s == n * (n - 1) / 2, "")
        }
        "select_fanin" => {
            let n = n(1_000_000) / 4 * 4;
            let t = Instant::now();
            let rx = std::array::from_fn(|p| {
                let (tx, rx) = R::chan::<u64>(0);
                R::go(move || {
                    for i in 0..n / 4 {
                        R::send(&tx, i * 4 + p as u64)
                    }
                    std::mem::forget(tx); // never closes: the consumer counts
                });
                rx
            });
            let s = R::select_sum(rx, n);
            report(R::NAME, &a, n, n, t.elapsed(), s == n * (n - 1) / 2, "")
        }
        "sieve" => {
            let n = n(1000);
            let t = Instant::now();
            let (tx, mut rx) = R::chan::<u64>(0);
            R::go(move || {
                for i in 2.. {
                    R::send(&tx, i)
                }
            });
            let mut prime = 0;
            for _ in 0..n {
                prime = R::recv(&rx).unwrap();
                let (tx, rx2) = R::chan::<u64>(0);
                let src = std::mem::replace(&mut rx, rx2);
                R::go(move || loop {
                    let v = R::recv(&src).unwrap();
                    if v % prime != 0 {
                        R::send(&tx, v)
                    }
                });
            }
            report(R::NAME, &a, n, n, t.elapsed(), n != 1000 || prime == 7919, "")
        }
        "skynet" => {
            let n = n(1_000_000);
            fn node<R: Rt>(out: R::Tx<u64>, num: u64, size: u64) {
                if size == 1 {
                    return R::send(&out, num);
                }
                let (tx, rx) = R::chan::<u64>(0);
                for i in 0..10 {
                    let tx = tx.clone();
                    R::go(move || node::<R>(tx, num + i * size / 10, size / 10));
                }
                R::send(&out, (0..10).map(|_| R::recv(&rx).unwrap()).sum());
            }
            let t = Instant::now();
            let (tx, rx) = R::chan::<u64>(0);
            R::go(move || node::<R>(tx, 0, n));
            let s = R::recv(&rx).unwrap();
            report(R::NAME, &a, n, n, t.elapsed(), s == n * (n - 1) / 2, "")
        }
        "parked" | "parked_1m" | "parked_small" => {
            let small = a.workload == "parked_small";
            let n = n(if a.workload == "parked_1m" { 1_000_000 } else { 100_000 });
            let (tx, rx) = R::chan::<u64>(0);
            let up = Arc::new(AtomicU64::new(0));
            let m0 = mem();
            let t = Instant::now();
            for _ in 0..n {
                let (rx, up) = (rx.clone(), up.clone());
                let f = move || {
                    up.fetch_add(1, Relaxed);
                    let _ = R::recv(&rx);
                };
                if small {
                    R::go_small(f)
                } else {
                    R::go(f)
                }
            }
            while up.load(Relaxed) < n {
                R::sleep(Duration::from_millis(1));
            }
            let t = t.elapsed();
            R::sleep(Duration::from_millis(100));
            let m1 = mem();
            std::mem::forget(tx);
            let per = |x: i64, y: i64| (x - y) as f64 / n as f64;
            let extra = format!(
                "rss_task={:.0} pte_task={:.0} vm_task={:.0}",
                per(m1.0, m0.0),
                per(m1.1, m0.1),
                per(m1.2, m0.2)
            );
            report(R::NAME, &a, n, n, t, true, &extra)
        }
        "timers" => {
            let n = n(100_000);
            let late: Arc<Vec<AtomicU32>> = Arc::new((0..n).map(|_| AtomicU32::new(0)).collect());
            let wg = R::wg_new();
            let t = Instant::now();
            for i in 0..n {
                let (w, late) = (R::wg_add(&wg), late.clone());
                R::go(move || {
                    let d = Duration::from_micros(rnd(i) % 1_000_000);
                    let t = Instant::now();
                    R::sleep(d);
                    late[i as usize]
                        .store(t.elapsed().saturating_sub(d).as_micros() as u32, Relaxed);
                    R::wg_done(w)
                });
            }
            R::wg_wait(wg);
            let t = t.elapsed();
            let mut v: Vec<u32> = late.iter().map(|x| x.load(Relaxed)).collect();
            let (p50, p99) = (pct(&mut v, 0.5), pct(&mut v, 0.99));
            let extra = format!(
                "over_ms={:.1} p50_us={p50} p99_us={p99} max_us={}",
                t.as_secs_f64() * 1e3 - 1000.0,
                v[v.len() - 1]
            );
            report(R::NAME, &a, n, n, t, true, &extra)
        }
        "mutex" => {
            let n = n(2_000_000);
            let l = Arc::new(R::lock_new());
            let wg = R::wg_new();
            let t = Instant::now();
            for _ in 0..4 {
                let (w, l) = (R::wg_add(&wg), l.clone());
                R::go(move || {
                    for _ in 0..n {
                        R::lock_incr(&l);
                    }
                    R::wg_done(w)
                });
            }
            R::wg_wait(wg);
            let t = t.elapsed();
            report(R::NAME, &a, n, 4 * n, t, R::lock_incr(&l) == 4 * n + 1, "")
        }
        // One task blocks its thread / burns CPU for 300 ms; the longest gap that a 1 ms ticker sees.
        "blocking" | "blocking_wrapped" | "cpu_hog" => {
            let iters = calibrate(Duration::from_millis(300));
            let done = Arc::new(AtomicUsize::new(0));
            let (tx, rx) = R::chan::<u64>(1);
            let d = done.clone();
            R::go(move || {
                let (mut max, mut last) = (0, Instant::now());
                while d.load(Relaxed) == 0 {
                    R::sleep(Duration::from_millis(1));
                    max = max.max(last.elapsed().as_micros() as u64);
                    last = Instant::now();
                }
                R::send(&tx, max)
            });
            R::sleep(Duration::from_millis(50));
            let wl = a.workload.clone();
            let eintr = Arc::new(AtomicU32::new(0));
            let e = eintr.clone();
            let t = Instant::now();
            let wg = R::wg_new();
            let w = R::wg_add(&wg);
            R::go(move || {
                match wl.as_str() {
                    "blocking" => e.store(nap(), Relaxed),
                    "blocking_wrapped" => R::blocking(|| e.store(nap(), Relaxed)),
                    _ => {
                        spin(iters);
                    }
                }
                R::wg_done(w)
            });
            R::wg_wait(wg);
            let t = t.elapsed();
            done.store(1, Relaxed);
            let max = R::recv(&rx).unwrap();
            report(
                R::NAME,
                &a,
                1,
                1,
                t,
                true,
                &format!("max_gap_us={max} eintr={}", eintr.load(Relaxed)),
            )
        }
        "parallel" => {
            // Fork-join fib: a task per call above the cut-off; results through channels.
            let n = n(36);
            fn node<R: Rt>(out: R::Tx<u64>, n: u64) {
                if n <= 22 {
                    return R::send(&out, fib(n));
                }
                let (tx, rx) = R::chan::<u64>(2);
                let t2 = tx.clone();
                R::go(move || node::<R>(tx, n - 1));
                R::go(move || node::<R>(t2, n - 2));
                R::send(&out, R::recv(&rx).unwrap() + R::recv(&rx).unwrap());
            }
            let t = Instant::now();
            let (tx, rx) = R::chan::<u64>(1);
            R::go(move || node::<R>(tx, n));
            let v = R::recv(&rx).unwrap();
            report(R::NAME, &a, n, 1, t.elapsed(), n != 36 || v == 14_930_352, "")
        }
        "tcp_echo" => R::echo_server(),
        w => panic!("unknown workload {w:?}"),
    }
}
