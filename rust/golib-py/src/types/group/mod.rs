//! The core of `golib.scope` and `golib.sync.ErrGroup`: goroutines that belong together.
//!
//! How a scope or an ErrGroup treats its members' failures is Python code (`golib._scope`, `golib.sync._errgroup`).
//!
//! # Invariants
//! 1. A member's holder owns a reference to the group until the member has left.
//! 2. `failed` holds the handles of members that ended with an exception other than Cancelled, in the order in which they
//!    ended. Their exceptions count as unread until [`errors`] has shown them.
//! 3. The cores own nothing: the instance is freed without dropping them.

mod block;

use std::cell::UnsafeCell;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, Ordering};

use go_lib::runtime::embedder::{SemaphoreCore, Wait, WaitGroupCore};

use crate::core::context::entry::{GroupHooks, Member};
use crate::core::context::node::{checked, Context, Why};
use crate::core::context::{ambient, cancel};
use crate::core::goroutine::{check_function, rest_of_call, start_goroutine, GoroutineObj, Spec};
use crate::core::waits::complete;
use crate::ffi::args::{integer_of, Args, NewArgs, Timeout};
use crate::ffi::class::{this, Class, Object, TypeCell, TypeOf, Visitor, Weaklist};
use crate::ffi::containers::{append, list};
use crate::ffi::errors;
use crate::ffi::gil::{guard, Entry, Gil};
use crate::ffi::methods::{entry, Method, Methods, Properties, Property};
use crate::ffi::obj::Raw;
use crate::ffi::python::{
    is_error_of, none, runtime_error, truth, type_error, value_error, write_unraisable,
};
use crate::ffi::refs::{release, Field, New, Outcome, Raised, Ref, Slot};
use crate::ffi::spec::TypeSpec;

/// The fields of `golib._golib.Group`.
pub(crate) struct Group {
    weaklist: Weaklist,
    /// The context under which the members run; empty before `_open`.
    ctx: Slot,
    /// By 2; empty until one fails.
    failed: Slot,
    /// See [`Group::counts`].
    counts: UnsafeCell<Counts>,
    /// Whether `slots` of the counts limits how many members run at once.
    limited: bool,
    /// The number of members.
    limit: u32,
    /// The value of `FORKS` when members were last counted.
    forks: Field<u32>,
    /// Whether the first failure cancels the context.
    cancel_on_error: bool,
    /// Whether the group accepts no more members.
    closed: Field<bool>,
}

/// The members.
struct Counts {
    members: WaitGroupCore,
    slots: SemaphoreCore,
}

const _: () = assert!(!std::mem::needs_drop::<Counts>(), "by 3");

impl Counts {
    fn new(limit: u32) -> Counts {
        Counts { members: WaitGroupCore::default(), slots: SemaphoreCore::new(limit as usize) }
    }
}

static GROUP: TypeCell<Group> = TypeCell::new();

/// The forks that led to this process.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// In a forked child: the members of every group stayed in the parent.
pub(crate) fn after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

impl Class for Group {
    const COLLECTED: bool = true;
    const WEAKLIST: Option<usize> = Some(offset_of!(Group, weaklist));

    fn visit(&self, visitor: &mut Visitor) {
        visitor.slots([&self.ctx, &self.failed]);
    }

    fn clear(&self, gil: Gil<'_>) {
        self.failed.clear(gil);
        self.ctx.clear(gil);
    }
}

impl Group {
    /// The counts. In a forked child they begin anew, because the members that were counted stayed in the parent. If a member
    /// forked, the child ends before that member would leave.
    fn counts(&self, gil: Gil<'_>) -> &Counts {
        let (x, forks) = (gil.exclusive(), FORKS.load(Ordering::Relaxed));
        // SAFETY: written only in a child and before its first use there: the waiters are not in this process.
        unsafe {
            if self.forks.get(x) != forks {
                *self.counts.get() = Counts::new(self.limit);
                self.forks.set(x, forks);
            }
            &*self.counts.get()
        }
    }

