//! Contexts by the table of scenarios (`context_scenarios.txt`): another implementation of the tree reads the same table, so
//! that the two cannot come to differ.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use go_lib::context::{
    after_func, background, cause, with_cancel, with_cancel_cause, with_deadline, with_value,
    without_cancel, CancelCauseFn, CancelFn, Context, ContextError, StopFn,
};

const TABLE: &str = include_str!("context_scenarios.txt");
const HOUR: Duration = Duration::from_secs(3600);

/// The values of the table by their keys: here the type is the key.
#[derive(Debug)]
struct Plain(String);
#[derive(Debug)]
struct Other(String);

enum Cancel {
    None,
    Plain(CancelFn),
    Cause(CancelCauseFn),
}

struct Call {
    stop: StopFn,
    ran: Arc<AtomicUsize>,
}

struct Scenario {
    start: Instant,
    contexts: HashMap<String, (Context, Cancel)>,
    calls: HashMap<String, Call>,
}

impl Scenario {
    fn new() -> Scenario {
        let root = ("root".to_owned(), (background(), Cancel::None));
        Scenario { start: Instant::now(), contexts: HashMap::from([root]), calls: HashMap::new() }
    }

    fn context(&self, name: &str) -> &Context {
        &self.contexts[name].0
    }

    fn when(&self, word: &str) -> Instant {
        match word {
            "past" => self.start,
            "soon" => Instant::now() + Duration::from_millis(3),
            "late" => self.start + HOUR,
            "later" => self.start + 2 * HOUR,
            _ => panic!("no such time: {word}"),
        }
    }

    fn make(&self, what: &str, parent: &str, rest: &[&str]) -> Option<(Context, Cancel)> {
        let parent = self.contexts.get(parent).map(|(ctx, _)| ctx)?;
        Some(match (what, rest) {
            ("cancel", []) => {
                let (ctx, cancel) = with_cancel(parent);
                (ctx, Cancel::Plain(cancel))
            }
            ("cause", []) => {
                let (ctx, cancel) = with_cancel_cause(parent);
                (ctx, Cancel::Cause(cancel))
            }
            ("deadline", [when]) => {
                let (ctx, cancel) = with_deadline(parent, self.when(when));
                (ctx, Cancel::Plain(cancel))
            }
            ("value", ["k", word]) => (with_value(parent, Plain((*word).to_owned())), Cancel::None),
            ("value", ["other", word]) => {
                (with_value(parent, Other((*word).to_owned())), Cancel::None)
            }
            ("without", []) => (without_cancel(parent), Cancel::None),
            _ => return None,
        })
    }

    fn do_step(&mut self, step: &[&str]) -> bool {
        match *step {
            ["after", name, parent] => {
                let ran = Arc::new(AtomicUsize::new(0));
                let count = ran.clone();
                let stop = after_func(self.context(parent), move || {
                    count.fetch_add(1, Ordering::Relaxed);
                });
                self.calls.insert(name.to_owned(), Call { stop, ran });
            }
            ["end", name, ref reason @ ..] => match (&self.contexts[name].1, reason) {
                (Cancel::Plain(cancel), []) => cancel.cancel(),
                (Cancel::Cause(cancel), []) => cancel.cancel("context canceled"),
                (Cancel::Cause(cancel), [reason]) => cancel.cancel(*reason),
                _ => panic!("{name} cannot be ended so"),
            },
            ["stop", name, expected] => {
                assert_eq!(self.calls[name].stop.stop(), expected == "yes");
            }
            ["forget", name] => drop(self.contexts.remove(name)),
            ["wait", name] => drop(self.context(name).done().recv()),
            _ => return self.check(step),
        }
        true
    }

    fn check(&self, step: &[&str]) -> bool {
        match *step {
            ["is", name, expected] => {
                let is = match self.context(name).err() {
                    None => "alive",
                    Some(ContextError::Cancelled) => "canceled",
                    Some(ContextError::DeadlineExceeded) => "deadline",
                };
                assert_eq!(is, expected);
                assert_eq!(self.context(name).is_done(), expected != "alive");
            }
            ["why", name, expected] => {
                let text = cause(self.context(name)).map(|cause| cause.to_string());
                let expected = match expected {
                    "canceled" => "context canceled",
                    "deadline" => "context deadline exceeded",
                    word => word,
                };
                assert_eq!(text.as_deref(), Some(expected));
            }
            ["by", name, expected] => {
                let expected = (expected != "never").then(|| self.when(expected));
                assert_eq!(self.context(name).deadline(), expected);
            }
            ["sees", name, key, expected] => {
                let ctx = self.context(name);
                let seen = match key {
                    "k" => ctx.value::<Plain>().map(|v| v.0.as_str()),
                    _ => ctx.value::<Other>().map(|v| v.0.as_str()),
                };
                assert_eq!(seen.unwrap_or("-"), expected);
            }
            ["ran", name, expected] => {
                let ran = &self.calls[name].ran;
                while expected == "yes" && ran.load(Ordering::Relaxed) == 0 {
                    go_lib::gosched();
                }
                assert_eq!(ran.load(Ordering::Relaxed), usize::from(expected == "yes"));
            }
            _ => return false,
        }
        true
    }

    fn step(&mut self, step: &[&str]) {
        if let [what, name, parent, rest @ ..] = step {
            if let Some(made) = self.make(what, parent, rest) {
                self.contexts.insert((*name).to_owned(), made);
                return;
            }
        }
        assert!(self.do_step(step), "no such step: {step:?}");
    }
}

#[test]
fn the_tree_passes_every_scenario_of_the_table() {
    go_lib::run(|| {
        let (mut scenario, mut count) = (Scenario::new(), 0);
        for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            // What a failure shows is the last line.
            eprintln!("{line}");
            if line.starts_with("scenario ") {
                scenario = Scenario::new();
                count += 1;
            } else {
                let words: Vec<_> = line.split_whitespace().collect();
                scenario.step(&words);
            }
        }
        assert!(count > 20);
    });
}
