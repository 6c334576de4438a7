//! Turns safe functions into the methods, properties and functions that CPython calls.
//!
//! A table belongs to a type: a [`Method<T>`](Method) gets a `&Object<T>`, because CPython's method descriptors check `self` and
//! only the type of `T` takes such a table. For each function here there is a C function (a trampoline) that makes the token and
//! the references of the call; the compiler makes it of the function's type, which has no size, so nothing is looked up.
//!
//! | constructor | CPython's flags | the function's parameters |
//! |---|---|---|
//! | [`noargs`](Method::noargs) | METH_NOARGS | `gil, slf` |
//! | [`one`](Method::one) | METH_O | `gil, slf, argument` |
//! | [`fast`](Method::fast) | METH_FASTCALL | `gil, slf, args` |
//! | [`keywords`](Method::keywords) | METH_FASTCALL \| METH_KEYWORDS | `gil, slf, args` |
//! | [`parks`](Method::parks) | what [`entry!`] was told | `entry, slf, …` |
//!
//! The functions of a module are methods of [`Module`].
//!
//! # Invariants
//! 1. Trampolines are `extern "C-unwind"`, and neither they nor the functions have anything to drop while Python code runs
//!    above them: at exit CPython may end the thread by unwinding it.

use std::ffi::{c_int, CStr};
use std::marker::PhantomData;
use std::mem::transmute;
use std::os::raw::c_void;
use std::ptr::{self, NonNull};

use pyo3::ffi::{self, PyGetSetDef, PyMethodDef, PyMethodDefPointer, Py_ssize_t};

use crate::ffi::args::Args;
use crate::ffi::class::{this, Extends, Object};
use crate::ffi::gil::Gil;
use crate::ffi::obj::Raw;
use crate::ffi::refs::{New, Outcome, Ref};

/// The one value of a function's type.
#[inline(always)]
pub(super) fn the<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0, "a function by its name") };
    // SAFETY: a value without a size: there is nothing to read.
    unsafe { NonNull::<F>::dangling().read() }
}

/// The results that CPython accepts.
#[inline(always)]
pub(crate) fn answer(result: Outcome<New>) -> Raw {
    result.map_or(ptr::null_mut(), New::give)
}

/// A method of the type of `T`.
#[repr(transparent)]
pub(crate) struct Method<T>(PyMethodDef, PhantomData<fn(&T)>);

/// A table of methods, ended by [`Method::END`].
#[repr(transparent)]
pub(crate) struct Methods<T, const N: usize>(pub(crate) [Method<T>; N]);

// SAFETY: CPython alone writes it, under the GIL.
unsafe impl<T, const N: usize> Sync for Methods<T, N> {}

/// Stands for a module's own object.
pub(crate) struct Module;

/// The C function of an operation that may park, made by [`entry!`].
pub(crate) struct Parks<T> {
    meth: PyMethodDefPointer,
    flags: c_int,
    _of: PhantomData<fn(&T)>,
}

impl<T> Parks<T> {
    /// # Safety
    /// A C function of that kind for methods of `T`'s type.
    pub(crate) const unsafe fn new(meth: PyMethodDefPointer, flags: c_int) -> Parks<T> {
        Parks { meth, flags, _of: PhantomData }
    }
}

