//! `kubectl werkbank status`: reads a deployment and what serves it, and hands both to [`overview`](super::overview).

use chrono::{DateTime, Utc};
use clap::{ArgAction, Args};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::CliError;
use super::cluster::{Cluster, ClusterOptions};
use super::get;
use super::overview::{self, Facts, Told};
use crate::api::gateway::HttpRoute;
use crate::api::{ModelDeployment, labels};
use crate::build::route::weights;
use crate::decide::model_deployment::acceptance::{RouteState, route_state};

/// Events that are shown: the newest.
const MOST_TOLD: usize = 15;

/// Of what, and how much of it.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// The ModelDeployment.
    name: String,
    /// Conditions and verdicts, too; twice: the objects that serve it, and what was told last.
    #[arg(long, short, action = ArgAction::Count)]
    verbose: u8,
}

pub(super) async fn run(options: &ClusterOptions, arguments: &StatusArguments) -> Result<String, CliError> {
    let cluster = options.connect().await?;
    let deployment: ModelDeployment = get::one(&cluster, &arguments.name).await?;
    let mut facts = Facts { entry: get::gatekeeper(&cluster, &deployment).await?, ..Facts::default() };
    if arguments.verbose > 1 {
        facts.objects = objects(&cluster, &deployment).await?;
        facts.told = told(&cluster, &deployment).await?;
    }
    Ok(overview::render(&deployment, &facts, arguments.verbose, Utc::now()))
}

/// What serves it, and what is to be said of it.
async fn objects(cluster: &Cluster, deployment: &ModelDeployment) -> Result<Vec<(String, String)>, CliError> {
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let name = deployment.name_any();
    let ours = ListParams::default().labels(&format!("{}={name}", labels::DEPLOYMENT));
    // Whoever may see what they have declared need not be allowed to see what serves it.
    let mut objects: Vec<(String, String)> = match api.list(&ours).await {
        Ok(all) => all.items.iter().map(|it| (format!("deployment/{}", it.name_any()), pods_of(it))).collect(),
        Err(error) => vec![("deployments".into(), CliError::from(error).to_string())],
    };
    objects.extend(route(cluster, &name).await.map(|said| (format!("httproute/{name}"), said)));
    Ok(objects)
}

fn pods_of(deployment: &Deployment) -> String {
    let wanted = deployment.spec.as_ref().and_then(|it| it.replicas).unwrap_or(1);
    let ready = deployment.status.as_ref().and_then(|it| it.ready_replicas).unwrap_or(0);
    let containers =
        deployment.spec.as_ref().and_then(|it| it.template.spec.as_ref()).map(|it| it.containers.as_slice());
    let images: Vec<&str> = containers.unwrap_or_default().iter().filter_map(|it| it.image.as_deref()).collect();
    format!("{ready} of {wanted} ready, {}", images.join(", "))
}

/// The weights that the gateway has been told, and whether it has accepted them; nothing, without a route.
async fn route(cluster: &Cluster, name: &str) -> Option<String> {
    let api: Api<HttpRoute> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    match api.get_opt(name).await {
        Ok(found) => found.map(|it| said_of_route(&it)),
        // Whoever may see deployments need not be allowed to see routes.
        Err(error) => Some(CliError::from(error).to_string()),
    }
}

fn said_of_route(route: &HttpRoute) -> String {
    let backends = weights(route).into_iter().next().unwrap_or_default();
    let weights: Vec<String> = backends.into_iter().map(|(name, weight)| format!("{name} {weight}")).collect();
    let said = match route_state(route) {
        RouteState::Accepted => "accepted".to_owned(),
        RouteState::Pending => "not accepted yet".to_owned(),
        RouteState::Rejected(why) => format!("not accepted: {why}"),
    };
    format!("{}: {said}", weights.join(", "))
}

async fn told(cluster: &Cluster, deployment: &ModelDeployment) -> Result<Vec<Told>, CliError> {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let about = format!("regarding.kind=ModelDeployment,regarding.name={}", deployment.name_any());
    let all = match api.list(&ListParams::default().fields(&about)).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => return Ok(Vec::new()),
        found => found?.items,
    };
    let uid = deployment.uid();
    let mut told: Vec<Told> = all
        .iter()
        .filter(|it| it.regarding.as_ref().and_then(|it| it.uid.clone()) == uid)
        .filter_map(of_event)
        .collect();
    told.sort_by_key(|it| std::cmp::Reverse(it.at));
    told.truncate(MOST_TOLD);
    Ok(told)
}

fn of_event(event: &Event) -> Option<Told> {
    let series = event.series.as_ref();
    let at = series.map(|it| &it.last_observed_time).or(event.event_time.as_ref())?;
    Some(Told {
        at: DateTime::<Utc>::from_timestamp(at.0.as_second(), 0)?,
        is_warning: event.type_.as_deref() == Some("Warning"),
        reason: event.reason.clone().unwrap_or_default(),
        note: event.note.clone().unwrap_or_default(),
        times: series.map_or(1, |it| it.count),
    })
}
