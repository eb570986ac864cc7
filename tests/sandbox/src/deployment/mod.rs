//! The deployed project: everything in `template.yaml`, made in the simulated AWS as CloudFormation and SAM make it.
//!
//! The order of the work: the text becomes a tree ([`Template`]), parameters and conditions get their values, every resource gets
//! its name and ARN (`identity`), functions such as `!Sub` are replaced by their values (`intrinsic`), and the resources are
//! created, each after those that it names (`stack`). A resource without an effect on behaviour, such as an alarm, is checked for
//! its references and kept for tests to look at. A property with an effect that is not modelled is an error that names the
//! resource and the property.

mod binary;
mod function;
mod identity;
mod intrinsic;
mod parameters;
mod properties;
mod resources;
mod settings;
mod stack;
mod template;

use std::fmt;

pub use binary::build;
pub use identity::Identity;
pub use settings::Setting;
pub use stack::{Resource, Stack};
pub use template::Template;

use crate::world::World;

/// The function that converges the instances named by EC2's state changes.
pub const INSTANCE_STATE: &str = "instance-state";

/// The function that serves instances at a lifecycle hook, on their way in and out.
pub const LIFECYCLE: &str = "lifecycle";

/// The function that sweeps, on a schedule.
pub const RECONCILE: &str = "reconcile";

/// The name of the stack. AWS would add random characters to the names that begin with it.
pub const STACK: &str = "elb-registrar";

/// The queue that the events of [`INSTANCE_STATE`] come from.
pub const QUEUE: &str = "elb-registrar-InstanceStateQueue";

/// The queue for messages that no function understands, and for those that failed for good.
pub const DEAD_LETTERS: &str = "elb-registrar-InstanceStateDeadLetterQueue";

/// The queue for events that EventBridge could not put into [`QUEUE`].
pub const UNDELIVERED: &str = "elb-registrar-InstanceStateRuleDeadLetterQueue";

/// The queue that the events of [`LIFECYCLE`] come from.
pub const LIFECYCLE_QUEUE: &str = "elb-registrar-LifecycleQueue";

/// The same as [`DEAD_LETTERS`] for [`LIFECYCLE`].
pub const LIFECYCLE_DEAD_LETTERS: &str = "elb-registrar-LifecycleDeadLetterQueue";

/// The same as [`UNDELIVERED`] for [`LIFECYCLE_QUEUE`].
pub const LIFECYCLE_UNDELIVERED: &str = "elb-registrar-LifecycleRuleDeadLetterQueue";

/// The queue from which [`RECONCILE`] gets the rest of a sweep.
pub const RESTS: &str = "elb-registrar-ReconcileQueue";

/// The queue from which [`RECONCILE`] gets orders for one sweep of many.
pub const ORDERS: &str = "elb-registrar-OrderQueue.fifo";

/// The queue for orders that failed for good.
pub const DEAD_ORDERS: &str = "elb-registrar-OrderDeadLetterQueue.fifo";

/// The queue for sweeps that failed.
pub const FAILED_SWEEPS: &str = "elb-registrar-ReconcileDeadLetterQueue";

/// The rule that chooses the events for [`QUEUE`].
pub const RULE: &str = "elb-registrar-InstanceStateRule";

/// The rule that chooses the events for [`LIFECYCLE_QUEUE`].
pub const LIFECYCLE_RULE: &str = "elb-registrar-LifecycleRule";

/// The reason why a template cannot be deployed: a sentence, in AWS's words if AWS has some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployError(pub String);

/// Deploys the project's template with these parameters, and the defaults of the others.
///
/// # Errors
/// If CloudFormation would refuse the parameters or the template, or the sandbox does not model something in it.
pub fn deploy(world: &mut World, parameters: &[(&str, &str)]) -> Result<Stack, DeployError> {
    let stack = Template::of_project().deploy(world, parameters)?;
    world.stack = Some(stack.clone());
    Ok(stack)
}

impl fmt::Display for DeployError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeployError {}
