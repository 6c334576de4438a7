//! The core of `golib.scope` and `golib.sync.ErrGroup`: goroutines that belong together.
//!
//! What a scope or an ErrGroup makes of its members' failures is Python (`golib._scope`, `golib.sync._errgroup`).
//!
//! # Invariants
//! 1. A member's holder owns a reference to the group until the member has left.
//! 2. `failed` holds the handles of members that ended by an exception but Cancelled, in the order of their ends; their
//!    exceptions count as unread until [`errors`] has shown them.
//! 3. The cores own nothing: the instance is freed without dropping them.

mod block;

use std::mem::offset_of;
use std::os::raw::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use go_lib::runtime::embedder::{SemaphoreCore, Wait, WaitGroupCore};
use pyo3::ffi::{self, PyMethodDef, PyObject, PyTypeObject, Py_ssize_t};

use crate::core::context::entry::{GroupHooks, Member};
use crate::core::context::node::{checked, Why};
use crate::core::context::{ambient, cancel};
use crate::core::goroutine::{check_function, rest_of_call, start_goroutine, GoroutineObj, Spec};
use crate::ffi::errors;
use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::{
    self, arguments, free_instance, guard, instance, parking, Container, Record, Table,
};
use crate::types::sync::waited;

/// An instance of `golib._golib.Group`.
#[repr(C)]
struct GroupObj {
    ob_base: PyObject,
    weaklist: Raw,
    /// Under which the members run; null before `_open`.
    ctx: Raw,
    /// By 2; null until one fails.
    failed: Raw,
    members: WaitGroupCore,
    /// As many as may run at once, if `limited`.
    slots: SemaphoreCore,
    limited: bool,
    /// How many there are of them.
    limit: u32,
    /// What `FORKS` was when members were last counted.
    forks: u32,
    /// The first failure cancels the context.
    cancel_on_error: bool,
    /// No member may be added any more.
    closed: bool,
}

/// The forks that led to this process.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// In a forked child: the members of every group stayed in the parent.
pub(crate) fn after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

#[inline]
unsafe fn group<'a>(slf: Raw) -> &'a mut GroupObj {
    // SAFETY: a method of Group: the caller holds it; the GIL is held and no reference is kept across a park.
    let g = unsafe { &mut *instance::<GroupObj>(slf) };
    if g.forks != FORKS.load(Ordering::Relaxed) {
        begin_in_child(g);
    }
    g
}

/// Nobody of those who were counted is here; if it was a member that forked, the process ends before it leaves.
#[cold]
fn begin_in_child(g: &mut GroupObj) {
    g.members = WaitGroupCore::default();
    g.slots = SemaphoreCore::new(g.limit as usize);
    g.forks = FORKS.load(Ordering::Relaxed);
}

parking!(golib_entry_group_go => group_go(slf, args, n, kwnames; record) {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS method of Group.
    unsafe {
        if !can_add(slf, "go", args, n) {
            return ptr::null_mut();
        }
        let slots: *const SemaphoreCore = &raw const group(slf).slots;
        if group(slf).limited {
            let waited = waited(record, "go", ptr::null_mut(), || (*slots).acquire(1, Wait::Block));
            if waited.is_null() {
                return waited;
            }
            ffi::Py_DECREF(waited);
        }
        add(slf, args, n, kwnames)
    }
});

