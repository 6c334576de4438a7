//! What was read from a connection and not returned yet, and the room into which the kernel writes first.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use go_lib::runtime::embedder::net::Io;

use crate::ffi::refs::InPlace;

/// Bytes in the order in which they came.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// How many of them have been taken.
    taken: usize,
}

impl Buffer {
    /// All there are.
    #[inline]
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// The first `n` have been used. An empty buffer keeps no memory: idle connections are many.
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

    /// Puts back at the front what could not be returned.
    pub(super) fn unread(&mut self, first: &[u8]) {
        self.bytes.splice(..self.taken, first.iter().copied());
        self.taken = 0;
    }
}

/// How many bytes are read at once into the buffer.
pub(super) const SCRATCH_BYTES: usize = 65536;

/// The room that all reads share, so that a connection owns only what came. A read copies what it got before anything
/// else runs.
pub(super) static SCRATCH: InPlace<[MaybeUninit<u8>; SCRATCH_BYTES]> =
    InPlace::new([MaybeUninit::uninit(); SCRATCH_BYTES]);

/// The first `n` bytes of `room`.
///
/// # Safety
/// They were written.
#[inline]
pub(super) unsafe fn written(room: &[MaybeUninit<u8>], n: usize) -> &[u8] {
    // SAFETY: the caller has them written, and `n` is checked.
    unsafe { &*(ptr::from_ref(&room[..n]) as *const [u8]) }
}

/// Receives into `room`; what came.
#[inline]
pub(super) fn recv<'r>(
    io: Io<'_>,
    room: &'r mut [MaybeUninit<u8>],
    flags: i32,
) -> io::Result<&'r [u8]> {
    let n = io.recv(room, flags)?;
    // SAFETY: so many bytes are initialised.
    Ok(unsafe { written(room, n) })
}
