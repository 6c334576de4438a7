//! Channels against a model: random programs of operations that begin one at a time, so that each
//! one's outcome, its waiters and the ones that it wakes are determined.

mod channels;
#[path = "../common/mod.rs"]
mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use channels::{failed, Arm, End, Form, How, Model, ModelChan, Op};
use common::actor::{Actor, Job};
use common::{alone, quiet_panics, Counted, Kind, Rng};
use go_lib::chan::{chan, Receiver, SendError, Sender};
use go_lib::select;
use go_lib::select::{Select, Selected};

type Chan = (Option<Sender<Counted>>, Receiver<Counted>);

fn told(r: Result<(), SendError<Counted>>) -> End {
    match r {
        Ok(()) => End::Done,
        Err(e) => failed(&e.to_string(), Some(e.into_inner().value)),
    }
}

/// The cases of a select, with handles of their own.
type Handles = Vec<(Result<Sender<Counted>, Receiver<Counted>>, Option<Counted>)>;

fn dynamic(biased: bool, how: How, mut arms: Handles) -> End {
    let values: Vec<_> = arms.iter_mut().map(|arm| arm.1.take()).collect();
    let mut s = if biased { Select::new().in_order() } else { Select::new() };
    for ((handle, _), value) in arms.iter().zip(values) {
        match (handle, value) {
            (Ok(tx), Some(value)) => s.send(tx, value),
            (Err(rx), _) => s.recv(rx),
            (Ok(_), None) => unreachable!(),
        };
    }
    let done = match how {
        How::Plain => Some(s.wait()),
        How::Try => s.try_wait(),
        _ => s.wait_timeout(Duration::ZERO),
    };
    match done {
        None => failed("nothing", None),
        Some(Selected { index, value, ok }) => {
            assert!(ok || value.is_none());
            let is_recv = arms[index].0.is_err();
            assert!(is_recv || ok && value.is_none());
            assert!(!is_recv || ok == value.is_some());
            End::Won(index, is_recv.then(|| value.map(|v| v.value)))
        }
    }
}

/// By `select!`; arms that are not in the list are on nil channels.
fn by_macro(how: How, arms: Handles, new: &dyn Fn(u64) -> Counted) -> End {
    let (mut rx, mut tx, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (handle, value)) in arms.into_iter().enumerate() {
        match handle {
            Ok(to) => tx.push((i, Some(to))),
            Err(from) => rx.push((i, Some(from))),
        }
        values.extend(value);
    }
    rx.resize_with(2, || (9, None));
    tx.resize_with(2, || (9, None));
    values.resize_with(2, || new(0));
    let (second, first) = (values.remove(1), values.remove(0));
    let got = |place: usize, v: Option<Counted>| End::Won(place, Some(v.map(|v| v.value)));
    match how {
        How::Plain => select! {
            recv(rx[0].1) -> v => got(rx[0].0, v),
            recv(rx[1].1) -> v => got(rx[1].0, v),
            send(tx[0].1, first) => End::Won(tx[0].0, None),
            send(tx[1].1, second) => End::Won(tx[1].0, None),
        },
        How::Try => select! {
            recv(rx[0].1) -> v => got(rx[0].0, v),
            default => failed("nothing", None),
            recv(rx[1].1) -> v => got(rx[1].0, v),
            send(tx[0].1, first) => End::Won(tx[0].0, None),
            send(tx[1].1, second) => End::Won(tx[1].0, None),
        },
        _ => select! {
            recv(rx[0].1) -> v => got(rx[0].0, v),
            recv(rx[1].1) -> v => got(rx[1].0, v),
            send(tx[0].1, first) => End::Won(tx[0].0, None),
            send(tx[1].1, second) => End::Won(tx[1].0, None),
            timeout(Duration::ZERO) => failed("nothing", None),
        },
    }
}

fn end_of(r: Result<End, String>) -> End {
    r.unwrap_or_else(End::Panicked)
}

