//! The module `golib._golib`: what importing it makes.
//!
//! | file | holds |
//! |---|---|
//! | [`functions`] | the functions that programs call |
//! | [`runtime`] | those that the Python parts of golib are made of |
//! | [`hooks`] | what the runtime calls, and what C calls of the runtime |
//! | [`exit`], [`fork`] | the end of the interpreter; a forked child |
//! | [`run`] | what `golib.run` needs |

mod exit;
mod fork;
mod functions;
mod hooks;
mod run;
mod runtime;

use std::ptr;

use pyo3::ffi::{self, PyModuleDef, PyModuleDef_HEAD_INIT, PyObject};

use crate::bridge::{main_thread, signals};
use crate::core::{goroutine, results, servant};
use crate::cpython;
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::methods::Method;
use crate::ffi::obj::{self, Raw};
use crate::ffi::refs::Ref;
use crate::types::chan::{self, ends};
use crate::types::{context, group, patch, select, sync, timer};

struct Definition(std::cell::UnsafeCell<PyModuleDef>);
// SAFETY: CPython alone writes it, under the GIL.
unsafe impl Sync for Definition {}

static DEFINITION: Definition = Definition(std::cell::UnsafeCell::new(PyModuleDef {
    m_base: PyModuleDef_HEAD_INIT,
    m_name: c"golib._golib".as_ptr(),
    m_doc: c"The compiled part of golib.".as_ptr(),
    m_size: -1,
    m_methods: functions::FUNCTIONS.0.as_ptr().cast_mut(),
    m_slots: ptr::null_mut(),
    m_traverse: None,
    m_clear: None,
    m_free: None,
}));

/// Called by the import system.
///
/// # Safety
/// The GIL is held.
#[no_mangle]
pub unsafe extern "C" fn PyInit__golib() -> *mut PyObject {
    // SAFETY: the GIL is held; the definition lives for ever.
    unsafe {
        if cpython::init() < 0
            || !errors::init()
            || !results::init()
            || signals::init(Gil::assume()).is_err()
        {
            return ptr::null_mut();
        }
        let module = ffi::PyModule_Create(DEFINITION.0.get());
        if !module.is_null() && !fill(module) {
            ffi::Py_DECREF(module);
            return ptr::null_mut();
        }
        module
    }
}

/// Adds the types; false: an exception is set.
unsafe fn fill(module: Raw) -> bool {
    // SAFETY: the GIL is held; the module is new.
    unsafe {
        let chan = chan::init();
        let goroutine = goroutine::init();
        if chan.is_null() || goroutine.is_null() || !ends::init() || !select::init() {
            return false;
        }
        let Ok(sync) = sync::init(Gil::assume()) else { return false };
        let nil = chan::make_nil();
        if nil.is_null() {
            return false;
        }
        let Ok(group) = group::init(Gil::assume()) else { return false };
        let Ok(context) = context::init(Gil::assume()) else { return false };
        let Ok(timers) = timer::init(Gil::assume()) else { return false };
        let mut all = vec![
            (c"Chan", chan),
            (c"Goroutine", goroutine),
            (c"nil", nil),
            (c"Group", group.give()),
        ];
        all.extend(ends::types());
        all.extend(select::types());
        all.extend(sync.map(|(name, class)| (name, class.give())));
        all.extend(context.into_iter().map(|(name, class)| (name, class.give())));
        all.extend(timers.map(|(name, class)| (name, class.give())));
        if !all
            .into_iter()
            .all(|(name, object)| ffi::PyModule_AddObjectRef(module, name.as_ptr(), object) == 0)
        {
            return false;
        }
        let version = obj::unicode(env!("CARGO_PKG_VERSION"));
        if version.is_null()
            || ffi::PyModule_AddObjectRef(module, c"__version__".as_ptr(), version) < 0
        {
            return false;
        }
        ffi::Py_DECREF(version);
        let functions = Method::table(&context::functions::FUNCTIONS);
        let patching = patch::FUNCTIONS.0.as_ptr().cast_mut();
        if ffi::PyModule_AddFunctions(module, Method::table(&runtime::FUNCTIONS)) < 0
            || ffi::PyModule_AddFunctions(module, functions) < 0
            || ffi::PyModule_AddFunctions(module, patching) < 0
            || servant::init(Gil::assume(), Ref::borrowed(module)).is_err()
        {
            return false;
        }
        hooks::install();
        main_thread::init(Gil::assume()).is_ok()
            && exit::register_at_exit(Gil::assume(), Ref::borrowed(module)).is_ok()
    }
}
