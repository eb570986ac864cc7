//! The view of the users of an Auto Scaling group behind an ip target group. Their requests last through a scale-in, an instance
//! refresh and a handover: with the functions at the group's hooks, with hooks and no function, and without hooks.

use std::time::Duration;

use end_to_end::Stage;
use sandbox::{
    Options, RoutingLag, World,
    auto_scaling::{self, ActionResult, GroupSpec, HookSpec, LifecycleState, Preferences, Strategy},
    events::Delivery,
    traffic::{Client, Outcome, Tally},
};

/// Longer than it takes to become healthy.
const SETTLED: Duration = Duration::from_secs(60);

/// How long each case is watched: longer than an instance refresh lasts.
const WATCHED: Duration = Duration::from_secs(1_800);

/// How long the target groups drain.
const DRAIN_SECONDS: u64 = 30;

/// How long a request lasts: nearly as long as it may.
const LONG: Duration = Duration::from_secs(25);

/// The care for the members that come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// The functions work at the group's hooks.
    Hooks,
    /// No function hears of a member: all events are lost, and the hooks end by their own clock.
    Untold,
    /// The functions work in a group without hooks: they hear of a member when it has started, and when it is ending.
    StateChanges,
}

/// The load balancer in front of the group's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    Application,
    Network,
}

const FRONTS: [Front; 2] = [Front::Application, Front::Network];

impl Front {
    /// Returns the target group behind it, as the members declare it.
    fn place(self) -> &'static str {
        match self {
            Self::Application => "tg:edge",
            Self::Network => "tg:net",
        }
    }
}

/// Returns a group whose members are in service and healthy, and a client all of whose requests were served so far.
async fn fleet(front: Front, care: Care, members: usize, client: Client, options: Options) -> Stage {
    let stage = Stage::with(options, &[]);
    stage.addresses_group("edge").drains("edge", DRAIN_SECONDS).network_group("net").drains("net", DRAIN_SECONDS);
    let spec = GroupSpec::new("fleet", &stage.subnet).tag("elb-registrar:register", front.place()).desired(members);
    let hook = |hook: HookSpec| hook.heartbeat(300).by_default(ActionResult::Continue);
    let spec = match care {
        Care::StateChanges => spec,
        Care::Hooks | Care::Untold => spec
            .hook(hook(HookSpec::launching("elb-registrar-launch")))
            .hook(hook(HookSpec::terminating("elb-registrar-terminate"))),
    };
    stage.fleet(spec).rest().await;
    stage.sandbox.advance(SETTLED).await;
    stage.sends_requests(client);
    stage.sandbox.advance(SETTLED).await;
    assert_eq!(stage.lost_requests(), []);
    if care == Care::Untold {
        stage.world(|world| world.events.set_delivery(|_| Delivery::Lost));
    }
    stage
}

fn client(front: Front) -> Client {
    Client::to(front.place()).taking(LONG)
}

async fn over_a_scale_in(front: Front, care: Care, client: Client, options: Options) -> Tally {
    let stage = fleet(front, care, 3, client, options).await;
    stage.wants("fleet", 2).sandbox.advance(WATCHED).await;
    assert_eq!(stage.member_states("fleet").len(), 2, "{front:?}, {care:?}");
    stage.requests()
}