/// The operation itself.
fn job(op: Op, chans: &mut [Chan], live: &Arc<AtomicUsize>) -> Job<End> {
    let live = live.clone();
    let tx = |c: &Chan| c.0.clone().expect("no send on a channel without a sender");
    let new = move |v| Counted::new(v, &live);
    match op {
        Op::Drop(c) => {
            let last = chans[c].0.take();
            Box::new(move || {
                drop(last);
                End::Done
            })
        }
        Op::Close(how, c) => {
            let tx = tx(&chans[c]);
            Box::new(move || match how {
                How::Plain => {
                    tx.close();
                    End::Done
                }
                _ => tx.close_ok().map_or_else(|e| failed(&e.to_string(), None), |()| End::Done),
            })
        }
        Op::Send(how, c, v) => {
            let tx = tx(&chans[c]);
            Box::new(move || match how {
                How::Plain => {
                    tx.send(new(v));
                    End::Done
                }
                How::Told => told(tx.send_ok(new(v))),
                How::Try if tx.try_send(new(v)) => End::Done,
                How::Try => failed("false", None),
                How::TryTold => told(tx.try_send_ok(new(v))),
                How::Zero => told(tx.send_timeout(new(v), Duration::ZERO)),
            })
        }
        Op::Recv(how, c) => {
            let rx = chans[c].1.clone();
            Box::new(move || {
                let got = match how {
                    How::Plain => Ok(rx.recv()),
                    How::Told => Ok(rx.iter().next()),
                    How::Try => Ok(rx.try_recv()),
                    How::TryTold => rx.try_recv_ok(),
                    How::Zero => rx.recv_timeout(Duration::ZERO),
                };
                let got = got.map(|v| v.map(|v| v.value));
                got.map_or_else(|e| failed(&e.to_string(), None), End::Got)
            })
        }
        Op::Select(form, how, arms) => {
            let with = |&(c, value): &Arm| match value {
                Some(_) => Ok(tx(&chans[c])),
                None => Err(chans[c].1.clone()),
            };
            let handles: Vec<_> = arms.iter().map(with).collect();
            Box::new(move || {
                let values = arms.iter().map(|arm| arm.1.map(&new));
                let handles: Handles = handles.into_iter().zip(values).collect();
                match form {
                    Form::Macro => by_macro(how, handles, &new),
                    form => dynamic(form == Form::InOrder, how, handles),
                }
            })
        }
    }
}

/// One program under way.
struct Program {
    chans: Vec<Chan>,
    model: Model,
    live: Arc<AtomicUsize>,
    next_value: u64,
    history: String,
}

impl Program {
    fn new(rng: &mut Rng, actors: usize, live: &Arc<AtomicUsize>) -> Program {
        let caps: Vec<_> = (0..1 + rng.below(3)).map(|_| rng.below(5) as usize).collect();
        let model_chan = |cap: &usize| ModelChan { cap: *cap, ..ModelChan::default() };
        let model = Model {
            chans: caps.iter().map(model_chan).collect(),
            waiting: vec![None; actors],
            ended: Vec::new(),
        };
        let both = |cap: &usize| {
            let (tx, rx) = chan(*cap);
            (Some(tx), rx)
        };
        let chans = caps.iter().map(both).collect();
        let history = format!("channels of {caps:?}\n");
        Program { chans, model, live: live.clone(), next_value: 0, history }
    }

    /// True if nobody can send or close any more.
    fn is_dropped(&self, c: usize) -> bool {
        self.chans[c].0.is_none()
    }

    fn random_op(&mut self, rng: &mut Rng) -> Op {
        use How::{Plain, Told, Try, TryTold, Zero};
        let c = rng.below(self.chans.len() as u64) as usize;
        let how = [Plain, Plain, Told, Told, Try, TryTold, Zero][rng.below(7) as usize];
        self.next_value += 2;
        match rng.below(40) {
            0 if !self.is_dropped(c) => Op::Close([Plain, Told][rng.below(2) as usize], c),
            1 if !self.is_dropped(c) && self.model.chans[c].senders.is_empty() => Op::Drop(c),
            2..=14 if !self.is_dropped(c) => Op::Send(how, c, self.next_value),
            15..=25 => {
                let form = [Form::InOrder, Form::Random, Form::Macro][rng.below(3) as usize];
                let mut arms: Vec<Arm> = Vec::new();
                for i in 0..1 + rng.below(4) {
                    let c = rng.below(self.chans.len() as u64) as usize;
                    let send = rng.below(2) == 0 && !self.is_dropped(c);
                    let of_a_kind = arms.iter().filter(|arm| arm.1.is_some() == send).count();
                    if of_a_kind < 2 || form != Form::Macro {
                        arms.push((c, send.then_some(100 * self.next_value + i)));
                    }
                }
                Op::Select(form, [Plain, Plain, Try, Zero][rng.below(4) as usize], arms)
            }
            _ => Op::Recv(how, c),
        }
    }

