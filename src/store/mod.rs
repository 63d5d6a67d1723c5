//! What we ask of storage.
