//! tokio: procs=1 is the current-thread runtime, procs=2 (and more) the multi-thread one.
//! Channels by opt=: kanal (the default) or flume, with which select_fanin ends; with kanal it does not.
//! Only `blocking_wrapped` uses spawn_blocking. All else runs on plain tasks.
use common::*;
use std::future::Future;
use std::sync::atomic::{
    AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::spawn;

/// The channel kinds behind one pair of async calls.
trait Chan: 'static {
    type Tx<T: Send + 'static>: Clone + Send + Sync + 'static;
    type Rx<T: Send + 'static>: Send + 'static;
    fn chan<T: Send + 'static>(cap: usize) -> (Self::Tx<T>, Self::Rx<T>);
    fn send<T: Send + 'static>(tx: &Self::Tx<T>, v: T) -> impl Future<Output = ()> + Send;
    fn recv<T: Send + 'static>(rx: &mut Self::Rx<T>) -> impl Future<Output = Option<T>> + Send;
    fn clone_rx<T: Send + 'static>(rx: &Self::Rx<T>) -> Self::Rx<T>;
}
struct Kanal;
struct Flume;
macro_rules! chan_impl {
    ($t:ty, $tx:ty, $rx:ty, $new:expr, $send:ident, $recv:ident) => {
        impl Chan for $t {
            type Tx<T: Send + 'static> = $tx;
            type Rx<T: Send + 'static> = $rx;
            fn chan<T: Send + 'static>(cap: usize) -> (Self::Tx<T>, Self::Rx<T>) {
                $new(cap)
            }
            async fn send<T: Send + 'static>(tx: &Self::Tx<T>, v: T) {
                let _ = tx.$send(v).await;
            }
            async fn recv<T: Send + 'static>(rx: &mut Self::Rx<T>) -> Option<T> {
                rx.$recv().await.ok()
            }
            fn clone_rx<T: Send + 'static>(rx: &Self::Rx<T>) -> Self::Rx<T> {
                rx.clone()
            }
        }
    };
}
chan_impl!(Kanal, kanal::AsyncSender<T>, kanal::AsyncReceiver<T>, kanal::bounded_async, send, recv);
chan_impl!(Flume, flume::Sender<T>, flume::Receiver<T>, flume::bounded, send_async, recv_async);

async fn sieve<C: Chan>(n: u64) -> u64 {
    let (tx, mut rx) = C::chan::<u64>(0);
    spawn(async move {
        for i in 2.. {
            C::send(&tx, i).await
        }
    });
    let mut prime = 0;
    for _ in 0..n {
        prime = C::recv(&mut rx).await.unwrap();
        let (tx, rx2) = C::chan::<u64>(0);
        let mut src = std::mem::replace(&mut rx, rx2);
        spawn(async move {
            loop {
                let v = C::recv(&mut src).await.unwrap();
                if v % prime != 0 {
                    C::send(&tx, v).await
                }
            }
        });
    }
    prime
}

/// Boxed: an async fn cannot contain itself.
fn skynet<C: Chan>(
    out: C::Tx<u64>,
    num: u64,
    size: u64,
) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if size == 1 {
            return C::send(&out, num).await;
        }
        let (tx, mut rx) = C::chan::<u64>(0);
        for i in 0..10 {
            spawn(skynet::<C>(tx.clone(), num + i * size / 10, size / 10));
        }
        let mut s = 0;
        for _ in 0..10 {
            s += C::recv(&mut rx).await.unwrap();
        }
        C::send(&out, s).await
    })
}

fn pfib<C: Chan>(out: C::Tx<u64>, n: u64) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if n <= 22 {
            return C::send(&out, fib(n)).await;
        }
        let (tx, mut rx) = C::chan::<u64>(2);
        spawn(pfib::<C>(tx.clone(), n - 1));
        spawn(pfib::<C>(tx, n - 2));
        let s = C::recv(&mut rx).await.unwrap() + C::recv(&mut rx).await.unwrap();
        C::send(&out, s).await
    })
}

