//! Locks, semaphores, conditions and wait groups against a model: random programs of operations that begin one at a
//! time, so that the waiters and the next one are determined.

mod common;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use common::actor::{Actor, Job};
use common::{alone, quiet_panics, Kind, Rng};
use go_lib::sync::{
    Cond, Mutex, MutexGuard, ReadGuard, RwLock, Semaphore, WaitError, WaitGroup, WriteGuard,
};

const PERMITS: usize = 4;

/// How long an operation may wait.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Block,
    Try,
    Zero,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Lock(How),
    Unlock,
    /// Of the condition, by a goroutine that then does not hold the mutex any more.
    Wait,
    /// With a timeout of zero.
    WaitZero,
    NotifyOne,
    NotifyAll,
    Read(How),
    Write(How),
    ReadDone,
    WriteDone,
    Acquire(How, usize),
    Release(usize),
    Add(i64),
    /// Of the wait group; it has no `Try`.
    Join(How),
}

/// Whether it did what it is for; the words of its panic.
type End = Result<bool, String>;

const LOCK: &str = "sync.Mutex.Lock";

#[derive(Clone, Debug, Default)]
struct Model {
    locked: bool,
    lockers: VecDeque<usize>,
    on_cond: VecDeque<usize>,
    reading: usize,
    writing: bool,
    readers: VecDeque<usize>,
    writers: VecDeque<usize>,
    taken: usize,
    wishes: VecDeque<(usize, usize)>,
    count: i64,
    joining: Vec<usize>,
    /// The operation for which each one waits.
    waits: Vec<Option<&'static str>>,
    ended: Vec<(usize, End)>,
}

impl Model {
    fn done(&mut self, who: usize, did: bool) {
        self.waits[who] = None;
        self.ended.push((who, Ok(did)));
    }

    fn panics(&mut self, who: usize, text: &str) {
        self.ended.push((who, Err(text.to_string())));
    }

    /// `who` cannot have it now. True if it queues up.
    fn refused(&mut self, who: usize, how: How, reason: &'static str) -> bool {
        if how != How::Block {
            self.done(who, false);
            return false;
        }
        self.waits[who] = Some(reason);
        true
    }

    fn lock(&mut self, who: usize, how: How) {
        if !self.locked {
            self.locked = true;
            self.done(who, true);
        } else if self.refused(who, how, LOCK) {
            self.lockers.push_back(who);
        }
    }

    fn unlock(&mut self) {
        self.locked = false;
        if let Some(next) = self.lockers.pop_front() {
            self.lock(next, How::Block);
        }
    }

    /// Lets in those that may write or read now: after a writer all readers, after the readers one writer.
    fn turn(&mut self, after_writer: bool) {
        if after_writer && !self.readers.is_empty() {
            self.reading = self.readers.len();
            std::mem::take(&mut self.readers).into_iter().for_each(|r| self.done(r, true));
        } else if let Some(writer) = self.writers.pop_front() {
            self.writing = true;
            self.done(writer, true);
        }
    }

