//! Amazon SQS: standard queues, in which a message comes at least once and in any order, and FIFO queues.
//!
//! The wire, the event bus and the event source mappings do their work on queues by these functions. Every change that makes a
//! message visible tells the mappings when to look.

mod digest;
mod fifo;
#[cfg(test)]
mod fifo_tests;
mod queue;
mod settings;
#[cfg(test)]
mod tests;
mod wire;

use std::{collections::BTreeMap, time::Duration};

use crate::{
    clock::{Timestamp, delta},
    events::Delivery,
    lambda::{self, Chain},
    wire::ApiError,
    world::{ACCOUNT, REGION, World},
};

pub(crate) use digest::of_text as md5_of_text;
pub(crate) use wire::attribute_json;

pub use fifo::{Fifo, Place};
pub use queue::{Attribute, Message, Queue, Received};
pub use settings::{Redrive, Settings};
pub use wire::answer;

/// The largest message, in bytes (1 MiB since August 2025).
const LARGEST_MESSAGE: usize = 1_048_576;

/// The end of a FIFO queue's name, and of no other.
pub const FIFO_SUFFIX: &str = ".fifo";

/// How long after a deletion a queue's name stays taken.
const NAME_BLOCKED: Duration = Duration::from_secs(60);

type Arrival = Box<dyn FnMut(&str) -> Delivery + Send>;

/// Every queue.
#[derive(Default)]
pub struct State {
    queues: BTreeMap<String, Queue>,
    deleted: BTreeMap<String, Timestamp>,
    dice: Option<fastrand::Rng>,
    arrival: Option<Arrival>,
}

/// A message as a sender hands it over.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The text.
    pub body: String,
    /// The sender's attributes.
    pub attributes: BTreeMap<String, Attribute>,
    /// How long it is invisible at first; the queue's own delay, if none is given. A FIFO queue takes only its own.
    pub delay: Option<Duration>,
    /// Its message group, which a FIFO queue wants.
    pub group: Option<String>,
    /// The id by which a FIFO queue recognizes a second copy.
    pub deduplication_id: Option<String>,
    /// The sender.
    pub sender: String,
    /// The chain of requests that the sender serves.
    pub chain: Chain,
}

/// The answer to a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The id of the message, or that of the first copy if a FIFO queue has one.
    pub message_id: String,
    /// Of a FIFO queue.
    pub sequence_number: Option<String>,
}

impl State {
    /// Returns a queue.
    pub fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.get(name)
    }

    /// Decides from now on over each message that a queue has accepted, by the name of its queue. SQS itself loses and doubles
    /// none that way: tests do it, to see what depends on it.
    pub fn set_arrival(&mut self, decide: impl FnMut(&str) -> Delivery + Send + 'static) {
        self.arrival = Some(Box::new(decide));
    }

    /// Lets every message arrive once from now on.
    pub fn reset_arrival(&mut self) {
        self.arrival = None;
    }

    /// Returns all of them, by name.
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
/// Returns the errors of CreateQueue; one that exists with the same attributes is none.
pub fn create_queue(world: &mut World, name: &str, attributes: &[(&str, &str)]) -> Result<(), ApiError> {
    // The kind of queue decides over the other attributes, whatever their order.
    let is_fifo = attributes.contains(&("FifoQueue", "true"));
    check_name(name, is_fifo)?;
    let mut settings = Settings::default();
    settings.fifo = is_fifo.then(Fifo::default);
    let settings = changed(world, name, settings, attributes)?;
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
    world.sqs.queues.insert(name.to_owned(), Queue::new(name, settings, now));
    Ok(())
}

/// The suffix counts for the length ("The `.fifo` suffix counts towards the 80-character queue name quota": API reference, CreateQueue).
fn check_name(name: &str, is_fifo: bool) -> Result<(), ApiError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let stem = if is_fifo { name.strip_suffix(FIFO_SUFFIX) } else { Some(name) };
    let is_right = stem.is_some_and(|stem| !stem.is_empty() && stem.chars().all(is_allowed)) && name.len() <= 80;
    let reason = match is_fifo {
        _ if is_right => return Ok(()),
        true => {
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length"
        }
        false => "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
    };
    Err(ApiError::sender("InvalidParameterValue", reason))
}

