//! What the handle asks of the Python layer.

use crate::ffi::obj::Global;

/// `golib._report.uncaught(goroutine, error)`.
pub(super) static UNCAUGHT: Global = Global::new();
/// `golib._report.summary_of(frame)`.
pub(super) static SUMMARY: Global = Global::new();
/// `golib._report.end_of_child(error)`.
pub(super) static END_OF_CHILD: Global = Global::new();
/// `golib._threads.renamed(goroutine, name)`.
pub(super) static RENAMED: Global = Global::new();

/// Finds all of them; false: an exception is set.
///
/// # Safety
/// The GIL is held.
pub(super) unsafe fn find() -> bool {
    // SAFETY: the GIL is held.
    unsafe {
        UNCAUGHT.import(c"golib._report", c"uncaught")
            && SUMMARY.import(c"golib._report", c"summary_of")
            && END_OF_CHILD.import(c"golib._report", c"end_of_child")
            && RENAMED.import(c"golib._threads", c"renamed")
    }
}
