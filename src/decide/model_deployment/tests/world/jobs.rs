//! What becomes of Jobs.

use super::*;
use crate::build::job::{self, Purpose};
use crate::decide::live_job::LiveJob;
use crate::decide::model_deployment::inquiry::Subject;

impl World {
    /// What each live Job is for, by name.
    pub(in crate::decide::model_deployment::tests) fn jobs(&self) -> Vec<(String, Purpose)> {
        let purpose = |it: &LiveJob| job::purpose(&it.job.metadata).expect("a purpose");
        self.children.jobs.iter().map(|(name, it)| (name.clone(), purpose(it))).collect()
    }

    /// Those that have not ended.
    pub(in crate::decide::model_deployment::tests) fn jobs_under_way(&self) -> Vec<(String, Purpose)> {
        let ended = |name: &String| self.children.jobs[name].job.status.is_some();
        self.jobs().into_iter().filter(|(name, _)| !ended(name)).collect()
    }

    /// A variable of the first container of a Job.
    pub(in crate::decide::model_deployment::tests) fn told(&self, name: &str, variable: &str) -> String {
        let job = serde_json::to_value(&*self.children.jobs[name].job).unwrap();
        let env = job["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
        let it = env.into_iter().find(|it| it["name"] == variable).expect("a variable");
        it["value"].as_str().unwrap().to_owned()
    }

    /// Every Job about this side that is under way ends well and says this.
    pub(in crate::decide::model_deployment::tests) fn jobs_say(&mut self, subject: Subject, message: &str) {
        self.jobs_end(Some(subject), 0, message);
    }

    /// Every Job that is under way ends with this exit code.
    pub(in crate::decide::model_deployment::tests) fn jobs_crash(&mut self, exit: i32) {
        self.jobs_end(None, exit, r#"{"value": 0.01}"#);
    }

    fn jobs_end(&mut self, subject: Option<Subject>, exit: i32, message: &str) {
        let (type_, reason) =
            if exit == 0 { ("Complete", "CompletionsReached") } else { ("Failed", "BackoffLimitExceeded") };
        let condition = json!({"type": type_, "status": "True", "reason": reason, "lastTransitionTime": self.now});
        for (name, purpose) in self.jobs_under_way() {
            if subject.is_some_and(|it| it != purpose.subject) {
                continue;
            }
            self.written += 1;
            let live = self.children.jobs.get_mut(&name).unwrap();
            let job = Arc::make_mut(&mut live.job);
            job.status = Some(from(json!({"conditions": [condition]})));
            job.metadata.resource_version = Some(self.written.to_string());
            let ended = json!({"terminated": {"exitCode": exit, "reason": "Error", "message": message}});
            let container = json!({"name": purpose.container, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": ended});
            let pod = Pod { status: Some(from(json!({"containerStatuses": [container]}))), ..Pod::default() };
            live.pods = vec![Arc::new(pod)];
        }
    }
}
