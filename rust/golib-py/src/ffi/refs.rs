//! References to Python objects: borrowed, new, and those that instances hold.
//!
//! | type | is | ends |
//! |---|---|---|
//! | [`Ref<'a>`](Ref) | borrowed: somebody else holds the object for `'a` | by itself |
//! | [`New`] | a reference of one's own, in a frame | by [`give`](New::give), [`release`](New::release) or a slot; it has no destructor |
//! | [`Slot`] | a field that refers to an object or to none | by [`clear`](Slot::clear) |
//! | [`Held`] | a field that is set when the instance is made and emptied when it ends | by [`Held::end`] |
//! | [`Obj`](super::obj::Obj) | a value in a structure of Rust's | by its destructor |
//!
//! # Invariants
//! 1. The target of a [`Ref`] has a reference that outlives `'a`: the caller's, for an argument, or the value from
//!    which it was made.
//! 2. Dropping a reference may run any Python code. It is never done while a field is half written: a field is given its new
//!    value first, and the old one is released after that.

use std::cell::{RefCell, UnsafeCell};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use pyo3::ffi::{self, PyObject};

use crate::ffi::gil::{Exclusive, Gil};
use crate::ffi::obj::{Global, Obj, Raw};

/// A Python exception is set.
#[derive(Debug)]
pub(crate) struct Raised(());

impl Raised {
    /// For what has just failed.
    ///
    /// # Safety
    /// An exception is set, or the caller's caller takes null without one for an answer.
    #[inline(always)]
    pub(crate) unsafe fn assume() -> Raised {
        Raised(())
    }
}

/// A value, or a Python exception.
pub(crate) type Outcome<T> = Result<T, Raised>;

/// A borrowed reference.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Ref<'a>(NonNull<PyObject>, PhantomData<&'a PyObject>);

impl<'a> Ref<'a> {
    /// # Safety
    /// Not null, and alive for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn borrowed(raw: Raw) -> Ref<'a> {
        // SAFETY: the caller says that it is not null.
        Ref(unsafe { NonNull::new_unchecked(raw) }, PhantomData)
    }

    /// None for null.
    ///
    /// # Safety
    /// Null, or alive for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn nullable(raw: Raw) -> Option<Ref<'a>> {
        NonNull::new(raw).map(|object| Ref(object, PhantomData))
    }

    /// As C takes it.
    #[inline(always)]
    pub(crate) fn as_raw(self) -> Raw {
        self.0.as_ptr()
    }

    /// A reference of one's own.
    #[inline(always)]
    pub(crate) fn own(self, _gil: Gil<'_>) -> New {
        // SAFETY: alive by 1, and the GIL is held.
        unsafe { ffi::Py_INCREF(self.as_raw()) };
        New(self.0)
    }

    /// A value for a structure of Rust's.
    #[inline(always)]
    pub(crate) fn to_obj(self, gil: Gil<'_>) -> Obj {
        self.own(gil).into_obj()
    }

    /// Others hold the object, too: there is more than one reference.
    #[inline(always)]
    pub(crate) fn is_shared(self, _gil: Gil<'_>) -> bool {
        // SAFETY: alive by 1.
        unsafe { ffi::Py_REFCNT(self.as_raw()) > 1 }
    }

    /// The very same object.
    #[inline(always)]
    pub(crate) fn is(self, other: Ref<'_>) -> bool {
        self.0 == other.0
    }

    /// Python's None.
    #[inline(always)]
    pub(crate) fn is_none(self) -> bool {
        // SAFETY: only an address is taken.
        self.as_raw() == unsafe { ffi::Py_None() }
    }

    /// Its class.
    #[inline(always)]
    pub(crate) fn class(self, _gil: Gil<'_>) -> Ref<'a> {
        // SAFETY: alive by 1; an object holds its class. (`__class__` may be assigned: the new class is then held as well, and the
        // old one by the code that assigns.)
        unsafe { Ref::borrowed(ffi::Py_TYPE(self.as_raw()).cast()) }
    }
}

/// A new reference, as CPython's manual calls one that the receiver owns.
///
/// It has no destructor (invariant 2 of [`gil`](super::gil)), so its owner gives it away or releases it. A forgotten
/// one is never freed; the tests count objects.
#[repr(transparent)]
#[must_use = "give it away or release it: it has no destructor"]
pub(crate) struct New(NonNull<PyObject>);

