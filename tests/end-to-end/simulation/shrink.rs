//! Shortens a failing plan: leaves parts out while the same promise is still broken.

use super::{
    plan::{Plan, Weather},
    promise::Promise,
    run::run,
};

/// Runs that may be spent on one plan. More finds little: the parts left by then are needed.
const RUNS_MAX: usize = 400;

/// Returns the shortest plan found that breaks the promise as this one does.
pub fn shrink(plan: &Plan, promise: Promise) -> Plan {
    let is_broken_by = |plan: &Plan| run(plan).is_err_and(|failure| failure.violation.promise == promise);
    shrink_while(plan, is_broken_by)
}

/// Returns the shortest plan found of which something is still true.
pub fn shrink_while(plan: &Plan, is_true_of: impl Fn(&Plan) -> bool) -> Plan {
    let (mut best, mut runs) = (plan.clone(), 0);
    loop {
        let before = best.clone();
        for part in PARTS {
            let mut size = (part.len)(&best).max(1);
            while size > 0 {
                let mut start = 0;
                while start < (part.len)(&best) && runs < RUNS_MAX {
                    let mut shorter = best.clone();
                    (part.remove)(&mut shorter, start, size);
                    runs += 1;
                    if shorter != best && is_true_of(&shorter) {
                        best = shorter;
                    } else {
                        start += size;
                    }
                }
                size /= 2;
            }
        }
        if best == before || runs >= RUNS_MAX {
            return best;
        }
    }
}

/// A kind of part that a plan has several of.
struct Part {
    len: fn(&Plan) -> usize,
    remove: fn(&mut Plan, usize, usize),
}

const PARTS: [Part; 7] = [
    Part { len: |plan| plan.strikes.len(), remove: |plan, start, size| cut(&mut plan.strikes, start, size) },
    Part { len: |plan| plan.deliveries.len(), remove: |plan, start, size| cut(&mut plan.deliveries, start, size) },
    Part { len: |plan| plan.orders.len(), remove: |plan, start, size| cut(&mut plan.orders, start, size) },
    Part { len: |plan| plan.steps.len(), remove: |plan, start, size| cut(&mut plan.steps, start, size) },
    Part { len: |plan| plan.instances.len(), remove: remove_instances },
    Part { len: |plan| plan.balancers.len(), remove: remove_balancers },
    Part { len: |_| 1, remove: |plan, _, _| simplify(plan) },
];

fn cut<T>(list: &mut Vec<T>, start: usize, size: usize) {
    list.drain(start..(start + size).min(list.len()));
}

fn remove_instances(plan: &mut Plan, start: usize, size: usize) {
    cut(&mut plan.instances, start, size);
    let names: Vec<String> = plan.instances.iter().map(|instance| instance.name.clone()).collect();
    plan.steps
        .retain(|step| step.deed.names().first().is_none_or(|name| !name.starts_with("web-") || has(&names, name)));
}

fn remove_balancers(plan: &mut Plan, start: usize, size: usize) {
    cut(&mut plan.balancers, start, size);
    let names: Vec<String> = plan.balancers.iter().map(|balancer| balancer.name.clone()).collect();
    for instance in &mut plan.instances {
        instance.places.retain(|place| has(&names, super::plan::balancer_in(place.split('=').next().unwrap_or(place))));
        instance.declares.retain(|place| has(&names, super::plan::balancer_in(place)));
    }
}

fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known == name)
}

/// Makes the weather plain, the balancers plain, and drops the declarations, as far as the plan still fails.
fn simplify(plan: &mut Plan) {
    plan.weather = Weather { page_size: None, throttle: None, ..plan.weather };
    for balancer in &mut plan.balancers {
        balancer.has_strangers = false;
    }
}
