//! Each operation on a channel in each state, by goroutines and threads, on one and two processors,
//! with elements of no size, of a page and of a cache line's alignment.

mod common;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use common::actor::{start_waiting, text_of};
use common::{alone, emulated, quiet_panics, start, until, Kind};
use go_lib::chan::{chan, Receiver, SendError, Sender};
use go_lib::select;
use go_lib::select::{Select, Selected};

const MOMENT: Duration = Duration::from_micros(20);
const KINDS: [Kind; 2] = [Kind::Goroutine, Kind::Thread];

/// How many elements live; one that is dropped twice makes it negative.
static LIVE: AtomicIsize = AtomicIsize::new(0);

/// An element of so many words, each of which says its number.
struct Words<const N: usize>([u64; N]);

impl<const N: usize> Drop for Words<N> {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One that has a line of its own.
#[repr(align(64))]
struct Aligned(Words<3>);

trait Element: Send + 'static {
    fn new(number: u64) -> Self;

    /// Its number; 0 of what has no room for one.
    fn number(&self) -> u64;

    /// What becomes of its number on the way.
    fn seen(number: u64) -> u64 {
        number
    }
}

impl<const N: usize> Element for Words<N> {
    fn new(number: u64) -> Self {
        LIVE.fetch_add(1, Ordering::SeqCst);
        Words([number; N])
    }

    fn number(&self) -> u64 {
        let first = self.0.first().copied().unwrap_or(0);
        assert!(self.0.iter().all(|word| *word == first), "torn");
        first
    }

    fn seen(number: u64) -> u64 {
        number * u64::from(N > 0)
    }
}

impl Element for Aligned {
    fn new(number: u64) -> Self {
        Aligned(Words::new(number))
    }

    fn number(&self) -> u64 {
        assert_eq!(std::ptr::from_ref(self) as usize % 64, 0, "not aligned");
        self.0.number()
    }
}

/// The outcome of an operation.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Sent,
    Received(u64),
    /// From a closed channel.
    End,
    /// With the value, if the operation gives it back.
    Failed(String, Option<u64>),
    Panicked(String),
}

/// The channel's answer to every kind of query.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Proceeds,
    Closed,
    MustWait,
}

/// How an operation says that it will not wait.
#[derive(Clone, Copy)]
enum No {
    /// It waits.
    Waits,
    Says(&'static str),
    /// And gives the value back.
    Returns(&'static str),
}

/// How it says that the channel is closed.
#[derive(Clone, Copy, PartialEq)]
enum Close {
    Panics,
    Returns,
    /// A receive.
    Ends,
}

struct Operation<T> {
    name: &'static str,
    no: No,
    close: Close,
    call: fn(&Sender<T>, &Receiver<T>, T) -> Seen,
}

fn told<T: Element>(r: Result<(), SendError<T>>) -> Seen {
    match r {
        Ok(()) => Seen::Sent,
        Err(e) => Seen::Failed(e.to_string(), Some(e.into_inner().number())),
    }
}

fn got<T: Element>(v: Option<T>) -> Seen {
    v.map_or(Seen::End, |v| Seen::Received(v.number()))
}

fn failed(text: &str) -> Seen {
    Seen::Failed(text.to_string(), None)
}

fn sent<T: Element>(done: Option<Selected<T>>) -> Seen {
    match done {
        None => failed("nothing"),
        Some(done) => {
            assert!(done.index == 0 && done.ok && done.value.is_none());
            Seen::Sent
        }
    }
}

fn selected<T: Element>(done: Option<Selected<T>>) -> Seen {
    match done {
        None => failed("nothing"),
        Some(done) => {
            assert_eq!((done.index, done.ok), (0, done.value.is_some()));
            got(done.value)
        }
    }
}

fn selects<'a, T>(to: &'a Sender<T>, v: T) -> Select<'a, T> {
    let mut s = Select::new();
    s.send(to, v);
    s
}

fn selects_recv<T>(from: &Receiver<T>) -> Select<'_, T> {
    let mut s = Select::new();
    s.recv(from);
    s
}

