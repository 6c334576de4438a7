//! Classes: instances with fields of Rust's, and the types that CPython knows of them.
//!
//! An instance is an [`Object<T>`](Object): CPython's header and a `T`. [`Class`] says once everything that the
//! collector and the end of an instance need; [`TypeSpec`](super::spec::TypeSpec) makes the type.
//!
//! # Invariants
//! 1. An `Object<T>` is only ever an instance of the type that was made for `T`, or of a subclass.
//! 2. Its fields are written before anybody else sees it, and are only changed through [`Field`](super::refs::Field)s and
//!    [`Slot`]s: a `&Object<T>` is shared.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::ops::Deref;
use std::os::raw::c_void;
use std::ptr;

use pyo3::ffi::{self, PyObject, PyTypeObject};

use crate::cpython::object;
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::obj::{Global, Obj, Raw};
use crate::ffi::refs::{Held, New, Outcome, Raised, Ref, Slot};

/// An instance.
#[repr(C)]
pub(crate) struct Object<T> {
    /// CPython changes it behind shared references.
    header: UnsafeCell<PyObject>,
    pub(super) fields: T,
}

impl<T> Object<T> {
    /// The instance as an object.
    #[inline(always)]
    pub(crate) fn object(&self) -> Ref<'_> {
        // SAFETY: the holder of `&self` keeps the instance alive.
        unsafe { Ref::borrowed(ptr::from_ref(self).cast_mut().cast()) }
    }

    /// Writes the fields of a new instance, whose header CPython has written.
    ///
    /// # Safety
    /// Memory of that size, which nobody else has seen.
    #[inline(always)]
    unsafe fn write_fields(object: Raw, fields: T) {
        // SAFETY: as the caller says.
        unsafe { ptr::write(&raw mut (*object.cast::<Object<T>>()).fields, fields) };
    }

    /// The instance that has these fields.
    ///
    /// # Safety
    /// They are an instance's.
    #[inline(always)]
    pub(crate) unsafe fn of_fields(fields: &T) -> &Object<T> {
        // SAFETY: the caller says that they are a part of one, which lives as long.
        unsafe { &*ptr::from_ref(fields).byte_sub(offset_of!(Object<T>, fields)).cast() }
    }

    /// The instance as one of the type whose fields come first in it.
    #[inline(always)]
    pub(crate) fn base<B>(&self) -> &Object<B>
    where
        T: Extends<B>,
    {
        // SAFETY: as Extends says.
        unsafe { &*ptr::from_ref(self).cast() }
    }
}

impl<T> Deref for Object<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.fields
    }
}

/// The instance behind `object`.
///
/// # Safety
/// An instance of the type of `T`, alive for `'a`.
#[inline(always)]
pub(crate) unsafe fn this<'a, T>(object: Raw) -> &'a Object<T> {
    // SAFETY: by 1.
    unsafe { &*object.cast() }
}

/// Fields that begin with those of `B`: an instance may be used as one of `B`.
///
/// # Safety
/// `repr(C)`, with a `B` first.
pub(crate) unsafe trait Extends<B> {}