/// Changes attributes of a queue, all or none.
///
/// # Errors
/// Returns the errors of SetQueueAttributes.
pub fn set_attributes(world: &mut World, queue: &str, attributes: &[(&str, &str)]) -> Result<(), ApiError> {
    let settings =
        changed(world, queue, world.sqs.queue(queue).ok_or_else(no_such_queue)?.settings.clone(), attributes)?;
    let now = world.now();
    let found = world.sqs.find(queue)?;
    let is_delay_changed = found.settings.delay != settings.delay;
    (found.settings, found.modified) = (settings, now);
    // "For FIFO queues, the per-queue delay setting is retroactive" (SQS developer guide, "Amazon SQS delay queues",
    // <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-delay-queues.html>).
    if is_delay_changed && found.settings.fifo.is_some() {
        for at in found.delay_anew() {
            wake_mappings(world, queue, at.max(now));
        }
    }
    Ok(())
}

/// Puts a message into a queue, unless it is a second copy in a FIFO queue.
///
/// # Errors
/// Returns the errors of SendMessage.
pub fn send(world: &mut World, queue: &str, draft: Draft) -> Result<Sent, ApiError> {
    let now = world.now();
    let size = draft.body.len()
        + draft.attributes.iter().map(|(name, a)| name.len() + a.data_type.len() + a.value.len()).sum::<usize>();
    let found = world.sqs.find(queue)?;
    let delay = draft.delay.unwrap_or(found.settings.delay);
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
    let place = Place::of(&found.settings, &draft.body, (draft.group, draft.deduplication_id), draft.delay)?;
    // A FIFO queue's own delay always holds, even if the sender asks for another.
    let delay = if place.is_some() { found.settings.delay } else { delay };
    if let Some(original) = place.as_ref().and_then(|place| found.accepted.original(place, now)) {
        let sequence_number = Some(fifo::sequence_number(original.number));
        return Ok(Sent { message_id: original.message_id.clone(), sequence_number });
    }
    let id = world.invent_uuid();
    let message = Message {
        id: id.clone(),
        body: draft.body,
        attributes: draft.attributes,
        sender: draft.sender,
        sent: now,
        visible_from: now + delta(delay),
        receive_count: 0,
        first_received: None,
        last_received: None,
        dead_letter_source: None,
        place: place.clone(),
        chain: draft.chain,
        number: 0,
    };
    let arrival = world.sqs.arrival.as_mut().map_or(Delivery::Normal, |decide| decide(queue));
    let number = match arrival {
        Delivery::Lost => world.invent_number(),
        Delivery::Normal => put(world, queue, message),
        Delivery::Late(later) => {
            let visible_from = message.visible_from + delta(later);
            put(world, queue, Message { visible_from, ..message })
        }
        Delivery::Twice => {
            put(world, queue, message.clone());
            put(world, queue, message)
        }
    };
    if let Some(place) = &place {
        world.sqs.find(queue)?.accepted.remember(place, &id, number, now);
    }
    Ok(Sent { message_id: id, sequence_number: place.map(|_| fifo::sequence_number(number)) })
}

/// "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF. If a message contains characters outside the allowed
/// set, Amazon SQS rejects the message" (API reference, SendMessage). The same holds for an attribute's text (SQS developer guide).
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..)
}

/// Receives visible messages. A message that was received too often goes to the dead-letter queue instead.
///
/// # Errors
/// If there is no such queue.
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

/// Deletes a message by its receipt. In a FIFO queue, its group can go on then.
///
/// # Errors
/// If there is no such queue, or no such receipt, or, in a FIFO queue, the receipt has expired.
pub fn delete(world: &mut World, queue: &str, receipt_handle: &str) -> Result<(), ApiError> {
    let now = world.now();
    let found = world.sqs.find(queue)?;
    found.delete(now, receipt_handle)?;
    if found.settings.fifo.is_some() {
        wake_mappings(world, queue, now);
    }
    Ok(())
}