fn sends<T: Element>() -> Vec<Operation<T>> {
    use Close::{Panics, Returns};
    let nothing = No::Says("nothing");
    let op = |name, no, close, call| Operation { name, no, close, call };
    vec![
        op("send", No::Waits, Panics, |tx, _, v| {
            tx.send(v);
            Seen::Sent
        }),
        op("send_ok", No::Waits, Returns, |tx, _, v| told(tx.send_ok(v))),
        op("try_send", No::Says("false"), Panics, |tx, _, v| match tx.try_send(v) {
            true => Seen::Sent,
            false => failed("false"),
        }),
        op("try_send_ok", No::Returns("channel is full"), Returns, |tx, _, v| {
            told(tx.try_send_ok(v))
        }),
        op("send_timeout of zero", No::Returns("send timed out"), Returns, |tx, _, v| {
            told(tx.send_timeout(v, Duration::ZERO))
        }),
        op("send_timeout", No::Returns("send timed out"), Returns, |tx, _, v| {
            told(tx.send_timeout(v, MOMENT))
        }),
        op("send_timeout for ever", No::Waits, Returns, |tx, _, v| {
            told(tx.send_timeout(v, Duration::MAX))
        }),
        op("select send", No::Waits, Panics, |tx, _, v| select! { send(tx, v) => Seen::Sent }),
        op("select send or default", nothing, Panics, |tx, _, v| {
            select! { send(tx, v) => Seen::Sent, default => failed("nothing") }
        }),
        op("select send or timeout", nothing, Panics, |tx, _, v| {
            select! { timeout(MOMENT) => failed("nothing"), send(tx, v) => Seen::Sent }
        }),
        op("Select::send", No::Waits, Panics, |tx, _, v| sent(Some(selects(tx, v).wait()))),
        op("Select::send, try", nothing, Panics, |tx, _, v| sent(selects(tx, v).try_wait())),
        op("Select::send, timeout", nothing, Panics, |tx, _, v| {
            sent(selects(tx, v).wait_timeout(MOMENT))
        }),
        op("nine of Select::send", No::Waits, Panics, |tx, _, v| {
            // More than fit inline; the others are on channels that are never ready.
            let others: Vec<_> = (0..8).map(|_| chan::<T>(0)).collect();
            let mut s = selects(tx, v);
            others.iter().for_each(|other| _ = s.recv(&other.1));
            sent(Some(s.wait()))
        }),
    ]
}

fn recvs<T: Element>() -> Vec<Operation<T>> {
    let nothing = No::Says("nothing");
    let op = |name, no, call| Operation { name, no, close: Close::Ends, call };
    vec![
        op("recv", No::Waits, |_, rx, _| got(rx.recv())),
        op("iter", No::Waits, |_, rx, _| got(rx.iter().next())),
        op("into_iter", No::Waits, |_, rx, _| got(rx.clone().into_iter().next())),
        op("try_recv_ok", No::Says("channel is empty"), |_, rx, _| {
            rx.try_recv_ok().map_or_else(|e| failed(&e.to_string()), got)
        }),
        op("recv_timeout of zero", No::Says("receive timed out"), |_, rx, _| {
            rx.recv_timeout(Duration::ZERO).map_or_else(|e| failed(&e.to_string()), got)
        }),
        op("recv_timeout", No::Says("receive timed out"), |_, rx, _| {
            rx.recv_timeout(MOMENT).map_or_else(|e| failed(&e.to_string()), got)
        }),
        op("recv_timeout for ever", No::Waits, |_, rx, _| {
            rx.recv_timeout(Duration::MAX).map_or_else(|e| failed(&e.to_string()), got)
        }),
        op("select recv", No::Waits, |_, rx, _| select! { recv(rx) -> v => got(v) }),
        op("select recv or default", nothing, |_, rx, _| {
            select! { default => failed("nothing"), recv(rx) -> v => got(v) }
        }),
        op("select recv or timeout", nothing, |_, rx, _| {
            select! { recv(rx) -> v => got(v), timeout(MOMENT) => failed("nothing") }
        }),
        op("Select::recv", No::Waits, |_, rx, _| selected(Some(selects_recv(rx).wait()))),
        op("Select::recv, try", nothing, |_, rx, _| selected(selects_recv(rx).try_wait())),
        op("Select::recv, timeout", nothing, |_, rx, _| {
            selected(selects_recv(rx).wait_timeout(MOMENT))
        }),
        op("nine of Select::recv", No::Waits, |_, rx, _| {
            let others: Vec<_> = (0..8).map(|_| chan(0)).collect();
            let mut s = selects_recv(rx);
            others.iter().for_each(|other| _ = s.send(&other.0, T::new(99)));
            selected(Some(s.wait()))
        }),
    ]
}

