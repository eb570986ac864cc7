//! Does each step of a plan, as people and groups do it, and tells the reference what should be from then on.

use std::net::{IpAddr, Ipv4Addr};

use chrono::TimeDelta;
use sandbox::{
    ACCOUNT, REGION, World,
    auto_scaling::{self, HookSpec, LifecycleState, Transition},
    clock::Timestamp,
    deployment::{QUEUE, RECONCILE},
    ec2::{self, Launch, NewInterface, Prefix},
    elb,
    elbv2::{self, TargetGroupSpec},
    lambda, sqs,
    wire::ApiError,
};
use serde_json::json;

use super::{
    fleet,
    ledger::Ledger,
    plan::Deed,
    reference::Reference,
    view::{self, Entry, Owned},
};

/// Instances of which a stranger makes up that they stop.
const MADE_UP_INSTANCES: usize = 12;

/// Events that a stranger makes up at once: besides those, four of a real instance.
pub const MADE_UP_EVENTS: usize = MADE_UP_INSTANCES + 4;

/// Does a deed. A deed that AWS refuses is not done, as a person would see.
pub fn perform(world: &mut World, deed: &Deed, ledger: &mut Ledger, reference: &mut Reference) {
    // It was refused, or is about something that is gone: then nothing has changed.
    let _ = attempt(world, deed, ledger, reference);
}

