//! The readiness queue of Windows: a completion port, and the poll request of AFD, the driver behind sockets.
//!
//! A completion port reports that an operation has ended; the contract reports that one may be tried. Overlapped operations
//! would need a different design: the kernel keeps their buffers until the completion, even after a cancel, so a goroutine
//! could not leave at once when its deadline passes, nor be sure that it has taken nothing. `IOCTL_AFD_POLL` ends when a
//! condition of a socket holds, and lends no user's buffer to the kernel. It is not documented, but has not changed since
//! Windows NT, and other event loops depend on it. It works for sockets only, which are all that `net` has.
//!
//! A poll request ends with its first report, and at once if its condition already holds. So each direction has its own
//! request, sent when a goroutine is about to wait for it (`ask`): an edge is reported only if it was asked for, and a report
//! may be stale.
//!
//! # Invariants
//! 1. The kernel may write into a request from the moment it is sent until its completion has been taken from the port. During
//!    that time the request counts as a reference to its watch.
//! 2. A closed watch sends no requests. Those under way are cancelled, and their completions report nothing.
//! 3. The packet of `wake` belongs to the port: any `poll` may take it, and a `poll` that does not sleep posts it again.
//! 4. `waking` is 1 from a `wake` until a `poll` with a wait has taken the packet: more wakes in between cost no system call.

#[cfg(test)]
pub(super) mod tests;

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawSocket};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Event, Events, Until, BATCH, HANGUP, READ, WRITE};
use crate::prim::{AtomicU32, Ordering};
use crate::sys::clock::{ms_until, nanotime};
use crate::sys::win32::{
    CreateIoCompletionPort, GetQueuedCompletionStatusEx, NtCancelIoFileEx, NtCreateFile,
    NtDeviceIoControlFile, PostQueuedCompletionStatus, WSAIoctl, AFD_POLL_ABORT, AFD_POLL_ACCEPT,
    AFD_POLL_CONNECT_FAIL, AFD_POLL_DISCONNECT, AFD_POLL_INFO, AFD_POLL_LOCAL_CLOSE,
    AFD_POLL_RECEIVE, AFD_POLL_SEND, FILE_OPEN, FILE_SHARE_READ_WRITE, HANDLE, INFINITE,
    IOCTL_AFD_POLL, IO_STATUS_BLOCK, OBJECT_ATTRIBUTES, OVERLAPPED_ENTRY, SIO_BASE_HANDLE,
    SYNCHRONIZE, UNICODE_STRING,
};

/// The keys of the port's packets.
const WAKE: usize = 0;
const POLL: usize = 1;
/// The conditions that requests of both directions wait for, besides their own.
const BROKEN: u32 = AFD_POLL_ABORT | AFD_POLL_CONNECT_FAIL | AFD_POLL_LOCAL_CLOSE;
/// By direction.
const ASKED: [u32; 2] =
    [AFD_POLL_RECEIVE | AFD_POLL_ACCEPT | AFD_POLL_DISCONNECT | BROKEN, AFD_POLL_SEND | BROKEN];

/// A completion port and a handle to AFD.
pub(crate) struct Poller {
    port: OwnedHandle,
    afd: OwnedHandle,
    /// The watches, by tag.
    watches: Mutex<HashMap<u64, Arc<Watch>>>,
    /// See 4.
    waking: AtomicU32,
}

/// A socket in the queue.
struct Watch {
    tag: u64,
    /// The handle that AFD knows, below layered providers.
    base: HANDLE,
    state: Mutex<State>,
    requests: [Request; 2],
}

struct State {
    closed: bool,
    /// By direction.
    under_way: [bool; 2],
}

/// A request, which by 1 belongs to the kernel while it is under way.
#[repr(C)]
struct Request {
    status: UnsafeCell<IO_STATUS_BLOCK>,
    info: UnsafeCell<AFD_POLL_INFO>,
    direction: usize,
    /// The watch that it is a part of; it owns a reference to it while it is under way.
    watch: UnsafeCell<*const Watch>,
}

// SAFETY: the requests are guarded by the state's lock and by 1; a handle may be used anywhere.
unsafe impl Send for Watch {}
// SAFETY: as above.
unsafe impl Sync for Watch {}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check(status: i32) -> io::Result<()> {
    if status < 0 {
        return Err(io::Error::other(format!("AFD: status {status:#x}")));
    }
    Ok(())
}

impl Request {
    fn new(direction: usize, socket: HANDLE) -> Self {
        let info = AFD_POLL_INFO {
            timeout: i64::MAX,
            handles: 1,
            exclusive: 0,
            handle: socket,
            events: ASKED[direction],
            status: 0,
        };
        Request {
            status: UnsafeCell::new(IO_STATUS_BLOCK { status: 0, information: 0 }),
            info: UnsafeCell::new(info),
            direction,
            watch: UnsafeCell::new(ptr::null()),
        }
    }
}

