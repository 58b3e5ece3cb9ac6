//! The Open Inference Protocol v2 as this server speaks it: JSON bodies, no binary extension.
//!
//! Each feature is one input tensor of shape `[n]` or `[n, 1]`. Inputs that the
//! model does not use are ignored, so the same request can be answered by a
//! stable and a candidate revision whose models use different features; an input
//! that the model needs and does not get is an error, never a zero.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::artifact::{Model, Prediction};
use crate::tensor::{Tensor, column};

/// Output tensor with the probability that the customer will not buy.
pub(crate) const CHURN_PROBABILITY: &str = "churn_probability";
/// Output tensor that says who is selected for the mail.
pub(crate) const AT_RISK: &str = "at_risk";

/// The body of an inference request.
#[derive(Debug, Deserialize)]
pub(crate) struct InferRequest {
    pub(crate) id: Option<String>,
    pub(crate) inputs: Vec<Tensor>,
    #[serde(default)]
    pub(crate) outputs: Vec<RequestedOutput>,
}

/// An output the client asks for; without any it gets all.
#[derive(Debug, Deserialize)]
pub(crate) struct RequestedOutput {
    pub(crate) name: String,
}

/// The body of an inference response.
#[derive(Debug, Serialize)]
pub(crate) struct InferResponse {
    model_name: String,
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<Tensor>,
}

/// What a client is told when its request is not answered: `{"error": "..."}`.
#[derive(Debug, PartialEq)]
pub(crate) struct ProtocolError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl ProtocolError {
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }
}

impl IntoResponse for ProtocolError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

/// Model metadata: the tensors it takes and gives.
pub(crate) fn metadata(model: &Model) -> Value {
    let tensor = |name: &str, datatype: &str| json!({"name": name, "datatype": datatype, "shape": [-1]});
    json!({
        "name": model.name(),
        "versions": [model.version()],
        "platform": "werkbank-example",
        "inputs": model.features().map(|name| tensor(name, "FP64")).collect::<Vec<_>>(),
        "outputs": [tensor(CHURN_PROBABILITY, "FP64"), tensor(AT_RISK, "BOOL")],
    })
}

/// Scores every row of the request.
pub(crate) fn predict(model: &Model, request: &InferRequest) -> Result<Vec<Prediction>, ProtocolError> {
    for (i, input) in request.inputs.iter().enumerate() {
        if request.inputs.iter().skip(i + 1).any(|other| other.name == input.name) {
            return Err(ProtocolError::bad_request(format!("input `{}` is given twice; send it once", input.name)));
        }
    }
    for output in &request.outputs {
        if ![CHURN_PROBABILITY, AT_RISK].contains(&output.name.as_str()) {
            let message = format!("there is no output `{}`; ask for `{CHURN_PROBABILITY}` or `{AT_RISK}`", output.name);
            return Err(ProtocolError::bad_request(message));
        }
    }
    let columns = columns(model, &request.inputs)?;
    let rows = columns.first().map_or(0, Vec::len);
    (0..rows)
        .map(|n| {
            let row: Vec<f64> = columns.iter().filter_map(|column| column.get(n).copied()).collect();
            model.score(&row).ok_or_else(|| {
                ProtocolError::bad_request(format!("row {n} has a value outside the model's range; check its inputs"))
            })
        })
        .collect()
}

fn columns(model: &Model, inputs: &[Tensor]) -> Result<Vec<Vec<f64>>, ProtocolError> {
    let mut columns: Vec<Vec<f64>> = Vec::new();
    for name in model.features() {
        let input = inputs.iter().find(|input| input.name == name).ok_or_else(|| {
            ProtocolError::bad_request(format!("input `{name}` is missing; GET /v2/models/{} lists them", model.name()))
        })?;
        let values = column(input).map_err(ProtocolError::bad_request)?;
        if let Some(first) = columns.first().filter(|first| first.len() != values.len()) {
            let (got, wanted) = (values.len(), first.len());
            let message = format!("input `{name}` has {got} rows, the inputs before it have {wanted}; send as many");
            return Err(ProtocolError::bad_request(message));
        }
        columns.push(values);
    }
    Ok(columns)
}

/// The response to `request` with `predictions`.
pub(crate) fn respond(model: &Model, request: InferRequest, predictions: &[Prediction]) -> InferResponse {
    let rows = predictions.len() as u64;
    let output = |name: &str, datatype: &str, data: Vec<Value>| Tensor {
        name: name.to_owned(),
        shape: vec![rows],
        datatype: datatype.to_owned(),
        data: Value::Array(data),
    };
    let mut outputs = vec![
        output(CHURN_PROBABILITY, "FP64", predictions.iter().map(|p| p.churn_probability.into()).collect()),
        output(AT_RISK, "BOOL", predictions.iter().map(|p| p.at_risk.into()).collect()),
    ];
    if !request.outputs.is_empty() {
        outputs.retain(|output| request.outputs.iter().any(|wanted| wanted.name == output.name));
    }
    InferResponse {
        model_name: model.name().to_owned(),
        model_version: model.version().to_owned(),
        id: request.id,
        outputs,
    }
}
