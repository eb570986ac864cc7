//! Bytes in, bytes out: requests in the AWS protocols become a [`Request`], answers become responses again.
//!
//! The credential scope of the signature tells the service, as at moto and LocalStack, so that one endpoint serves all of them.
//! Signatures themselves are not checked.

mod error;
pub mod query;
pub mod xml;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::Value;

pub use error::ApiError;
use query::Params;
use xml::Element;

/// The path of ListFunctions (<https://docs.aws.amazon.com/lambda/latest/api/API_ListFunctions.html>).
const LIST_FUNCTIONS: &str = "/2015-03-31/functions";

/// A service of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Amazon EC2.
    Ec2,
    /// Classic load balancing, API 2012-06-01.
    Elb,
    /// Application, Network and Gateway Load Balancers and target groups, API 2015-12-01.
    ElbV2,
    /// Amazon EC2 Auto Scaling.
    AutoScaling,
    /// Amazon SQS.
    Sqs,
    /// Amazon EventBridge.
    Events,
    /// AWS Resource Groups Tagging API.
    Tagging,
    /// AWS Service Quotas.
    Quotas,
    /// AWS Security Token Service.
    Sts,
    /// AWS CloudFormation.
    CloudFormation,
    /// AWS Lambda, without Invoke, which the server answers itself.
    Lambda,
}

impl Service {
    /// Returns the name in IAM's actions, such as `elasticloadbalancing` in `elasticloadbalancing:RegisterTargets`.
    pub fn iam_prefix(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Elb | Self::ElbV2 => "elasticloadbalancing",
            Self::AutoScaling => "autoscaling",
            Self::Sqs => "sqs",
            Self::Events => "events",
            Self::Tagging => "tag",
            Self::Quotas => "servicequotas",
            Self::Sts => "sts",
            Self::CloudFormation => "cloudformation",
            Self::Lambda => "lambda",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Ec2 | Self::Elb | Self::ElbV2 | Self::AutoScaling | Self::Sts | Self::CloudFormation => "text/xml",
            Self::Sqs => "application/x-amz-json-1.0",
            Self::Events | Self::Tagging | Self::Quotas => "application/x-amz-json-1.1",
            Self::Lambda => "application/json",
        }
    }

    fn xml_namespace(self) -> &'static str {
        match self {
            Self::Ec2 => "http://ec2.amazonaws.com/doc/2016-11-15/",
            Self::Elb => "http://elasticloadbalancing.amazonaws.com/doc/2012-06-01/",
            Self::ElbV2 => "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
            Self::AutoScaling => "http://autoscaling.amazonaws.com/doc/2011-01-01/",
            Self::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
            Self::CloudFormation => "http://cloudformation.amazonaws.com/doc/2010-05-15/",
            Self::Sqs | Self::Events | Self::Tagging | Self::Quotas | Self::Lambda => "",
        }
    }
}

/// One call, decoded.
#[derive(Clone, Debug)]
pub struct Request {
    /// The service called.
    pub service: Service,
    /// The operation, such as `DescribeInstances`.
    pub action: String,
    /// Its parameters.
    pub body: Body,
    /// The access key id in the signature, which tells the caller. Empty if the request was not signed.
    pub access_key: String,
    /// The host that the caller used, for answers that contain URLs.
    pub host: String,
}

/// The parameters of a call, in the form of its protocol.
#[derive(Clone, Debug)]
pub enum Body {
    /// `awsQuery` and `ec2Query`: form fields.
    Query(Params),
    /// `awsJson1.0` and `awsJson1.1`.
    Json(Value),
}

/// The answer of a service, before it becomes bytes.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The content of the operation's result element, whose own name does not matter.
    Xml(Element),
    /// A JSON document.
    Json(Value),
}

impl Request {
    /// Decodes an HTTP request.
    ///
    /// # Errors
    /// If it has no service, action or body that the sandbox knows.
    pub fn decode(request: &http::Request<Bytes>) -> Result<Self, ApiError> {
        let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (access_key, scope) = credential(header("authorization"));
        let host = match header("host") {
            "" => request.uri().authority().map(ToString::to_string).unwrap_or_default(),
            host => host.to_owned(),
        };
        let target = header("x-amz-target");
        if !target.is_empty() {
            let (prefix, action) = target.split_once('.').unwrap_or(("", target));
            let service = match prefix {
                "AmazonSQS" => Service::Sqs,
                "AWSEvents" => Service::Events,
                "ResourceGroupsTaggingAPI_20170126" => Service::Tagging,
                "ServiceQuotasV20190624" => Service::Quotas,
                _ => return Err(ApiError::not_modelled(format!("the JSON service {prefix}"))),
            };
            let body = serde_json::from_slice(request.body())
                .map_err(|e| ApiError::sender("SerializationException", format!("the body is not JSON: {e}")))?;
            return Ok(Self { service, action: action.to_owned(), body: Body::Json(body), access_key, host });
        }
        let params = Params::decode(request.body(), request.uri().query().unwrap_or_default());
        // Lambda's API is told by path and method.
        if request.uri().path().trim_end_matches('/') == LIST_FUNCTIONS && request.method() == http::Method::GET {
            let (service, action) = (Service::Lambda, "ListFunctions".to_owned());
            return Ok(Self { service, action, body: Body::Query(params), access_key, host });
        }
        let action = params.required("Action")?;
        let version = params.required("Version")?;
        let service = match (scope.as_str(), version.as_str()) {
            ("ec2" | "", "2016-11-15") => Service::Ec2,
            ("elasticloadbalancing" | "", "2012-06-01") => Service::Elb,
            ("elasticloadbalancing" | "", "2015-12-01") => Service::ElbV2,
            ("autoscaling" | "", "2011-01-01") => Service::AutoScaling,
            ("sts" | "", "2011-06-15") => Service::Sts,
            ("cloudformation" | "", "2010-05-15") => Service::CloudFormation,
            _ => return Err(ApiError::not_modelled(format!("service {scope:?} in version {version}"))),
        };
        Ok(Self { service, action, body: Body::Query(params), access_key, host })
    }

