//! A goroutine that panics ends; the handler is told, and the process continues.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, RwLock};

/// Called on the goroutine that panicked, when its stack has been unwound.
type Handler = Arc<dyn Fn(GoroutinePanic) + Send + Sync>;

static HANDLER: RwLock<Option<Handler>> = RwLock::new(None);

/// A goroutine's panic, as [`set_panic_hook`]'s function gets it.
///
/// # Examples
/// ```
/// go_lib::set_panic_hook(|p: &go_lib::GoroutinePanic| assert!(p.goid > 0));
/// ```
pub struct GoroutinePanic {
    /// The goroutine's number.
    pub goid: u64,
    /// Where it was created.
    pub created_at: Option<&'static std::panic::Location<'static>>,
    /// The argument of `panic!`.
    pub payload: Box<dyn Any + Send>,
}

impl GoroutinePanic {
    /// The payload as text, if it is one.
    ///
    /// # Examples
    /// ```
    /// go_lib::set_panic_hook(|p| eprintln!("{}", p.message()));
    /// ```
    pub fn message(&self) -> &str {
        let payload = self.payload.as_ref();
        payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("Box<dyn Any>")
    }
}

/// Sets what is called, with the payload, when a goroutine panics. The default prints the payload,
/// the goroutine's number and where it was created; the process continues either way (Go would end
/// it).
///
/// The handler runs in the goroutine that panicked, after its destructors. It is not called for
/// the goroutines of a [`scope`](fn@crate::scope), whose handles have the payload. It replaces one
/// of [`set_panic_hook`], and the other way round.
///
/// # Examples
/// ```
/// go_lib::set_panic_handler(|payload| {
///     if let Some(text) = payload.downcast_ref::<String>() {
///         eprintln!("a goroutine died: {text}");
///     }
/// });
/// ```
pub fn set_panic_handler(f: impl Fn(Box<dyn Any + Send>) + Send + Sync + 'static) {
    install(Arc::new(move |panic| f(panic.payload)));
}

/// As [`set_panic_handler`], with all that is known of the panic.
///
/// # Examples
/// ```
/// go_lib::set_panic_hook(|p| eprintln!("goroutine {} died: {}", p.goid, p.message()));
/// ```
pub fn set_panic_hook(f: impl Fn(&GoroutinePanic) + Send + Sync + 'static) {
    install(Arc::new(move |panic| f(&panic)));
}

fn install(f: Handler) {
    if let Ok(mut handler) = HANDLER.write() {
        *handler = Some(f);
    }
}

/// Reports a goroutine's panic: tells the handler, or stderr.
pub(crate) fn report(panic: GoroutinePanic) {
    // Cloned: the handler may wait, and set another.
    let handler = HANDLER.read().ok().and_then(|handler| handler.clone());
    let Some(f) = handler else {
        eprint!("goroutine {} panicked: {}", panic.goid, panic.message());
        match panic.created_at {
            Some(at) => eprintln!("\ncreated at {at}"),
            None => eprintln!(),
        }
        return;
    };
    let goid = panic.goid;
    // A panic in the handler ends here: it must not reach the scheduler.
    if catch_unwind(AssertUnwindSafe(|| f(panic))).is_err() {
        eprintln!("goroutine {goid}: the panic handler panicked");
    }
}
