//! `golib.Chan`: a channel of Python objects.
//!
//! | file | holds |
//! |---|---|
//! | [`object`] | the instance |
//! | [`class`] | the class `Chan` |
//! | [`ops`] | what is done on a channel: sends, receives, close |
//! | [`methods`] | the methods and properties |
//! | [`ends`] | the directional views, and the two ends made by `channel()` |
//!
//! The instance holds the runtime's channel itself. All types on which channel operations work begin with a `Face`,
//! so that one body serves `Chan`, its directional views and the ends made by `channel()`.

mod class;
pub(crate) mod ends;
mod methods;
mod object;
mod ops;

pub(crate) use class::init;
pub(crate) use object::{make, make_nil, nil, Face, CHAN};
pub(crate) use ops::on_nil;