    /// Does a step, really and in the model, and compares.
    fn step(&mut self, actors: &[Actor<End>], who: usize, op: Op) {
        self.history += &format!("{who}: {op:?}\n");
        actors[who].begin(job(op.clone(), &mut self.chans, &self.live));
        let seen = actors[who].end().map(end_of);
        self.model.begin(who, &op, seen.as_ref());
        self.history += &format!("    {:?}\n", self.model.ended);
        self.model.ended.iter().for_each(|(who, _)| actors[*who].await_end());
        actors.iter().for_each(Actor::settle);
        let mut ended: Vec<_> = actors.iter().map(|a| a.take_end().map(end_of)).collect();
        for (who, end) in self.model.ended.drain(..) {
            assert_eq!(ended[who].take(), Some(end), "of {who}, after\n{}", self.history);
        }
        assert!(ended.iter().all(Option::is_none), "{ended:?}, after\n{}", self.history);
        for (actor, waiting) in actors.iter().zip(&self.model.waiting) {
            let reason = match waiting {
                Some(Op::Select(..)) => "select",
                Some(Op::Send(..)) => "chan send",
                _ => "chan receive", // or the next job
            };
            assert_eq!(actor.status(), reason, "{waiting:?}, after\n{}", self.history);
        }
        for ((tx, rx), m) in self.chans.iter().zip(&self.model.chans) {
            let is = (m.buffer.len(), m.cap, m.closed, m.buffer.is_empty());
            assert_eq!((rx.len(), rx.cap(), rx.is_closed(), rx.is_empty()), is, "{}", self.history);
            if let Some(tx) = tx {
                assert_eq!((tx.len(), tx.cap(), tx.is_closed(), tx.is_empty()), is);
            }
        }
        let live = self.live.load(Ordering::SeqCst);
        assert_eq!(live, self.model.live(), "values, after\n{}", self.history);
    }

    fn run(mut self, rng: &mut Rng, actors: &[Actor<End>], steps: u64) {
        for _ in 0..steps {
            let free: Vec<_> =
                (0..actors.len()).filter(|i| self.model.waiting[*i].is_none()).collect();
            let op = self.random_op(rng);
            // The last one does not wait: somebody must be left who can end the waits.
            if free.len() > 1 || !self.model.would_wait(&op) {
                self.step(actors, free[rng.below(free.len() as u64) as usize], op);
            }
        }
        let free = self.model.waiting.iter().position(Option::is_none).expect("one is left");
        for c in 0..self.chans.len() {
            if !self.is_dropped(c) {
                self.step(actors, free, Op::Close(How::Told, c));
            }
        }
        assert!(self.model.waiting.iter().all(Option::is_none), "{}", self.history);
        let live = self.live.clone();
        drop(self);
        assert_eq!(live.load(Ordering::SeqCst), 0);
    }
}

/// Runs programs for so long; how many.
fn run_programs(kinds: &[Kind], procs: usize, for_how_long: Duration, mut rng: Rng) -> usize {
    let old = go_lib::set_gomaxprocs(procs);
    let actors: Vec<_> = kinds.iter().map(|kind| Actor::new(*kind)).collect();
    let live = Arc::new(AtomicUsize::new(0));
    let (begin, mut programs) = (Instant::now(), 0);
    while begin.elapsed() < for_how_long {
        Program::new(&mut rng, actors.len(), &live).run(&mut rng, &actors, 30);
        programs += 1;
    }
    actors.into_iter().for_each(Actor::join);
    go_lib::set_gomaxprocs(old);
    programs
}

#[test]
fn programs_of_goroutines_do_what_the_model_does() {
    alone(|| {
        quiet_panics();
        let rng = Rng::new("programs_of_goroutines");
        for procs in [1, 2] {
            let (rng, time) = (rng.clone(), Duration::from_millis(300));
            let programs =
                go_lib::run(move || run_programs(&[Kind::Goroutine; 5], procs, time, rng));
            eprintln!("{programs} programs, GOMAXPROCS={procs}");
        }
    });
}

#[test]
fn programs_of_goroutines_and_threads_do_what_the_model_does() {
    alone(|| {
        quiet_panics();
        let rng = Rng::new("programs_of_goroutines_and_threads");
        let kinds = [Kind::Thread, Kind::Goroutine, Kind::Thread, Kind::Goroutine];
        // From a thread, too.
        let programs = run_programs(&kinds, 2, Duration::from_millis(300), rng);
        eprintln!("{programs} programs");
    });
}
