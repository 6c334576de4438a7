//! The handle's calls to the Python layer.

use crate::ffi::gil::Gil;
use crate::ffi::obj::Global;
use crate::ffi::python::import_from;
use crate::ffi::refs::Outcome;

/// `golib._report.uncaught(goroutine, error)`.
pub(super) static UNCAUGHT: Global = Global::new();
/// `golib._report.summary_of(frame)`.
pub(super) static SUMMARY: Global = Global::new();
/// `golib._report.end_of_child(error)`.
pub(super) static END_OF_CHILD: Global = Global::new();
/// `golib._threads.renamed(goroutine, name)`.
pub(super) static RENAMED: Global = Global::new();

/// Finds all of them. Runs Python code.
pub(super) fn find(gil: Gil<'_>) -> Outcome<()> {
    let report = c"golib._report";
    UNCAUGHT.set(import_from(gil, report, c"uncaught")?.give());
    SUMMARY.set(import_from(gil, report, c"summary_of")?.give());
    END_OF_CHILD.set(import_from(gil, report, c"end_of_child")?.give());
    RENAMED.set(import_from(gil, c"golib._threads", c"renamed")?.give());
    Ok(())
}
