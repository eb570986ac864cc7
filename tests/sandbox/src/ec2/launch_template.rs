//! Launch templates: what an Auto Scaling group takes from one. A template has one version.

use super::Launch;
use crate::{clock::Timestamp, wire::ApiError, world::World};

/// How an image is named by a public parameter of Systems Manager
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-systems-manager-parameter-to-find-AMI.html>).
const BY_PARAMETER: &str = "resolve:ssm:";

/// The image that every parameter names here.
const RESOLVED: &str = "ami-00000000000000002";

/// A launch template.
#[derive(Clone, Debug)]
pub struct LaunchTemplate {
    /// `lt-...`
    pub id: String,
    /// Its name, which no other has.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// The image, or the parameter that names it.
    pub image_id: String,
    /// The type of its instances.
    pub instance_type: String,
    /// The security groups of its instances.
    pub security_groups: Vec<String>,
}

/// Returns the image that an `ImageId` means, as a description of the instance shows it.
pub(super) fn image_of(image_id: String) -> String {
    if image_id.starts_with(BY_PARAMETER) { RESOLVED.to_owned() } else { image_id }
}

/// Returns a launch in a subnet as a template has it. A template that is not known, as in a fixture, changes nothing.
pub(crate) fn launch_by_template(world: &World, id: Option<&str>, name: Option<&str>, subnet_id: &str) -> Launch {
    let plain = Launch::new(subnet_id);
    let is_meant = |one: &&LaunchTemplate| id == Some(one.id.as_str()) || name == Some(one.name.as_str());
    match world.ec2.launch_templates.values().find(is_meant) {
        None => plain,
        Some(template) => Launch {
            image_id: image_of(template.image_id.clone()),
            instance_type: template.instance_type.clone(),
            security_groups: template.security_groups.clone(),
            ..plain
        },
    }
}

pub(super) fn add(world: &mut World, template: LaunchTemplate) -> Result<String, ApiError> {
    if world.ec2.launch_templates.values().any(|other| other.name == template.name) {
        // The words of <https://github.com/hashicorp/packer/issues/7817>.
        let message = "Launch template name already in use.";
        return Err(ApiError::sender("InvalidLaunchTemplateName.AlreadyExistsException", message));
    }
    let id = template.id.clone();
    world.ec2.launch_templates.insert(id.clone(), template);
    Ok(id)
}
