//! The common start of both kinds of load balancing's tests: two networks, instances, and calls made by hand.

use std::net::Ipv4Addr;

use bytes::Bytes;

use crate::{
    Options, Reply, Sandbox, World,
    clock::Clock,
    ec2::{AddressAtRestart, Attachment, Instance, InstanceState, Interface, Subnet, Vpc, announce},
    history::History,
};

/// The instance that most tests are about: in `vpc-1`, zone a, with the address 10.0.0.7.
pub(crate) const WEB: &str = "i-00000000000000a1";
/// Beside it, in zone b, with the address 10.0.1.7.
pub(crate) const API: &str = "i-00000000000000a2";
/// In `vpc-2`, with the address 10.1.0.7.
pub(crate) const FAR: &str = "i-00000000000000a3";

/// `vpc-1` is 10.0.0.0/16 with subnets in zones a and b, `vpc-2` is 10.1.0.0/16; the three instances run.
pub(crate) fn sandbox(options: Options) -> Sandbox {
    let sandbox = Sandbox::new(Clock::virtual_time(), options);
    sandbox.with(|world| {
        for (vpc, subnet, zone, net) in [
            ("vpc-1", "subnet-a", "us-east-1a", [10, 0, 0, 0]),
            ("vpc-1", "subnet-b", "us-east-1b", [10, 0, 1, 0]),
            ("vpc-2", "subnet-c", "us-east-1a", [10, 1, 0, 0]),
        ] {
            let cidr = (Ipv4Addr::new(10, net[1], 0, 0), 16);
            world.ec2.vpcs.insert(vpc.into(), Vpc { id: vpc.into(), cidr, ipv6_cidr: None });
            let (id, vpc_id, zone) = (subnet.to_owned(), vpc.to_owned(), zone.to_owned());
            let subnet = Subnet {
                id: id.clone(),
                vpc_id,
                zone,
                cidr: (net.into(), 24),
                ipv6_cidr: None,
                owner: crate::ACCOUNT.to_owned(),
                kind: None,
            };
            world.ec2.subnets.insert(id, subnet);
        }
        run(world, WEB, "subnet-a", [10, 0, 0, 7]);
        run(world, API, "subnet-b", [10, 0, 1, 7]);
        run(world, FAR, "subnet-c", [10, 1, 0, 7]);
    });
    sandbox
}

/// A new running instance with one interface.
pub(crate) fn run(world: &mut World, id: &str, subnet_id: &str, address: [u8; 4]) {
    let subnet = world.ec2.subnets[subnet_id].clone();
    let attached_at = world.now();
    let attachment = Some(Attachment { instance_id: id.into(), device_index: 0, network_card_index: 0, attached_at });
    let interface = Interface {
        id: id.replacen("i-", "eni-", 1),
        subnet_id: subnet_id.into(),
        vpc_id: subnet.vpc_id.clone(),
        ipv4: vec![address.into()],
        ipv6: Vec::new(),
        prefixes: Vec::new(),
        attachment,
    };
    world.ec2.interfaces.insert(interface.id.clone(), interface.clone());
    let now = world.now();
    let instance = Instance {
        id: id.into(),
        state: InstanceState::Running,
        vpc_id: subnet.vpc_id,
        subnet_id: subnet_id.into(),
        zone: subnet.zone,
        launch_time: now,
        state_transition_reason: String::new(),
        since: now,
        interfaces: vec![interface],
        tags: Default::default(),
        address_at_restart: AddressAtRestart::Kept,
    };
    world.ec2.instances.insert(id.into(), History::new(now, instance));
}

/// Brings an instance into a state, and tells the rest of the world.
pub(crate) fn bring(world: &mut World, id: &str, state: InstanceState) {
    let now = world.now();
    world.ec2.instances.get_mut(id).unwrap().change(now, |instance| {
        instance.state = state;
        instance.since = now;
    });
    announce(world, id, state);
}

/// Gives an instance another primary address.
pub(crate) fn move_to(world: &mut World, id: &str, address: [u8; 4]) {
    let now = world.now();
    world.ec2.interfaces.get_mut(&id.replacen("i-", "eni-", 1)).unwrap().ipv4 = vec![address.into()];
    world.ec2.instances.get_mut(id).unwrap().change(now, |i| i.interfaces[0].ipv4 = vec![address.into()]);
}

/// Makes a call, and returns the answer's body, or the error's code and sentence.
pub(crate) async fn call(
    sandbox: &Sandbox,
    version: &str,
    action: &str,
    fields: &[(&str, &str)],
) -> Result<String, (String, String)> {
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", action)
        .append_pair("Version", version)
        .extend_pairs(fields)
        .finish();
    let request = http::Request::post("http://sandbox/").body(Bytes::from(body)).unwrap();
    let Reply::Answered(response) = sandbox.call(request).await else { panic!("no answer to {action}") };
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    match response.status().is_success() {
        true => Ok(body),
        false => Err((texts(&body, "Code").remove(0), texts(&body, "Message").remove(0))),
    }
}

/// Returns the texts of all elements of a name, in order.
pub(crate) fn texts(body: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    body.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap().replace("&apos;", "'")).collect()
}

/// Returns the code of an error, for comparing.
#[track_caller]
pub(crate) fn code<T: std::fmt::Debug>(outcome: Result<T, (String, String)>) -> String {
    outcome.unwrap_err().0
}