/// The functions that CPython calls for instances with these fields.
pub(crate) trait Class: Sized + 'static {
    /// The collector knows the instances: they refer to others.
    const COLLECTED: bool;
    /// Where the list of weak references is in the fields, if there is one.
    const WEAKLIST: Option<usize> = None;

    /// Shows what it refers to.
    fn visit(&self, _visitor: &mut Visitor) {}

    /// Gives up what may be part of a cycle. Runs Python code.
    fn clear(&self, _gil: Gil<'_>) {}

    /// The last reference is gone: the finalizer has something to do, and may make another one.
    #[inline(always)]
    fn needs_finalizer(&self, _gil: Gil<'_>) -> bool {
        false
    }

    /// The last reference is gone, but the end itself may be put off: nobody may find the instance any more.
    #[inline(always)]
    fn leave(_slf: &Object<Self>, _gil: Gil<'_>) {}

    /// The last reference is gone: gives up everything that has no destructor. Runs Python code.
    fn end(slf: &Object<Self>, gil: Gil<'_>) {
        slf.clear(gil);
    }
}

/// Fields of which all bits zero are a valid value, so that a new instance has most of them already.
///
/// # Safety
/// They are.
pub(crate) unsafe trait Zeroed: Class {}

/// Where CPython keeps the weak references to an instance.
#[repr(transparent)]
pub(crate) struct Weaklist(UnsafeCell<Raw>);

impl Weaklist {
    pub(crate) const fn new() -> Weaklist {
        Weaklist(UnsafeCell::new(ptr::null_mut()))
    }

    /// There are weak references.
    #[inline(always)]
    pub(crate) fn is_in_use(&self) -> bool {
        // SAFETY: CPython writes it with the GIL, which the holder of an instance has.
        unsafe { !(*self.0.get()).is_null() }
    }
}

/// Shows references to the collector.
pub(crate) struct Visitor {
    visit: ffi::visitproc,
    arg: *mut c_void,
    /// The result of a visit: anything but 0 ends it.
    stop: c_int,
}

impl Visitor {
    /// The collector runs with the GIL.
    pub(crate) fn gil(&self) -> Gil<'_> {
        // SAFETY: a visitor is only made in a tp_traverse.
        unsafe { Gil::assume() }
    }

    fn raw(&mut self, object: Raw) {
        if self.stop == 0 && !object.is_null() {
            // SAFETY: as tp_traverse was called.
            self.stop = unsafe { (self.visit)(object, self.arg) };
        }
    }

    pub(crate) fn object(&mut self, object: Ref<'_>) {
        self.raw(object.as_raw());
    }

    pub(crate) fn slot(&mut self, slot: &Slot) {
        self.raw(slot.address());
    }

    pub(crate) fn slots<const N: usize>(&mut self, slots: [&Slot; N]) {
        slots.into_iter().for_each(|slot| self.slot(slot));
    }

    pub(crate) fn held(&mut self, held: &Held) {
        self.raw(held.get().as_raw());
    }

    pub(crate) fn value(&mut self, value: &Obj) {
        self.raw(value.as_raw());
    }
}

pub(super) unsafe extern "C" fn traverse<T: Class>(
    slf: Raw,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    let mut visitor = Visitor { visit, arg, stop: 0 };
    // SAFETY: called with an instance; those of heap types own a reference to their type.
    unsafe {
        visitor.raw(ffi::Py_TYPE(slf).cast());
        this::<T>(slf).visit(&mut visitor);
    }
    visitor.stop
}

pub(super) unsafe extern "C-unwind" fn clear<T: Class>(slf: Raw) -> c_int {
    // SAFETY: the collector holds the instance, and the GIL.
    unsafe { this::<T>(slf).clear(Gil::assume()) };
    0
}

pub(super) unsafe extern "C-unwind" fn dealloc<T: Class>(slf: Raw) {
    // SAFETY: the last reference is gone.
    unsafe {
        if this::<T>(slf).needs_finalizer(Gil::assume())
            && ffi::PyObject_CallFinalizerFromDealloc(slf) < 0
        {
            return;
        }
        if T::COLLECTED {
            ffi::PyObject_GC_UnTrack(slf.cast());
            T::leave(this(slf), Gil::assume());
            object::trashcan(slf, dealloc::<T>, free::<T>);
        } else {
            free::<T>(slf);
        }
    }
}

unsafe extern "C-unwind" fn free<T: Class>(slf: Raw) {
    // SAFETY: called by dealloc: nobody else has the instance.
    unsafe {
        if let Some(at) = T::WEAKLIST {
            let list = slf.byte_add(offset_of!(Object<T>, fields) + at).cast::<Raw>();
            if !(*list).is_null() {
                ffi::PyObject_ClearWeakRefs(slf);
            }
        }
        T::end(this(slf), Gil::assume());
        if std::mem::needs_drop::<T>() {
            drop_fields::<T>(slf);
        }
        free_memory(slf);
    }
}

/// Out of line: it has landing pads, and `free` must have none.
#[inline(never)]
unsafe fn drop_fields<T>(slf: Raw) {
    // SAFETY: the caller is the last to see them.
    unsafe { ptr::drop_in_place(&raw mut (*slf.cast::<Object<T>>()).fields) };
}

