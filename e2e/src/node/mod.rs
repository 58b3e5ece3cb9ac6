//! A node that runs pods as local processes.
//!
//! The API server and the controllers of the workbench are the real ones; this
//! module is what is left of a kubelet and a scheduler when there is no root
//! and no container runtime. A pod is a few processes with an address of their
//! own (127.x.y.z, so that ten pods can all listen on port 8080) and a
//! directory of their own; a container image is a name for a local binary.
//! Everything an operator can see of a pod from outside is as in a cluster:
//! scheduling by node affinity, conditions with their transition times, probes,
//! restarts with backoff, exit codes, termination messages, graceful deletion,
//! service account tokens.
//!
//! What processes without namespaces cannot have is stood in for by name:
//!
//! - A process must listen on its pod's address, not on 0.0.0.0: it finds the
//!   address in `POD_IP`, which [`Image::args`] and [`Image::env`] may use too.
//! - Volumes are directories of the pod. Mount paths in env values and
//!   arguments are rewritten to them (`paths`), and the real path of the
//!   termination message is in `TERMINATION_MESSAGE_PATH`.
//! - A kubeconfig with the ServiceAccount's token is in `KUBECONFIG`;
//!   `KUBERNETES_SERVICE_HOST` is not set.
//!
//! What it refuses, with a sentence in the container's status rather than by
//! silence, is listed in `support`.
//!
//! | file | subject |
//! |---|---|
//! | `agent` | the loop: watches pods and nodes, starts and ends pods |
//! | `registration` | the Node object and its lease |
//! | `world` | pods and nodes as last seen; who is bound where |
//! | `schedule` | does this pod fit this node, and what is said when it fits none |
//! | `pod` | one pod's life |
//! | `container`, `launch` | one container's life; one start of its process |
//! | `probe` | startup, readiness, liveness |
//! | `facts`, `status` | what is known of a pod; the PodStatus that follows from it |
//! | `report` | writes that status when it changed |
//! | `environment`, `field`, `lookup`, `paths` | a process's env and arguments |
//! | `volume`, `token` | a pod's files |
//! | `image`, `address`, `backoff`, `process` | small parts |

mod address;
mod agent;
mod backoff;
mod container;
mod environment;
mod facts;
mod field;
mod image;
mod launch;
mod lookup;
mod options;
mod paths;
mod pod;
mod probe;
mod process;
mod registration;
mod report;
mod schedule;
mod status;
mod support;
mod token;
mod volume;
mod world;

pub use address::AddressBlock;
pub use agent::NodeAgent;
pub use backoff::Backoff;
pub use image::Image;
pub use options::NodeOptions;
