//! The artifact: a logistic model as JSON, checked before it may score.
//!
//! The format is `werkbank-example/logistic-v1`, written by
//! `examples/churn/train.py`: per feature a transform, mean, scale and
//! coefficient; an intercept; a threshold from which a customer counts as at
//! risk. A file that parses but cannot score (a zero scale, no feature, a
//! threshold nobody can reach) is refused at the start, because a pod that
//! comes up ready with it would be given traffic.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

const FORMAT: &str = "werkbank-example/logistic-v1";

/// Why an artifact cannot serve. Each message is whole: a cause is in it, not behind it.
#[derive(Debug, Error)]
pub(crate) enum ArtifactError {
    #[error("cannot read {}: {source}; check WERKBANK_MODEL_PATH and the init container that fetches it", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not a {FORMAT} artifact: {source}; write it with examples/churn/train.py", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("{} cannot score: {why}; train it again", path.display())]
    CannotScore { path: PathBuf, why: String },
}

#[derive(Debug, Deserialize)]
struct Artifact {
    format: String,
    name: String,
    version: String,
    intercept: f64,
    features: Vec<Feature>,
    threshold: f64,
}

#[derive(Debug, Deserialize)]
struct Feature {
    name: String,
    transform: Transform,
    mean: f64,
    scale: f64,
    coefficient: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Transform {
    Identity,
    Log1p,
}

/// A model that has shown that it can score.
#[derive(Debug)]
pub(crate) struct Model {
    artifact: Artifact,
}

/// What the model says about one customer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prediction {
    /// Probability that the customer will not buy within the horizon.
    pub(crate) churn_probability: f64,
    /// Selected for the retention mail: the probability reaches the threshold.
    pub(crate) at_risk: bool,
}

impl Model {
    /// Loads and checks the artifact at `path`: a file, or a directory with `model.json`.
    pub(crate) fn load(path: &Path) -> Result<Self, ArtifactError> {
        let file = if path.is_dir() { path.join("model.json") } else { path.to_owned() };
        let bytes = std::fs::read(&file).map_err(|source| ArtifactError::Read { path: file.clone(), source })?;
        let artifact: Artifact =
            serde_json::from_slice(&bytes).map_err(|source| ArtifactError::Parse { path: file.clone(), source })?;
        let model = Self { artifact };
        match model.flaw() {
            Some(why) => Err(ArtifactError::CannotScore { path: file, why }),
            None => Ok(model),
        }
    }

    fn flaw(&self) -> Option<String> {
        let Artifact { format, features, threshold, intercept, .. } = &self.artifact;
        if format != FORMAT {
            return Some(format!("its format is `{format}`, this server reads `{FORMAT}`"));
        }
        if features.is_empty() {
            return Some("it has no features".into());
        }
        if !(0.0..=1.0).contains(threshold) {
            return Some(format!("threshold {threshold} is not a probability"));
        }
        if !intercept.is_finite() {
            return Some("its intercept is not finite".into());
        }
        for (i, f) in features.iter().enumerate() {
            if features.iter().skip(i + 1).any(|other| other.name == f.name) {
                return Some(format!("feature `{}` appears twice", f.name));
            }
            if f.scale <= 0.0 || ![f.mean, f.scale, f.coefficient].iter().all(|v| v.is_finite()) {
                return Some(format!("feature `{}` needs finite numbers and a scale above 0", f.name));
            }
        }
        let probe = vec![0.0; features.len()];
        self.score(&probe).is_none().then(|| "it has no finite score for a row of zeros".into())
    }

    /// The model's name in URLs.
    pub(crate) fn name(&self) -> &str {
        &self.artifact.name
    }

    /// The version the trainer gave it.
    pub(crate) fn version(&self) -> &str {
        &self.artifact.version
    }

    /// The features it needs, in the order in which `score` takes them.
    pub(crate) fn features(&self) -> impl Iterator<Item = &str> {
        self.artifact.features.iter().map(|f| f.name.as_str())
    }

    /// Scores one row of raw features; `None` when a value is outside what a transform takes.
    pub(crate) fn score(&self, row: &[f64]) -> Option<Prediction> {
        let mut z = self.artifact.intercept;
        for (feature, value) in self.artifact.features.iter().zip(row) {
            let value = match feature.transform {
                Transform::Identity => *value,
                Transform::Log1p => value.ln_1p(),
            };
            z += feature.coefficient * (value - feature.mean) / feature.scale;
        }
        if !z.is_finite() || row.len() != self.artifact.features.len() {
            return None;
        }
        let churn_probability = 1.0 / (1.0 + (-z).exp());
        Some(Prediction { churn_probability, at_risk: churn_probability >= self.artifact.threshold })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn artifact() -> Value {
        json!({
            "format": FORMAT, "name": "churn", "version": "v1", "intercept": 0.0, "threshold": 0.5,
            "features": [
                {"name": "recency_days", "transform": "identity", "mean": 50.0, "scale": 10.0, "coefficient": 1.0},
                {"name": "orders", "transform": "log1p", "mean": 0.0, "scale": 1.0, "coefficient": -1.0},
            ],
        })
    }

    pub(crate) fn load(artifact: &Value) -> Result<Model, ArtifactError> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("model.json"), artifact.to_string()).unwrap();
        Model::load(directory.path())
    }

    #[test]
    fn scores_as_the_trainer_does() {
        let model = load(&artifact()).unwrap();
        let prediction = model.score(&[60.0, 0.0]).unwrap();
        assert!((prediction.churn_probability - 0.731_058_578_630_004_9).abs() < 1e-12);
        assert!(prediction.at_risk);
        let loyal = model.score(&[60.0, std::f64::consts::E.powi(2) - 1.0]).unwrap();
        assert!((loyal.churn_probability - 0.268_941_421_369_995_1).abs() < 1e-12);
        assert!(!loyal.at_risk);
    }

    #[test]
    fn a_value_outside_a_transform_has_no_score() {
        assert_eq!(load(&artifact()).unwrap().score(&[0.0, -2.0]), None);
    }

    #[test]
    fn refuses_what_cannot_score() {
        let cases: [(&str, Value, &str); 6] = [
            ("/format", json!("onnx"), "its format is `onnx`"),
            ("/features", json!([]), "it has no features"),
            ("/threshold", json!(1.5), "threshold 1.5 is not a probability"),
            ("/features/0/scale", json!(0.0), "feature `recency_days` needs"),
            ("/features/1/name", json!("recency_days"), "appears twice"),
            ("/features/0/transform", json!("sqrt"), "unknown variant `sqrt`"),
        ];
        for (pointer, value, message) in cases {
            let mut bad = artifact();
            *bad.pointer_mut(pointer).unwrap() = value;
            let error = load(&bad).unwrap_err().to_string();
            assert!(error.contains(message) && !error.contains('\n'), "{pointer}: {error}");
        }
    }

    #[test]
    fn a_missing_file_names_the_path_and_the_variable() {
        let error = Model::load(Path::new("/nowhere/model.json")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/model.json") && error.contains("WERKBANK_MODEL_PATH"), "{error}");
    }
}
