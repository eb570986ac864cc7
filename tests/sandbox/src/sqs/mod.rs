//! Amazon SQS: standard queues, in which a message comes at least once and in any order.
//!
//! The functions here are what the wire, the event bus and the event source mappings do with queues. Whatever makes a
//! message visible tells the mappings when to look.

mod digest;
mod queue;
mod settings;
#[cfg(test)]
mod tests;
mod wire;

use std::{collections::BTreeMap, time::Duration};

use crate::{
    clock::{Timestamp, delta},
    lambda,
    wire::ApiError,
    world::{ACCOUNT, REGION, World},
};

pub(crate) use digest::of_text as md5_of_text;
pub(crate) use wire::attribute_json;

pub use queue::{Attribute, Message, Queue, Received};
pub use settings::{Redrive, Settings};
pub use wire::answer;

/// The largest message, in bytes (1 MiB since August 2025).
const LARGEST_MESSAGE: usize = 1_048_576;

/// How long after a deletion a queue's name stays taken.
const NAME_BLOCKED: Duration = Duration::from_secs(60);

/// Every queue.
#[derive(Debug, Default)]
pub struct State {
    queues: BTreeMap<String, Queue>,
    deleted: BTreeMap<String, Timestamp>,
    dice: Option<fastrand::Rng>,
}

/// What a sender hands over.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The text.
    pub body: String,
    /// The sender's attributes.
    pub attributes: BTreeMap<String, Attribute>,
    /// How long it is invisible at first; the queue's own delay where none is given.
    pub delay: Option<Duration>,
    /// Who sends it.
    pub sender: String,
}

impl State {
    /// A queue.
    pub fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.get(name)
    }

    /// All of them, by name.
    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.values()
    }

    fn find(&mut self, name: &str) -> Result<&mut Queue, ApiError> {
        self.queues.get_mut(name).ok_or_else(no_such_queue)
    }
}

/// Creates a queue with some attributes, by the names that CreateQueue has for them.
///
/// # Errors
/// As CreateQueue; one that exists with the same attributes is none.
pub fn create_queue(world: &mut World, name: &str, attributes: &[(&str, &str)]) -> Result<(), ApiError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.ends_with(".fifo") {
        return Err(ApiError::not_modelled("FIFO queues"));
    }
    if name.is_empty() || name.len() > 80 || !name.chars().all(is_allowed) {
        let reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
        return Err(ApiError::sender("InvalidParameterValue", reason));
    }
    let settings = changed(world, Settings::default(), attributes)?;
    if let Some(existing) = world.sqs.queues.get(name) {
        let (old, new) = (existing.settings.texts(), settings.texts());
        return match attributes.iter().find(|(name, _)| old.get(*name) != new.get(*name)) {
            None => Ok(()),
            Some((attribute, _)) => Err(ApiError::sender(
                "QueueNameExists",
                format!("A queue already exists with the same name and a different value for attribute {attribute}"),
            )),
        };
    }
    let now = world.now();
    if world.sqs.deleted.get(name).is_some_and(|at| now < *at + delta(NAME_BLOCKED)) {
        let message =
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.";
        return Err(ApiError::sender("QueueDeletedRecently", message));
    }
    let queue = Queue { name: name.to_owned(), settings, created: now, modified: now, messages: BTreeMap::new() };
    world.sqs.queues.insert(name.to_owned(), queue);
    Ok(())
}

/// Changes attributes of a queue, all or none.
///
/// # Errors
/// As SetQueueAttributes.
pub fn set_attributes(world: &mut World, queue: &str, attributes: &[(&str, &str)]) -> Result<(), ApiError> {
    let settings = changed(world, world.sqs.queue(queue).ok_or_else(no_such_queue)?.settings.clone(), attributes)?;
    let now = world.now();
    let queue = world.sqs.find(queue)?;
    (queue.settings, queue.modified) = (settings, now);
    Ok(())
}

/// Puts a message into a queue; answers its id.
///
/// # Errors
/// As SendMessage.
pub fn send(world: &mut World, queue: &str, draft: Draft) -> Result<String, ApiError> {
    let id = world.invent_uuid();
    let now = world.now();
    let size = draft.body.len()
        + draft.attributes.iter().map(|(name, a)| name.len() + a.data_type.len() + a.value.len()).sum::<usize>();
    let default_delay = world.sqs.find(queue)?.settings.delay;
    if draft.body.is_empty() {
        return Err(ApiError::sender("MissingParameter", "The request must contain the parameter MessageBody."));
    }
    if size > LARGEST_MESSAGE {
        let reason = format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {LARGEST_MESSAGE} bytes."
        );
        return Err(ApiError::sender("InvalidParameterValue", reason));
    }
    if !draft.body.chars().chain(draft.attributes.values().flat_map(|a| a.value.chars())).all(is_allowed) {
        return Err(ApiError::sender("InvalidMessageContents", "Invalid characters found."));
    }
    let message = Message {
        id: id.clone(),
        body: draft.body,
        attributes: draft.attributes,
        sender: draft.sender,
        sent: now,
        visible_from: now + delta(draft.delay.unwrap_or(default_delay)),
        receive_count: 0,
        first_received: None,
        last_received: None,
        dead_letter_source: None,
    };
    put(world, queue, message);
    Ok(id)
}