/// Gives an instance's memory back, and its reference to its type.
///
/// # Safety
/// The last reference is gone, and what the instance held has been released.
pub(crate) unsafe fn free_memory(slf: Raw) {
    // SAFETY: the caller is the last to see it.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        if let Some(free) = (*class).tp_free {
            free(slf.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

/// A new instance that nobody else has seen.
#[must_use = "give it away or release it: it has no destructor"]
pub(crate) struct Fresh<T>(New, PhantomData<T>);

impl<T> Fresh<T> {
    #[inline(always)]
    pub(crate) fn into_new(self) -> New {
        self.0
    }

    pub(crate) fn release(self, gil: Gil<'_>) {
        self.0.release(gil);
    }
}

impl<T> Deref for Fresh<T> {
    type Target = Object<T>;

    #[inline(always)]
    fn deref(&self) -> &Object<T> {
        // SAFETY: made by TypeOf::make.
        unsafe { this(self.0.get().as_raw()) }
    }
}

/// The type of `T`, or a subclass.
pub(crate) struct TypeOf<'a, T>(Ref<'a>, PhantomData<fn() -> T>);

impl<T> Clone for TypeOf<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for TypeOf<'_, T> {}

impl<'a, T> TypeOf<'a, T> {
    /// The class of an instance.
    pub(crate) fn of_instance(gil: Gil<'_>, slf: &'a Object<T>) -> TypeOf<'a, T> {
        TypeOf(slf.object().class(gil), PhantomData)
    }

    fn layout(&self) -> &PyTypeObject {
        // SAFETY: a class, which is alive; it is changed with the GIL held.
        unsafe { &*self.0.as_raw().cast() }
    }

    /// # Safety
    /// The type of `T` or a subclass, alive for `'a`.
    #[inline(always)]
    pub(super) unsafe fn of(class: Raw) -> TypeOf<'a, T> {
        // SAFETY: the caller says that it is alive.
        TypeOf(unsafe { Ref::borrowed(class) }, PhantomData)
    }
}

impl<T: Class> TypeOf<'_, T> {
    /// A new instance.
    #[inline(always)]
    pub(crate) fn make(self, _gil: Gil<'_>, fields: T) -> Outcome<Fresh<T>> {
        // CPython aligns instances to 16 bytes.
        const { assert!(align_of::<T>() <= 16 && offset_of!(Object<T>, fields) == 16) };
        // SAFETY: room for the fields behind the header; the collector, which knows it already, does not run before they are
        // written. A failure drops the fields: they own nothing that Python sees, or are the caller's to give up.
        unsafe {
            let slf = ffi::PyType_GenericAlloc(self.0.as_raw().cast(), 0);
            let slf = New::made(slf)?;
            ptr::write(&raw mut (*slf.get().as_raw().cast::<Object<T>>()).fields, fields);
            Ok(Fresh(slf, PhantomData))
        }
    }

    /// A new instance that the collector does not know.
    #[inline(always)]
    pub(crate) fn make_bare(self, _gil: Gil<'_>, fields: T) -> Outcome<Fresh<T>> {
        const { assert!(T::COLLECTED && !std::mem::needs_drop::<T>()) };
        // SAFETY: new memory of an instance's size, whose header is written.
        unsafe {
            let slf = New::made(ffi::PyObject_GC_New::<PyObject>(self.0.as_raw().cast()).cast())?;
            Object::write_fields(slf.get().as_raw(), fields);
            Ok(Fresh(slf, PhantomData))
        }
    }

    /// A new instance whose fields are zero, but for those that `write` sets.
    #[inline(always)]
    pub(crate) fn make_zeroed(self, _gil: Gil<'_>, write: impl FnOnce(&mut T)) -> Outcome<Fresh<T>>
    where
        T: Zeroed,
    {
        const { assert!(align_of::<T>() <= 16 && offset_of!(Object<T>, fields) == 16) };
        // SAFETY: as in `make`; CPython has zeroed the fields, which are valid by that, and nobody else has seen them.
        unsafe {
            let slf = New::made(ffi::PyType_GenericAlloc(self.0.as_raw().cast(), 0))?;
            write(&mut (*slf.get().as_raw().cast::<Object<T>>()).fields);
            Ok(Fresh(slf, PhantomData))
        }
    }

    /// As [`make`](TypeOf::make); without memory, `give_up` releases what the fields own.
    #[inline(always)]
    pub(crate) fn make_or(
        self,
        gil: Gil<'_>,
        fields: T,
        give_up: impl FnOnce(&T),
    ) -> Outcome<Fresh<T>> {
        const { assert!(!std::mem::needs_drop::<T>()) };
        let copy = std::mem::ManuallyDrop::new(fields);
        // SAFETY: read once; the copy is used only if this one has not become the instance's.
        let made = self.make(gil, unsafe { ptr::read(&*copy) });
        if made.is_err() {
            give_up(&copy);
        }
        made
    }

    /// It has the `__new__` of `other`.
    pub(crate) fn new_is_of(self, other: TypeOf<'_, T>) -> bool {
        let new = |class: &PyTypeObject| class.tp_new.map(|new| new as usize);
        new(self.layout()) == new(other.layout())
    }

    /// It has the `__init__` of `other`.
    pub(crate) fn init_is_of(self, other: TypeOf<'_, T>) -> bool {
        let init = |class: &PyTypeObject| class.tp_init.map(|init| init as usize);
        init(self.layout()) == init(other.layout())
    }

    /// The class object.
    pub(crate) fn object(&self) -> Ref<'_> {
        self.0
    }
}