impl Poller {
    /// See `mod.rs`.
    pub(crate) const ASKS: bool = true;

    /// A queue of its own.
    ///
    /// # Errors
    /// The process has no handle left, or the system has no such driver.
    pub(crate) fn new() -> io::Result<Poller> {
        // SAFETY: the handle is ours.
        let port = unsafe {
            let none = ptr::without_provenance_mut(usize::MAX);
            let port = CreateIoCompletionPort(none, ptr::null_mut(), 0, 0);
            if port.is_null() {
                return Err(io::Error::last_os_error());
            }
            OwnedHandle::from_raw_handle(port)
        };
        let afd = open_afd()?;
        // SAFETY: both handles are ours.
        let tied =
            unsafe { CreateIoCompletionPort(afd.as_raw_handle(), port.as_raw_handle(), POLL, 0) };
        if tied.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(Poller { port, afd, watches: Mutex::default(), waking: AtomicU32::new(0) })
    }

    /// See the contract.
    ///
    /// # Errors
    /// `fd` is not a socket.
    pub(crate) fn open(&self, fd: RawSocket, tag: u64) -> io::Result<()> {
        let base = base_of(fd)?;
        let watch = Watch {
            tag,
            base,
            state: Mutex::new(State { closed: false, under_way: [false; 2] }),
            requests: [Request::new(0, base), Request::new(1, base)],
        };
        locked(&self.watches).insert(tag, Arc::new(watch));
        Ok(())
    }

    /// See the contract.
    pub(crate) fn ask(&self, tag: u64, bits: u8) {
        let Some(watch) = locked(&self.watches).get(&tag).cloned() else { return };
        let mut state = locked(&watch.state);
        for (direction, bit) in [READ, WRITE].into_iter().enumerate() {
            if bits & bit != 0 && !state.closed && !state.under_way[direction] {
                state.under_way[direction] = true;
                self.send(&watch, direction);
            }
        }
    }

    /// Sends a request that is not under way. The state is locked.
    fn send(&self, watch: &Arc<Watch>, direction: usize) {
        let request = &watch.requests[direction];
        let context: *mut c_void = (&raw const *request).cast_mut().cast();
        let bytes = size_of::<AFD_POLL_INFO>() as u32;
        // SAFETY: by 1 nothing else uses the request, and the reference keeps it alive until its completion is taken.
        unsafe {
            *request.watch.get() = Arc::into_raw(watch.clone());
            let info = request.info.get();
            (*info).handles = 1;
            (*info).handle = watch.base;
            (*info).events = ASKED[direction];
            (*info).status = 0;
            let status = NtDeviceIoControlFile(
                self.afd.as_raw_handle(),
                ptr::null_mut(),
                ptr::null(),
                context,
                request.status.get(),
                IOCTL_AFD_POLL,
                info.cast(),
                bytes,
                info.cast(),
                bytes,
            );
            if status < 0 {
                // There will be no completion. The waiter must try its operation, which then fails with the reason.
                (*info).handles = 0;
                PostQueuedCompletionStatus(self.port.as_raw_handle(), 0, POLL, context);
            }
        }
    }

    /// See the contract.
    pub(crate) fn close(&self, _fd: RawSocket, tag: u64) {
        let Some(watch) = locked(&self.watches).remove(&tag) else { return };
        let mut state = locked(&watch.state);
        state.closed = true;
        for (request, _) in watch.requests.iter().zip(state.under_way).filter(|(_, is)| *is) {
            let mut answer = IO_STATUS_BLOCK { status: 0, information: 0 };
            // SAFETY: by 1 the block still belongs to the kernel, or did until a moment ago; then there is nothing to cancel.
            unsafe {
                NtCancelIoFileEx(self.afd.as_raw_handle(), request.status.get(), &mut answer);
            }
        }
    }

    /// See the contract.
    pub(crate) fn poll(&self, until: Until, events: &mut Events) {
        let mut list =
            [OVERLAPPED_ENTRY { key: WAKE, overlapped: ptr::null_mut(), internal: 0, bytes: 0 };
                BATCH];
        events.len = 0;
        let n = self.take(until, &mut list);
        let mut woken = false;
        for entry in &list[..n] {
            if entry.key == WAKE {
                woken = true;
            } else {
                // SAFETY: a completion names the request that was sent.
                unsafe { self.completed(entry.overlapped.cast(), events) };
            }
        }
        if woken && until == Until::Now {
            // By 3.
            self.post();
        } else if woken {
            // Release: the packet was taken before; a `wake` that sees 0 posts anew. A woken thread looks at its
            // wakers' data after this: an RMW, Acquire, pairs with the Release in `wake`.
            self.waking.swap(0, Ordering::AcqRel);
        }
    }