#[tokio::test(start_paused = true)]
async fn a_scale_in_loses_requests_only_without_the_hook() {
    for front in FRONTS {
        for seed in 0..3 {
            let options = || Options { seed, ..Options::default() };
            let tally = over_a_scale_in(front, Care::Hooks, client(front), options()).await;
            assert!(
                tally.lost() == 0 && tally.served() > 18_000,
                "{front:?}: {tally}, first {:?}",
                tally.losses.first()
            );
            for care in [Care::Untold, Care::StateChanges] {
                let tally = over_a_scale_in(front, care, client(front), options()).await;
                // Announced or not, an end without a hook breaks off the requests under way, and the balancer still sends to the
                // address.
                let ways = [Outcome::BrokenOff, Outcome::Gone].map(|outcome| tally.count(outcome) > 0);
                assert_eq!(ways, [true, true], "{front:?}, {care:?}: {tally}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_balancer_that_lags_behind_a_deregistration_loses_nothing_within_the_delay() {
    // AWS says that an Application Load Balancer does not; its users reckon with it.
    let application_linger = Duration::from_secs(20);
    let routing_lag = RoutingLag { application_linger, ..RoutingLag::default() };
    let options = || Options { routing_lag, ..Options::default() };
    let front = Front::Application;
    let within = Client::to(front.place()).taking(Duration::from_secs(5));
    let tally = over_a_scale_in(front, Care::Hooks, within, options()).await;
    assert_eq!((tally.lost(), &tally.losses[..]), (0, &[][..]));
    // The operator's delay counts from the deregistration: the balancer itself cuts a request that comes later and lasts longer.
    let beyond = over_a_scale_in(front, Care::Hooks, client(front), options()).await;
    assert!(beyond.lost() == beyond.count(Outcome::BrokenOff) && beyond.lost() > 0, "{beyond}");
}

async fn over_a_refresh(front: Front, care: Care, preferences: Preferences) -> Tally {
    let stage = fleet(front, care, 3, client(front), Options::default()).await;
    stage
        .world(|world| auto_scaling::start_refresh(world, "fleet", Strategy::Rolling, preferences))
        .expect("a refresh");
    stage.sandbox.advance(WATCHED).await;
    let is_over = stage.world(|world| world.auto_scaling.groups["fleet"].active_refresh().is_none());
    assert!(is_over, "{front:?}, {care:?}");
    stage.requests()
}

#[tokio::test(start_paused = true)]
async fn an_instance_refresh_loses_requests_only_without_the_hooks() {
    for front in FRONTS {
        for (least, most) in [(60, 100), (100, 150)] {
            let preferences =
                Preferences { min_healthy_percentage: least, max_healthy_percentage: most, ..Preferences::default() };
            let tally = over_a_refresh(front, Care::Hooks, preferences).await;
            assert!(
                tally.lost() == 0 && tally.served() > 18_000,
                "{front:?}: {tally}, first {:?}",
                tally.losses.first()
            );
            let announced = over_a_refresh(front, Care::StateChanges, preferences).await;
            assert!(announced.count(Outcome::BrokenOff) > 0 && announced.count(Outcome::Gone) > 0, "{announced}");
            // No function registers the new members, and the addresses of the old ones are still registered.
            let untold = over_a_refresh(front, Care::Untold, preferences).await;
            assert!(untold.lost() > 4 * announced.lost(), "{front:?}: {untold}; {announced}");
        }
    }
}

/// Returns the fate of the requests to the only member of a group, which an operator ends when its successor is in service.
async fn over_a_handover(front: Front, care: Care) -> Tally {
    let client = Client::to(front.place());
    let stage = fleet(front, care, 1, client, Options::default()).await;
    let old = stage.member_states("fleet").remove(0).0;
    stage.wants("fleet", 2);
    let are_in_service = |world: &World| {
        let members = world.auto_scaling.groups["fleet"].members.values();
        members.filter(|member| member.lifecycle_state == LifecycleState::InService).count() == 2
    };
    stage.until("two members in service", are_in_service).await;
    stage.world(|world| auto_scaling::terminate_member(world, &old, true)).expect("a member");
    stage.sandbox.advance(WATCHED).await;
    stage.requests()
}

#[tokio::test(start_paused = true)]
async fn a_successor_refuses_requests_only_without_a_launch_hook() {
    // A balancer waits for health by itself, as long as another member is healthy. Without one, it sends to any member.
    for front in FRONTS {
        let tally = over_a_handover(front, Care::Hooks).await;
        assert_eq!((tally.lost(), &tally.losses[..]), (0, &[][..]), "{front:?}: {tally}");
        let tally = over_a_handover(front, Care::StateChanges).await;
        assert!(tally.count(Outcome::Refused) > 0, "{front:?}: {tally}");
    }
}
