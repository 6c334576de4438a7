//! The description of a type: its name, tables and slots, and how CPython gets it.
//!
//! Each slot is named by a method of [`TypeSpec`] that takes a safe function, as the methods of [`Method`] do.

use std::ffi::{c_int, c_uint, c_ulong, CStr};
use std::marker::PhantomData;
use std::mem::{offset_of, transmute};
use std::os::raw::c_void;
use std::ptr;

use pyo3::ffi::{self, PyMemberDef, PyTypeObject, PyType_Slot, PyType_Spec, Py_ssize_t};

use crate::ffi::args::{Args, NewArgs};
use crate::ffi::class::{clear, dealloc, this, traverse, Class, Next, Object, TypeCell, TypeOf};
use crate::ffi::gil::Gil;
use crate::ffi::methods::{answer, the, Method, Methods, Properties};
use crate::ffi::obj::Raw;
use crate::ffi::refs::{New, Outcome, Ref};

/// The description of a type. Each function of it names a slot of CPython's.
pub(crate) struct TypeSpec<T> {
    name: &'static CStr,
    flags: c_ulong,
    slots: Vec<PyType_Slot>,
    members: Vec<PyMemberDef>,
    vectorcall: Option<ffi::vectorcallfunc>,
    _of: PhantomData<T>,
}