/// "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF. If a message contains characters outside the allowed
/// set, Amazon SQS rejects the message" (API reference, SendMessage). The same holds for an attribute's text (SQS developer guide).
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..)
}

/// Receives visible messages; what was received too often goes to the dead-letter queue instead.
///
/// # Errors
/// Where there is no such queue.
pub fn receive(
    world: &mut World,
    queue: &str,
    most: usize,
    invisible: Option<Duration>,
) -> Result<Vec<Received>, ApiError> {
    let now = world.now();
    world.sqs.find(queue)?.expire(now);
    redrive(world, queue)?;
    let (sqs, options) = (&mut world.sqs, &world.options);
    let dice = options.shuffle.then(|| sqs.dice.get_or_insert_with(|| World::dice(options.seed, "sqs")));
    let found = sqs.queues.get_mut(queue).ok_or_else(no_such_queue)?;
    let invisible = invisible.unwrap_or(found.settings.visibility_timeout);
    let received = found.receive(now, most, invisible, dice);
    if !received.is_empty() {
        wake_mappings(world, queue, now + delta(invisible));
    }
    Ok(received)
}

/// Deletes a message by its receipt.
///
/// # Errors
/// Where there is no such queue, or the handle is none.
pub fn delete(world: &mut World, queue: &str, receipt_handle: &str) -> Result<(), ApiError> {
    world.sqs.find(queue)?.delete(receipt_handle)
}

/// Lets a message in flight become visible at another time: now plus so many seconds.
///
/// # Errors
/// As ChangeMessageVisibility.
pub fn change_visibility(world: &mut World, queue: &str, receipt_handle: &str, seconds: i64) -> Result<(), ApiError> {
    let allowed = u64::try_from(seconds).ok().filter(|seconds| *seconds <= 43_200);
    let Some(invisible) = allowed.map(Duration::from_secs) else {
        let reason = "VisibilityTimeout must be an integer between 0 and 43200.";
        return Err(queue::invalid(seconds, "VisibilityTimeout", reason));
    };
    let now = world.now();
    if let Some(until) = world.sqs.find(queue)?.change_visibility(now, receipt_handle, invisible)? {
        wake_mappings(world, queue, until);
    }
    Ok(())
}

/// Makes messages in flight visible at once: a standard queue delivers *at least* once. Answers how many.
pub fn deliver_again(world: &mut World, queue: &str, choose: impl Fn(&Message) -> bool) -> usize {
    let now = world.now();
    let Some(found) = world.sqs.queues.get_mut(queue) else { return 0 };
    let chosen = found.messages.values_mut().filter(|m| m.visible_from > now && choose(m));
    let count = chosen.map(|message| message.visible_from = now).count();
    wake_mappings(world, queue, now);
    count
}

/// The ARN of a queue.
pub fn arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

/// The name in the ARN of a queue of this account and Region.
pub fn name_of_arn(arn: &str) -> Option<&str> {
    arn.strip_prefix("arn:aws:sqs:")?.strip_prefix(REGION)?.strip_prefix(':')?.strip_prefix(ACCOUNT)?.strip_prefix(':')
}

fn put(world: &mut World, queue: &str, message: Message) {
    let number = world.invent_number();
    let visible_from = message.visible_from;
    if let Some(queue) = world.sqs.queues.get_mut(queue) {
        queue.messages.insert(number, message);
    }
    wake_mappings(world, queue, visible_from);
}

/// Moves what was received too often. Like SQS, only when somebody asks for messages (localstack issue 8234, checked
/// against AWS), so a queue that nobody reads keeps it.
fn redrive(world: &mut World, queue: &str) -> Result<(), ApiError> {
    let now = world.now();
    let Some(policy) = world.sqs.find(queue)?.settings.redrive.clone() else { return Ok(()) };
    if !world.sqs.queues.contains_key(&policy.dead_letter_queue) {
        return Ok(());
    }
    for mut message in world.sqs.find(queue)?.take_dead(now, policy.max_receive_count) {
        message.dead_letter_source = Some(arn(queue));
        put(world, &policy.dead_letter_queue, message);
    }
    Ok(())
}

fn changed(world: &World, mut settings: Settings, attributes: &[(&str, &str)]) -> Result<Settings, ApiError> {
    for (name, value) in attributes {
        settings.set(name, value)?;
    }
    if let Some(redrive) = &settings.redrive
        && world.sqs.queue(&redrive.dead_letter_queue).is_none()
    {
        let target = arn(&redrive.dead_letter_queue);
        return Err(queue::invalid(target, "RedrivePolicy", "Dead letter target does not exist."));
    }
    Ok(settings)
}

fn wake_mappings(world: &mut World, queue: &str, at: Timestamp) {
    if lambda::is_mapped(world, queue) {
        let (wait, queue) = ((at - world.now()).to_std().unwrap_or_default(), queue.to_owned());
        world.after(wait, move |world| lambda::poll(world, &queue));
    }
}

fn no_such_queue() -> ApiError {
    ApiError::sender("QueueDoesNotExist", "The specified queue does not exist.")
}
