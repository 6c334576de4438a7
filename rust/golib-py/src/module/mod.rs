//! The module `golib._golib` and its import.
//!
//! | file | holds |
//! |---|---|
//! | [`functions`] | the functions that programs call |
//! | [`runtime`] | those that the Python parts of golib are made of |
//! | [`hooks`] | what the runtime calls, and what C calls of the runtime |
//! | [`blocked`] | which line keeps the GIL, for a debug switch |
//! | [`exit`], [`fork`] | the end of the interpreter; a forked child |
//! | [`run`] | what `golib.run` needs |

mod blocked;
mod exit;
#[cfg(unix)]
mod fork;
#[cfg(windows)]
#[path = "fork_windows.rs"]
mod fork;
mod functions;
mod hooks;
mod run;
mod runtime;

use std::ptr;

use pyo3::ffi::{self, PyMethodDef, PyModuleDef, PyModuleDef_HEAD_INIT, PyObject};

use crate::bridge::{main_thread, signals};
use crate::core::{goroutine, results, servant};
use crate::cpython;
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::methods::Method;
use crate::ffi::python::{set_attribute, unicode};
use crate::ffi::refs::{Outcome, Raised, Ref};
use crate::types::chan::{self, ends};
use crate::types::{context, group, net, patch, select, sync, timer};

struct Definition(std::cell::UnsafeCell<PyModuleDef>);
// SAFETY: CPython alone writes it, under the GIL.
unsafe impl Sync for Definition {}

static DEFINITION: Definition = Definition(std::cell::UnsafeCell::new(PyModuleDef {
    m_base: PyModuleDef_HEAD_INIT,
    m_name: c"golib._golib".as_ptr(),
    m_doc: c"The compiled part of golib.".as_ptr(),
    m_size: -1,
    m_methods: Method::table(&functions::FUNCTIONS),
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
        let gil = Gil::assume();
        if cpython::init() < 0
            || errors::init(gil).is_err()
            || results::init(gil).is_err()
            || signals::init(gil).is_err()
        {
            return ptr::null_mut();
        }
        let module = ffi::PyModule_Create(DEFINITION.0.get());
        if !module.is_null() && fill(gil, Ref::borrowed(module)).is_err() {
            ffi::Py_DECREF(module);
            return ptr::null_mut();
        }
        module
    }
}

/// Adds the types and the functions.
fn fill(gil: Gil<'_>, module: Ref<'_>) -> Outcome<()> {
    let mut all = vec![
        (c"Chan", chan::init(gil)?),
        (c"Goroutine", goroutine::init(gil)?),
        (c"nil", chan::make_nil(gil)?),
        (c"Group", group::init(gil)?),
    ];
    all.extend(ends::init(gil)?);
    all.extend(select::init(gil)?);
    all.extend(sync::init(gil)?);
    all.extend(context::init(gil)?);
    all.extend(timer::init(gil)?);
    all.extend(net::init(gil)?);
    all.push((c"__version__", unicode(gil, env!("CARGO_PKG_VERSION"))?));
    for (name, object) in all {
        set_attribute(gil, module, name, object.get())?;
        // Nobody releases the reference: what is static refers to these objects as long as the process lives.
        object.give();
    }
    add_functions(gil, module, Method::table(&runtime::FUNCTIONS))?;
    add_functions(gil, module, Method::table(&context::functions::FUNCTIONS))?;
    add_functions(gil, module, Method::table(&patch::FUNCTIONS))?;
    add_functions(gil, module, Method::table(&net::FUNCTIONS))?;
    servant::init(gil, module)?;
    // SAFETY: called once, before the first goroutine.
    unsafe { hooks::install() };
    main_thread::init(gil)?;
    exit::register_at_exit(gil, module)
}

/// Adds the functions of a table that is kept.
fn add_functions(_gil: Gil<'_>, module: Ref<'_>, table: *mut PyMethodDef) -> Outcome<()> {
    // SAFETY: a module; a table of ours, which lives for ever.
    unsafe {
        if ffi::PyModule_AddFunctions(module.as_raw(), table) < 0 {
            return Err(Raised::assume());
        }
    }
    Ok(())
}
