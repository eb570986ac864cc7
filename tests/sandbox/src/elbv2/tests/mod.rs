//! Tests of target groups: their common parts.

mod admission;
mod health;
mod membership;
mod resources;

use std::{net::IpAddr, time::Duration};

use super::*;
use crate::{
    Options, SameAddressWhileDraining, Sandbox,
    elb::testing::{API, FAR, WEB, bring, call, code, run, sandbox, texts},
    fault::{Verdict, every},
};

/// Returns a group, and an Application Load Balancer in front of it.
fn group(spec: TargetGroupSpec) -> (Sandbox, String) {
    group_with(spec, Options { shuffle: false, ..Options::default() })
}

fn group_with(spec: TargetGroupSpec, options: Options) -> (Sandbox, String) {
    let sandbox = sandbox(options);
    let arn = sandbox.with(|world| {
        let kind = spec.kind();
        let arn = create_target_group(world, spec).unwrap();
        let balancer = create_load_balancer(world, kind, "front", "vpc-1").unwrap();
        attach(world, &arn, &balancer, 80).unwrap();
        arn
    });
    (sandbox, arn)
}

fn instances() -> TargetGroupSpec {
    TargetGroupSpec::instances("web", "vpc-1", 80)
}

fn addresses() -> TargetGroupSpec {
    TargetGroupSpec::addresses("web", "vpc-1", 80)
}

async fn elbv2(sandbox: &Sandbox, action: &str, fields: &[(&str, &str)]) -> Result<String, (String, String)> {
    call(sandbox, "2015-12-01", action, fields).await
}

fn enter(sandbox: &Sandbox, arn: &str, target: Target) -> Result<(), (String, String)> {
    sandbox.with(|world| register(world, arn, target)).map_err(|e| (e.code, e.message))
}

fn leave(sandbox: &Sandbox, arn: &str, target: Target) {
    sandbox.with(|world| deregister(world, arn, target)).unwrap();
}

/// Returns the only target's health.
#[track_caller]
fn health_of(sandbox: &Sandbox, arn: &str) -> Health {
    let views = sandbox.with(|world| targets(world, arn));
    assert_eq!(views.len(), 1, "{views:?}");
    views[0].health
}

/// Returns the id and the port of every registered target.
fn present(sandbox: &Sandbox, arn: &str) -> Vec<(String, u16)> {
    let views = sandbox.with(|world| targets(world, arn));
    views
        .into_iter()
        .filter(|view| view.state == Standing::Registered)
        .map(|view| (view.id, view.port.unwrap()))
        .collect()
}
