//! Launch templates.

use super::{
    super::{LaunchTemplate, launch_template, tags},
    Window,
    filter::Filters,
    networks::tag_values,
    shape::{self, Order},
    tag_specifications,
};
use crate::{
    wire::{ApiError, query::Params, xml::Element},
    world::{ACCOUNT, World},
};

pub(super) fn create(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    // A new template is made in any case here, since its name has to be new.
    let _ = params.optional("ClientToken");
    let mut tags = tag_specifications(params, &["launch-template"])?;
    let data = params.structure("LaunchTemplateData");
    // What runs in an instance is not modelled.
    let _ = data.optional("UserData");
    let template = LaunchTemplate {
        id: world.invent_id("lt"),
        name: params.required("LaunchTemplateName")?,
        created: world.now(),
        image_id: data.required("ImageId")?,
        instance_type: data.required("InstanceType")?,
        security_groups: data.texts("SecurityGroupId"),
    };
    let _ = data.structure("MetadataOptions").optional("HttpTokens");
    let id = launch_template::add(world, template)?;
    world.ec2.tags.insert(id.clone(), tags.remove("launch-template").unwrap_or_default());
    let mut order = Order::draw(world);
    Ok(Element::result().child(show(world, "launchTemplate", &world.ec2.launch_templates[&id], &mut order)))
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let (ids, names) = (params.texts("LaunchTemplateId"), params.texts("LaunchTemplateName"));
    let filters = Filters::read(params, &["launch-template-name", "tag-key"])?;
    let named = [ids.clone(), names.clone()].concat();
    let window = Window::read(world, params, &named, "launchTemplateIds")?;
    let templates = world.ec2.launch_templates.values();
    if let Some(unknown) = ids.iter().find(|id| !world.ec2.launch_templates.contains_key(*id)) {
        return Err(not_found(unknown));
    }
    let templates =
        templates.filter(|one| named.is_empty() || ids.contains(&one.id) || names.contains(&one.name)).filter(|one| {
            filters.match_all(|name| match name {
                "launch-template-name" => vec![one.name.clone()],
                name => tag_values(&tags::of(world, &one.id), name),
            })
        });
    let page = window.cut(templates.map(|one| (one.id.clone(), one.clone())).collect())?;
    let mut order = Order::draw(world);
    let shown: Vec<_> = page.elements.iter().map(|one| show(world, "item", one, &mut order)).collect();
    Ok(Element::result().list("launchTemplates", order.vary(shown)).optional("nextToken", page.next))
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let id = params.required("LaunchTemplateId")?;
    let Some(template) = world.ec2.launch_templates.remove(&id) else { return Err(not_found(&id)) };
    let mut order = Order::draw(world);
    let shown = show(world, "launchTemplate", &template, &mut order);
    world.ec2.tags.remove(&id);
    Ok(Element::result().child(shown))
}

/// Its elements: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_LaunchTemplate.html>.
fn show(world: &World, name: &str, template: &LaunchTemplate, order: &mut Order) -> Element {
    Element::new(name)
        .text("launchTemplateId", &template.id)
        .text("launchTemplateName", &template.name)
        .text("createTime", template.created.format("%Y-%m-%dT%H:%M:%S.000Z"))
        .text("createdBy", format!("arn:aws:iam::{ACCOUNT}:user/sandbox"))
        .text("defaultVersionNumber", 1)
        .text("latestVersionNumber", 1)
        .append(&shape::tag_set(&tags::of(world, &template.id), order))
}

/// The words of <https://github.com/aws/karpenter-provider-aws/pull/5665>.
fn not_found(id: &str) -> ApiError {
    let message = format!("The specified launch template, with template ID {id}, does not exist.");
    ApiError::sender("InvalidLaunchTemplateId.NotFound", message)
}
