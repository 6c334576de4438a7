//! The bytes that were read from a connection but not returned yet, and the scratch space that the kernel writes into.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use go_lib::runtime::embedder::net::Io;

use crate::ffi::refs::InPlace;

/// Bytes in the order in which they came.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// How many of the bytes have been taken.
    taken: usize,
}

impl Buffer {
    /// All bytes that have not been taken.
    #[inline]
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Takes the first `n` bytes off. An empty buffer keeps no memory, since there may be many idle connections.
    pub(super) fn advance(&mut self, n: usize) {
        self.taken += n;
        if self.is_empty() {
            *self = Buffer::default();
        }
    }

    /// Adds at the end.
    pub(super) fn push(&mut self, more: &[u8]) {
        if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(more);
    }

    /// Puts bytes that could not be returned back at the front.
    pub(super) fn unread(&mut self, first: &[u8]) {
        self.bytes.splice(..self.taken, first.iter().copied());
        self.taken = 0;
    }
}

/// How many bytes one read takes at most.
pub(super) const SCRATCH_BYTES: usize = 65536;

/// The scratch space that all reads share, so that a connection owns only the bytes that it has received. A read copies them
/// out of it before anything else runs.
pub(super) static SCRATCH: InPlace<[MaybeUninit<u8>; SCRATCH_BYTES]> =
    InPlace::new([MaybeUninit::uninit(); SCRATCH_BYTES]);

/// The first `n` bytes of `room`.
///
/// # Safety
/// They have been written.
#[inline]
pub(super) unsafe fn written(room: &[MaybeUninit<u8>], n: usize) -> &[u8] {
    // SAFETY: the caller says that they have been written, and slicing checks `n`.
    unsafe { &*(ptr::from_ref(&room[..n]) as *const [u8]) }
}

/// Receives into `room` and returns the bytes received.
#[inline]
pub(super) fn recv<'r>(
    io: Io<'_>,
    room: &'r mut [MaybeUninit<u8>],
    flags: i32,
) -> io::Result<&'r [u8]> {
    let n = io.recv(room, flags)?;
    // SAFETY: the system call has written `n` bytes.
    Ok(unsafe { written(room, n) })
}
