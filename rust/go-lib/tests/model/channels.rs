//! The model: channels as Go has them, for operations that begin one after another.

use std::collections::VecDeque;

/// The form of an operation; how long it may wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// It waits; a failure is a panic.
    Plain,
    /// It waits; a failure is told. Of a receive: `iter`.
    Told,
    /// It does not wait; true, or `Some`.
    Try,
    /// It does not wait; a failure is told.
    TryTold,
    /// With a timeout of zero.
    Zero,
}

/// How a select is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    InOrder,
    Random,
    /// `select!`, of two receives and two sends; those that are not wished are on nil channels.
    Macro,
}

/// A case of a select: the channel, and the value of a send.
pub type Arm = (usize, Option<u64>);

#[derive(Clone, Debug)]
pub enum Op {
    Send(How, usize, u64),
    Recv(How, usize),
    /// Plain, or told.
    Close(How, usize),
    /// The last sender.
    Drop(usize),
    Select(Form, How, Vec<Arm>),
}

/// Its outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// Sent, or closed.
    Done,
    /// A receive; `None` from a closed channel.
    Got(Option<u64>),
    /// It says why, and gives the value back.
    Failed(String, Option<u64>),
    Panicked(String),
    /// The case of a select, and for a receive what it got.
    Won(usize, Option<Option<u64>>),
}

pub fn failed(text: &str, value: Option<u64>) -> End {
    End::Failed(text.to_string(), value)
}

/// A waiter at a channel: its number, the case, the value of a send.
pub type Waiter = (usize, usize, u64);

#[derive(Default)]
pub struct ModelChan {
    pub cap: usize,
    pub closed: bool,
    pub buffer: VecDeque<u64>,
    pub senders: VecDeque<Waiter>,
    pub receivers: VecDeque<Waiter>,
}

/// Go's channels, for operations that begin one after another.
#[derive(Default)]
pub struct Model {
    pub chans: Vec<ModelChan>,
    /// The operation in which each one waits.
    pub waiting: Vec<Option<Op>>,
    /// The ones that ended in this step.
    pub ended: Vec<(usize, End)>,
}

pub const CLOSED: &str = "send on closed channel";

impl Model {
    pub fn is_ready(&self, (c, value): Arm) -> bool {
        let c = &self.chans[c];
        c.closed
            || match value {
                Some(_) => !c.receivers.is_empty() || c.buffer.len() < c.cap,
                None => !c.buffer.is_empty() || !c.senders.is_empty(),
            }
    }

    /// The wait of `who` ends: as a select's case, or as the operation itself.
    pub fn wake(&mut self, (who, case, value): Waiter, got: Option<Option<u64>>, closed: bool) {
        for c in &mut self.chans {
            c.senders.retain(|w| w.0 != who);
            c.receivers.retain(|w| w.0 != who);
        }
        let end = match self.waiting[who].take() {
            Some(Op::Select(..)) if closed && got.is_none() => End::Panicked(CLOSED.into()),
            Some(Op::Select(..)) => End::Won(case, got),
            Some(Op::Send(How::Plain, ..)) if closed => End::Panicked(CLOSED.into()),
            Some(Op::Send(..)) if closed => failed(CLOSED, Some(value)),
            Some(Op::Send(..)) => End::Done,
            _ => End::Got(got.flatten()),
        };
        self.ended.push((who, end));
    }

    /// Does a ready case; returns the received value, or false for a send on a closed channel.
    pub fn proceed(&mut self, (c, value): Arm) -> Result<Option<Option<u64>>, ()> {
        let chan = &mut self.chans[c];
        let Some(value) = value else {
            let waiting = chan.senders.front().copied();
            let Some(sender) = waiting else { return Ok(Some(chan.buffer.pop_front())) };
            chan.buffer.push_back(sender.2);
            let got = chan.buffer.pop_front();
            self.wake(sender, None, false);
            return Ok(Some(got));
        };
        if chan.closed {
            return Err(());
        }
        match chan.receivers.front().copied() {
            Some(receiver) => self.wake(receiver, Some(Some(value)), false),
            None => chan.buffer.push_back(value),
        }
        Ok(None)
    }

