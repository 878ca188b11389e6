//! Docker Engine API: border types. (being built)