impl<T: 'static> Method<T> {
    /// The end of a table.
    pub(crate) const END: Method<T> = Method(PyMethodDef::zeroed(), PhantomData);

    /// `__class_getitem__` of the generic types.
    pub(crate) const CLASS_GETITEM: Method<T> = Method::of(
        c"__class_getitem__",
        PyMethodDefPointer { PyCFunction: ffi::Py_GenericAlias },
        ffi::METH_O | ffi::METH_CLASS,
        c"See PEP 585.",
    );

    const fn of(
        name: &'static CStr,
        meth: PyMethodDefPointer,
        flags: c_int,
        doc: &'static CStr,
    ) -> Method<T> {
        let def = PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: meth,
            ml_flags: flags,
            ml_doc: doc.as_ptr(),
        };
        Method(def, PhantomData)
    }

    /// A method without arguments.
    pub(crate) const fn noargs<F>(name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(Gil<'a>, &'a Object<T>) -> Outcome<New> + Copy,
    {
        unsafe extern "C-unwind" fn call<T: 'static, F>(slf: Raw, _: Raw) -> Raw
        where
            F: for<'a> Fn(Gil<'a>, &'a Object<T>) -> Outcome<New> + Copy,
        {
            // SAFETY: CPython calls methods with the GIL, and holds what it passes.
            unsafe { answer(the::<F>()(Gil::assume(), this(slf))) }
        }
        Method::of(name, two(call::<T, F>), ffi::METH_NOARGS, doc)
    }

    /// A method of one positional argument.
    pub(crate) const fn one<F>(name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(Gil<'a>, &'a Object<T>, Ref<'a>) -> Outcome<New> + Copy,
    {
        unsafe extern "C-unwind" fn call<T: 'static, F>(slf: Raw, argument: Raw) -> Raw
        where
            F: for<'a> Fn(Gil<'a>, &'a Object<T>, Ref<'a>) -> Outcome<New> + Copy,
        {
            // SAFETY: CPython calls methods with the GIL, and holds what it passes.
            unsafe { answer(the::<F>()(Gil::assume(), this(slf), Ref::borrowed(argument))) }
        }
        Method::of(name, two(call::<T, F>), ffi::METH_O, doc)
    }

    /// A class method of one positional argument.
    pub(crate) const fn of_class<F>(name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(Gil<'a>, Ref<'a>, Ref<'a>) -> Outcome<New> + Copy,
    {
        unsafe extern "C-unwind" fn call<F>(class: Raw, argument: Raw) -> Raw
        where
            F: for<'a> Fn(Gil<'a>, Ref<'a>, Ref<'a>) -> Outcome<New> + Copy,
        {
            // SAFETY: CPython calls methods with the GIL, and holds what it passes.
            unsafe {
                answer(the::<F>()(Gil::assume(), Ref::borrowed(class), Ref::borrowed(argument)))
            }
        }
        Method::of(name, two(call::<F>), ffi::METH_O | ffi::METH_CLASS, doc)
    }

    /// A method of positional arguments, called without a tuple of them.
    pub(crate) const fn fast<F>(name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(Gil<'a>, &'a Object<T>, Args<'a>) -> Outcome<New> + Copy,
    {
        unsafe extern "C-unwind" fn call<T: 'static, F>(
            slf: Raw,
            args: *mut Raw,
            n: Py_ssize_t,
        ) -> Raw
        where
            F: for<'a> Fn(Gil<'a>, &'a Object<T>, Args<'a>) -> Outcome<New> + Copy,
        {
            // SAFETY: CPython calls methods with the GIL, and holds what it passes.
            unsafe {
                let args = Args::new(args, n, ptr::null_mut());
                answer(the::<F>()(Gil::assume(), this(slf), args))
            }
        }
        let call: unsafe extern "C-unwind" fn(Raw, *mut Raw, Py_ssize_t) -> Raw = call::<T, F>;
        // SAFETY: the ABIs differ in nothing but that this one may be unwound.
        let call: ffi::PyCFunctionFast = unsafe { transmute(call) };
        Method::of(name, PyMethodDefPointer { PyCFunctionFast: call }, ffi::METH_FASTCALL, doc)
    }

    /// A method whose arguments may be named.
    pub(crate) const fn keywords<F>(name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(Gil<'a>, &'a Object<T>, Args<'a>) -> Outcome<New> + Copy,
    {
        unsafe extern "C-unwind" fn call<T: 'static, F>(
            slf: Raw,
            args: *const Raw,
            n: Py_ssize_t,
            kwnames: Raw,
        ) -> Raw
        where
            F: for<'a> Fn(Gil<'a>, &'a Object<T>, Args<'a>) -> Outcome<New> + Copy,
        {
            // SAFETY: CPython calls methods with the GIL, and holds what it passes.
            unsafe { answer(the::<F>()(Gil::assume(), this(slf), Args::new(args, n, kwnames))) }
        }
        let call: unsafe extern "C-unwind" fn(Raw, *const Raw, Py_ssize_t, Raw) -> Raw =
            call::<T, F>;
        // SAFETY: the ABIs differ in nothing but that this one may be unwound.
        let call: ffi::PyCFunctionFastWithKeywords = unsafe { transmute(call) };
        let meth = PyMethodDefPointer { PyCFunctionFastWithKeywords: call };
        Method::of(name, meth, ffi::METH_FASTCALL | ffi::METH_KEYWORDS, doc)
    }

    /// A method that may park.
    pub(crate) const fn parks(name: &'static CStr, call: Parks<T>, doc: &'static CStr) -> Self {
        Method::of(name, call.meth, call.flags, doc)
    }

    /// The same for a type whose fields begin with those of `T`.
    pub(crate) const fn inherited<U: Extends<T>>(self) -> Method<U> {
        Method(self.0, PhantomData)
    }

    /// Its table, as CPython takes it.
    pub(crate) const fn table<const N: usize>(methods: &'static Methods<T, N>) -> *mut PyMethodDef {
        methods.0.as_ptr().cast_mut().cast()
    }
}

/// A C function of two arguments.
const fn two(call: unsafe extern "C-unwind" fn(Raw, Raw) -> Raw) -> PyMethodDefPointer {
    type Call = unsafe extern "C-unwind" fn(Raw, Raw) -> Raw;
    // SAFETY: the ABIs differ in nothing but that this one may be unwound.
    PyMethodDefPointer { PyCFunction: unsafe { transmute::<Call, ffi::PyCFunction>(call) } }
}

/// A read-only property of the type of `T`.
#[repr(transparent)]
pub(crate) struct Property<T>(PyGetSetDef, PhantomData<fn(&T)>);

/// A table of properties, ended by [`Property::END`].
#[repr(transparent)]
pub(crate) struct Properties<T, const N: usize>(pub(crate) [Property<T>; N]);

// SAFETY: written by nobody.
unsafe impl<T, const N: usize> Sync for Properties<T, N> {}

impl<T: 'static> Property<T> {
    /// The end of a table.
    pub(crate) const END: Property<T> = Property(
        PyGetSetDef {
            name: ptr::null(),
            get: None,
            set: None,
            doc: ptr::null(),
            closure: ptr::null_mut(),
        },
        PhantomData,
    );

    /// The same for a type whose fields begin with those of `T`.
    pub(crate) const fn inherited<U: Extends<T>>(self) -> Property<U> {
        Property(self.0, PhantomData)
    }

    /// The result of `function`.
    pub(crate) const fn new<F>(name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(Gil<'a>, &'a Object<T>) -> Outcome<New> + Copy,
    {
        unsafe extern "C-unwind" fn get<T: 'static, F>(slf: Raw, _: *mut c_void) -> Raw
        where
            F: for<'a> Fn(Gil<'a>, &'a Object<T>) -> Outcome<New> + Copy,
        {
            // SAFETY: CPython gets properties with the GIL, and holds the instance.
            unsafe { answer(the::<F>()(Gil::assume(), this(slf))) }
        }
        let get: unsafe extern "C-unwind" fn(Raw, *mut c_void) -> Raw = get::<T, F>;
        // SAFETY: the ABIs differ in nothing but that this one may be unwound.
        let get: ffi::getter = unsafe { transmute(get) };
        let def = PyGetSetDef {
            name: name.as_ptr(),
            get: Some(get),
            set: None,
            doc: doc.as_ptr(),
            closure: ptr::null_mut(),
        };
        Property(def, PhantomData)
    }

    /// It can be set, too; a deletion has no value.
    pub(crate) const fn set_by<F>(self, _function: F) -> Self
    where
        F: for<'a> Fn(Gil<'a>, &'a Object<T>, Option<Ref<'a>>) -> Outcome<()> + Copy,
    {
        unsafe extern "C-unwind" fn set<T: 'static, F>(
            slf: Raw,
            value: Raw,
            _: *mut c_void,
        ) -> c_int
        where
            F: for<'a> Fn(Gil<'a>, &'a Object<T>, Option<Ref<'a>>) -> Outcome<()> + Copy,
        {
            // SAFETY: CPython sets properties with the GIL, and holds both.
            let done = unsafe { the::<F>()(Gil::assume(), this(slf), Ref::nullable(value)) };
            done.map_or(-1, |()| 0)
        }
        let set: unsafe extern "C-unwind" fn(Raw, Raw, *mut c_void) -> c_int = set::<T, F>;
        // SAFETY: the ABIs differ in nothing but that this one may be unwound.
        let set: ffi::setter = unsafe { transmute(set) };
        Property(PyGetSetDef { set: Some(set), ..self.0 }, PhantomData)
    }
}

