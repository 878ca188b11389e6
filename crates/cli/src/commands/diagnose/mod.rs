//! What Docker lacks: `doctor`, `explain`, `ping`, and `top` of the whole swarm.
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod ping;
pub(crate) mod top;
