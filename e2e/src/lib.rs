//! The workbench: everything the end-to-end tests, the demo and the benchmark stand on.

pub mod bench;
pub mod breach;
pub mod controlplane;
pub mod demo;
pub mod fault_proxy;
pub mod gateway;
pub mod helm;
pub mod load;
pub mod metric_source;
pub mod node;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod recorder;
pub mod rights;
pub mod s3;
pub mod tools;
pub mod workbench;