fn attempt(world: &mut World, deed: &Deed, ledger: &mut Ledger, reference: &mut Reference) -> Option<()> {
    match deed {
        Deed::Stop(name) => done(ec2::stop(world, &id_of(world, name)?)),
        Deed::ShutDown(name) => done(ec2::shut_itself_down(world, &id_of(world, name)?)),
        Deed::Start(name) => done(ec2::start(world, &id_of(world, name)?)),
        Deed::Terminate(name) => done(ec2::terminate(world, &id_of(world, name)?)),
        Deed::ScaleIn(name) => {
            let id = member(world, name, &[LifecycleState::InService])?;
            done(auto_scaling::terminate_member(world, &id, true))
        }
        Deed::Wants(members) => done(auto_scaling::set_desired(world, fleet::GROUP, *members)),
        Deed::Standby(name) => {
            let id = member(world, name, &[LifecycleState::InService])?;
            auto_scaling::set_lifecycle_state(world, &id, LifecycleState::Standby);
            Some(())
        }
        Deed::Warm(name) => {
            let id = member(world, name, &[LifecycleState::InService])?;
            auto_scaling::set_lifecycle_state(world, &id, LifecycleState::WarmedStopped);
            done(ec2::stop(world, &id))
        }
        Deed::InService(name) => {
            let id = member(world, name, &[LifecycleState::Standby, LifecycleState::WarmedStopped])?;
            // The group starts it first, and registers it itself once it runs.
            let started = done(ec2::start(world, &id));
            auto_scaling::set_lifecycle_state(world, &id, LifecycleState::InService);
            started
        }
        Deed::Add(name, place) => {
            let owned = register(world, name, place)?;
            reference.added(owned, world.now());
            Some(())
        }
        Deed::Remove(name, place) => {
            let entry = entry_at(world, name, place)?;
            let owned = view::owner(world, &entry)?;
            if !ledger.entries.contains_key(&entry) {
                return None;
            }
            deregister(world, &entry)?;
            reference.removed(&owned, ledger, world.now());
            Some(())
        }
        Deed::Declare(name, place) => declare(world, name, place),
        Deed::Undeclare(name) => {
            let id = id_of(world, name)?;
            ec2::remove_tag(world, &id, "elb-registrar:register");
            Some(())
        }
        Deed::Ignore(name) => {
            let id = id_of(world, name)?;
            ec2::set_tag(world, &id, "elb-registrar:ignore", "");
            ledger.guarded.entry(id).or_insert(world.now());
            Some(())
        }
        Deed::Heed(name) => {
            let id = id_of(world, name)?;
            if is_controlled(world, &id) {
                return None;
            }
            ec2::remove_tag(world, &id, "elb-registrar:ignore");
            ledger.guarded.remove(&id).map(drop)
        }
        // A launch that waits for a balancer that will never be there is abandoned, and another follows, for ever. Such a plan
        // never comes to rest.
        Deed::IgnoreBalancer(name) | Deed::Delete(name) if is_waited_for(world, name) => None,
        Deed::IgnoreBalancer(name) => {
            let balancer = ignore(world, name)?;
            reference.given_up.insert(balancer.clone());
            ledger.guarded.entry(balancer).or_insert(world.now());
            Some(())
        }
        Deed::Delete(name) => delete(world, name),
        Deed::MoveFloating(from, to) => move_floating(world, from, to, ledger, reference),
        Deed::Delegate(name) => {
            let eth0 = world.ec2.instance(&id_of(world, name)?)?.eth0()?;
            let (eth0, last) = (eth0.id.clone(), eth0.ipv4.first()?.octets()[3]);
            // A block of its own for each instance.
            let base = Ipv4Addr::new(10, 0, 0, 128 + 16 * (last % 8));
            done(ec2::delegate_prefix(world, &eth0, Prefix::V4(base, 28)))
        }
        Deed::AttachFar(name) => {
            let id = id_of(world, name)?;
            let far = world.ec2.subnets.values().find(|subnet| subnet.cidr.0 == FAR_SUBNET)?.id.clone();
            let interface = ec2::create_interface(world, &far, NewInterface::default()).ok()?;
            done(ec2::attach_interface(world, &interface, &id, 1, 0))
        }
        Deed::Control(name, is_overruled) => {
            let id = id_of(world, name)?;
            ec2::set_tag(world, &id, CONTROLLER, "");
            match is_overruled {
                true => ec2::set_tag(world, &id, MANAGE, ""),
                false => drop(ledger.guarded.entry(id).or_insert(world.now())),
            }
            Some(())
        }
        Deed::LeaveRoom(name, room) => {
            let id = id_of(world, name)?;
            let own = world.ec2.instance(&id)?.tags.keys().filter(|key| !key.starts_with("aws:")).count();
            for number in own..TAGS_MAX.saturating_sub(*room) {
                ec2::set_tag(world, &id, &format!("team-{number}"), "");
            }
            Some(())
        }
        Deed::Copy(original, name) => {
            let original = world.ec2.instance(&id_of(world, original)?)?.clone();
            let (subnet, new) = (original.subnet_id.clone(), fleet::interface_in(world, &original.subnet_id));
            let tags = original.tags.iter().filter(|(key, _)| !key.starts_with("aws:") && *key != "Name");
            let launch = Launch::new(&subnet).tag("Name", name).interface(0, 0, new);
            let launch = tags.fold(launch, |launch, (key, value)| launch.tag(key, value));
            let id = ec2::launch(world, launch).ok()?;
            let is_ignored = original.tags.contains_key("elb-registrar:ignore");
            if is_ignored || is_controlled(world, &id) {
                ledger.guarded.insert(id, world.now());
            }
            Some(())
        }
        Deed::Heartbeat(seconds) => {
            let hooks: Vec<_> = world.auto_scaling.groups.get(fleet::GROUP)?.hooks.values().cloned().collect();
            for hook in hooks {
                let spec = match hook.transition {
                    Transition::Launching => HookSpec::launching(&hook.name).metadata(r#"{"timeout_seconds": 900}"#),
                    Transition::Terminating => HookSpec::terminating(&hook.name),
                };
                auto_scaling::put_hook(world, fleet::GROUP, spec.heartbeat(*seconds)).ok()?;
            }
            Some(())
        }
        Deed::Crowd(name, ports) => {
            let subnet = &world.ec2.instance(&id_of(world, name)?)?.subnet_id;
            let network = world.ec2.subnets.get(subnet)?.vpc_id.clone();
            if elbv2::arn_of(world, THEIRS).is_none() {
                elbv2::create_target_group(world, TargetGroupSpec::instances(THEIRS, &network, 80)).ok()?;
            }
            for port in 0..*ports {
                // No range: each has a text of its own.
                let owned = register(world, name, &format!("tg:{THEIRS}:{}", 1_001 + 2 * port))?;
                reference.added(owned, world.now());
            }
            Some(())
        }
        Deed::MakeUpTags => {
            let subnet = world.ec2.subnets.values().next()?.id.clone();
            let mut launch =
                Launch::new(&subnet).tag("Name", "hostile").interface(0, 0, fleet::interface_in(world, &subnet));
            for tag in 0..30 {
                let texts: Vec<String> = (0..8).map(|n| format!("tg:a/{tag:08x}{n:08x}:1")).collect();
                launch =
                    launch.tag(&format!("elb-registrar:held.{tag}"), &format!("{} clb:none-{tag}", texts.join(" ")));
            }
            done(ec2::launch(world, launch))
        }
        Deed::MakeUpEvents(name) => {
            let id = id_of(world, name)?;
            let now = world.now();
            let made_up = (0..MADE_UP_INSTANCES).map(|n| (format!("i-{n:017x}"), "stopping", now));
            let ahead = now + TimeDelta::days(365 * 73);
            let of_it = [("running", now), ("stopped", now), ("terminated", ahead), ("stopping", ahead)];
            let all: Vec<_> = made_up.chain(of_it.map(|(state, at)| (id.clone(), state, at))).collect();
            for (id, state, at) in all {
                let draft = sqs::Draft { body: state_change(&id, state, at), ..sqs::Draft::default() };
                sqs::send(world, QUEUE, draft).ok()?;
            }
            Some(())
        }
        Deed::Sweep => done(lambda::invoke_async(world, RECONCILE, json!({}))),
    }
}

/// Registers an instance at a place, as a person would. Returns the owner of the place, and the place's text in tags.
pub fn register(world: &mut World, name: &str, place: &str) -> Option<Owned> {
    let entry = entry_at(world, name, place)?;
    done(match entry.balancer.strip_prefix("clb:") {
        Some(balancer) => elb::register(world, balancer, &entry.id),
        None => elbv2::register(world, &elbv2::arn_of(world, super::plan::balancer_in(place))?, target(&entry)),
    })?;
    // It was accepted and lost, while the same address drains: a person would see that.
    view::entries(world).contains(&entry).then_some(())?;
    view::owner(world, &entry)
}

fn deregister(world: &mut World, entry: &Entry) -> Option<()> {
    done(match entry.balancer.strip_prefix("clb:") {
        Some(balancer) => elb::deregister(world, balancer, &entry.id),
        None => {
            let arn = world.elbv2.target_groups.keys().find(|arn| view::group_of_arn(arn) == entry.balancer)?.clone();
            elbv2::deregister(world, &arn, target(entry))
        }
    })
}

fn target(entry: &Entry) -> elbv2::Target {
    let target = elbv2::Target::new(&entry.id);
    elbv2::Target { port: entry.port, zone: entry.far_zone.clone(), quic: entry.quic.clone(), ..target }
}

/// Returns the entry for a place of an instance as it is now: `clb:NAME`, `tg:NAME:PORT`, then `=eth0` or `=floating`, `@ZONE` and
/// `+QUIC`.
fn entry_at(world: &World, name: &str, place: &str) -> Option<Entry> {
    let id = id_of(world, name)?;
    let Some(rest) = place.strip_prefix("tg:") else {
        return Some(Entry { balancer: place.to_owned(), id, port: None, far_zone: None, quic: None });
    };
    let (rest, quic) = rest.split_once('+').map_or((rest, None), |(rest, quic)| (rest, Some(quic.to_owned())));
    let (rest, far_zone) = rest.split_once('@').map_or((rest, None), |(rest, zone)| (rest, Some(zone.to_owned())));
    let (rest, address) = rest.split_once('=').map_or((rest, None), |(rest, address)| (rest, Some(address)));
    let (group, port) = rest.split_once(':')?;
    let arn = elbv2::arn_of(world, group)?;
    let id = match address {
        None => id,
        Some(word) => address_of(world, &id, &arn, word)?.to_string(),
    };
    Some(Entry { balancer: view::group_of_arn(&arn), id, port: port.parse().ok(), far_zone, quic })
}

fn address_of(world: &World, id: &str, arn: &str, word: &str) -> Option<IpAddr> {
    let eth0 = world.ec2.instance(id)?.eth0()?;
    let is_ipv6 = world.elbv2.target_groups.get(arn)?.spec.ip_address_type == elbv2::IpAddressType::Ipv6;
    match (word, is_ipv6) {
        ("eth0", false) => eth0.ipv4.first().map(|address| (*address).into()),
        ("eth0", true) => eth0.ipv6.first().map(|(address, _)| (*address).into()),
        ("prefix", _) => match eth0.prefixes.first()? {
            // Neither the first nor the last of its block.
            Prefix::V4(base, _) => Some(Ipv4Addr::from(u32::from(*base) + 3).into()),
            Prefix::V6(..) => None,
        },
        ("eth1", _) => {
            let instance = world.ec2.instance(id)?;
            let far = instance.interfaces.iter().find(|interface| interface.vpc_id != instance.vpc_id)?;
            far.ipv4.first().map(|address| (*address).into())
        }
        _ => eth0.ipv4.get(1).map(|address| (*address).into()),
    }
}

/// The target group of another team.
const THEIRS: &str = "theirs";

/// Returns an event as a person could write it who may send to the queue.
fn state_change(id: &str, state: &str, at: Timestamp) -> String {
    let event = json!({
        "version": "0", "id": "00000000-0000-0000-0000-000000000000", "source": "aws.ec2", "account": ACCOUNT,
        "detail-type": "EC2 Instance State-change Notification", "region": REGION, "time": at.to_rfc3339(),
        "resources": [format!("arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{id}")],
        "detail": { "instance-id": id, "state": state },
    });
    event.to_string()
}

/// The tag of an instance on which ECS registers what runs there, and that by which an operator overrules it.
const CONTROLLER: &str = "AmazonECSManaged";
const MANAGE: &str = "elb-registrar:manage";

/// Tags that an instance can have (EC2 guide, "Tag restrictions").
const TAGS_MAX: usize = 50;

/// The first address of the subnet in the other network.
const FAR_SUBNET: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 0);

