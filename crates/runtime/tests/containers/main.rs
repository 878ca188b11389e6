//! Real containers on this machine: every test makes its own, and leaves the kernel as empty as before.
mod exec;
mod isolation;
mod lab;
mod life;
mod logs;
mod speed;
