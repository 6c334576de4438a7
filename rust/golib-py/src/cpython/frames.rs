//! The Python frames of another goroutine, seen without the GIL (`cpython/frames.c`). Each string is a copy.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::raw::{c_char, c_int, c_void};
use std::ptr;

use pyo3::ffi::{PyObject, PyThreadState};

use super::ffi;
use super::tstate::ThreadState;

const PLACES: usize = 12;

/// Where a frame is.
#[repr(C)]
pub struct Place {
    file: [c_char; 256],
    function: [c_char; 96],
    line: c_int,
}

/// The places of a state's frames, from the newest on.
#[repr(C)]
pub struct Places {
    name: [c_char; 96],
    n: c_int,
    has_more: c_int,
    at: [Place; PLACES],
}

fn text(bytes: &[c_char]) -> String {
    // SAFETY: C wrote a string that ends within its field.
    unsafe { CStr::from_ptr(bytes.as_ptr()) }.to_string_lossy().into_owned()
}

impl Place {
    /// The file's name.
    pub fn file(&self) -> String {
        text(&self.file)
    }

    /// The function's name.
    pub fn function(&self) -> String {
        text(&self.function)
    }

    /// The line.
    pub fn line(&self) -> i32 {
        self.line
    }
}

impl Places {
    /// The goroutine's name; empty if it is not known.
    pub fn name(&self) -> String {
        text(&self.name)
    }

    /// The newest frames, the newest first.
    pub fn newest(&self) -> &[Place] {
        &self.at[..self.n.clamp(0, PLACES as c_int) as usize]
    }

    /// There are older ones.
    pub fn has_more(&self) -> bool {
        self.has_more != 0
    }
}

/// The goroutine to look at: its state, its name (may be null), and its function (may be null).
#[derive(Clone, Copy)]
pub struct Of {
    /// The thread state.
    pub state: ThreadState,
    /// A str, or null.
    pub name: *mut PyObject,
    /// A callable, or null.
    pub function: *mut PyObject,
}

/// (the attached state or null, how often the GIL has changed hands, whether a thread waits for it). Callable from any
/// thread at any time.
pub fn holder() -> (*mut PyThreadState, u64, bool) {
    let (mut changes, mut is_wanted) = (0, 0);
    // SAFETY: reads words of the interpreter's lock, under its mutex.
    let state = unsafe { ffi::golib_gil_holder(&mut changes, &mut is_wanted) };
    (state, changes, is_wanted != 0)
}

/// The kernel's id of the thread on which `ts`, of a thread that is no goroutine, is attached; None: on none. Callable from
/// any thread at any time.
pub fn holders_thread(ts: ThreadState) -> Option<u32> {
    // SAFETY: the state is read only if it holds the GIL.
    let tid = unsafe { ffi::golib_gil_holders_thread(ts.as_ptr()) };
    u32::try_from(tid).ok().filter(|&tid| tid != 0)
}

/// Fills `places` if the state is attached on the calling thread; false: it is not. Also in a signal handler.
///
/// # Safety
/// If the state is attached on the calling thread, its goroutine keeps the name and the function.
pub unsafe fn within(of: Of, places: &mut MaybeUninit<Places>) -> bool {
    // SAFETY: the frames are the calling thread's own; the places are written whole up to `n`.
    unsafe {
        let at = places.as_mut_ptr();
        ffi::golib_places_within(of.state.as_ptr(), of.name, of.function, at) != 0
    }
}

/// The places of a state that is detached; None: it is attached, or `still` says no. `still` is asked whether the
/// goroutine is outside the runtime while it cannot come back.
///
/// # Safety
/// A goroutine that `still` finds outside keeps its state, its name and its function.
pub unsafe fn outside(of: Of, mut still: impl FnMut() -> bool) -> Option<Box<Places>> {
    unsafe extern "C" fn ask<F: FnMut() -> bool>(arg: *mut c_void) -> c_int {
        // SAFETY: the closure below.
        c_int::from(unsafe { (*arg.cast::<F>())() })
    }
    fn asker<F: FnMut() -> bool>(_: &F) -> unsafe extern "C" fn(*mut c_void) -> c_int {
        ask::<F>
    }
    let mut places: Box<MaybeUninit<Places>> = Box::new(MaybeUninit::zeroed());
    let (ask, arg) = (asker(&still), ptr::from_mut(&mut still).cast());
    // SAFETY: as the caller says; all bits zero are valid places.
    unsafe {
        let (ts, at) = (of.state.as_ptr(), places.as_mut_ptr());
        let seen = ffi::golib_places_outside(ts, of.name, of.function, ask, arg, at) != 0;
        seen.then(|| places.assume_init())
    }
}