/// Returns whether a controller registers what runs on an instance, and no operator has overruled it.
fn is_controlled(world: &World, id: &str) -> bool {
    let tags = world.ec2.instance(id).map(|instance| &instance.tags);
    tags.is_some_and(|tags| tags.contains_key(CONTROLLER) && !tags.contains_key(MANAGE))
}

/// Adds a place to the tag with an instance's declarations.
pub fn declare(world: &mut World, name: &str, place: &str) -> Option<()> {
    let id = id_of(world, name)?;
    // What is declared there would be converged, and nothing else.
    if is_controlled(world, &id) {
        return None;
    }
    let entry = entry_at(world, name, place)?;
    // A literal address is written as an address.
    let text = place.replace("=floating", &format!("={}", entry.id));
    let tag = world.ec2.instance(&id)?.tags.get("elb-registrar:register").cloned().unwrap_or_default();
    let value = format!("{tag} {text}").trim().to_owned();
    ec2::set_tag(world, &id, "elb-registrar:register", &value);
    Some(())
}

/// Returns whether instances that the group launches wait at a hook until they are healthy at a balancer.
fn is_waited_for(world: &World, name: &str) -> bool {
    let group = world.auto_scaling.groups.get(fleet::GROUP);
    let has_hooks = group.is_some_and(|group| !group.hooks.is_empty());
    let mut texts = group.into_iter().flat_map(|group| &group.tags).flat_map(|tag| tag.value.split_whitespace());
    has_hooks && texts.any(|text| super::plan::balancer_in(text) == name)
}

