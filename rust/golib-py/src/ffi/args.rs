//! The arguments of a call, and what they mean.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr;

use go_lib::runtime::embedder::{nanotime, Wait};
use pyo3::ffi::{self, PyTypeObject, Py_ssize_t};

use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::obj::Raw;
use crate::ffi::python::{
    as_double, as_index, clear_error, error_is, int, is_int, overflow_error, text_of, type_error,
    value_error,
};
use crate::ffi::refs::{Outcome, Raised, Ref};

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
            let names = crate::ffi::containers::items(Ref::borrowed(self.kwnames));
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

/// The arguments of a `tp_new` or `tp_init`: a tuple, and a dict or null.
#[derive(Clone, Copy)]
pub(crate) struct NewArgs<'a> {
    args: Raw,
    kwargs: Raw,
    _caller: PhantomData<Ref<'a>>,
}

impl<'a> NewArgs<'a> {
    /// # Safety
    /// As CPython calls a `tp_new`, alive for `'a`.
    #[inline(always)]
    pub(super) unsafe fn new(args: Raw, kwargs: Raw) -> NewArgs<'a> {
        NewArgs { args, kwargs, _caller: PhantomData }
    }

    /// The one argument, which may be named `name`. `format` is that of `PyArg_ParseTupleAndKeywords` for an object, and the
    /// class's name: "O:Name", or "|O:Name" if it may be absent.
    pub(crate) fn one(
        self,
        _gil: Gil<'_>,
        format: &'static CStr,
        name: &'static CStr,
    ) -> Outcome<Option<Ref<'a>>> {
        debug_assert!(
            format.to_bytes().starts_with(b"O:") || format.to_bytes().starts_with(b"|O:")
        );
        let mut object: Raw = ptr::null_mut();
        let names = [name.as_ptr(), ptr::null()];
        // SAFETY: the format asks for one object, which the arguments hold.
        unsafe {
            let parsed = ffi::PyArg_ParseTupleAndKeywords(
                self.args,
                self.kwargs,
                format.as_ptr(),
                names.as_ptr().cast_mut().cast(),
                &mut object,
            );
            if parsed == 0 {
                return Err(Raised::assume());
            }
            Ok(Ref::nullable(object))
        }
    }

    /// Those with these names. `format` is that of `PyArg_ParseTupleAndKeywords` for as many objects, and the class's name.
    pub(crate) fn named<const N: usize>(
        self,
        _gil: Gil<'_>,
        format: &'static CStr,
        names: [&'static CStr; N],
    ) -> Outcome<[Option<Ref<'a>>; N]> {
        const { assert!(N == 2, "as many are passed on") };
        debug_assert!(format.to_bytes().iter().filter(|&&c| c == b'O').count() == N);
        let mut found: [Raw; N] = [ptr::null_mut(); N];
        let names = [names[0].as_ptr(), names[1].as_ptr(), ptr::null()];
        // SAFETY: the format asks for two objects, which the arguments hold.
        unsafe {
            let parsed = ffi::PyArg_ParseTupleAndKeywords(
                self.args,
                self.kwargs,
                format.as_ptr(),
                names.as_ptr().cast_mut().cast(),
                &raw mut found[0],
                &raw mut found[1],
            );
            if parsed == 0 {
                return Err(Raised::assume());
            }
            Ok(found.map(|object| Ref::nullable(object)))
        }
    }

    /// The positional ones.
    pub(crate) fn positional(self) -> &'a [Ref<'a>] {
        // SAFETY: a tuple, which the caller holds.
        unsafe { crate::ffi::containers::items(Ref::borrowed(self.args)) }
    }

    /// There are none.
    pub(crate) fn are_none(self, gil: Gil<'_>, class: Ref<'_>) -> Outcome<()> {
        // SAFETY: a dict, or null; a class.
        unsafe {
            if self.positional().is_empty()
                && (self.kwargs.is_null() || ffi::PyDict_Size(self.kwargs) == 0)
            {
                return Ok(());
            }
            let name = CStr::from_ptr((*class.as_raw().cast::<PyTypeObject>()).tp_name);
            let text = format!("{}() takes no arguments", name.to_string_lossy());
            Err(errors::fail(gil, type_error(), &text))
        }
    }
}

fn is_name(key: Ref<'_>, name: &CStr) -> bool {
    // SAFETY: a keyword is a str; a C string.
    unsafe { ffi::PyUnicode_CompareWithASCIIString(key.as_raw(), name.as_ptr()) == 0 }
}

/// A `timeout` argument, which is converted once: that may run Python code.
#[derive(Clone, Copy)]
pub(crate) struct Timeout {
    pub(crate) wait: Wait,
    /// What was given; a nan for none.
    seconds: f64,
}

impl Timeout {
    /// Of an operation that waits forever.
    pub(crate) const NONE: Timeout = Timeout { wait: Wait::Block, seconds: f64::NAN };

    /// The seconds that were given.
    pub(crate) fn seconds(self) -> Option<f64> {
        (!self.seconds.is_nan()).then_some(self.seconds)
    }

    /// The same for an operation that does not wait.
    pub(crate) fn at_once(self) -> Timeout {
        Timeout { wait: Wait::Try, ..self }
    }
}

/// A `timeout` argument; absent or None: forever. Runs Python code.
#[inline(always)]
pub(crate) fn timeout_of(gil: Gil<'_>, timeout: Option<Ref<'_>>) -> Outcome<Timeout> {
    match timeout {
        Some(timeout) if !timeout.is_none() => {
            let seconds = seconds_of(gil, timeout)?;
            Ok(Timeout { wait: wait_for(seconds), seconds })
        }
        _ => Ok(Timeout::NONE),
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

/// Nanoseconds in a second.
pub(crate) const NS: f64 = 1e9;

/// When `seconds` from now is, past for 0 or less; None: never.
pub(crate) fn deadline_after(seconds: f64) -> Option<i64> {
    match wait_for(seconds) {
        Wait::Try => Some(nanotime().saturating_add((seconds * NS) as i64)),
        Wait::Until(when_ns) => Some(when_ns),
        Wait::Block => None,
    }
}

/// The wait that ends after `seconds`: at once if not positive, never if huge.
pub(crate) fn wait_for(seconds: f64) -> Wait {
    /// About 146 years; later than that is never.
    const FOR_EVER: f64 = 4.6e9;
    if seconds <= 0.0 {
        Wait::Try
    } else if seconds >= FOR_EVER {
        Wait::Block
    } else {
        Wait::Until(nanotime().saturating_add((seconds * NS).ceil() as i64))
    }
}