macro_rules! slots {
    ($($(#[$doc:meta])* $name:ident = $slot:ident: [$($fn:tt)*] => |$($arg:ident: $raw:ty),*| -> $out:ty $call:block)*) => {
        $($(#[$doc])*
        pub(crate) fn $name<F: $($fn)*>(self, _function: F) -> Self {
            unsafe extern "C-unwind" fn call<T: Class, F: $($fn)*>($($arg: $raw),*) -> $out $call
            self.slot(ffi::$slot, call::<T, F> as *const c_void)
        })*
    };
}

impl<T: Class> TypeSpec<T> {
    /// A type with nothing but its fields.
    pub(crate) fn new(name: &'static CStr, doc: &'static CStr) -> TypeSpec<T> {
        let collected = if T::COLLECTED { ffi::Py_TPFLAGS_HAVE_GC } else { 0 };
        let spec = TypeSpec {
            name,
            flags: ffi::Py_TPFLAGS_DEFAULT | collected,
            slots: Vec::new(),
            members: Vec::new(),
            vectorcall: None,
            _of: PhantomData,
        };
        let spec = spec
            .slot(ffi::Py_tp_doc, doc.as_ptr().cast())
            .slot(ffi::Py_tp_dealloc, dealloc::<T> as *const c_void);
        if !T::COLLECTED {
            return spec;
        }
        spec.slot(ffi::Py_tp_traverse, traverse::<T> as *const c_void)
            .slot(ffi::Py_tp_clear, clear::<T> as *const c_void)
    }

    fn slot(mut self, slot: c_int, value: *const c_void) -> Self {
        self.slots.push(PyType_Slot { slot, pfunc: value.cast_mut() });
        self
    }

    /// It may have subclasses.
    pub(crate) fn subclassable(mut self) -> Self {
        self.flags |= ffi::Py_TPFLAGS_BASETYPE;
        self
    }

    /// Calling it is a TypeError.
    pub(crate) fn without_constructor(mut self) -> Self {
        self.flags |= ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        self
    }

    pub(crate) fn methods<const N: usize>(self, methods: &'static Methods<T, N>) -> Self {
        self.slot(ffi::Py_tp_methods, Method::table(methods).cast_const().cast())
    }

    pub(crate) fn properties<const N: usize>(self, table: &'static Properties<T, N>) -> Self {
        self.slot(ffi::Py_tp_getset, table.0.as_ptr().cast())
    }

    /// Attributes that are objects in slots of the fields.
    pub(crate) fn member(self, table: &'static Members<2>) -> Self {
        self.slot(ffi::Py_tp_members, table.0.as_ptr().cast())
    }

    /// `iter()` returns the instance itself.
    pub(crate) fn iterates(self) -> Self {
        self.slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *const c_void)
    }

    pub(crate) fn next(self, next: &Next<T>) -> Self {
        self.slot(ffi::Py_tp_iternext, next.as_ptr())
    }

    /// Instances can be called, by the function in the [`Call`] at `offset` of the fields.
    ///
    /// # Safety
    /// There is one.
    pub(crate) unsafe fn callable(mut self, offset: usize) -> Self {
        self.flags |= ffi::Py_TPFLAGS_HAVE_VECTORCALL;
        self.members.push(offset_member::<T>(c"__vectorcalloffset__", offset));
        self.slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *const c_void)
    }

    slots! {
        /// `__new__`.
        constructor = Py_tp_new:
            [for<'a> Fn(Gil<'a>, TypeOf<'a, T>, NewArgs<'a>) -> Outcome<New> + Copy] => |class: *mut PyTypeObject, args: Raw, kwargs: Raw| -> Raw {
            // SAFETY: CPython calls tp_new with the GIL, the type or a subclass, a tuple, and a dict or null.
            unsafe {
                let class = TypeOf::of(class.cast());
                let args = NewArgs::new(args, kwargs);
                answer(the::<F>()(Gil::assume(), class, args))
            }
        }
        /// `__init__`.
        initializer = Py_tp_init:
            [for<'a> Fn(Gil<'a>, &'a Object<T>, NewArgs<'a>) -> Outcome<()> + Copy]
            => |slf: Raw, args: Raw, kwargs: Raw| -> c_int {
            // SAFETY: CPython calls tp_init with the GIL, an instance, a tuple, and a dict or null.
            unsafe {
                let args = NewArgs::new(args, kwargs);
                the::<F>()(Gil::assume(), this(slf), args).map_or(-1, |()| 0)
            }
        }
        /// What happens before the end, while the instance is whole.
        finalizer = Py_tp_finalize: [for<'a> Fn(Gil<'a>, &'a Object<T>) + Copy] => |slf: Raw| -> () {
            // SAFETY: CPython calls tp_finalize with the GIL, and keeps the instance alive.
            unsafe { the::<F>()(Gil::assume(), this(slf)) }
        }
        /// `repr()`.
        repr = Py_tp_repr:
            [for<'a> Fn(Gil<'a>, &'a Object<T>) -> Outcome<New> + Copy] => |slf: Raw| -> Raw {
            // SAFETY: CPython calls slots with the GIL, and holds the instance.
            unsafe { answer(the::<F>()(Gil::assume(), this(slf))) }
        }
        /// `len()`.
        length = Py_mp_length:
            [for<'a> Fn(Gil<'a>, &'a Object<T>) -> usize + Copy] => |slf: Raw| -> Py_ssize_t {
            // SAFETY: CPython calls slots with the GIL, and holds the instance.
            unsafe { the::<F>()(Gil::assume(), this(slf)) as Py_ssize_t }
        }
        /// `bool()`.
        truth = Py_nb_bool:
            [for<'a> Fn(Gil<'a>, &'a Object<T>) -> bool + Copy] => |slf: Raw| -> c_int {
            // SAFETY: CPython calls slots with the GIL, and holds the instance.
            unsafe { c_int::from(the::<F>()(Gil::assume(), this(slf))) }
        }
        /// `hash()`.
        hash = Py_tp_hash:
            [for<'a> Fn(Gil<'a>, &'a Object<T>) -> isize + Copy] => |slf: Raw| -> ffi::Py_hash_t {
            // SAFETY: CPython calls slots with the GIL, and holds the instance.
            unsafe { the::<F>()(Gil::assume(), this(slf)) }
        }
        /// Comparisons; `op` is one of CPython's.
        compare = Py_tp_richcompare:
            [for<'a> Fn(Gil<'a>, &'a Object<T>, Ref<'a>, c_int) -> Outcome<New> + Copy] => |a: Raw, b: Raw, op: c_int| -> Raw {
            // SAFETY: CPython calls slots with the GIL, and holds both.
            unsafe { answer(the::<F>()(Gil::assume(), this(a), Ref::borrowed(b), op)) }
        }
        /// `object[key]`.
        get_item = Py_mp_subscript:
            [for<'a> Fn(Gil<'a>, &'a Object<T>, Ref<'a>) -> Outcome<New> + Copy] => |slf: Raw, key: Raw| -> Raw {
            // SAFETY: CPython calls slots with the GIL, and holds both.
            unsafe { answer(the::<F>()(Gil::assume(), this(slf), Ref::borrowed(key))) }
        }
        /// `object[key] = value`, or `del object[key]`.
        set_item = Py_mp_ass_subscript:
            [for<'a> Fn(Gil<'a>, &'a Object<T>, Ref<'a>, Option<Ref<'a>>) -> Outcome<()> + Copy] => |slf: Raw, key: Raw, value: Raw| -> c_int {
            // SAFETY: CPython calls slots with the GIL, and holds all three.
            unsafe {
                let (key, value) = (Ref::borrowed(key), Ref::nullable(value));
                the::<F>()(Gil::assume(), this(slf), key, value).map_or(-1, |()| 0)
            }
        }
        /// `__aiter__`.
        aiter = Py_am_aiter:
            [for<'a> Fn(Gil<'a>, &'a Object<T>) -> Outcome<New> + Copy] => |slf: Raw| -> Raw {
            // SAFETY: CPython calls slots with the GIL, and holds the instance.
            unsafe { answer(the::<F>()(Gil::assume(), this(slf))) }
        }
        /// `__await__`.
        awaits = Py_am_await:
            [for<'a> Fn(Gil<'a>, &'a Object<T>) -> Outcome<New> + Copy] => |slf: Raw| -> Raw {
            // SAFETY: CPython calls slots with the GIL, and holds the instance.
            unsafe { answer(the::<F>()(Gil::assume(), this(slf))) }
        }
        /// `__anext__`.
        anext = Py_am_anext:
            [for<'a> Fn(Gil<'a>, &'a Object<T>) -> Outcome<New> + Copy] => |slf: Raw| -> Raw {
            // SAFETY: CPython calls slots with the GIL, and holds the instance.
            unsafe { answer(the::<F>()(Gil::assume(), this(slf))) }
        }
    }

    /// A call of the type, by the vectorcall protocol: instead of `__new__`, except for subclasses.
    pub(crate) fn call<F>(mut self, _function: F) -> Self
    where
        F: for<'a> Fn(Gil<'a>, TypeOf<'a, T>, Args<'a>) -> Outcome<New> + Copy,
    {
        unsafe extern "C-unwind" fn call<T: Class, F>(
            class: Raw,
            args: *const Raw,
            nargsf: usize,
            kwnames: Raw,
        ) -> Raw
        where
            F: for<'a> Fn(Gil<'a>, TypeOf<'a, T>, Args<'a>) -> Outcome<New> + Copy,
        {
            // SAFETY: CPython calls with the GIL, and holds what it passes.
            unsafe {
                let class = TypeOf::of(class);
                let args = Args::new(args, ffi::PyVectorcall_NARGS(nargsf), kwnames);
                answer(the::<F>()(Gil::assume(), class, args))
            }
        }
        // SAFETY: the ABIs differ in nothing but that this one may be unwound.
        let call = unsafe { transmute::<Vectorcall, ffi::vectorcallfunc>(call::<T, F>) };
        self.vectorcall = Some(call);
        self
    }

    /// Makes it, and keeps a reference to it in `cell`.
    pub(crate) fn make(mut self, gil: Gil<'_>, cell: &TypeCell<T>) -> Outcome<New> {
        if let Some(at) = T::WEAKLIST {
            self.members.push(offset_member::<T>(c"__weaklistoffset__", at));
        }
        if !self.members.is_empty() {
            self.members.push(END_OF_MEMBERS);
            let members = self.members.as_ptr().cast();
            self = self.slot(ffi::Py_tp_members, members);
        }
        self.slots.push(PyType_Slot { slot: 0, pfunc: ptr::null_mut() });
        let mut spec = PyType_Spec {
            name: self.name.as_ptr(),
            basicsize: size_of::<Object<T>>() as c_int,
            itemsize: 0,
            flags: self.flags as c_uint,
            slots: self.slots.as_mut_ptr(),
        };
        // SAFETY: CPython copies the spec and the members; every slot has a function of its kind.
        unsafe {
            let class = New::made(ffi::PyType_FromSpec(&mut spec))?;
            if let Some(call) = self.vectorcall {
                (*class.get().as_raw().cast::<PyTypeObject>()).tp_vectorcall = Some(call);
            }
            cell.set(class.get().own(gil));
            Ok(class)
        }
    }
}