    /// Returns a stand-in for a request that could not be decoded, so that the error has the form of its protocol.
    pub fn undecoded(request: &http::Request<Bytes>) -> Self {
        let is_json = request.headers().contains_key("x-amz-target");
        let (service, body) = match is_json {
            true => (Service::Events, Body::Json(Value::Null)),
            false => (Service::Elb, Body::Query(Params::decode(b"", ""))),
        };
        Self { service, action: String::new(), body, access_key: String::new(), host: String::new() }
    }

    /// Returns the form fields.
    ///
    /// # Errors
    /// If the request came as JSON.
    pub fn params(&self) -> Result<&Params, ApiError> {
        match &self.body {
            Body::Query(params) => Ok(params),
            Body::Json(_) => Err(ApiError::sender("InvalidAction", "this service speaks the query protocol")),
        }
    }

    /// Returns the JSON document as a type, which should refuse unknown fields: a parameter that is not modelled fails loudly.
    ///
    /// # Errors
    /// If a field is missing, unknown or of another type.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_value(self.json()?.clone()).map_err(|e| {
            let reason = e.to_string();
            match reason.starts_with("unknown field") {
                true => ApiError::not_modelled(format!("a parameter of {}: {reason}", self.action)),
                false => ApiError::sender("SerializationException", reason),
            }
        })
    }

    /// Returns the JSON document.
    ///
    /// # Errors
    /// If the request came as a form.
    pub fn json(&self) -> Result<&Value, ApiError> {
        match &self.body {
            Body::Json(value) => Ok(value),
            Body::Query(_) => Err(ApiError::sender("InvalidAction", "this service speaks JSON")),
        }
    }
}

/// Returns the access key id and the service in `AWS4-HMAC-SHA256 Credential=KEY/date/region/service/aws4_request, ...`.
fn credential(authorization: &str) -> (String, String) {
    let scope = authorization.split_once("Credential=").map(|(_, rest)| rest).unwrap_or_default();
    let scope = scope.split([',', ' ']).next().unwrap_or_default();
    let mut parts = scope.split('/');
    let key = parts.next().unwrap_or_default().to_owned();
    (key, parts.nth(2).unwrap_or_default().to_owned())
}

/// Renders a service's answer as its protocol does.
pub fn encode(request: &Request, outcome: &Result<Answer, ApiError>, request_id: &str) -> http::Response<Bytes> {
    let body = match outcome {
        Ok(Answer::Xml(result)) => envelope(request, result, request_id),
        Ok(Answer::Json(Value::Null)) => String::new(),
        Ok(Answer::Json(value)) => value.to_string(),
        Err(error) => return error.encode(request.service, request_id),
    };
    response(StatusCode::OK, request.service.content_type(), request_id, body)
}

/// Writes each character that XML 1.0 does not have as a reference.
pub(crate) fn with_references(body: Bytes) -> Bytes {
    let is_forbidden =
        |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    let Ok(text) = std::str::from_utf8(&body) else { return body };
    if !text.chars().any(is_forbidden) {
        return body;
    }
    let written = text.chars().map(|c| if is_forbidden(c) { format!("&#x{:x};", u32::from(c)) } else { c.to_string() });
    written.collect::<String>().into()
}

fn envelope(request: &Request, result: &Element, request_id: &str) -> String {
    let action = &request.action;
    let root = Element::new(format!("{action}Response")).attribute("xmlns", request.service.xml_namespace());
    let root = match request.service {
        Service::Ec2 => root.text("requestId", request_id).append(result),
        _ => root
            .child(Element::new(format!("{action}Result")).append(result))
            .child(Element::new("ResponseMetadata").text("RequestId", request_id)),
    };
    root.render()
}

fn response(status: StatusCode, content_type: &'static str, request_id: &str, body: String) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_cannot_be_decoded_are_refused_in_their_own_protocol() {
        for (target, content_type) in
            [(None, "text/xml"), (Some("DynamoDB_20120810.ListTables"), "application/x-amz-json-1.1")]
        {
            let mut request = http::Request::new(Bytes::from_static(b"Action=ListUsers&Version=2010-05-08"));
            if let Some(target) = target {
                request.headers_mut().insert("x-amz-target", HeaderValue::from_static(target));
            }
            let refusal = Request::decode(&request).unwrap_err();
            let response = encode(&Request::undecoded(&request), &Err(refusal), "1");
            assert_eq!(response.headers()["content-type"], content_type);
            assert!(String::from_utf8_lossy(response.body()).contains("NotModelledBySandbox"));
        }
    }
}
