//! All that one machine does: containers, volumes, local networks, events, and the agent that runs the swarm's tasks;
//! and the builder of images.
#![forbid(unsafe_code)]

pub mod agent;
pub mod build;
pub mod clock;
pub mod containers;
pub mod events;
pub mod plugins;
pub mod tasks;
pub mod volumes;

/// An error with its causes, in one line.
pub fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(c) = cause {
        text.push_str(": ");
        text.push_str(&c.to_string());
        cause = c.source();
    }
    text
}