    /// The group's context.
    fn context(&self, gil: Gil<'_>) -> Option<New> {
        self.ctx.get(gil)
    }

    /// Accepts members from now on, and runs them under `ctx`.
    fn adopt(&self, gil: Gil<'_>, ctx: &Object<Context>) -> Outcome<()> {
        let x = gil.exclusive();
        if !self.ctx.is_empty(x) {
            let text = "this scope has been entered already";
            return Err(errors::fail(gil, runtime_error(), text));
        }
        release(gil, self.ctx.put(x, Some(ctx.object().own(gil))));
        Ok(())
    }

    /// Cancels the context, if there is one. A cancellation may drop an object whose finalizer clears the group, so the caller
    /// holds the group.
    fn cancel_context(&self, gil: Gil<'_>, cause: Option<Ref<'_>>) {
        if let Some(ctx) = self.context(gil) {
            cancel::cancel(gil, ambient::as_context(&ctx), Why::Canceled, cause);
            ctx.release(gil);
        }
    }

    /// Checks that the group accepts members and that the first of `args` is a function that a member can run, which it
    /// returns.
    fn check<'a>(&self, gil: Gil<'_>, name: &str, args: Args<'a>) -> Outcome<Ref<'a>> {
        let x = gil.exclusive();
        let Some(function) = args.positional().first() else {
            let text = format!("{name}() missing required argument: 'fn'");
            return Err(errors::fail(gil, type_error(), &text));
        };
        if self.closed.get(x) {
            return Err(errors::fail(gil, runtime_error(), "the scope has ended"));
        }
        if self.ctx.is_empty(x) {
            return Err(errors::fail(gil, runtime_error(), "the scope was not entered"));
        }
        check_function(gil, *function)?;
        Ok(*function)
    }
}

entry! { GO: golib_entry_group_go => group_go keywords(entry, group: Group, args) {
    group.check(entry.gil(), "go", args)?;
    if group.limited {
        let slots = &group.counts(entry.gil()).slots as *const SemaphoreCore;
        // SAFETY: a part of the group, which the caller holds.
        complete(entry, "go", Timeout::NONE, || unsafe { (*slots).acquire(1, Wait::Block) })?;
    }
    add(entry.gil(), group, args)
} }

entry! { WAIT: golib_entry_group_wait => group_wait keywords(entry, group: Group, args) {
    let [] = args.parse(entry.gil(), "wait", &[], 0)?;
    wait_for_members(entry, group)?;
    Ok(none(entry.gil()))
} }

/// Waits until no member runs.
fn wait_for_members(entry: &mut Entry, group: &Object<Group>) -> Outcome<()> {
    let members = &group.counts(entry.gil()).members as *const WaitGroupCore;
    // SAFETY: a part of the group, which the caller holds.
    complete(entry, "wait", Timeout::NONE, || unsafe { (*members).wait(Wait::Block) })
}

/// Starts a member, for which a slot has been taken. Returns its handle.
fn add(gil: Gil<'_>, group: &Object<Group>, args: Args<'_>) -> Outcome<New> {
    let handle = start_member(gil, group, args);
    if handle.is_err() && group.limited {
        let _ = guard(gil, || group.counts(gil).slots.release(1));
    }
    handle
}

fn start_member(gil: Gil<'_>, group: &Object<Group>, args: Args<'_>) -> Outcome<New> {
    // The scope may have ended while we waited for a slot.
    let function = group.check(gil, "go", args)?;
    let Some(ctx) = group.context(gil) else { return Err(ended_meanwhile(gil)) };
    let (positional, kwargs) = match rest_of_call(gil, args) {
        Ok(rest) => rest,
        Err(raised) => {
            ctx.release(gil);
            return Err(raised);
        }
    };
    let _ = guard(gil, || group.counts(gil).members.add(1));
    let member = Member { group: group.object().own(gil).give(), hooks: &HOOKS };
    let holder = ambient::for_member(gil, member, ambient::as_context(&ctx));
    let spec = Spec { kwargs, skip: 0, holder, ..Spec::new(function, positional) };
    let handle = start_goroutine(gil, spec);
    ctx.release(gil);
    if handle.is_err() {
        let _ = guard(gil, || group.counts(gil).members.add(-1));
    }
    handle
}