/// The type of `T`, once it has been made.
pub(crate) struct TypeCell<T>(Global, PhantomData<fn() -> T>);

impl<T: Class> TypeCell<T> {
    pub(crate) const fn new() -> TypeCell<T> {
        TypeCell(Global::new(), PhantomData)
    }

    /// Made once.
    pub(super) fn set(&self, class: New) {
        self.0.set(class.give());
    }

    /// The type itself.
    #[inline(always)]
    pub(crate) fn get(&self, gil: Gil<'_>) -> Outcome<TypeOf<'static, T>> {
        // SAFETY: kept for as long as the process lives.
        match unsafe { Ref::nullable(self.0.get()) } {
            Some(class) => Ok(TypeOf(class, PhantomData)),
            None => Err(not_made(gil)),
        }
    }

    /// `object` is an instance of the type, of no subclass.
    #[inline(always)]
    pub(crate) fn is_exactly(&self, gil: Gil<'_>, object: Ref<'_>) -> bool {
        object.class(gil).as_raw() == self.0.get()
    }

    /// `object` as an instance of the type or a subclass, if it is one.
    #[inline(always)]
    pub(crate) fn cast<'a>(&self, gil: Gil<'_>, object: Ref<'a>) -> Option<&'a Object<T>> {
        let class = object.class(gil).as_raw();
        // SAFETY: alive, both; by 1 it is an Object<T> then.
        unsafe {
            if class == self.0.get() || self.has_below(class) {
                Some(this(object.as_raw()))
            } else {
                None
            }
        }
    }

    /// `class` as the type or a subclass, if it is one.
    pub(crate) fn subclass<'a>(&self, _gil: Gil<'_>, class: Ref<'a>) -> Option<TypeOf<'a, T>> {
        // SAFETY: alive; classes are compared with classes only.
        unsafe {
            let is_below = ffi::PyType_Check(class.as_raw()) != 0 && self.has_below(class.as_raw());
            is_below.then(|| TypeOf::of(class.as_raw()))
        }
    }

    unsafe fn has_below(&self, class: Raw) -> bool {
        let own = self.0.get();
        // SAFETY: both are classes.
        !own.is_null() && unsafe { ffi::PyType_IsSubtype(class.cast(), own.cast()) != 0 }
    }
}

#[cold]
fn not_made(gil: Gil<'_>) -> Raised {
    errors::fail(gil, crate::ffi::python::system_error(), "golib: the type was not made")
}

/// The function of a slot that may park, made by [`entry!`](super::methods).
pub(crate) struct Next<T>(unsafe extern "C" fn(Raw) -> Raw, PhantomData<fn(&T)>);

impl<T> Next<T> {
    /// The same for a type whose fields begin with those of `T`.
    pub(crate) const fn inherited<U: Extends<T>>(self) -> Next<U> {
        Next(self.0, PhantomData)
    }

    /// # Safety
    /// For a `tp_iternext` of the type of `T`.
    pub(crate) const unsafe fn new(call: unsafe extern "C" fn(Raw) -> Raw) -> Next<T> {
        Next(call, PhantomData)
    }

    pub(super) fn as_ptr(&self) -> *const c_void {
        self.0 as *const c_void
    }
}
