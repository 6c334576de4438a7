//! The same work, done once for all who want it at the same time.
//!
//! Go: golang.org/x/sync/singleflight

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::Arc;

use crate::sync::{Cond, Mutex};

/// Work by key: a caller that comes while it is under way waits for its result instead of repeating
/// it.
///
/// # Examples
/// ```
/// let group = go_lib::sync::singleflight::Group::new();
/// let (value, shared) = group.work("key", || 7);
/// assert_eq!((value, shared), (7, false));
/// ```
pub struct Group<K, V> {
    calls: Mutex<HashMap<K, Arc<Call<V>>>>,
}

/// One piece of work under way.
struct Call<V> {
    outcome: Mutex<Outcome<V>>,
    ended: Cond,
}

enum Outcome<V> {
    None,
    Value(V),
    /// The panic's message, if it was text.
    Panic(String),
}

impl<K, V> Default for Group<K, V> {
    fn default() -> Self {
        Group { calls: Mutex::default() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Group<K, V> {
    /// A group without work.
    ///
    /// # Examples
    /// ```
    /// let group = go_lib::sync::singleflight::Group::<u32, u32>::new();
    /// group.forget(&1);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The result of `f`, or of the call for the same key that is under way; and whether it is
    /// another's.
    ///
    /// Blocks: the goroutine or the OS thread. Panics: if `f` does, and so do those who waited for
    /// it. Go: `Group.Do`.
    ///
    /// # Examples
    /// ```
    /// let group = go_lib::sync::singleflight::Group::new();
    /// assert_eq!(group.work(1, || "one").0, "one");
    /// ```
    pub fn work(&self, key: K, f: impl FnOnce() -> V) -> (V, bool) {
        let mut calls = self.calls.lock();
        if let Some(call) = calls.get(&key).cloned() {
            drop(calls);
            return (call.wait(), true);
        }
        let call = Arc::new(Call { outcome: Mutex::new(Outcome::None), ended: Cond::new() });
        calls.insert(key.clone(), call.clone());
        drop(calls);
        let result = catch_unwind(AssertUnwindSafe(f));
        {
            let mut calls = self.calls.lock();
            // Not a call that came after a `forget`.
            if calls.get(&key).is_some_and(|c| Arc::ptr_eq(c, &call)) {
                calls.remove(&key);
            }
        }
        *call.outcome.lock() = match &result {
            Ok(value) => Outcome::Value(value.clone()),
            Err(payload) => Outcome::Panic(text_of(payload.as_ref())),
        };
        call.ended.notify_all();
        match result {
            Ok(value) => (value, false),
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Makes the next call for `key` do the work itself, even while one is under way.
    ///
    /// Blocks: nothing for long.
    ///
    /// # Examples
    /// ```
    /// let group = go_lib::sync::singleflight::Group::<_, u32>::new();
    /// group.forget(&"key");
    /// ```
    pub fn forget(&self, key: &K) {
        self.calls.lock().remove(key);
    }
}

impl<V: Clone> Call<V> {
    fn wait(&self) -> V {
        let mut outcome = self.outcome.lock();
        loop {
            match &*outcome {
                Outcome::None => outcome = self.ended.wait(&self.outcome, outcome),
                Outcome::Value(value) => return value.clone(),
                Outcome::Panic(text) => {
                    let text = text.clone();
                    drop(outcome);
                    std::panic::panic_any(text)
                }
            }
        }
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the shared call panicked".to_owned())
}

impl<K, V> fmt::Debug for Group<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("singleflight::Group")
    }
}