/// Lets a message in flight become visible at another time: the given seconds from now.
///
/// # Errors
/// Returns the errors of ChangeMessageVisibility.
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

/// Makes messages in flight visible at once: a standard queue delivers *at least* once. Returns how many. (A FIFO queue delivers
/// a message again only after its visibility timeout.)
pub fn deliver_again(world: &mut World, queue: &str, choose: impl Fn(&Message) -> bool) -> usize {
    let now = world.now();
    let found = world.sqs.queues.get_mut(queue).filter(|found| found.settings.fifo.is_none());
    let Some(found) = found else { return 0 };
    let chosen = found.messages.values_mut().filter(|m| m.visible_from > now && choose(m));
    let count = chosen.map(|message| message.visible_from = now).count();
    wake_mappings(world, queue, now);
    count
}

/// Returns the ARN of a queue.
pub fn arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

/// Returns the name in the ARN of a queue of this account and Region.
pub fn name_of_arn(arn: &str) -> Option<&str> {
    arn.strip_prefix("arn:aws:sqs:")?.strip_prefix(REGION)?.strip_prefix(':')?.strip_prefix(ACCOUNT)?.strip_prefix(':')
}

/// Puts a message into a queue. Returns its number, which is its place in the order of arrival.
fn put(world: &mut World, queue: &str, message: Message) -> u64 {
    let number = world.invent_number();
    let visible_from = message.visible_from;
    if let Some(queue) = world.sqs.queues.get_mut(queue) {
        queue.messages.insert(number, Message { number, ..message });
    }
    wake_mappings(world, queue, visible_from);
    number
}

/// Moves the messages that were received too often. SQS does it only when a caller asks for messages (localstack issue 8234,
/// checked against AWS), so a queue without a reader keeps them.
fn redrive(world: &mut World, queue: &str) -> Result<(), ApiError> {
    let now = world.now();
    let Some(policy) = world.sqs.find(queue)?.settings.redrive.clone() else { return Ok(()) };
    if !world.sqs.queues.contains_key(&policy.dead_letter_queue) {
        return Ok(());
    }
    for mut message in world.sqs.find(queue)?.take_dead(now, policy.max_receive_count) {
        message.dead_letter_source = Some(arn(queue));
        // "For FIFO queues, the enqueue timestamp resets when the message is moved to a dead-letter queue" (SQS developer guide,
        // <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html>).
        if message.place.is_some() {
            message.sent = now;
        }
        put(world, &policy.dead_letter_queue, message);
    }
    Ok(())
}

fn changed(
    world: &World,
    queue: &str,
    mut settings: Settings,
    attributes: &[(&str, &str)],
) -> Result<Settings, ApiError> {
    for (name, value) in attributes {
        settings.set(name, value)?;
    }
    let Some(redrive) = &settings.redrive else { return Ok(settings) };
    let target = arn(&redrive.dead_letter_queue);
    match world.sqs.queue(&redrive.dead_letter_queue) {
        None => Err(queue::invalid(target, "RedrivePolicy", "Dead letter target does not exist.")),
        // "The dead-letter queue of a FIFO queue must also be a FIFO queue" (SQS developer guide, "Using dead-letter queues in Amazon SQS",
        // <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html>).
        Some(dead_letters) if dead_letters.settings.fifo.is_some() != settings.fifo.is_some() => {
            let reason = "Dead-letter queue must be same type of queue as the source.";
            Err(queue::invalid(target, "RedrivePolicy", reason))
        }
        Some(dead_letters) if !dead_letters.settings.takes_dead_letters_of(&arn(queue)) => {
            Err(queue::invalid(target, "RedrivePolicy", "Dead-letter queue does not allow this source queue."))
        }
        Some(_) => Ok(settings),
    }
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