    pub fn close(&mut self, c: usize) -> bool {
        if std::mem::replace(&mut self.chans[c].closed, true) {
            return false;
        }
        while let Some(receiver) = self.chans[c].receivers.front().copied() {
            self.wake(receiver, Some(None), true);
        }
        while let Some(sender) = self.chans[c].senders.front().copied() {
            self.wake(sender, None, true);
        }
        true
    }

    /// The cases of an operation; none if it never waits.
    pub fn arms(op: &Op) -> Vec<Arm> {
        match op {
            Op::Send(_, c, v) => vec![(*c, Some(*v))],
            Op::Recv(_, c) => vec![(*c, None)],
            Op::Select(_, _, arms) => arms.clone(),
            Op::Close(..) | Op::Drop(_) => vec![],
        }
    }

    pub fn would_wait(&self, op: &Op) -> bool {
        let waits = matches!(
            op,
            Op::Send(How::Plain | How::Told, ..)
                | Op::Recv(How::Plain | How::Told, _)
                | Op::Select(_, How::Plain, _)
        );
        waits && !Self::arms(op).into_iter().any(|arm| self.is_ready(arm))
    }

    /// `who` begins `op`. `seen` is what came of it: it says which of several ready cases a random
    /// select took.
    pub fn begin(&mut self, who: usize, op: &Op, seen: Option<&End>) {
        let arms = Self::arms(op);
        if self.would_wait(op) {
            for (case, (c, value)) in arms.into_iter().enumerate() {
                match value {
                    Some(v) => self.chans[c].senders.push_back((who, case, v)),
                    None => self.chans[c].receivers.push_back((who, case, 0)),
                }
            }
            self.waiting[who] = Some(op.clone());
            return;
        }
        let mut ready = (0..arms.len()).filter(|i| self.is_ready(arms[*i]));
        let first = ready.next();
        let end = match op {
            Op::Drop(c) => {
                self.close(*c);
                End::Done
            }
            Op::Close(how, c) => match (self.close(*c), how) {
                (true, _) => End::Done,
                (false, How::Plain) => End::Panicked("close of closed channel".into()),
                (false, _) => failed("close of closed channel", None),
            },
            Op::Select(form, _, _) => {
                let taken = match seen {
                    Some(End::Won(i, _)) if *form != Form::InOrder => {
                        first.filter(|f| f == i).or(ready.find(|r| r == i)).or(first)
                    }
                    // Which of two sends on closed channels it was cannot be seen.
                    Some(End::Panicked(_)) if *form != Form::InOrder => first
                        .into_iter()
                        .chain(ready)
                        .find(|i| arms[*i].1.is_some() && self.chans[arms[*i].0].closed)
                        .or(first),
                    _ => first,
                };
                match taken.map(|i| (i, self.proceed(arms[i]))) {
                    Some((i, Ok(got))) => End::Won(i, got),
                    Some((_, Err(()))) => End::Panicked(CLOSED.into()),
                    None => failed("nothing", None),
                }
            }
            Op::Send(how, _, v) => match (first.map(|_| self.proceed(arms[0])), how) {
                (Some(Ok(_)), _) => End::Done,
                (Some(Err(())), How::Plain | How::Try) => End::Panicked(CLOSED.into()),
                (Some(Err(())), _) => failed(CLOSED, Some(*v)),
                (None, How::Try) => failed("false", None),
                (None, How::Zero) => failed("send timed out", Some(*v)),
                (None, _) => failed("channel is full", Some(*v)),
            },
            Op::Recv(how, _) => match (first.map(|_| self.proceed(arms[0])), how) {
                (Some(got), _) => End::Got(got.ok().flatten().flatten()),
                (None, How::Try) => End::Got(None),
                (None, How::Zero) => failed("receive timed out", None),
                (None, _) => failed("channel is empty", None),
            },
        };
        self.ended.push((who, end));
    }

    /// How many values there must be.
    pub fn live(&self) -> usize {
        let buffered: usize = self.chans.iter().map(|c| c.buffer.len()).sum();
        let offered = self.waiting.iter().flatten().map(|op| match op {
            // Each has the values of its two sends, wished or not.
            Op::Select(Form::Macro, ..) => 2,
            op => Self::arms(op).iter().filter(|arm| arm.1.is_some()).count(),
        });
        buffered + offered.sum::<usize>()
    }
}