impl New {
    /// # Safety
    /// An owned reference, not null.
    #[inline(always)]
    pub(crate) unsafe fn owned(raw: Raw) -> New {
        // SAFETY: the caller says that it is not null.
        New(unsafe { NonNull::new_unchecked(raw) })
    }

    /// The result of a function of the C API.
    ///
    /// # Safety
    /// An owned reference, or null with an exception set.
    #[inline(always)]
    pub(crate) unsafe fn made(raw: Raw) -> Outcome<New> {
        NonNull::new(raw).map(New).ok_or(Raised(()))
    }

    /// None for null.
    ///
    /// # Safety
    /// An owned reference, or null.
    #[inline(always)]
    pub(crate) unsafe fn nullable(raw: Raw) -> Option<New> {
        NonNull::new(raw).map(New)
    }

    /// The object, borrowed from this reference.
    #[inline(always)]
    pub(crate) fn get(&self) -> Ref<'_> {
        Ref(self.0, PhantomData)
    }

    /// To C, which takes the reference over.
    #[inline(always)]
    pub(crate) fn give(self) -> Raw {
        self.0.as_ptr()
    }

    /// To a structure of Rust's.
    #[inline(always)]
    pub(crate) fn into_obj(self) -> Obj {
        // SAFETY: owned, and not null.
        unsafe { Obj::owned(self.give()) }
    }

    /// Drops it. This may run any Python code.
    #[inline(always)]
    pub(crate) fn release(self, _gil: Gil<'_>) {
        // SAFETY: owned, and the GIL is held.
        unsafe { ffi::Py_DECREF(self.give()) };
    }
}

/// Drops what there is.
#[inline(always)]
pub(crate) fn release(gil: Gil<'_>, object: Option<New>) {
    if let Some(object) = object {
        object.release(gil);
    }
}

/// A value that is read and written with the GIL held.
#[repr(transparent)]
pub(crate) struct Field<T>(UnsafeCell<T>);

// SAFETY: an Exclusive is needed for every access, and only one thread has one at a time.
unsafe impl<T: Send> Sync for Field<T> {}

impl<T> Field<T> {
    pub(crate) const fn new(value: T) -> Field<T> {
        Field(UnsafeCell::new(value))
    }