parking!(golib_entry_group_wait => group_wait(slf, args, n, kwnames; record) {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS method of Group.
    unsafe {
        let Some([]) = arguments("wait", &[], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        wait_for_members(slf, record)
    }
});

/// Waits until no member runs: None, or null with an exception set.
unsafe fn wait_for_members(slf: Raw, record: Record) -> Raw {
    // SAFETY: a method of Group, whose caller holds it for as long as we wait.
    unsafe {
        let members: *const WaitGroupCore = &raw const group(slf).members;
        waited(record, "wait", ptr::null_mut(), || (*members).wait(Wait::Block))
    }
}

/// Checks that the group takes members and the arguments are good; false: an exception is set.
unsafe fn can_add(slf: Raw, name: &str, args: *const Raw, n: Py_ssize_t) -> bool {
    // SAFETY: a method of Group.
    unsafe {
        if n < 1 {
            let text = format!("{name}() missing required argument: 'fn'");
            errors::set(ffi::PyExc_TypeError, &text);
            return false;
        }
        let g = group(slf);
        if g.ctx.is_null() || g.closed {
            let text = if g.closed { "the scope has ended" } else { "the scope was not entered" };
            errors::set(ffi::PyExc_RuntimeError, text);
            return false;
        }
        check_function(*args)
    }
}

/// Starts a member, for which a slot has been taken; its handle, or null with an exception set.
unsafe fn add(slf: Raw, args: *const Raw, n: Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: the arguments of a vectorcall.
    unsafe {
        let handle = start_member(slf, args, n, kwnames);
        if handle.is_null() && group(slf).limited {
            let _ = guard(|| group(slf).slots.release(1));
        }
        handle
    }
}

unsafe fn start_member(slf: Raw, args: *const Raw, n: Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: as add.
    unsafe {
        // It may have ended while we waited for a slot.
        if !can_add(slf, "go", args, n) {
            return ptr::null_mut();
        }
        let Some((positional, kwargs)) = rest_of_call(args, n, kwnames) else {
            return ptr::null_mut();
        };
        let ctx = group(slf).ctx;
        let _ = guard(|| group(slf).members.add(1));
        let holder = ambient::for_member(Member { group: slf, hooks: &HOOKS }, ctx);
        let handle =
            start_goroutine(Spec { kwargs, skip: 0, holder, ..Spec::new(*args, positional) });
        if handle.is_null() {
            let _ = guard(|| group(slf).members.add(-1));
        }
        handle
    }
}

/// `try_go(fn, /, *args, **kwargs)`: None if the limit is reached.
unsafe extern "C" fn try_go(slf: Raw, args: *const Raw, n: Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS method of Group.
    unsafe {
        if !can_add(slf, "try_go", args, n) {
            return ptr::null_mut();
        }
        if group(slf).limited {
            match guard(|| group(slf).slots.acquire(1, Wait::Try)) {
                Some(Ok(())) => {}
                Some(Err(_)) => return obj::none(),
                None => return ptr::null_mut(),
            }
        }
        add(slf, args, n, kwnames)
    }
}

static HOOKS: GroupHooks = GroupHooks { ended, left };

/// A member has ended: notes a failure.
///
/// # Safety
/// The GIL is held; `slf` is a group, `handle` that of a member that is about to be done.
unsafe fn ended(slf: Raw, handle: Raw) {
    // SAFETY: the caller's duty.
    unsafe {
        let error = GoroutineObj::error(handle);
        if error.is_null() || ffi::PyErr_GivenExceptionMatches(error, errors::CANCELLED.get()) != 0
        {
            return;
        }
        let g = group(slf);
        if g.failed.is_null() {
            let list = ffi::PyList_New(0);
            // Making it may have let another member fail.
            if group(slf).failed.is_null() {
                group(slf).failed = list;
            } else {
                ffi::Py_XDECREF(list);
            }
        }
        let g = group(slf);
        if g.failed.is_null() || ffi::PyList_Append(g.failed, handle) < 0 {
            ffi::PyErr_WriteUnraisable(slf);
        }
        if group(slf).cancel_on_error {
            cancel_ctx(slf, error);
        }
    }
}

/// Cancels the context, if there is one; `cause` is borrowed or null.
unsafe fn cancel_ctx(slf: Raw, cause: Raw) {
    // SAFETY: a group, held by the caller; what a cancellation drops may clear it.
    unsafe {
        let ctx = group(slf).ctx;
        if !ctx.is_null() {
            ffi::Py_INCREF(ctx);
            cancel::cancel(ctx, Why::Canceled, cause);
            ffi::Py_DECREF(ctx);
        }
    }
}

/// A member is done: whoever waits may go on. Takes the member's reference over. Never inlined into a goroutine's main
/// function: see there.
///
/// # Safety
/// The GIL is held; `slf` is a group.
#[inline(never)]
unsafe fn left(slf: Raw) {
    // SAFETY: by 1 the reference is ours.
    unsafe {
        let g = group(slf);
        if g.limited {
            let _ = guard(|| g.slots.release(1));
        }
        let _ = guard(|| g.members.add(-1));
        ffi::Py_DECREF(slf);
    }
}

/// Takes members from now on, under `ctx` (a new reference is taken). False: an exception is set.
unsafe fn adopt(slf: Raw, ctx: Raw) -> bool {
    // SAFETY: a method of Group; a Context.
    unsafe {
        if !group(slf).ctx.is_null() {
            errors::set(ffi::PyExc_RuntimeError, "this scope has been entered already");
            return false;
        }
        ffi::Py_INCREF(ctx);
        group(slf).ctx = ctx;
    }
    true
}

/// `_open(ctx)`: takes members from now on.
unsafe extern "C" fn open(slf: Raw, ctx: Raw) -> Raw {
    // SAFETY: a METH_O method of Group.
    unsafe {
        match checked(ctx) {
            Some(ctx) if adopt(slf, ctx) => obj::none(),
            _ => ptr::null_mut(),
        }
    }
}

/// `_cancel(cause)`: cancels its context.
unsafe extern "C" fn cancel_method(slf: Raw, cause: Raw) -> Raw {
    // SAFETY: a METH_O method of Group.
    unsafe {
        cancel_ctx(slf, if cause == ffi::Py_None() { ptr::null_mut() } else { cause });
        obj::none()
    }
}

/// `_errors()`: the exceptions of the members that failed, in the order of their ends.
unsafe extern "C" fn errors(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method of Group.
    unsafe {
        let list = ffi::PyList_New(0);
        let failed = group(slf).failed;
        if list.is_null() || failed.is_null() {
            return list;
        }
        for i in 0..ffi::PyList_GET_SIZE(failed) {
            let error = GoroutineObj::read_error(ffi::PyList_GET_ITEM(failed, i));
            // Null only after the collector has cleared it.
            if !error.is_null() && ffi::PyList_Append(list, error) < 0 {
                ffi::Py_DECREF(list);
                return ptr::null_mut();
            }
        }
        list
    }
}

unsafe extern "C" fn get_ctx(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property of Group.
    unsafe {
        let ctx = group(slf).ctx;
        if ctx.is_null() {
            return errors::raise(ffi::PyExc_RuntimeError, "the scope was not entered");
        }
        ffi::Py_INCREF(ctx);
        ctx
    }
}

/// `Group(limit=None, cancel_on_error=True)`.
unsafe extern "C" fn new(class: *mut PyTypeObject, args: Raw, kwargs: Raw) -> Raw {
    // SAFETY: a tp_new.
    unsafe {
        let mut limit: Raw = ffi::Py_None();
        let mut cancel_on_error: c_int = 1;
        let names = [c"limit".as_ptr(), c"cancel_on_error".as_ptr(), ptr::null()];
        let parsed = ffi::PyArg_ParseTupleAndKeywords(
            args,
            kwargs,
            c"|$Op:scope".as_ptr(),
            names.as_ptr().cast_mut().cast(),
            &raw mut limit,
            &raw mut cancel_on_error,
        );
        if parsed == 0 {
            return ptr::null_mut();
        }
        let mut slots = 0;
        if limit != ffi::Py_None() {
            let Some(n) = raw::integer_of(limit) else { return ptr::null_mut() };
            if n < 1 {
                return errors::raise(ffi::PyExc_ValueError, "limit must be at least 1");
            }
            slots = n.min(i64::from(u32::MAX)) as usize;
        }
        let slf = ffi::PyType_GenericAlloc(class, 0);
        if !slf.is_null() {
            let g = instance::<GroupObj>(slf);
            ptr::write(&raw mut (*g).members, WaitGroupCore::default());
            ptr::write(&raw mut (*g).slots, SemaphoreCore::new(slots));
            (*g).limited = slots != 0;
            (*g).limit = slots as u32;
            (*g).forks = FORKS.load(Ordering::Relaxed);
            (*g).cancel_on_error = cancel_on_error != 0;
        }
        slf
    }
}

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse.
    unsafe {
        let g = instance::<GroupObj>(slf);
        obj::visit_all(slf, [(*g).ctx, (*g).failed], visit, arg)
    }
}

