//! What of a report is shown.

use std::{collections::BTreeSet, convert::Infallible, str::FromStr};

use clap::Args;
use protocol::{
    balancer::{BalancerId, Declared},
    declaration::Declaration,
    id::InstanceId,
    plain::Plain,
    registration::{Registration, TargetName},
};
use registrar::report::{InstanceReport, Report, page};

/// An instance, by its id or its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance(String);

impl FromStr for Instance {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl Instance {
    fn is(&self, id: &InstanceId, part: &InstanceReport) -> bool {
        id.as_str() == self.0 || part.name.as_deref() == Some(&self.0)
    }
}

/// A balancer, as a declaration names it.
#[derive(Clone, Debug)]
pub(crate) struct Balancer(Declared);

impl FromStr for Balancer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let declared: Declaration = text.parse().map_err(|error| format!("{error}"))?;
        match declared.target == TargetName::default() {
            true => Ok(Self(declared.balancer)),
            false => Err("a port or an address does not name a balancer".to_owned()),
        }
    }
}

impl Balancer {
    fn has(&self, part: &InstanceReport) -> bool {
        let balancers: BTreeSet<&BalancerId> =
            part.registered.iter().chain(&part.held).chain(&part.at_a_stop).map(|place| &place.balancer).collect();
        let declared = part.declared.iter().filter_map(|text| text.parse::<Declaration>().ok());
        let is_declared = |declared: Declaration| match (&self.0, &declared.balancer) {
            (Declared::TargetGroup(asked), Declared::TargetGroup(declared)) => asked.name == declared.name,
            (asked, declared) => asked == declared,
        };
        balancers.into_iter().any(|balancer| self.0.means(balancer)) || declared.into_iter().any(is_declared)
    }
}

/// What is shown of a report.
#[derive(Args, Debug)]
pub(crate) struct Filter {
    /// Only instances of which something is wrong, or needs a person
    #[arg(long)]
    wrong: bool,
    /// Only this instance, by its id or its name; more than once for several
    #[arg(long, value_name = "ID|NAME")]
    instance: Vec<Instance>,
    /// Only instances that are registered, held or declared there; more than once for several
    #[arg(long, value_name = "tg:NAME|clb:NAME")]
    balancer: Vec<Balancer>,
}

/// Leaves in a report what was asked for.
///
/// # Errors
/// If there is no such instance: a name with a slip would be as it should be for ever.
pub(crate) fn apply(report: &mut Report, asked: &Filter) -> Result<(), String> {
    let is_there = |asked: &&Instance| report.instances.iter().any(|(id, part)| asked.is(id, part));
    if let Some(Instance(text)) = asked.instance.iter().find(|asked| !is_there(asked)) {
        let text = Plain::of(text);
        return Err(format!(
            "no instance with the id or the name {text} runs, is registered, or has a tag of elb-registrar"
        ));
    }
    report.instances.retain(|id, part| {
        (!asked.wrong || page::is_wrong(part) || !part.failed.is_empty())
            && (asked.instance.is_empty() || asked.instance.iter().any(|instance| instance.is(id, part)))
            && (asked.balancer.is_empty() || asked.balancer.iter().any(|balancer| balancer.has(part)))
    });
    // An orphan is no instance's.
    let is_asked =
        |registration: &Registration| asked.balancer.iter().any(|balancer| balancer.0.means(&registration.balancer));
    match (asked.balancer.is_empty(), asked.instance.is_empty()) {
        (_, false) => report.orphans.clear(),
        (false, true) => report.orphans.retain(|orphan| is_asked(&orphan.registration)),
        (true, true) => {}
    }
    Ok(())
}