    /// Waits for packets and returns how many there are. It resumes a wait that the system ends early.
    fn take(&self, until: Until, list: &mut [OVERLAPPED_ENTRY; BATCH]) -> usize {
        loop {
            let (mut n, ms) = (
                0,
                match until {
                    Until::Now => 0,
                    Until::At(at) => ms_until(at),
                    Until::Woken => INFINITE,
                },
            );
            // SAFETY: list has room for BATCH entries.
            let taken = unsafe {
                let port = self.port.as_raw_handle();
                GetQueuedCompletionStatusEx(port, list.as_mut_ptr(), BATCH as u32, &mut n, ms, 0)
            };
            match until {
                _ if taken != 0 => return n as usize,
                Until::At(at) if nanotime() < at => {}
                _ => return 0,
            }
        }
    }

    /// Turns the result of a finished request into an event.
    ///
    /// # Safety
    /// Its completion was taken just now.
    unsafe fn completed(&self, request: *const Request, events: &mut Events) {
        // SAFETY: by 1 it is alive, ours again, and owns a reference.
        let (watch, direction, info, status) = unsafe {
            let request = &*request;
            let watch = Arc::from_raw(*request.watch.get());
            let info = ptr::read(request.info.get());
            (watch, request.direction, info, (*request.status.get()).status as i32)
        };
        let mut state = locked(&watch.state);
        state.under_way[direction] = false;
        if state.closed {
            return;
        }
        // A failed request tells nothing: the waiter must try its operation.
        let failed = info.handles == 0 || status < 0;
        let ready = if failed { READ | WRITE } else { ready(info.events) };
        events.push(Event { tag: watch.tag, ready });
    }

    /// See the contract.
    pub(crate) fn wake(&self) {
        // AcqRel: pairs with `poll`: a later one sees what the caller did before; an earlier one has taken the packet.
        if self.waking.swap(1, Ordering::AcqRel) == 0 {
            self.post();
        }
    }

    /// Puts the packet of `wake` into the port. That fails only if there is no memory; then the sleep lasts longer.
    fn post(&self) {
        // SAFETY: no pointers but a null one.
        unsafe { PostQueuedCompletionStatus(self.port.as_raw_handle(), 0, WAKE, ptr::null_mut()) };
    }
}

/// Opens a handle to AFD, through which poll requests are sent.
fn open_afd() -> io::Result<OwnedHandle> {
    let name: Vec<u16> = r"\Device\Afd\golib".encode_utf16().collect();
    let bytes = (name.len() * 2) as u16;
    let text = UNICODE_STRING { bytes, room: bytes, text: name.as_ptr() };
    let attributes = OBJECT_ATTRIBUTES {
        size: size_of::<OBJECT_ATTRIBUTES>() as u32,
        root: ptr::null_mut(),
        name: &text,
        attributes: 0,
        security: ptr::null(),
        quality: ptr::null(),
    };
    let mut afd = ptr::null_mut();
    let mut answer = IO_STATUS_BLOCK { status: 0, information: 0 };
    // SAFETY: everything is valid for the call; the handle is ours.
    unsafe {
        check(NtCreateFile(
            &mut afd,
            SYNCHRONIZE,
            &attributes,
            &mut answer,
            ptr::null(),
            0,
            FILE_SHARE_READ_WRITE,
            FILE_OPEN,
            0,
            ptr::null(),
            0,
        ))?;
        Ok(OwnedHandle::from_raw_handle(afd))
    }
}

/// The handle by which AFD knows a socket.
fn base_of(socket: RawSocket) -> io::Result<HANDLE> {
    let (mut base, mut got): (HANDLE, u32) = (ptr::null_mut(), 0);
    // SAFETY: base has room for a handle.
    let r = unsafe {
        let (none, room) = (ptr::null_mut(), size_of::<HANDLE>() as u32);
        let out = (&raw mut base).cast();
        WSAIoctl(socket, SIO_BASE_HANDLE, none, 0, out, room, &mut got, none, none)
    };
    if r != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(base)
}

/// Translates AFD's bits into ours.
fn ready(events: u32) -> u8 {
    let any = |of: u32, is: u8| if events & of != 0 { is } else { 0 };
    any(AFD_POLL_RECEIVE | AFD_POLL_ACCEPT | AFD_POLL_DISCONNECT | BROKEN, READ)
        | any(AFD_POLL_SEND | BROKEN, WRITE)
        | any(AFD_POLL_DISCONNECT | BROKEN, HANGUP)
}