fn ignore(world: &mut World, name: &str) -> Option<String> {
    let (key, value) = ("elb-registrar:ignore".to_owned(), String::new());
    if let Some(balancer) = world.elb.load_balancers.get_mut(name) {
        balancer.spec.tags.insert(key, value);
        return Some(format!("clb:{name}"));
    }
    let arn = elbv2::arn_of(world, name)?;
    world.elbv2.target_groups.get_mut(&arn)?.tags.insert(key, value);
    Some(view::group_of_arn(&arn))
}

fn delete(world: &mut World, name: &str) -> Option<()> {
    if world.elb.load_balancers.contains_key(name) {
        elb::delete(world, name);
        return Some(());
    }
    let arn = elbv2::arn_of(world, name)?;
    let front = elbv2::arn_of(world, &format!("{name}-lb"))?;
    elbv2::delete_load_balancer(world, &front);
    done(elbv2::delete_target_group(world, &arn))
}

fn move_floating(
    world: &mut World,
    from: &str,
    to: &str,
    ledger: &mut Ledger,
    reference: &mut Reference,
) -> Option<()> {
    let from = id_of(world, from)?;
    let to = id_of(world, to)?;
    let address = *world.ec2.instance(&from)?.eth0()?.ipv4.get(1)?;
    let is_named = |owned: &&Owned| view::literal_of(&owned.place) == Some(address.into());
    let known = reference.expected.iter().chain(&reference.declared).chain(&ledger.held).chain(ledger.promised.keys());
    let before: Vec<Owned> = known.filter(is_named).cloned().collect();
    let interface = world.ec2.instance(&to)?.eth0()?.id.clone();
    done(ec2::move_address(world, address.into(), &interface))?;
    let after: Vec<Owned> =
        before.iter().map(|owned| Owned { instance: to.clone(), place: owned.place.clone() }).collect();
    reference.moved(before, after);
    ledger.moved.insert(address.to_string(), world.now());
    Some(())
}

/// Returns the id of a member that rests in one of some states. A member under way, or at a hook, is left to its group.
fn member(world: &World, name: &str, states: &[LifecycleState]) -> Option<String> {
    let id = id_of(world, name)?;
    let member = world.auto_scaling.member(&id)?;
    (member.course.is_none() && states.contains(&member.lifecycle_state)).then_some(id)
}

/// Returns the id of an instance that is not terminated: terminated instances have no name any more.
pub fn id_of(world: &World, name: &str) -> Option<String> {
    let mut all = world.ec2.instances.values().map(|history| history.current());
    all.find(|instance| instance.tags.get("Name").is_some_and(|tag| tag == name)).map(|instance| instance.id.clone())
}

fn done<T>(outcome: Result<T, ApiError>) -> Option<()> {
    outcome.ok().map(drop)
}