/// A channel: its capacity, the number of its values, whether it is closed, and its waiters.
#[derive(Clone, Copy, Debug)]
struct State {
    cap: usize,
    len: usize,
    closed: bool,
    waits: Option<&'static str>,
}

/// Their values are 1, 2, …; that of a waiting sender comes after those.
const STATES: [State; 11] = {
    const fn state(cap: usize, len: usize, closed: bool, waits: Option<&'static str>) -> State {
        State { cap, len, closed, waits }
    }
    [
        state(0, 0, false, None),
        state(2, 0, false, None),
        state(2, 1, false, None),
        state(2, 2, false, None),
        state(0, 0, true, None),
        state(2, 0, true, None),
        state(2, 2, true, None),
        state(0, 0, false, Some("chan send")),
        state(2, 2, false, Some("chan send")),
        state(0, 0, false, Some("chan receive")),
        state(2, 0, false, Some("chan receive")),
    ]
};

impl State {
    fn answer(self, sending: bool) -> Answer {
        let (sender, receiver) =
            (self.waits == Some("chan send"), self.waits == Some("chan receive"));
        let proceeds = match sending {
            true => !self.closed && (receiver || self.len < self.cap),
            false => sender || self.len > 0,
        };
        match self.closed {
            _ if proceeds => Answer::Proceeds,
            true => Answer::Closed,
            false => Answer::MustWait,
        }
    }
}

/// The number of the value that the operation has to send.
const OURS: u64 = 9;

/// Does `op` in `state`, and checks its outcome, the waiters and every value.
fn check<T: Element>(op: &Operation<T>, sending: bool, state: State, kind: Kind, waiter: Kind) {
    let (tx, rx) = chan::<T>(state.cap);
    (1..=state.len as u64).for_each(|i| tx.send(T::new(i)));
    if state.closed {
        tx.close();
    }
    let theirs = state.len as u64 + 1;
    let waiting = state.waits.map(|reason| {
        let (tx, rx) = (tx.clone(), rx.clone());
        start_waiting(waiter, reason, move || match reason {
            "chan send" => told(tx.send_ok(T::new(theirs))),
            _ => got(rx.recv()),
        })
    });
    let answer = state.answer(sending);
    let (tx2, rx2, call) = (tx.clone(), rx.clone(), op.call);
    let call = move || {
        let v = T::new(OURS);
        let result = catch_unwind(AssertUnwindSafe(|| call(&tx2, &rx2, v)));
        result.unwrap_or_else(|payload| Seen::Panicked(text_of(payload.as_ref())))
    };
    let first = if state.len > 0 || sending { 1 } else { theirs };
    let (seen, expected) = match (answer, op.no, op.close) {
        (Answer::Proceeds, ..) if sending => (start(kind, call).join(), Seen::Sent),
        (Answer::Proceeds, ..) => (start(kind, call).join(), Seen::Received(T::seen(first))),
        (Answer::Closed, _, Close::Ends) => (start(kind, call).join(), Seen::End),
        (Answer::Closed, _, Close::Panics) => {
            (start(kind, call).join(), Seen::Panicked("send on closed channel".into()))
        }
        (Answer::Closed, _, Close::Returns) => {
            let text = "send on closed channel".into();
            (start(kind, call).join(), Seen::Failed(text, Some(T::seen(OURS))))
        }
        (_, No::Says(text), _) => (start(kind, call).join(), failed(text)),
        (_, No::Returns(text), _) => {
            (start(kind, call).join(), Seen::Failed(text.into(), Some(T::seen(OURS))))
        }
        (_, No::Waits, _) => {
            let select = op.name.to_lowercase().contains("select");
            let reason = if select {
                "select"
            } else if sending {
                "chan send"
            } else {
                "chan receive"
            };
            let peer = start_waiting(kind, reason, call);
            // The event that it waits for comes.
            if sending {
                let before = state.len as u64 + u64::from(state.waits.is_some());
                (1..=before).for_each(|i| assert_eq!(got(rx.recv()), Seen::Received(T::seen(i))));
                if state.cap == 0 {
                    assert_eq!(got(rx.recv()), Seen::Received(T::seen(OURS)));
                }
                (peer.join(), Seen::Sent)
            } else {
                // The longest waiter gets its value first.
                (0..1 + state.waits.map_or(0, |_| 1)).for_each(|i| tx.send(T::new(20 + i)));
                let i = state.waits.map_or(20, |_| 21);
                (peer.join(), Seen::Received(T::seen(i)))
            }
        }
    };
    assert_eq!(seen, expected);
    // The waiters had their turn, or have it now.
    let proceeds = answer == Answer::Proceeds;
    let rest = |rx: &Receiver<T>| match rx.try_recv_ok() {
        Ok(v) => got(v),
        Err(e) => failed(&e.to_string()),
    };
    if let (Some(peer), Some(reason)) = (waiting, state.waits) {
        let expected = match (reason, answer, op.no) {
            ("chan receive", Answer::Proceeds, _) => Seen::Received(T::seen(OURS)),
            ("chan receive", _, No::Waits) => Seen::Received(T::seen(20)),
            ("chan receive", ..) => {
                tx.send(T::new(30));
                Seen::Received(T::seen(30))
            }
            (_, Answer::MustWait, No::Waits) => Seen::Sent,
            _ if proceeds => Seen::Sent,
            _ => {
                for i in 1..=theirs {
                    assert_eq!(got(rx.recv()), Seen::Received(T::seen(i)));
                }
                Seen::Sent
            }
        };
        assert_eq!(peer.join(), expected);
    }
    // The remaining values are there, in order.
    _ = tx.close_ok();
    let mut left: Vec<u64> = match (sending, answer, op.no, state.waits) {
        (_, _, _, Some("chan receive")) => vec![],
        (true, Answer::MustWait, No::Waits, _) if state.cap == 0 => vec![],
        (true, Answer::MustWait, No::Waits, _) => vec![OURS],
        (_, Answer::MustWait, _, Some(_)) => vec![],
        (false, Answer::Proceeds, _, Some(_)) => (2..=theirs).collect(),
        _ => (1..=state.len as u64).collect(),
    };
    if sending && proceeds && state.waits.is_none() {
        left.push(OURS);
    } else if !sending && proceeds && state.waits.is_none() {
        left.remove(0);
    }
    for i in left {
        assert_eq!(rest(&rx), Seen::Received(T::seen(i)));
    }
    assert_eq!(rest(&rx), Seen::End);
}