#[cold]
fn ended_meanwhile(gil: Gil<'_>) -> Raised {
    errors::fail(gil, runtime_error(), "the scope has ended")
}

/// `try_go(fn, /, *args, **kwargs)`: None if the limit is reached.
fn try_go(gil: Gil<'_>, group: &Object<Group>, args: Args<'_>) -> Outcome<New> {
    group.check(gil, "try_go", args)?;
    if group.limited {
        let slots = &group.counts(gil).slots;
        if guard(gil, || slots.acquire(1, Wait::Try))?.is_err() {
            return Ok(none(gil));
        }
    }
    add(gil, group, args)
}

static HOOKS: GroupHooks = GroupHooks { ended, left };

/// Notes a failure when a member has ended.
///
/// # Safety
/// The GIL is held; `group` is a group, and `handle` is the handle of a member that is about to leave it.
unsafe fn ended(group: Raw, handle: Raw) {
    // SAFETY: the caller's member owns a reference to its group, and is held itself.
    let (gil, group, handle, error) = unsafe {
        let error = Ref::nullable(GoroutineObj::error(handle));
        (Gil::assume(), this::<Group>(group), Ref::borrowed(handle), error)
    };
    // SAFETY: found at import, and kept.
    let cancelled = unsafe { Ref::borrowed(errors::CANCELLED.get()) };
    let Some(error) = error.filter(|error| !is_error_of(gil, *error, cancelled)) else { return };
    if note_failure(gil, group, handle).is_err() {
        write_unraisable(gil, group.object());
    }
    if group.cancel_on_error {
        group.cancel_context(gil, Some(error));
    }
}

/// By 2.
fn note_failure(gil: Gil<'_>, group: &Object<Group>, handle: Ref<'_>) -> Outcome<()> {
    let x = gil.exclusive();
    if group.failed.is_empty(x) {
        let new = list(gil)?;
        // Another member may have failed while the list was made.
        if group.failed.is_empty(x) {
            release(gil, group.failed.put(x, Some(new)));
        } else {
            new.release(gil);
        }
    }
    let Some(failed) = group.failed.get(gil) else { return Ok(()) };
    let noted = append(gil, failed.get(), handle);
    failed.release(gil);
    noted
}

/// Lets a waiter continue once a member is done. Takes the member's reference over. It is never inlined into a goroutine's
/// main function, for the reason given there.
///
/// # Safety
/// The GIL is held; `group` is a group.
#[inline(never)]
unsafe fn left(group: Raw) {
    // SAFETY: by 1 the reference is ours.
    let (gil, own) = unsafe { (Gil::assume(), New::owned(group)) };
    // SAFETY: a group, which that reference keeps.
    let group = unsafe { this::<Group>(own.get().as_raw()) };
    let counts = group.counts(gil);
    if group.limited {
        let _ = guard(gil, || counts.slots.release(1));
    }
    let _ = guard(gil, || counts.members.add(-1));
    own.release(gil);
}

/// `_open(ctx)`: accepts members from now on.
fn open(gil: Gil<'_>, group: &Object<Group>, ctx: Ref<'_>) -> Outcome<New> {
    group.adopt(gil, checked(gil, ctx)?)?;
    Ok(none(gil))
}

/// `_cancel(cause)`: cancels its context.
fn cancel_method(gil: Gil<'_>, group: &Object<Group>, cause: Ref<'_>) -> Outcome<New> {
    group.cancel_context(gil, Some(cause).filter(|cause| !cause.is_none()));
    Ok(none(gil))
}