    fn begin(&mut self, who: usize, op: Op) {
        match op {
            Op::Lock(how) => self.lock(who, how),
            Op::Unlock => {
                self.done(who, true);
                self.unlock();
            }
            Op::Wait => {
                self.waits[who] = Some("sync.Cond.Wait");
                self.on_cond.push_back(who);
                self.unlock();
            }
            Op::WaitZero => self.done(who, false),
            Op::NotifyOne | Op::NotifyAll => {
                self.done(who, true);
                if let Some(woken) = self.on_cond.pop_front() {
                    self.lock(woken, How::Block);
                }
            }
            Op::Read(how) => {
                if !self.writing && self.writers.is_empty() {
                    self.reading += 1;
                    self.done(who, true);
                } else if self.refused(who, how, "sync.RWMutex.RLock") {
                    self.readers.push_back(who);
                }
            }
            Op::Write(how) => {
                if !self.writing && self.reading == 0 {
                    self.writing = true;
                    self.done(who, true);
                } else if self.refused(who, how, "sync.RWMutex.Lock") {
                    self.writers.push_back(who);
                }
            }
            Op::ReadDone => {
                self.done(who, true);
                self.reading -= 1;
                if self.reading == 0 {
                    self.turn(false);
                }
            }
            Op::WriteDone => {
                self.done(who, true);
                self.writing = false;
                self.turn(true);
            }
            Op::Acquire(How::Try, n) if n > PERMITS => self.done(who, false),
            Op::Acquire(_, n) if n > PERMITS => {
                self.panics(who, &format!("semaphore: {n} of {PERMITS} permits wished"));
            }
            Op::Acquire(how, n) => {
                if self.wishes.is_empty() && self.taken + n <= PERMITS {
                    self.taken += n;
                    self.done(who, true);
                } else if self.refused(who, how, "semacquire") {
                    self.wishes.push_back((who, n));
                }
            }
            Op::Release(n) if n > self.taken => {
                self.panics(who, "semaphore: released more than held");
            }
            Op::Release(n) => {
                self.done(who, true);
                self.taken -= n;
                while self.wishes.front().is_some_and(|(_, n)| self.taken + n <= PERMITS) {
                    let (next, n) = self.wishes.pop_front().unwrap();
                    self.taken += n;
                    self.done(next, true);
                }
            }
            Op::Add(n) if self.count + n < 0 => {
                self.panics(who, "sync: negative WaitGroup counter");
            }
            Op::Add(n) => {
                self.done(who, true);
                self.count += n;
                if self.count == 0 {
                    std::mem::take(&mut self.joining).into_iter().for_each(|j| self.done(j, true));
                }
            }
            Op::Join(how) => {
                if self.count == 0 {
                    self.done(who, true);
                } else if self.refused(who, how, "sync.WaitGroup.Wait") {
                    self.joining.push(who);
                }
            }
        }
    }

    /// The operations that are allowed now: no unlock of an unlocked object. At most one waiter of the condition is
    /// woken at a time, and nobody gives the mutex up only to take it again beside others: their order would not be
    /// determined.
    fn allows(&self, op: Op) -> bool {
        match op {
            Op::Unlock | Op::Wait => self.locked,
            Op::WaitZero => self.locked && self.lockers.is_empty(),
            Op::NotifyAll => self.on_cond.len() < 2,
            Op::ReadDone => self.reading > 0,
            Op::WriteDone => self.writing,
            _ => true,
        }
    }

    /// The operations that end the waits, one after another.
    fn clean_up(&self) -> Option<Op> {
        if self.writing {
            Some(Op::WriteDone)
        } else if self.reading > 0 {
            Some(Op::ReadDone)
        } else if self.taken > 0 {
            Some(Op::Release(self.taken))
        } else if self.count > 0 {
            Some(Op::Add(-self.count))
        } else if self.locked {
            Some(Op::Unlock)
        } else {
            (!self.on_cond.is_empty()).then_some(Op::NotifyOne)
        }
    }
}

/// The objects of the programs.
#[derive(Default)]
struct Things {
    mutex: Mutex<()>,
    cond: Cond,
    rw: RwLock<()>,
    count: WaitGroup,
    held: std::sync::Mutex<Held>,
}

static PERMIT: Semaphore = Semaphore::new(PERMITS);

/// A guard may be dropped by another goroutine than the one that locked.
#[derive(Default)]
struct Held {
    mutex: Option<MutexGuard<'static, ()>>,
    reads: Vec<ReadGuard<'static, ()>>,
    write: Option<WriteGuard<'static, ()>>,
}

impl Things {
    /// Keeps what a wait gave, if it did.
    fn keep<T>(&self, got: Result<T, WaitError>, keep: impl FnOnce(&mut Held, T)) -> bool {
        match got {
            Ok(guard) => {
                keep(&mut self.held.lock().unwrap(), guard);
                true
            }
            Err(e) => {
                assert_eq!(e, WaitError::Timeout);
                false
            }
        }
    }