unsafe extern "C-unwind" fn clear(slf: Raw) -> c_int {
    // SAFETY: a tp_clear, or the end.
    unsafe {
        let g = instance::<GroupObj>(slf);
        obj::clear(&raw mut (*g).failed);
        obj::clear(&raw mut (*g).ctx);
    }
    0
}

impl Container for GroupObj {
    unsafe extern "C-unwind" fn free(slf: Raw) {
        // SAFETY: as the trait says. By 1 there are no members.
        unsafe {
            if !(*instance::<GroupObj>(slf)).weaklist.is_null() {
                ffi::PyObject_ClearWeakRefs(slf);
            }
            clear(slf);
            free_instance(slf);
        }
    }
}

const _: () = assert!(
    !std::mem::needs_drop::<WaitGroupCore>() && !std::mem::needs_drop::<SemaphoreCore>(),
    "by 3"
);

static METHODS: Table<[PyMethodDef; 9]> = Table([
    raw::keywords(
        c"go",
        golib_entry_group_go,
        c"go($self, fn, /, *args, **kwargs)
--

Starts fn(*args, **kwargs) as a goroutine that belongs here; its handle.

It runs under the context of the group. With a limit it first waits until fewer run.

Blocks: the goroutine, or the OS thread, while the limit is reached.
Raises: TypeError as golib.go(); RuntimeError after the end.",
    ),
    raw::keywords(
        c"try_go",
        try_go,
        c"try_go($self, fn, /, *args, **kwargs)
--

go() that does not wait: None, and nothing was started, if the limit is reached.

Blocks: nothing.",
    ),
    raw::keywords(
        c"_wait",
        golib_entry_group_wait,
        c"_wait($self, /)
--

Waits until no member runs.",
    ),
    raw::method(
        c"_open",
        open,
        ffi::METH_O,
        c"_open($self, ctx, /)
--

Takes members from now on, under ctx.",
    ),
    raw::method(
        c"_enter",
        block::enter,
        ffi::METH_NOARGS,
        c"_enter($self, /)
--

Begins the block of a scope.",
    ),
    raw::fast(
        c"_exit",
        block::golib_entry_group_exit,
        c"_exit($self, kind, error, tb, /)
--

Ends the block when no member runs: returns, or raises, what _outcome(error, late) does.",
    ),
    raw::method(
        c"_cancel",
        cancel_method,
        ffi::METH_O,
        c"_cancel($self, cause, /)
--

Cancels the context.",
    ),
    raw::method(
        c"_errors",
        errors,
        ffi::METH_NOARGS,
        c"_errors($self, /)
--

What the members raised, but Cancelled, in the order of their ends.",
    ),
    PyMethodDef::zeroed(),
]);

