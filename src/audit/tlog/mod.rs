//! The log's form: what is in its files, and what they prove. Nothing is read or written here.
//!
//! [`merkle`]: the tree and its proofs. [`tile`]: how the tree and the entries are cut into files. [`checkpoint`]: size and root,
//! in a [`note`] that is signed. All of it is C2SP's tlog-tiles, so that others' programs read the log.

pub mod checkpoint;
pub mod edge;
pub mod index;
pub mod merkle;
pub mod note;
pub mod slot;
pub mod tile;