    fn take<T>(&self, take: impl FnOnce(&mut Held) -> Option<T>) -> T {
        take(&mut self.held.lock().unwrap()).expect("it is held")
    }

    fn job(&'static self, op: Op) -> Job<bool> {
        const ZERO: Duration = Duration::ZERO;
        Box::new(move || match op {
            Op::Lock(how) => {
                let got = match how {
                    How::Block => Ok(self.mutex.lock()),
                    How::Try => self.mutex.try_lock().ok_or(WaitError::Timeout),
                    How::Zero => self.mutex.lock_timeout(ZERO),
                };
                self.keep(got, |held, guard| assert!(held.mutex.replace(guard).is_none()))
            }
            Op::Unlock => {
                drop(self.take(|held| held.mutex.take()));
                true
            }
            Op::Wait => {
                let guard = self.take(|held| held.mutex.take());
                let guard = self.cond.wait(&self.mutex, guard);
                self.keep(Ok(guard), |held, guard| assert!(held.mutex.replace(guard).is_none()))
            }
            Op::WaitZero => {
                let guard = self.take(|held| held.mutex.take());
                let (guard, notified) = self.cond.wait_timeout(&self.mutex, guard, ZERO);
                self.keep(Ok(guard), |held, guard| held.mutex = Some(guard));
                notified
            }
            Op::NotifyOne => {
                self.cond.notify_one();
                true
            }
            Op::NotifyAll => {
                self.cond.notify_all();
                true
            }
            Op::Read(how) => {
                let got = match how {
                    How::Block => Ok(self.rw.read()),
                    How::Try => self.rw.try_read().ok_or(WaitError::Timeout),
                    How::Zero => self.rw.read_timeout(ZERO),
                };
                self.keep(got, |held, guard| held.reads.push(guard))
            }
            Op::Write(how) => {
                let got = match how {
                    How::Block => Ok(self.rw.write()),
                    How::Try => self.rw.try_write().ok_or(WaitError::Timeout),
                    How::Zero => self.rw.write_timeout(ZERO),
                };
                self.keep(got, |held, guard| assert!(held.write.replace(guard).is_none()))
            }
            Op::ReadDone => {
                drop(self.take(|held| held.reads.pop()));
                true
            }
            Op::WriteDone => {
                drop(self.take(|held| held.write.take()));
                true
            }
            Op::Acquire(how, n) => match how {
                How::Block => {
                    PERMIT.acquire(n);
                    true
                }
                How::Try => PERMIT.try_acquire(n),
                How::Zero => self.keep(PERMIT.acquire_timeout(n, ZERO), |_, ()| ()),
            },
            Op::Release(n) => {
                PERMIT.release(n);
                true
            }
            Op::Add(n) => {
                self.count.add(n);
                true
            }
            Op::Join(How::Block) => {
                self.count.wait();
                true
            }
            Op::Join(_) => self.keep(self.count.wait_timeout(ZERO), |_, ()| ()),
        })
    }
}

fn random_op(rng: &mut Rng) -> Op {
    let how = [How::Block, How::Block, How::Block, How::Try, How::Zero][rng.below(5) as usize];
    match rng.below(20) {
        0..=2 => Op::Lock(how),
        3 => Op::Unlock,
        4 => Op::Wait,
        5 => Op::WaitZero,
        6 => Op::NotifyOne,
        7 => Op::NotifyAll,
        8 | 9 => Op::Read(how),
        10 | 11 => Op::Write(how),
        12 => Op::ReadDone,
        13 => Op::WriteDone,
        14 | 15 => Op::Acquire(how, 1 + rng.below(PERMITS as u64 + 1) as usize),
        16 => Op::Release(1 + rng.below(2) as usize),
        17 | 18 => Op::Add([2, 1, -1, -1, -2][rng.below(5) as usize]),
        _ => Op::Join(if how == How::Try { How::Zero } else { how }),
    }
}

