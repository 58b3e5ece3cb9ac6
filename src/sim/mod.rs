//! For tests: an API server in memory.
