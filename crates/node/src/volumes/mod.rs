//! Volumes of the `local` driver: directories under `data_root/volumes`, their metadata, who uses them, and the copy of
//! image content into a fresh one.
