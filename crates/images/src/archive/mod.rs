//! Images as tar archives: import, load, save.
pub(crate) mod import;
pub(crate) mod load;
pub(crate) mod save;
