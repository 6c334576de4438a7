//! The error numbers that the crate's upper layers name.

pub(crate) use libc::{EAGAIN, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO};
