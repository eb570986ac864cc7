//! AWS Service Quotas: how much of something an account may have. The acceptance test asks before it makes anything.
//!
//! Only what it asks for is modelled. Nothing in the sandbox ends at a quota.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    wire::{Answer, ApiError, Request},
    world::{ACCOUNT, REGION},
};

/// A service, a quota's code and name, and what applies to the account: AWS's defaults
/// (<https://docs.aws.amazon.com/general/latest/gr/vpc-service.html>, <https://docs.aws.amazon.com/general/latest/gr/elb.html>), but of
/// instances some more than the 5 vCPUs of a new account (<https://docs.aws.amazon.com/general/latest/gr/ec2-service.html>).
const QUOTAS: [(&str, &str, &str, f64); 5] = [
    ("vpc", "L-F678F1CE", "VPCs per Region", 5.0),
    ("elasticloadbalancing", "L-E9E9831D", "Classic Load Balancers per Region", 20.0),
    ("elasticloadbalancing", "L-53DA6B97", "Application Load Balancers per Region", 50.0),
    ("elasticloadbalancing", "L-69A177A2", "Network Load Balancers per Region", 50.0),
    ("ec2", "L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 32.0),
];

/// Does a call's work.
///
/// # Errors
/// Returns the errors of Service Quotas.
pub fn answer(request: &Request) -> Result<Answer, ApiError> {
    match request.action.as_str() {
        "GetServiceQuota" => get_service_quota(&request.read()?).map(Answer::Json),
        action => Err(ApiError::not_modelled(format!("the operation {action} of Service Quotas"))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetServiceQuota {
    service_code: String,
    quota_code: String,
}

/// Returns what applies to the account
/// (<https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_GetServiceQuota.html>).
fn get_service_quota(asked: &GetServiceQuota) -> Result<Value, ApiError> {
    let is_asked =
        |(service, code, _, _): &&(&str, &str, &str, f64)| *service == asked.service_code && *code == asked.quota_code;
    let Some((service, code, name, value)) = QUOTAS.iter().find(is_asked) else {
        let message = format!("The request failed because the specified resource {} does not exist.", asked.quota_code);
        return Err(ApiError::sender("NoSuchResourceException", message));
    };
    Ok(json!({ "Quota": {
        "ServiceCode": service,
        "QuotaArn": format!("arn:aws:servicequotas:{REGION}:{ACCOUNT}:{service}/{code}"),
        "QuotaCode": code,
        "QuotaName": name,
        "Value": value,
        "Unit": "None",
        "Adjustable": true,
        "GlobalQuota": false,
    }}))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Reply, Sandbox};

    #[tokio::test(start_paused = true)]
    async fn a_quota_is_told_by_its_code_and_none_is_made_up() {
        let sandbox = Sandbox::in_virtual_time();
        for (operation, code, status, word) in [
            ("GetServiceQuota", "L-F678F1CE", 200, "VPCs per Region"),
            ("GetServiceQuota", "L-00000000", 400, "NoSuchResourceException"),
            ("ListServices", "L-F678F1CE", 501, "NotModelledBySandbox"),
        ] {
            let request = http::Request::post("/")
                .header("x-amz-target", format!("ServiceQuotasV20190624.{operation}"))
                .body(Bytes::from(json!({ "ServiceCode": "vpc", "QuotaCode": code }).to_string()))
                .unwrap();
            let Reply::Answered(response) = sandbox.call(request).await else { panic!("no answer") };
            assert_eq!(response.status().as_u16(), status);
            assert!(String::from_utf8_lossy(response.body()).contains(word), "{operation} {code}");
        }
    }
}