    /// A copy.
    #[inline(always)]
    pub(crate) fn get(&self, _x: Exclusive<'_>) -> T
    where
        T: Copy,
    {
        // SAFETY: the token; no reference to the value is ever given out.
        unsafe { *self.0.get() }
    }

    #[inline(always)]
    pub(crate) fn set(&self, x: Exclusive<'_>, value: T)
    where
        T: Copy,
    {
        self.replace(x, value);
    }

    /// The previous value.
    #[inline(always)]
    pub(crate) fn replace(&self, _x: Exclusive<'_>, value: T) -> T {
        // SAFETY: the token; no reference to the value is ever given out, and nothing is dropped here.
        unsafe { ptr::replace(self.0.get(), value) }
    }
}

/// A value that is used where it is, with the GIL held.
pub(crate) struct InPlace<T>(UnsafeCell<RefCell<T>>);

// SAFETY: an Exclusive is needed for every access, and only one thread has one at a time.
unsafe impl<T: Send> Sync for InPlace<T> {}

impl<T> InPlace<T> {
    pub(crate) const fn new(value: T) -> InPlace<T> {
        InPlace(UnsafeCell::new(RefCell::new(value)))
    }

    /// Has `using` use the value. It runs no Python code, which could come here again.
    #[inline(always)]
    pub(crate) fn with<R>(&self, _x: Exclusive<'_>, using: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: only `renew` changes the cell itself, when nobody else is there.
        using(&mut unsafe { &*self.0.get() }.borrow_mut())
    }

    /// Forgets the value, which somebody may have been using at a fork.
    ///
    /// # Safety
    /// This is the forked child, and no other thread is there.
    pub(crate) unsafe fn renew(&self, value: T) {
        // SAFETY: nobody has a reference to the value: the child begins here.
        unsafe { ptr::write(self.0.get(), RefCell::new(value)) };
    }
}

/// A field that owns a reference, or is empty. All bits zero is an empty one.
#[repr(transparent)]
pub(crate) struct Slot(Field<Raw>);

// SAFETY: as of Field; a reference may be dropped by any holder of the GIL.
unsafe impl Sync for Slot {}

impl Slot {
    pub(crate) const fn empty() -> Slot {
        Slot(Field::new(ptr::null_mut()))
    }

    /// With a reference.
    #[inline(always)]
    pub(crate) fn with(object: Option<New>) -> Slot {
        Slot(Field::new(object.map_or(ptr::null_mut(), New::give)))
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self, x: Exclusive<'_>) -> bool {
        self.0.get(x).is_null()
    }

    /// It refers to `object`.
    #[inline(always)]
    pub(crate) fn is(&self, x: Exclusive<'_>, object: Ref<'_>) -> bool {
        self.0.get(x) == object.as_raw()
    }

    /// Another reference to what it refers to.
    #[inline(always)]
    pub(crate) fn get(&self, gil: Gil<'_>) -> Option<New> {
        // SAFETY: the object in the slot is alive now; `own` makes that last.
        unsafe { Ref::nullable(self.0.get(gil.exclusive())) }.map(|object| object.own(gil))
    }

    /// Its target, borrowed.
    ///
    /// # Safety
    /// Nothing empties or refills the slot while the result is in use: no Python code runs, or it cannot get at the slot.
    #[inline(always)]
    pub(crate) unsafe fn peek<'a>(&'a self, x: Exclusive<'a>) -> Option<Ref<'a>> {
        // SAFETY: the caller says that the slot keeps the object for 'a.
        unsafe { Ref::nullable(self.0.get(x)) }
    }

    /// The object's address, or null.
    #[inline(always)]
    pub(crate) fn as_raw(&self, x: Exclusive<'_>) -> Raw {
        self.0.get(x)
    }

    /// The same without the GIL: the slot may be empty, or refer to something else, a moment later.
    pub(crate) fn glance(&self) -> Raw {
        // SAFETY: a word, which is read as it is.
        unsafe { ptr::read_volatile(self.0 .0.get()) }
    }

    /// Empties it.
    #[inline(always)]
    pub(crate) fn take(&self, x: Exclusive<'_>) -> Option<New> {
        self.put(x, None)
    }

    /// Refills it; returns the previous target.
    #[inline(always)]
    #[must_use = "release the old one"]
    pub(crate) fn put(&self, x: Exclusive<'_>, object: Option<New>) -> Option<New> {
        let old = self.0.replace(x, object.map_or(ptr::null_mut(), New::give));
        // SAFETY: the slot owned it.
        unsafe { New::nullable(old) }
    }

    /// Empties it and drops what was in it.
    #[inline(always)]
    pub(crate) fn clear(&self, gil: Gil<'_>) {
        release(gil, self.take(gil.exclusive()));
    }

    /// For the collector, which only looks.
    pub(super) fn address(&self) -> Raw {
        // SAFETY: the collector runs with the GIL held, and stops all other threads where there is none.
        unsafe { *self.0 .0.get() }
    }
}

/// A field that owns a reference from the making of the instance to its end.
#[repr(transparent)]
pub(crate) struct Held(UnsafeCell<NonNull<PyObject>>);

impl Held {
    #[inline(always)]
    pub(crate) fn new(object: New) -> Held {
        Held(UnsafeCell::new(object.0))
    }

    /// Its target, for as long as the instance lives.
    #[inline(always)]
    pub(crate) fn get(&self) -> Ref<'_> {
        // SAFETY: written when it was made and never after.
        Ref(unsafe { *self.0.get() }, PhantomData)
    }

    /// Gives its reference up.
    ///
    /// # Safety
    /// The instance is being freed: this is the last use of the field.
    #[inline(always)]
    pub(crate) unsafe fn end(&self, gil: Gil<'_>) {
        // SAFETY: owned, and never used again.
        unsafe { New::owned(self.get().as_raw()) }.release(gil);
    }
}

impl Global {
    /// The object, or None if it was not set.
    #[inline]
    pub(crate) fn object(&self) -> Ref<'static> {
        // SAFETY: the class that was set lives as long as the process, and so does None.
        unsafe { Ref::nullable(self.get()).unwrap_or_else(|| Ref::borrowed(ffi::Py_None())) }
    }

    /// Sets it to what was made, if it was.
    pub(crate) fn fill(&self, object: Outcome<New>) -> Outcome<()> {
        self.set(object?.give());
        Ok(())
    }
}

impl Obj {
    /// Gives the reference to a frame.
    #[inline(always)]
    pub(crate) fn into_new(self) -> New {
        // SAFETY: owned, and not null.
        unsafe { New::owned(self.into_raw()) }
    }
}
