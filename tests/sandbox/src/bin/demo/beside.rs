//! The same minutes without the functions: a second simulated AWS with the same fleet, to which an operator does the same.
//!
//! It has no stack: its events reach no rule. What an operator would have done once by hand, is done: the first members of the
//! group are registered.

use std::fmt::Display;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use sandbox::{
    Sandbox, World,
    auto_scaling::{self, GroupSpec},
    elbv2,
    fleet::{Fleet, Member, Place, primary_address},
    traffic::{self, Client, ClientId, Tally},
    wire::ApiError,
};

use crate::{
    registered::{Register, Snapshot, Standing},
    scaling, table,
};

/// The second world.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) sandbox: Sandbox,
    /// The fleet of the first act.
    pub(crate) fleet: Fleet,
    /// The group of the second act.
    pub(crate) app: Fleet,
    register: Register,
}

/// Requests to one balancer, in both worlds.
#[derive(Debug)]
pub(crate) struct Requests {
    balancer: &'static str,
    clients: [ClientId; 2],
}

/// The outcomes of these requests.
#[derive(Debug)]
pub(crate) struct Outcomes {
    pub(crate) balancer: &'static str,
    pub(crate) with: Tally,
    pub(crate) without: Tally,
}

impl Beside {
    /// Creates both fleets in an empty simulated AWS.
    ///
    /// # Errors
    /// If the simulated AWS refuses.
    pub(crate) fn new(sandbox: Sandbox) -> Result<Self, ApiError> {
        let (fleet, app) = sandbox.with(|world| {
            let fleet = Fleet::seed(world)?;
            let (subnet, place) = scaling::create_target_group(world)?;
            auto_scaling::create_group(world, GroupSpec::new(scaling::GROUP, &subnet).desired(2))?;
            Ok::<_, ApiError>((fleet, Fleet { members: Vec::new(), places: vec![place] }))
        })?;
        Ok(Self { sandbox, fleet, app, register: Register::default() })
    }

    /// Registers the members that the group has by now, as an operator would do it once.
    ///
    /// # Errors
    /// If the simulated AWS refuses.
    pub(crate) fn register_members(&mut self) -> Result<(), ApiError> {
        let app = &mut self.app;
        self.sandbox.with(|world| {
            name_members(world, app);
            let addresses = app.members.iter().filter_map(|member| primary_address(world, &member.id));
            for address in addresses.collect::<Vec<_>>() {
                for place in &app.places {
                    let Place::Addresses { arn, port, .. } = place else { continue };
                    elbv2::register(world, arn, elbv2::Target::new(address).on(*port))?;
                }
            }
            Ok(())
        })
    }

    /// Returns how the first act's fleet is registered.
    pub(crate) fn fleet_now(&mut self) -> Snapshot {
        let (fleet, register) = (&self.fleet, &mut self.register);
        self.sandbox.with(|world| register.read(world, fleet))
    }

    /// Returns how the group's members are registered.
    pub(crate) fn app_now(&mut self) -> Snapshot {
        let (app, register) = (&mut self.app, &mut self.register);
        self.sandbox.with(|world| {
            name_members(world, app);
            register.read(world, app)
        })
    }

    /// Returns the table of a fleet as it was read.
    pub(crate) fn table(&self, fleet: &Fleet, snapshot: &Snapshot) -> String {
        self.sandbox.with(|world| table::of_fleet(world, fleet, snapshot))
    }
}

/// Gives a name to each member that has none yet, in the order of their joining. A member that has left keeps its own.
fn name_members(world: &World, app: &mut Fleet) {
    let Some(group) = world.auto_scaling.groups.get(scaling::GROUP) else { return };
    for id in group.members.keys() {
        let is_named = app.members.iter().any(|member| member.id == *id);
        if let (false, Some(name)) = (is_named, scaling::NAMES.get(app.members.len())) {
            app.members.push(Member { name, id: id.clone() });
        }
    }
}

/// Returns how many registrations get no traffic, although they are there.
pub(crate) fn dead(snapshot: &Snapshot) -> usize {
    snapshot.values().filter(|standing| matches!(standing, Standing::Down(_))).count()
}

/// Lets the same client send in both worlds.
///
/// # Errors
/// If there is no such balancer.
pub(crate) fn send(
    with: &Sandbox,
    beside: &Beside,
    balancer: &'static str,
    client: impl Fn(&str) -> Client,
) -> Result<Requests, ApiError> {
    let start = |sandbox: &Sandbox| sandbox.with(|world| traffic::send(world, client(balancer)));
    Ok(Requests { balancer, clients: [start(with)?, start(&beside.sandbox)?] })
}

impl Requests {
    /// Sends no more. Requests under way go on.
    pub(crate) fn stop(&self, with: &Sandbox, beside: &Beside) {
        for (sandbox, client) in [with, &beside.sandbox].into_iter().zip(self.clients) {
            sandbox.with(|world| traffic::stop(world, client));
        }
    }

    /// Returns the outcomes so far.
    pub(crate) fn outcomes(&self, with: &Sandbox, beside: &Beside) -> Outcomes {
        let tally = |sandbox: &Sandbox, client| sandbox.with(|world| traffic::tally_of(world, client));
        let [first, second] = self.clients;
        Outcomes { balancer: self.balancer, with: tally(with, first), without: tally(&beside.sandbox, second) }
    }
}

/// Returns the table of requests that were lost in both worlds.
pub(crate) fn losses(outcomes: &[Outcomes]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["requests to", "sent", "lost with elb-registrar", "lost without it"]);
    for Outcomes { balancer, with, without } in outcomes {
        let name = balancer.split_once(':').map_or(*balancer, |(_, name)| name);
        let figures: [&dyn Display; 3] = [&with.sent(), &with.lost(), &without.lost()];
        table.add_row(std::iter::once(name.to_owned()).chain(figures.map(ToString::to_string)));
    }
    (1..=3).filter_map(|column| table.column_mut(column).map(|c| c.set_cell_alignment(CellAlignment::Right))).count();
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn losses_are_told_for_each_balancer() {
        let outcomes = Outcomes { balancer: "tg:app", with: Tally::default(), without: Tally::default() };
        let expected = "\
┌─────────────┬──────┬─────────────────────────┬─────────────────┐
│ requests to ┆ sent ┆ lost with elb-registrar ┆ lost without it │
╞═════════════╪══════╪═════════════════════════╪═════════════════╡
│ app         ┆    0 ┆                       0 ┆               0 │
└─────────────┴──────┴─────────────────────────┴─────────────────┘";
        assert_eq!(losses(&[outcomes]), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn the_members_of_a_group_without_hooks_are_registered_once() {
        let mut beside = Beside::new(Sandbox::in_virtual_time()).expect("a fleet");
        beside.sandbox.advance(Duration::from_secs(120)).await;
        beside.register_members().expect("registered");
        beside.sandbox.advance(Duration::from_secs(120)).await;
        let now = beside.app_now();
        assert_eq!((now.len(), dead(&now)), (2, 0), "{now:?}");
        beside.sandbox.with(|world| auto_scaling::set_desired(world, scaling::GROUP, 1)).expect("one member");
        beside.sandbox.advance(Duration::from_secs(300)).await;
        let now = beside.app_now();
        assert_eq!((now.len(), dead(&now)), (2, 1), "the address of the member that left is still registered: {now:?}");
    }
}