async fn workload<C: Chan>(a: Args, name: String) {
    let n = |d: u64| a.n.unwrap_or(d);
    let name = name.as_str();
    match a.workload.as_str() {
        "spawn_join" => {
            // A WaitGroup in tokio's terms: a counter and one Notify.
            let n = n(1_000_000);
            let c = Arc::new((AtomicU64::new(0), AtomicU64::new(n), tokio::sync::Notify::new()));
            let t = Instant::now();
            for i in 0..n {
                let c = c.clone();
                spawn(async move {
                    c.0.fetch_add(i, Relaxed);
                    if c.1.fetch_sub(1, AcqRel) == 1 {
                        c.2.notify_one()
                    }
                });
            }
            c.2.notified().await;
            report(name, &a, n, n, t.elapsed(), c.0.load(Relaxed) == n * (n - 1) / 2, "")
        }
        "spawn_batch" => {
            let n = n(1_000_000) / 1000 * 1000;
            let s = Arc::new(AtomicU64::new(0));
            let t = Instant::now();
            for b in 0..n / 1000 {
                let c = Arc::new((AtomicU64::new(1000), tokio::sync::Notify::new()));
                for i in b * 1000..(b + 1) * 1000 {
                    let (s, c) = (s.clone(), c.clone());
                    spawn(async move {
                        s.fetch_add(i, Relaxed);
                        if c.0.fetch_sub(1, AcqRel) == 1 {
                            c.1.notify_one()
                        }
                    });
                }
                c.1.notified().await;
            }
            report(name, &a, n, n, t.elapsed(), s.load(Relaxed) == n * (n - 1) / 2, "")
        }
        "yield" => {
            let n = n(2_000_000);
            let t = Instant::now();
            let h: Vec<_> = (0..2)
                .map(|_| {
                    spawn(async move {
                        for _ in 0..n {
                            tokio::task::yield_now().await
                        }
                    })
                })
                .collect();
            for h in h {
                h.await.unwrap()
            }
            report(name, &a, n, 2 * n, t.elapsed(), true, "")
        }
        "pingpong" => {
            let n = n(500_000);
            let (ptx, mut prx) = C::chan::<u64>(0);
            let (qtx, mut qrx) = C::chan::<u64>(0);
            spawn(async move {
                while let Some(v) = C::recv(&mut prx).await {
                    C::send(&qtx, v + 1).await
                }
            });
            // The loop runs in a spawned task: block_on's own future is not on a worker.
            let (v, t) = spawn(async move {
                let (mut v, t) = (0, Instant::now());
                for _ in 0..n {
                    C::send(&ptx, v).await;
                    v = C::recv(&mut qrx).await.unwrap();
                }
                (v, t.elapsed())
            })
            .await
            .unwrap();
            report(name, &a, n, n, t, v == n, "")
        }
        "prodcons" => {
            let n = n(5_000_000);
            let (tx, mut rx) = C::chan::<u64>(128);
            let t = Instant::now();
            spawn(async move {
                for i in 0..n {
                    C::send(&tx, i).await
                }
            });
            let s = spawn(async move {
                let mut s = 0;
                for _ in 0..n {
                    s += C::recv(&mut rx).await.unwrap();
                }
                s
            })
            .await
            .unwrap();
            report(name, &a, n, n, t.elapsed(), s == n * (n - 1) / 2, "")
        }
        "mpmc" => {
            let n = n(2_000_000) / 4 * 4;
            let (tx, rx) = C::chan::<u64>(128);
            let (stx, mut srx) = C::chan::<u64>(4);
            let t = Instant::now();
            for p in 0..4 {
                let tx = tx.clone();
                spawn(async move {
                    for i in 0..n / 4 {
                        C::send(&tx, i * 4 + p).await
                    }
                });
                let (mut rx, stx) = (C::clone_rx(&rx), stx.clone());
                spawn(async move {
                    let mut s = 0;
                    for _ in 0..n / 4 {
                        s += C::recv(&mut rx).await.unwrap();
                    }
                    C::send(&stx, s).await
                });
            }
            let mut s = 0;
            for _ in 0..4 {
                s += C::recv(&mut srx).await.unwrap();
            }
            report(name, &a, n, n, t.elapsed(), s == n * (n - 1) / 2, "")
        }
        "select_fanin" => {
            let n = n(1_000_000) / 4 * 4;
            let t = Instant::now();
            let rx: [C::Rx<u64>; 4] = std::array::from_fn(|p| {
                let (tx, rx) = C::chan::<u64>(0);
                spawn(async move {
                    for i in 0..n / 4 {
                        C::send(&tx, i * 4 + p as u64).await
                    }
                    std::mem::forget(tx)
                });
                rx
            });
            let [mut a0, mut b, mut c, mut d] = rx;
            let s = spawn(async move {
                let mut s = 0;
                for _ in 0..n {
                    tokio::select! {
                        v = C::recv(&mut a0) => s += v.unwrap(),
                        v = C::recv(&mut b) => s += v.unwrap(),
                        v = C::recv(&mut c) => s += v.unwrap(),
                        v = C::recv(&mut d) => s += v.unwrap(),
                    }
                }
                s
            })
            .await
            .unwrap();
            report(name, &a, n, n, t.elapsed(), s == n * (n - 1) / 2, "")
        }
        "sieve" => {
            let n = n(1000);
            let t = Instant::now();
            let prime = spawn(sieve::<C>(n)).await.unwrap();
            report(name, &a, n, n, t.elapsed(), n != 1000 || prime == 7919, "")
        }
        "skynet" => {
            let n = n(1_000_000);
            let t = Instant::now();
            let (tx, mut rx) = C::chan::<u64>(0);
            spawn(skynet::<C>(tx, 0, n));
            let s = C::recv(&mut rx).await.unwrap();
            report(name, &a, n, n, t.elapsed(), s == n * (n - 1) / 2, "")
        }
        "parked" => {
            let n = n(100_000);
            let (tx, rx) = C::chan::<u64>(0);
            let up = Arc::new(AtomicU64::new(0));
            let m0 = mem();
            let t = Instant::now();
            for _ in 0..n {
                let (mut rx, up) = (C::clone_rx(&rx), up.clone());
                spawn(async move {
                    up.fetch_add(1, Relaxed);
                    C::recv(&mut rx).await;
                });
            }
            while up.load(Relaxed) < n {
                tokio::time::sleep(Duration::from_millis(1)).await
            }
            let t = t.elapsed();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let m1 = mem();
            std::mem::forget(tx);
            let per = |x: i64, y: i64| (x - y) as f64 / n as f64;
            let extra = format!(
                "rss_task={:.0} pte_task={:.0} vm_task={:.0}",
                per(m1.0, m0.0),
                per(m1.1, m0.1),
                per(m1.2, m0.2)
            );
            report(name, &a, n, n, t, true, &extra)
        }
        "timers" => {
            let n = n(100_000);
            let late: Arc<Vec<AtomicU32>> = Arc::new((0..n).map(|_| AtomicU32::new(0)).collect());
            let left = Arc::new((AtomicU64::new(n), tokio::sync::Notify::new()));
            let t = Instant::now();
            for i in 0..n {
                let (late, left) = (late.clone(), left.clone());
                spawn(async move {
                    let d = Duration::from_micros(rnd(i) % 1_000_000);
                    let t = Instant::now();
                    tokio::time::sleep(d).await;
                    late[i as usize]
                        .store(t.elapsed().saturating_sub(d).as_micros() as u32, Relaxed);
                    if left.0.fetch_sub(1, AcqRel) == 1 {
                        left.1.notify_one()
                    }
                });
            }
            left.1.notified().await;
            let t = t.elapsed();
            let mut v: Vec<u32> = late.iter().map(|x| x.load(Relaxed)).collect();
            let (p50, p99) = (pct(&mut v, 0.5), pct(&mut v, 0.99));
            let extra = format!(
                "over_ms={:.1} p50_us={p50} p99_us={p99} max_us={}",
                t.as_secs_f64() * 1e3 - 1000.0,
                v[v.len() - 1]
            );
            report(name, &a, n, n, t, true, &extra)
        }
        "mutex" => {
            let n = n(2_000_000);
            let l = Arc::new(tokio::sync::Mutex::new(0u64));
            let t = Instant::now();
            let h: Vec<_> = (0..4)
                .map(|_| {
                    let l = l.clone();
                    spawn(async move {
                        for _ in 0..n {
                            *l.lock().await += 1
                        }
                    })
                })
                .collect();
            for h in h {
                h.await.unwrap()
            }
            let t = t.elapsed();
            let v = *l.lock().await;
            report(name, &a, n, 4 * n, t, v == 4 * n, "")
        }
        "blocking" | "blocking_wrapped" | "cpu_hog" => {
            let iters = calibrate(Duration::from_millis(300));
            let done = Arc::new(AtomicUsize::new(0));
            let d = done.clone();
            let tick = spawn(async move {
                let (mut max, mut last) = (0, Instant::now());
                while d.load(Relaxed) == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    max = max.max(last.elapsed().as_micros() as u64);
                    last = Instant::now();
                }
                max
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
            let wl = a.workload.clone();
            let t = Instant::now();
            spawn(async move {
                match wl.as_str() {
                    "blocking" => {
                        nap();
                    }
                    "blocking_wrapped" => {
                        tokio::task::spawn_blocking(nap).await.unwrap();
                    }
                    _ => {
                        spin(iters);
                    }
                }
            })
            .await
            .unwrap();
            let t = t.elapsed();
            done.store(1, Relaxed);
            report(name, &a, 1, 1, t, true, &format!("max_gap_us={}", tick.await.unwrap()))
        }
        "parallel" => {
            let n = n(36);
            let t = Instant::now();
            let (tx, mut rx) = C::chan::<u64>(1);
            spawn(pfib::<C>(tx, n));
            let v = C::recv(&mut rx).await.unwrap();
            report(name, &a, n, 1, t.elapsed(), n != 36 || v == 14_930_352, "")
        }
        "tcp_echo" => {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            println!("port={}", listener.local_addr().unwrap().port());
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                spawn(async move {
                    let mut buf = [0u8; 4096];
                    while let Ok(n @ 1..) = stream.read(&mut buf).await {
                        if stream.write_all(&buf[..n]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
        w => panic!("unknown workload {w:?}"),
    }
}

fn main() {
    let a = args();
    let rt = if a.procs == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(a.procs).enable_all().build()
    }
    .unwrap();
    let kind = if a.opt.is_empty() { "kanal".to_string() } else { a.opt.clone() };
    let name = format!("tokio+{kind}");
    // Spawned, so that on the multi-thread runtime the first task too runs on a worker.
    rt.block_on(async move {
        let h = match kind.as_str() {
            "kanal" => spawn(workload::<Kanal>(a, name)),
            "flume" => spawn(workload::<Flume>(a, name)),
            k => panic!("unknown channel kind {k:?}"),
        };
        h.await.unwrap()
    })
}