/// `_errors()`: the exceptions of the members that failed, in the order in which they ended.
fn errors_of(gil: Gil<'_>, group: &Object<Group>) -> Outcome<New> {
    let found = list(gil)?;
    let Some(failed) = group.failed.get(gil) else { return Ok(found) };
    // SAFETY: a list of handles, which no Python code sees.
    let filled = unsafe {
        crate::ffi::containers::list_items(failed.get()).iter().try_for_each(|handle| {
            // None only after the collector has cleared it.
            match Ref::nullable(GoroutineObj::read_error(handle.as_raw())) {
                Some(error) => append(gil, found.get(), error),
                None => Ok(()),
            }
        })
    };
    failed.release(gil);
    match filled {
        Ok(()) => Ok(found),
        Err(raised) => {
            found.release(gil);
            Err(raised)
        }
    }
}

fn get_ctx(gil: Gil<'_>, group: &Object<Group>) -> Outcome<New> {
    match group.context(gil) {
        Some(ctx) => Ok(ctx),
        None => Err(errors::fail(gil, runtime_error(), "the scope was not entered")),
    }
}

/// `Group(limit=None, cancel_on_error=True)`.
fn new(gil: Gil<'_>, class: TypeOf<'_, Group>, args: NewArgs<'_>) -> Outcome<New> {
    let [limit, cancel_on_error] =
        args.named(gil, c"|$OO:scope", [c"limit", c"cancel_on_error"])?;
    let cancel_on_error = cancel_on_error.map_or(Ok(true), |flag| truth(gil, flag))?;
    let limit = match limit.filter(|limit| !limit.is_none()) {
        None => 0,
        Some(limit) => match integer_of(gil, limit)? {
            n if n < 1 => {
                return Err(errors::fail(gil, value_error(), "limit must be at least 1"));
            }
            n => n.min(i64::from(u32::MAX)) as u32,
        },
    };
    let group = Group {
        weaklist: Weaklist::new(),
        ctx: Slot::empty(),
        failed: Slot::empty(),
        counts: UnsafeCell::new(Counts::new(limit)),
        limited: limit != 0,
        limit,
        forks: Field::new(FORKS.load(Ordering::Relaxed)),
        cancel_on_error,
        closed: Field::new(false),
    };
    Ok(class.make(gil, group)?.into_new())
}

static METHODS: Methods<Group, 9> = Methods([
    Method::parks(
        c"go",
        GO,
        c"go($self, fn, /, *args, **kwargs)
--

Starts fn(*args, **kwargs) as a goroutine that belongs here; its handle.

It runs under the context of the group. With a limit it first waits until fewer run.

Blocks: the goroutine, or the OS thread, while the limit is reached.
Raises: TypeError as golib.go(); RuntimeError after the end.",
    ),
    Method::keywords(
        c"try_go",
        try_go,
        c"try_go($self, fn, /, *args, **kwargs)
--

go() that does not wait: None, and nothing was started, if the limit is reached.

Blocks: nothing.",
    ),
    Method::parks(
        c"_wait",
        WAIT,
        c"_wait($self, /)
--

Waits until no member runs.",
    ),
    Method::one(
        c"_open",
        open,
        c"_open($self, ctx, /)
--

Takes members from now on, under ctx.",
    ),
    Method::noargs(
        c"_enter",
        block::enter,
        c"_enter($self, /)
--

Begins the block of a scope.",
    ),
    Method::parks(
        c"_exit",
        block::EXIT,
        c"_exit($self, kind, error, tb, /)
--

Ends the block when no member runs: returns, or raises, what _outcome(error, late) does.",
    ),
    Method::one(
        c"_cancel",
        cancel_method,
        c"_cancel($self, cause, /)
--

Cancels the context.",
    ),
    Method::noargs(
        c"_errors",
        errors_of,
        c"_errors($self, /)
--

What the members raised, but Cancelled, in the order of their ends.",
    ),
    Method::END,
]);

static PROPERTIES: Properties<Group, 2> = Properties([
    Property::new(c"ctx", get_ctx, c"The context under which the goroutines run."),
    Property::END,
]);

/// Makes the type. Called once.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<New> {
    TypeSpec::<Group>::new(
        c"golib._golib.Group",
        c"The core of golib.scope() and golib.sync.ErrGroup.",
    )
    .subclassable()
    .constructor(new)
    .methods(&METHODS)
    .properties(&PROPERTIES)
    .make(gil, &GROUP)
}