/// Does a step, really and in the model, and compares.
fn step(
    (things, actors): (&'static Things, &[Actor<bool>]),
    (model, history): (&mut Model, &mut String),
    who: usize,
    op: Op,
) {
    model.begin(who, op);
    *history += &format!("{who}: {op:?} {:?}\n", model.ended);
    actors[who].begin(things.job(op));
    let mut ended = std::mem::take(&mut model.ended);
    ended.iter().for_each(|(who, _)| actors[*who].await_end());
    actors.iter().for_each(Actor::settle);
    let seen = actors.iter().enumerate().map(|(i, actor)| (i, actor.take_end()));
    let mut seen: Vec<_> = seen.filter_map(|(i, end)| end.map(|end| (i, end))).collect();
    seen.sort_unstable();
    ended.sort_unstable();
    assert_eq!(seen, ended, "after\n{history}");
    for (actor, reason) in actors.iter().zip(&model.waits) {
        let reason = reason.unwrap_or("chan receive");
        // A notified waiter may wait anew, for the mutex.
        actor.await_status(reason);
        assert_eq!(actor.status(), reason, "after\n{history}");
    }
    let free = PERMITS - model.taken;
    let counts = format!("Semaphore {{ size: {PERMITS}, free: {free} }} {}", model.count);
    let group = format!("{:?}", things.count);
    let count = group.trim_matches(|c: char| !c.is_numeric() && c != '-');
    assert_eq!(format!("{PERMIT:?} {count}"), counts, "after\n{history}");
}

/// Runs programs for so long; how many.
fn run_programs(kinds: &[Kind], for_how_long: Duration, mut rng: Rng) -> usize {
    let actors: Vec<_> = kinds.iter().map(|kind| Actor::new(*kind)).collect();
    // Each program leaves them as it found them.
    let things: &'static Things = Box::leak(Box::default());
    let (begin, mut programs) = (Instant::now(), 0);
    while begin.elapsed() < for_how_long {
        let mut model = Model { waits: vec![None; actors.len()], ..Model::default() };
        let mut history = String::new();
        for _ in 0..60 {
            let free: Vec<_> = (0..actors.len()).filter(|i| model.waits[*i].is_none()).collect();
            let (who, op) = (free[rng.below(free.len() as u64) as usize], random_op(&mut rng));
            // The last one does not wait: somebody must be left who can end the waits.
            let mut after = model.clone();
            if model.allows(op) {
                after.begin(who, op);
                if after.waits.iter().any(Option::is_none) {
                    step((things, &actors), (&mut model, &mut history), who, op);
                }
            }
        }
        while let Some(op) = model.clean_up() {
            let free = model.waits.iter().position(Option::is_none).expect("one is left");
            step((things, &actors), (&mut model, &mut history), free, op);
        }
        assert!(model.waits.iter().all(Option::is_none), "{model:?} after\n{history}");
        programs += 1;
    }
    actors.into_iter().for_each(Actor::join);
    programs
}

#[test]
fn programs_of_goroutines_do_what_the_model_does() {
    alone(|| {
        quiet_panics();
        let rng = Rng::new("sync_model_of_goroutines");
        let time = Duration::from_millis(400);
        let programs = go_lib::run(move || run_programs(&[Kind::Goroutine; 6], time, rng));
        eprintln!("{programs} programs");
    });
}

#[test]
fn programs_of_goroutines_and_threads_do_what_the_model_does() {
    alone(|| {
        quiet_panics();
        let rng = Rng::new("sync_model_of_threads");
        let kinds = [Kind::Thread, Kind::Goroutine, Kind::Thread, Kind::Goroutine, Kind::Goroutine];
        let programs = run_programs(&kinds, Duration::from_millis(300), rng);
        eprintln!("{programs} programs");
    });
}
