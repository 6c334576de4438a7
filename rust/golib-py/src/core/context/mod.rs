//! Cancellation: the tree of contexts, and under which of them a goroutine runs. Their Python face is in `types/context`.
//!
//! | file | holds |
//! |---|---|
//! | [`node`], [`tree`] | a context, and which contexts are cancelled together |
//! | [`link`] | links between contexts, and between blocks |
//! | [`entry`], [`ambient`] | under which contexts a goroutine or thread runs now |
//! | [`cancel`] | what a cancellation does |
//!
//! Go: context/context.go

pub(crate) mod ambient;
pub(crate) mod cancel;
pub(crate) mod entry;
mod link;
pub(crate) mod node;
pub(crate) mod tree;
