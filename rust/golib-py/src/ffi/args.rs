//! The arguments of a call, and what they mean.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr;

use go_lib::runtime::embedder::Wait;
use pyo3::ffi::{self, Py_ssize_t};

use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::obj::Raw;
use crate::ffi::python::{
    as_double, as_index, clear_error, error_is, int, is_int, overflow_error, text_of, type_error,
    value_error,
};
use crate::ffi::raw::wait_for;
use crate::ffi::refs::{Outcome, Ref};

/// The arguments of a METH_FASTCALL call: positional ones, and then those of the names.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a> {
    args: *const Raw,
    n: usize,
    /// A tuple, or null.
    kwnames: Raw,
    _caller: PhantomData<Ref<'a>>,
}

impl<'a> Args<'a> {
    /// # Safety
    /// The vectorcall protocol: `n` arguments, then one for each name in `kwnames`, all alive for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn new(args: *const Raw, n: Py_ssize_t, kwnames: Raw) -> Args<'a> {
        Args { args, n: n as usize, kwnames, _caller: PhantomData }
    }

    /// As CPython passes them: the arguments, how many are positional, the others' names.
    #[inline(always)]
    pub(crate) fn as_raw<R>(self, take: impl FnOnce(*const Raw, Py_ssize_t, Raw) -> R) -> R {
        take(self.args, self.n as Py_ssize_t, self.kwnames)
    }

    /// How many positional ones.
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        self.n
    }

    /// No argument has a name.
    #[inline(always)]
    pub(crate) fn has_no_names(self) -> bool {
        self.kwnames.is_null()
    }

    /// The positional ones.
    #[inline(always)]
    pub(crate) fn positional(self) -> &'a [Ref<'a>] {
        if self.n == 0 {
            return &[];
        }
        // SAFETY: the caller holds so many; a Ref has a pointer's layout.
        unsafe { std::slice::from_raw_parts(self.args.cast(), self.n) }
    }

    /// Those behind the first `skip` positional ones; there are as many.
    #[inline(always)]
    pub(crate) fn rest(self, skip: usize) -> Args<'a> {
        let skip = skip.min(self.n);
        // SAFETY: within the arguments.
        Args { args: unsafe { self.args.add(skip) }, n: self.n - skip, ..self }
    }

    /// The arguments that have names, with these: two slices of one length.
    pub(crate) fn named(self) -> (&'a [Ref<'a>], &'a [Ref<'a>]) {
        if self.kwnames.is_null() {
            return (&[], &[]);
        }
        // SAFETY: a tuple, and as many arguments behind the positional ones.
        unsafe {
            let names = crate::ffi::python::items(Ref::borrowed(self.kwnames));
            (names, std::slice::from_raw_parts(self.args.add(self.n).cast(), names.len()))
        }
    }

    /// Matches them to `names`, of which the first `required` must be given.
    #[inline(always)]
    pub(crate) fn parse<const N: usize>(
        self,
        gil: Gil<'_>,
        function: &'static str,
        names: &[&'static CStr; N],
        required: usize,
    ) -> Outcome<[Option<Ref<'a>>; N]> {
        let mut found = [None; N];
        if self.n > N || self.n < required || !self.has_no_names() {
            self.parse_slow(gil, function, names, required, &mut found)?;
            return Ok(found);
        }
        // Over all of `found`, not over `n` arguments: that would be a call of memcpy.
        for (i, slot) in found.iter_mut().enumerate() {
            if i < self.n {
                // SAFETY: i < n.
                *slot = Some(unsafe { Ref::borrowed(*self.args.add(i)) });
            }
        }
        Ok(found)
    }

    #[cold]
    #[inline(never)]
    fn parse_slow(
        self,
        gil: Gil<'_>,
        function: &'static str,
        names: &[&'static CStr],
        required: usize,
        found: &mut [Option<Ref<'a>>],
    ) -> Outcome<()> {
        let wrong = |text: String| Err(errors::fail(gil, type_error(), &text));
        let (most, n) = (names.len(), self.n);
        if n > most {
            return wrong(format!("{function}() takes at most {most} arguments ({n} given)"));
        }
        for (slot, given) in found.iter_mut().zip(self.positional()) {
            *slot = Some(*given);
        }
        let (keys, values) = self.named();
        for (key, value) in keys.iter().zip(values) {
            match names.iter().position(|name| is_name(*key, name)) {
                None => {
                    let key = text_of(gil, *key);
                    return wrong(format!(
                        "{function}() got an unexpected keyword argument '{key}'"
                    ));
                }
                Some(i) if found[i].is_some() => {
                    let name = names[i].to_string_lossy();
                    return wrong(format!(
                        "{function}() got multiple values for argument '{name}'"
                    ));
                }
                Some(i) => found[i] = Some(*value),
            }
        }
        if let Some(i) = (0..required).find(|&i| found[i].is_none()) {
            let name = names[i].to_string_lossy();
            return wrong(format!("{function}() missing required argument: '{name}'"));
        }
        Ok(())
    }
}

fn is_name(key: Ref<'_>, name: &CStr) -> bool {
    // SAFETY: a keyword is a str; a C string.
    unsafe { ffi::PyUnicode_CompareWithASCIIString(key.as_raw(), name.as_ptr()) == 0 }
}

/// How long to wait for a `timeout` argument (absent or None: forever). Runs Python code.
#[inline(always)]
pub(crate) fn wait_of(gil: Gil<'_>, timeout: Option<Ref<'_>>) -> Outcome<Wait> {
    match timeout {
        Some(timeout) if !timeout.is_none() => seconds_of(gil, timeout).map(wait_for),
        _ => Ok(Wait::Block),
    }
}

/// A number of seconds, any real number; huge integers count as infinite. Runs Python code.
#[inline(never)]
pub(crate) fn seconds_of(gil: Gil<'_>, number: Ref<'_>) -> Outcome<f64> {
    let seconds = match as_double(gil, number) {
        Ok(seconds) => seconds,
        Err(_) if error_is(gil, overflow_error()) && is_int(gil, number) => {
            clear_error(gil);
            if is_negative(gil, number)? {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            }
        }
        Err(raised) => return Err(raised),
    };
    if seconds.is_nan() {
        return Err(errors::fail(gil, value_error(), "timeout must not be nan"));
    }
    Ok(seconds)
}

#[cold]
fn is_negative(gil: Gil<'_>, number: Ref<'_>) -> Outcome<bool> {
    let zero = int(gil, 0)?;
    // SAFETY: both are alive; integers compare without an error.
    let negative = unsafe {
        ffi::PyObject_RichCompareBool(number.as_raw(), zero.get().as_raw(), ffi::Py_LT) == 1
    };
    zero.release(gil);
    Ok(negative)
}

/// An integer argument; out-of-range values are clamped to the ends of `i64`. Runs Python code.
pub(crate) fn integer_of(gil: Gil<'_>, number: Ref<'_>) -> Outcome<i64> {
    as_index(gil, number)
}

/// No arguments at all.
pub(crate) const NO_ARGUMENTS: Args<'static> =
    Args { args: ptr::null(), n: 0, kwnames: ptr::null_mut(), _caller: PhantomData };