/// Tells CPython where in an instance something is.
fn offset_member<T>(name: &'static CStr, offset: usize) -> PyMemberDef {
    PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: (offset_of!(Object<T>, fields) + offset) as Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    }
}

/// The field with the function that calls of an instance go to.
pub(crate) struct Call<T>(
    #[allow(dead_code, reason = "CPython reads it")] ffi::vectorcallfunc,
    PhantomData<fn(&T)>,
);

impl<T: Class> Call<T> {
    pub(crate) fn by<F>(_function: F) -> Call<T>
    where
        F: for<'a> Fn(Gil<'a>, &'a Object<T>, Args<'a>) -> Outcome<New> + Copy,
    {
        unsafe extern "C-unwind" fn call<T: Class, F>(
            slf: Raw,
            args: *const Raw,
            nargsf: usize,
            kwnames: Raw,
        ) -> Raw
        where
            F: for<'a> Fn(Gil<'a>, &'a Object<T>, Args<'a>) -> Outcome<New> + Copy,
        {
            // SAFETY: CPython calls with the GIL, and holds what it passes.
            unsafe {
                let args = Args::new(args, ffi::PyVectorcall_NARGS(nargsf), kwnames);
                answer(the::<F>()(Gil::assume(), this(slf), args))
            }
        }
        // SAFETY: the ABIs differ in nothing but that this one may be unwound.
        Call(unsafe { transmute::<Vectorcall, ffi::vectorcallfunc>(call::<T, F>) }, PhantomData)
    }
}

type Vectorcall = unsafe extern "C-unwind" fn(Raw, *const Raw, usize, Raw) -> Raw;

const END_OF_MEMBERS: PyMemberDef =
    PyMemberDef { name: ptr::null(), type_code: 0, offset: 0, flags: 0, doc: ptr::null() };

/// Attributes that are fields.
pub(crate) struct Members<const N: usize>(pub(crate) [PyMemberDef; N]);

// SAFETY: written by nobody.
unsafe impl<const N: usize> Sync for Members<N> {}

impl Members<2> {
    /// The attribute `name` is what the slot at `offset` of a `T` refers to; an empty one is an AttributeError.
    ///
    /// # Safety
    /// There is a [`Slot`] or a [`Held`].
    pub(crate) const unsafe fn one<T>(
        name: &'static CStr,
        offset: usize,
        doc: &'static CStr,
    ) -> Members<2> {
        let member = PyMemberDef {
            name: name.as_ptr(),
            type_code: ffi::Py_T_OBJECT_EX,
            offset: (offset_of!(Object<T>, fields) + offset) as Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: doc.as_ptr(),
        };
        Members([member, END_OF_MEMBERS])
    }
}