/// All of it for one type of element; with `full` also on one processor, and beside peers of the
/// other kind.
fn check_all<T: Element>(full: bool) {
    quiet_panics();
    let full = full && !emulated();
    alone(|| {
        for procs in if full { 1..=2 } else { 2..=2 } {
            let before = go_lib::set_gomaxprocs(procs);
            for (sending, ops) in [(true, sends::<T>()), (false, recvs::<T>())] {
                for (op, state) in ops.iter().flat_map(|op| STATES.map(|state| (op, state))) {
                    for (kind, waiter) in KINDS.into_iter().flat_map(|k| KINDS.map(|w| (k, w))) {
                        if kind != waiter && !(full && state.waits.is_some()) {
                            continue;
                        }
                        let what = || format!("{} by a {kind:?}, {waiter:?} in {state:?}", op.name);
                        let check = || check(op, sending, state, kind, waiter);
                        if let Err(payload) = catch_unwind(AssertUnwindSafe(check)) {
                            eprintln!("{} on {procs}", what());
                            std::panic::resume_unwind(payload);
                        }
                        until(|| LIVE.load(Ordering::SeqCst) <= 0);
                        assert_eq!(LIVE.load(Ordering::SeqCst), 0, "{}", what());
                    }
                }
            }
            go_lib::set_gomaxprocs(before);
        }
    });
}

#[test]
fn each_operation_in_each_state_with_elements_of_no_size() {
    check_all::<Words<0>>(false);
}

#[test]
fn each_operation_in_each_state_with_elements_of_a_word() {
    check_all::<Words<1>>(true);
}

#[test]
fn each_operation_in_each_state_with_elements_of_a_page() {
    check_all::<Words<512>>(false);
}

#[test]
fn each_operation_in_each_state_with_elements_that_are_aligned_to_a_line() {
    assert_eq!((align_of::<Aligned>(), size_of::<Aligned>()), (64, 64));
    check_all::<Aligned>(false);
}
