//! Values → what a person or a script reads. Nothing here talks to the engine.
pub(crate) mod human;
pub(crate) mod inspect;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod tabs;
pub(crate) mod template;
