//! The requests that the end-to-end tests ask of the real API server, asked of this one.

use std::path::Path;

use axum::body::BodyDataStream;
use futures::{FutureExt, StreamExt};
use kube::client::Body;
use serde_json::Value;

use super::super::others::jobs::JobEnd;
use super::super::others::{self, Deed};
use super::Cluster;

#[path = "../../../tests/requests/mod.rs"]
mod shared;

use shared::Asked;

impl shared::Server for Cluster {
    const IS_IN_MEMORY: bool = true;

    fn ask(&mut self, asked: &Asked) -> (u16, Value) {
        let served = self.clone().serve(asked.request("").map(Body::from));
        let answer = served.now_or_never().unwrap().unwrap();
        let (code, stream) = (answer.status().as_u16(), answer.into_body().into_data_stream());
        let text = said(stream);
        (code, asked.events(code, &text).unwrap_or_else(|| serde_json::from_str(&text).unwrap()))
    }

    fn forget(&mut self) {
        self.compact();
    }

    fn wait(&mut self) {
        let deeds = others::deeds(self, &|_, wanted| wanted, &|_| JobEnd::Runs);
        let collects = deeds.iter().filter(|it| matches!(it, Deed::Collect(_)));
        collects.for_each(|it| others::act(self, it, &|_, wanted| wanted, &|_| JobEnd::Runs));
    }
}

/// What comes at once.
fn said(mut stream: BodyDataStream) -> String {
    let mut said = Vec::new();
    while let Some(Some(Ok(piece))) = stream.next().now_or_never() {
        said.extend_from_slice(&piece);
    }
    String::from_utf8(said).unwrap()
}

#[test]
fn it_answers_as_a_real_api_server() {
    let (root, mut cluster) = (Path::new(env!("CARGO_MANIFEST_DIR")), Cluster::default());
    let wrong = shared::compare(root, &shared::all(root, &mut cluster));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
