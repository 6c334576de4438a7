//! What happens when a goroutine panics: it ends, the handler is told, the process goes on.

use std::any::Any;
use std::sync::RwLock;

use crate::runtime::embedder::GRef;

/// Called with the goroutine's number, where it was created and the panic's payload.
type Handler = Box<dyn Fn(&GoroutinePanic) + Send + Sync>;

static HANDLER: RwLock<Option<Handler>> = RwLock::new(None);

/// A goroutine's panic, as the handler gets it.
pub struct GoroutinePanic {
    /// The goroutine's number.
    pub goid: u64,
    /// Where it was created.
    pub created_at: Option<&'static std::panic::Location<'static>>,
    /// What `panic!` was given.
    pub payload: Box<dyn Any + Send>,
}

impl GoroutinePanic {
    /// The payload as text, if it is one.
    pub fn message(&self) -> &str {
        let payload = self.payload.as_ref();
        payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("Box<dyn Any>")
    }
}

/// Sets what is called when a goroutine panics. The default prints the payload, the goroutine's
/// number and where it was created; the process goes on either way (Go would end it).
///
/// # Examples
/// ```
/// go_lib::set_panic_handler(|p| eprintln!("goroutine {} died: {}", p.goid, p.message()));
/// ```
pub fn set_panic_handler(f: impl Fn(&GoroutinePanic) + Send + Sync + 'static) {
    if let Ok(mut handler) = HANDLER.write() {
        *handler = Some(Box::new(f));
    }
}

/// Reports the panic of `r`.
pub(crate) fn goroutine_panicked(r: GRef, payload: Box<dyn Any + Send>) {
    let panic = GoroutinePanic { goid: r.goid(), created_at: r.location(), payload };
    match HANDLER.read() {
        Ok(handler) if handler.is_some() => {
            if let Some(f) = handler.as_ref() {
                // A panic in the handler ends here: it must not reach the scheduler.
                let call = std::panic::AssertUnwindSafe(|| f(&panic));
                if std::panic::catch_unwind(call).is_err() {
                    eprintln!("goroutine {}: the panic handler panicked", panic.goid);
                }
            }
        }
        _ => {
            eprint!("goroutine {} panicked: {}", panic.goid, panic.message());
            match panic.created_at {
                Some(at) => eprintln!("\ncreated at {at}"),
                None => eprintln!(),
            }
        }
    }
}