static PROPERTIES: Table<[ffi::PyGetSetDef; 2]> = Table([
    raw::property(c"ctx", get_ctx, c"The context under which the goroutines run."),
    raw::END_OF_PROPERTIES,
]);

static MEMBERS: Table<[ffi::PyMemberDef; 2]> = Table(raw::weaklist(offset_of!(GroupObj, weaklist)));

/// Makes the type; null with an exception set.
///
/// # Safety
/// The GIL is held; called once.
pub(crate) unsafe fn init() -> Raw {
    let mut slots = vec![
        raw::slot(
            ffi::Py_tp_doc,
            c"The core of golib.scope() and golib.sync.ErrGroup.".as_ptr().cast(),
        ),
        raw::slot(ffi::Py_tp_new, new as *const c_void),
        raw::slot(ffi::Py_tp_dealloc, raw::dealloc::<GroupObj> as *const c_void),
        raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
        raw::slot(ffi::Py_tp_clear, clear as *const c_void),
        raw::slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_getset, PROPERTIES.0.as_ptr().cast()),
        raw::slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast()),
    ];
    let flags = ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_BASETYPE;
    // SAFETY: the slots are those of GroupObj.
    unsafe { raw::make_type::<GroupObj>(c"golib._golib.Group", flags, &mut slots) }
}