/// Defines an operation that may park: the C function `$entry`, the Rust function `$target` that it calls with its frame
/// record, and the constant `$method` for the table of methods ([`Method::parks`]) or for the slot.
///
/// ```ignore
/// entry! { LOCK: golib_entry_mutex_lock => mutex_lock keywords(entry, mutex: Mutex, args) { … } }
/// ```
///
/// | kind | parameters | |
/// |---|---|---|
/// | `next` | `(entry, slf: T)` | a slot of one argument; the body gives `Outcome<Option<New>>` |
/// | `none` | `(entry, slf: T)` | METH_NOARGS |
/// | `one` | `(entry, slf: T, argument)` | METH_O |
/// | `fast` | `(entry, slf: T, args)` | METH_FASTCALL |
/// | `keywords` | `(entry, slf: T, args)` | METH_FASTCALL \| METH_KEYWORDS |
macro_rules! entry {
    ($(#[$meta:meta])* $method:ident: $entry:ident => $target:ident next($e:ident, $slf:ident: $class:ty) $body:block) => {
        crate::cpython::entry::raw_entry!(pub(crate) fn $entry(iternext) => $target);
        $(#[$meta])*
        pub(crate) const $method: crate::ffi::class::Next<$class> =
            // SAFETY: the function of a tp_iternext, for instances of this type.
            unsafe { crate::ffi::class::Next::new($entry) };
        unsafe extern "C-unwind" fn $target(
            slf: crate::ffi::obj::Raw,
            record: crate::ffi::gil::Record,
        ) -> crate::ffi::obj::Raw {
            #[inline(always)]
            fn body(
                $e: &mut crate::ffi::gil::Entry,
                $slf: &crate::ffi::class::Object<$class>,
            ) -> crate::ffi::refs::Outcome<Option<crate::ffi::refs::New>> $body
            // SAFETY: CPython calls slots with the GIL, and holds the instance; the record is this entry's.
            unsafe {
                let result = body(
                    &mut crate::ffi::gil::Entry::new(record),
                    crate::ffi::class::this(slf),
                );
                result.ok().flatten().map_or(std::ptr::null_mut(), crate::ffi::refs::New::give)
            }
        }
    };
    ($(#[$meta:meta])* $method:ident: $entry:ident => $target:ident none($e:ident, $slf:ident: $class:ty) $body:block) => {
        crate::ffi::methods::parking_method! {
            [$(#[$meta])*] $method: $entry(o) => $target(_: crate::ffi::obj::Raw),
            PyCFunction, pyo3::ffi::METH_NOARGS, $class, |$e, $slf| $body
        }
    };
    ($(#[$meta:meta])* $method:ident: $entry:ident => $target:ident one($e:ident, $slf:ident: $class:ty, $arg:ident) $body:block) => {
        crate::ffi::methods::parking_method! {
            [$(#[$meta])*] $method: $entry(o) => $target(argument: crate::ffi::obj::Raw),
            PyCFunction, pyo3::ffi::METH_O, $class,
            |$e, $slf, $arg: crate::ffi::refs::Ref<'c> = (crate::ffi::refs::Ref::borrowed(argument))| $body
        }
    };
    ($(#[$meta:meta])* $method:ident: $entry:ident => $target:ident fast($e:ident, $slf:ident: $class:ty, $args:ident) $body:block) => {
        crate::ffi::methods::parking_method! {
            [$(#[$meta])*] $method: $entry(fastcall) => $target(args: *mut crate::ffi::obj::Raw, n: pyo3::ffi::Py_ssize_t),
            PyCFunctionFast, pyo3::ffi::METH_FASTCALL, $class,
            |$e, $slf, $args: crate::ffi::args::Args<'c> = (crate::ffi::args::Args::new(args, n, std::ptr::null_mut()))| $body
        }
    };
    ($(#[$meta:meta])* $method:ident: $entry:ident => $target:ident keywords($e:ident, $slf:ident: $class:ty, $args:ident) $body:block) => {
        crate::ffi::methods::parking_method! {
            [$(#[$meta])*] $method: $entry(keywords) => $target(
                args: *const crate::ffi::obj::Raw, n: pyo3::ffi::Py_ssize_t, kwnames: crate::ffi::obj::Raw
            ),
            PyCFunctionFastWithKeywords, pyo3::ffi::METH_FASTCALL | pyo3::ffi::METH_KEYWORDS, $class,
            |$e, $slf, $args: crate::ffi::args::Args<'c> = (crate::ffi::args::Args::new(args, n, kwnames))| $body
        }
    };
}
pub(crate) use entry;

/// The common part of the kinds of [`entry!`] for methods: the raw entry with its constant, and the function that makes the body's
/// tokens and arguments out of what CPython passes.
macro_rules! parking_method {
    (
        [$(#[$meta:meta])*] $method:ident: $entry:ident($shape:ident) => $target:ident($($passed:tt: $raw:ty),*),
        $pointer:ident, $flags:expr, $class:ty,
        |$e:ident, $slf:ident $(, $arg:ident: $form:ty = ($made:expr))?| $body:block
    ) => {
        crate::cpython::entry::raw_entry!(pub(crate) fn $entry($shape) => $target);
        $(#[$meta])*
        pub(crate) const $method: crate::ffi::methods::Parks<$class> =
            // SAFETY: a function of these flags, for instances of this type.
            unsafe {
                crate::ffi::methods::Parks::new(
                    pyo3::ffi::PyMethodDefPointer { $pointer: $entry },
                    $flags,
                )
            };
        unsafe extern "C-unwind" fn $target(
            slf: crate::ffi::obj::Raw,
            $($passed: $raw,)*
            record: crate::ffi::gil::Record,
        ) -> crate::ffi::obj::Raw {
            #[allow(clippy::needless_lifetimes, reason = "the argument, if there is one, shares it")]
            #[inline(always)]
            fn body<'c>(
                $e: &mut crate::ffi::gil::Entry,
                $slf: &'c crate::ffi::class::Object<$class>,
                $($arg: $form,)?
            ) -> crate::ffi::refs::Outcome<crate::ffi::refs::New> $body
            // SAFETY: CPython calls methods with the GIL, and holds what it passes; the record is this entry's.
            unsafe {
                crate::ffi::methods::answer(body(
                    &mut crate::ffi::gil::Entry::new(record),
                    crate::ffi::class::this(slf),
                    $($made,)?
                ))
            }
        }
    };
}
pub(crate) use parking_method;
