//! A fixed number of workers over one channel of jobs, on as many processors as the machine has.

use std::sync::Arc;

use go_lib::chan::chan;
use go_lib::sync::WaitGroup;

const WORKERS: usize = 4;
const JOBS: u64 = 20;

fn collatz_steps(mut n: u64) -> u32 {
    let mut steps = 0;
    while n != 1 {
        n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}

fn main() {
    go_lib::run(|| {
        let (job_tx, jobs) = chan::<u64>(0);
        let (result_tx, results) = chan::<(u64, u32)>(JOBS as usize);
        let workers = Arc::new(WaitGroup::new());
        for _ in 0..WORKERS {
            workers.add(1);
            let (jobs, result_tx, workers) = (jobs.clone(), result_tx.clone(), workers.clone());
            go_lib::go!(move || {
                while let Some(n) = jobs.recv() {
                    result_tx.send((n, collatz_steps(n)));
                }
                workers.done();
            });
        }
        (1..=JOBS).for_each(|n| job_tx.send(n));
        job_tx.close();
        workers.wait();
        drop(result_tx);
        let mut found: Vec<(u64, u32)> = results.iter().collect();
        found.sort_unstable();
        for (n, steps) in found {
            println!("{n:2} {steps:3}");
        }
    });
}
