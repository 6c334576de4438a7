//! Which public type is Send and which is Sync, for each kind of value that it may hold.

use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;

use go_lib::chan::{IntoIter, Iter, Receiver, Sender};
use go_lib::context::{CancelFn, Context};
use go_lib::select::Select;
use go_lib::sync::{self, errgroup, singleflight};
use go_lib::{time, GoroutinePanic, LockOsThread, Scope, ScopedJoinHandle};

/// Says whether `T` is Send, and whether it is Sync: an inherent constant, which needs the bound,
/// goes before one of a trait.
struct Of<T: ?Sized>(PhantomData<T>);

trait NotSend {
    const SEND: bool = false;
}
trait NotSync {
    const SYNC: bool = false;
}
impl<T: ?Sized> NotSend for Of<T> {}
impl<T: ?Sized> NotSync for Of<T> {}
impl<T: ?Sized + Send> Of<T> {
    const SEND: bool = true;
}
impl<T: ?Sized + Sync> Of<T> {
    const SYNC: bool = true;
}

macro_rules! is {
    ($t:ty) => {
        (Of::<$t>::SEND, Of::<$t>::SYNC)
    };
}

/// Sent and shared; only sent; only shared; neither.
type Both = u8;
type OnlySend = Cell<u8>;
type OnlySync = std::sync::MutexGuard<'static, u8>;
type Neither = Rc<u8>;

const YES: (bool, bool) = (true, true);
const NO: (bool, bool) = (false, false);

#[test]
fn the_test_itself_can_tell() {
    assert_eq!((is!(Both), is!(OnlySend)), (YES, (true, false)));
    assert_eq!((is!(OnlySync), is!(Neither)), ((false, true), NO));
}

/// For each of the four kinds of value.
macro_rules! of_each {
    ($($t:ident)::+ $(<$life:lifetime>)?) => {
        [
            is!($($t)::+<$($life,)? Both>),
            is!($($t)::+<$($life,)? OnlySend>),
            is!($($t)::+<$($life,)? OnlySync>),
            is!($($t)::+<$($life,)? Neither>),
        ]
    };
}

#[test]
fn what_passes_values_from_one_to_another_needs_send_only() {
    const PASSES: [(bool, bool); 4] = [YES, YES, NO, NO];
    assert_eq!(of_each!(Sender), PASSES);
    assert_eq!(of_each!(Receiver), PASSES);
    assert_eq!(of_each!(IntoIter), PASSES);
    assert_eq!(of_each!(Iter<'static>), PASSES);
    assert_eq!(of_each!(sync::Mutex), PASSES);
    assert_eq!(of_each!(errgroup::Group), PASSES);
    assert_eq!(of_each!(ScopedJoinHandle<'static>), PASSES);
}

#[test]
fn what_shares_a_value_needs_sync_too() {
    const SHARES: [(bool, bool); 4] = [YES, (true, false), NO, NO];
    assert_eq!(of_each!(sync::RwLock), SHARES);
    assert_eq!(of_each!(sync::OnceCell), SHARES);
}

#[test]
fn a_guard_is_a_borrow_of_the_value() {
    // As `&mut T`, and as `&T`; either needs the lock to be shareable.
    assert_eq!(of_each!(sync::MutexGuard<'static>), [YES, (true, false), NO, NO]);
    assert_eq!(of_each!(sync::WriteGuard<'static>), [YES, NO, NO, NO]);
    assert_eq!(of_each!(sync::ReadGuard<'static>), [YES, NO, NO, NO]);
}

#[test]
fn a_select_has_values_of_its_own() {
    let [both, only_send, only_sync, neither] = of_each!(Select<'static>);
    assert_eq!((both, only_send.0, only_sync, neither), (YES, true, NO, NO));
}

#[test]
fn a_key_is_sent_and_its_value_shared_by_clones() {
    assert_eq!(is!(singleflight::Group<Both, Both>), YES);
    assert_eq!(is!(singleflight::Group<Neither, Both>), NO);
    assert_eq!(is!(singleflight::Group<Both, Neither>), NO);
}

#[test]
fn what_holds_no_value_is_both_and_the_guard_of_a_thread_is_neither() {
    assert_eq!(is!(sync::WaitGroup), YES);
    assert_eq!(is!(sync::Cond), YES);
    assert_eq!(is!(sync::Once), YES);
    assert_eq!(is!(sync::Semaphore), YES);
    assert_eq!(is!(sync::Barrier), YES);
    assert_eq!(is!(Context), YES);
    assert_eq!(is!(CancelFn), YES);
    assert_eq!(is!(time::Timer), YES);
    assert_eq!(is!(time::Ticker), YES);
    assert_eq!(is!(Scope<'static, 'static>), YES);
    assert_eq!(is!(GoroutinePanic), (true, false));
    assert_eq!(is!(LockOsThread), NO);
}
