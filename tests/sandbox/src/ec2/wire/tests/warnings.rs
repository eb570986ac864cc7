//! What AWS tells before it takes an instance away: Spot requests with their notices, and scheduled events.

use super::*;
use crate::{
    ReservationWarning, SpotReclaim,
    ec2::{
        EventCode, Spot, SpotAction, cancel_event, complete_event, interrupt, interrupt_reserved, recommend_rebalance,
        resume, schedule_event,
    },
    events::Event,
};

const HOUR: u64 = 3_600;

impl Fixture {
    fn with_reclaim(spot_reclaim: SpotReclaim) -> Self {
        Self::with_options(Options { spot_reclaim, ..Options::default() })
    }

    fn spot(&self, spot: Spot) -> String {
        self.sandbox.with(|world| launch_running(world, Launch::new(&self.subnet).spot(spot)).unwrap())
    }

    /// Returns the state and the status code of the only request, and the state of its instance.
    async fn request(&self) -> [String; 3] {
        let body = self.ok("DescribeSpotInstanceRequests").await;
        let instance = states(&self.ok("DescribeInstances").await).remove(0);
        [all(&body, "state").remove(0), all(&body, "code").remove(0), instance]
    }

    fn interrupt(&self, id: &str, action: SpotAction, comes_true: bool) {
        self.sandbox.with(|world| interrupt(world, id, action, comes_true).unwrap());
    }

    fn schedule(&self, id: &str, code: EventCode) -> String {
        self.sandbox.with(|world| schedule_event(world, id, code, Duration::from_secs(HOUR)).unwrap())
    }

    async fn descriptions(&self) -> Vec<String> {
        all(&self.ok("DescribeInstanceStatus&IncludeAllInstances=true").await, "description")
    }

    fn events(&self) -> Vec<Event> {
        self.sandbox.with(|world| world.events.log.clone())
    }
}

fn request(state: &str, code: &str, instance: &str) -> [String; 3] {
    [state.to_owned(), code.to_owned(), instance.to_owned()]
}

#[tokio::test(start_paused = true)]
async fn a_spot_instance_and_its_request_name_each_other() {
    let aws = Fixture::new();
    aws.running();
    let run = format!("RunInstances&ImageId=ami-1&MinCount=6&MaxCount=6&SubnetId={}", aws.subnet);
    let body = aws.ok(&format!("{run}&InstanceMarketOptions.MarketType=spot")).await;
    assert_eq!(all(&body, "instanceLifecycle"), ["spot"; 6]);
    let (id, request) = (all(&body, "instanceId").remove(0), all(&body, "spotInstanceRequestId").remove(0));
    for filter in [("instance-id", &id), ("spot-instance-request-id", &request)] {
        let query = format!("DescribeSpotInstanceRequests&Filter.1.Name={}&Filter.1.Value.1={}", filter.0, filter.1);
        let body = aws.ok(&query).await;
        assert_eq!(
            (all(&body, "instanceId"), all(&body, "spotInstanceRequestId")),
            (vec![id.clone()], vec![request.clone()])
        );
        assert_eq!(
            (all(&body, "type"), all(&body, "code")),
            (vec!["one-time".to_owned()], vec!["fulfilled".to_owned()])
        );
    }
    let page = aws.ok("DescribeSpotInstanceRequests&MaxResults=5").await;
    let token = all(&page, "nextToken").remove(0);
    let rest = aws.ok(&format!("DescribeSpotInstanceRequests&MaxResults=5&NextToken={token}")).await;
    assert_eq!((all(&page, "instanceId").len(), all(&rest, "instanceId").len()), (5, 1));
    let spots = aws.ok("DescribeInstances&Filter.1.Name=instance-lifecycle&Filter.1.Value.1=spot").await;
    assert_eq!(states(&spots).len(), 6);
    let unknown = "DescribeSpotInstanceRequests&SpotInstanceRequestId.1=sir-0000ffff";
    assert_eq!(aws.code(unknown).await, "InvalidSpotInstanceRequestID.NotFound");
    let market = "InstanceMarketOptions.MarketType=spot&InstanceMarketOptions.SpotOptions";
    let wrong = format!("{run}&{market}.InstanceInterruptionBehavior=stop");
    assert_eq!(aws.code(&wrong).await, "InvalidParameterCombination");
}

#[tokio::test(start_paused = true)]
async fn a_notice_of_termination_is_marked_and_comes_true() {
    let aws = Fixture::with_reclaim(SpotReclaim::Price);
    let id = aws.spot(Spot::one_time());
    aws.interrupt(&id, SpotAction::Terminate, true);
    assert_eq!(aws.request().await, request("active", "marked-for-termination", "running"));
    let [notice] = aws.events().try_into().unwrap();
    let told = (notice.source.as_str(), notice.detail_type.as_str());
    assert_eq!(told, ("aws.ec2", "EC2 Spot Instance Interruption Warning"));
    assert_eq!(notice.detail, serde_json::json!({ "instance-id": id, "instance-action": "terminate" }));
    aws.seconds(119).await;
    assert_eq!(aws.request().await[2], "running");
    aws.seconds(2).await;
    let body = aws.ok("DescribeInstances").await;
    assert_eq!(states(&body), ["shutting-down"]);
    assert!(all(&body, "reason")[0].starts_with("Service initiated ("), "{body}");
    assert!(body.contains("<code>Server.SpotInstanceTermination</code>"), "{body}");
    aws.seconds(60).await;
    assert_eq!(aws.request().await, request("closed", "instance-terminated-by-price", "terminated"));
    aws.seconds(4 * HOUR).await;
    assert_eq!(all(&aws.ok("DescribeSpotInstanceRequests").await, "instanceId").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn capacity_that_is_taken_back_closes_the_request_at_once() {
    let aws = Fixture::with_reclaim(SpotReclaim::Capacity);
    let id = aws.spot(Spot::one_time());
    aws.interrupt(&id, SpotAction::Terminate, true);
    assert_eq!(aws.request().await, request("closed", "instance-terminated-no-capacity", "running"));
    aws.seconds(181).await;
    assert_eq!(aws.request().await, request("closed", "instance-terminated-no-capacity", "terminated"));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_aws_stopped_is_started_by_aws_only() {
    for (reclaim, code) in
        [(SpotReclaim::Price, "instance-stopped-by-price"), (SpotReclaim::Capacity, "instance-stopped-no-capacity")]
    {
        let aws = Fixture::with_reclaim(reclaim);
        let id = aws.spot(Spot::persistent(SpotAction::Stop));
        aws.interrupt(&id, SpotAction::Stop, true);
        assert_eq!(aws.request().await, request("active", "marked-for-stop", "running"));
        aws.seconds(121).await;
        assert_eq!(aws.request().await, request("active", "marked-for-stop", "stopping"));
        aws.seconds(60).await;
        assert_eq!(aws.request().await, request("disabled", code, "stopped"));
        let start = format!("StartInstances&InstanceId.1={id}");
        assert_eq!(aws.code(&start).await, "IncorrectSpotRequestState");
        aws.sandbox.with(|world| resume(world, &id).unwrap());
        assert_eq!(aws.request().await, request("open", "pending-evaluation", "pending"));
        aws.seconds(60).await;
        assert_eq!(aws.request().await, request("active", "fulfilled", "running"));
    }
}

#[tokio::test(start_paused = true)]
async fn hibernation_begins_with_its_notice() {
    let aws = Fixture::new();
    let id = aws.spot(Spot::persistent(SpotAction::Hibernate));
    aws.interrupt(&id, SpotAction::Hibernate, true);
    aws.seconds(1).await;
    assert_eq!(aws.request().await, request("active", "marked-for-stop", "stopping"));
    let told: Vec<_> = aws.events().iter().map(|event| event.detail["instance-action"].clone()).collect();
    assert_eq!(told[0], "hibernate");
}

#[tokio::test(start_paused = true)]
async fn a_notice_that_does_not_come_true_is_taken_back() {
    for reclaim in [SpotReclaim::Price, SpotReclaim::Capacity] {
        let aws = Fixture::with_reclaim(reclaim);
        let id = aws.spot(Spot::one_time());
        aws.interrupt(&id, SpotAction::Terminate, false);
        assert_eq!(aws.request().await, request("active", "marked-for-termination", "running"));
        aws.seconds(121).await;
        assert_eq!(aws.request().await, request("active", "fulfilled", "running"));
        aws.seconds(HOUR).await;
        assert_eq!(aws.request().await, request("active", "fulfilled", "running"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_users_stop_needs_a_persistent_request_and_disables_it() {
    let aws = Fixture::new();
    let once = aws.spot(Spot::one_time());
    assert_eq!(aws.code(&format!("StopInstances&InstanceId.1={once}")).await, "UnsupportedOperation");
    let aws = Fixture::new();
    let id = aws.spot(Spot::persistent(SpotAction::Stop));
    // The notice comes too late: the user is faster.
    aws.interrupt(&id, SpotAction::Stop, true);
    aws.ok(&format!("StopInstances&InstanceId.1={id}")).await;
    aws.seconds(200).await;
    assert_eq!(aws.request().await, request("disabled", "instance-stopped-by-user", "stopped"));
    aws.ok(&format!("StartInstances&InstanceId.1={id}")).await;
    aws.seconds(60).await;
    assert_eq!(aws.request().await, request("active", "fulfilled", "running"));
    aws.ok(&format!("TerminateInstances&InstanceId.1={id}")).await;
    aws.seconds(60).await;
    assert_eq!(aws.request().await, request("closed", "instance-terminated-by-user", "terminated"));
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_recommendation_changes_nothing() {
    let aws = Fixture::new();
    let id = aws.spot(Spot::one_time());
    aws.sandbox.with(|world| recommend_rebalance(world, &id).unwrap());
    aws.seconds(HOUR).await;
    assert_eq!(aws.request().await, request("active", "fulfilled", "running"));
    let [event] = aws.events().try_into().unwrap();
    let told = (event.detail_type.as_str(), event.detail["instance-id"].as_str());
    assert_eq!(told, ("EC2 Instance Rebalance Recommendation", Some(id.as_str())));
    let plain = aws.running();
    assert!(aws.sandbox.with(|world| recommend_rebalance(world, &plain)).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_reservations_warning_names_the_time_of_the_end() {
    for (reservation_warning, detail_type) in [
        (ReservationWarning::Long, "EC2 Interruptible Capacity Reservation Instance Interruption Warning"),
        (ReservationWarning::Short, "EC2 Capacity Reservation Instance Interruption Warning"),
    ] {
        let aws = Fixture::with_options(Options { reservation_warning, ..Options::default() });
        let launch = Launch::new(&aws.subnet).reserved_interruptibly();
        let id = aws.sandbox.with(|world| launch_running(world, launch).unwrap());
        let body = aws.ok("DescribeInstances").await;
        assert_eq!(all(&body, "instanceLifecycle"), ["interruptible-capacity-reservation"]);
        aws.sandbox.with(|world| interrupt_reserved(world, &id, false).unwrap());
        aws.seconds(HOUR).await;
        assert_eq!(states(&aws.ok("DescribeInstances").await), ["running"]);
        let ends = aws.sandbox.with(|world| {
            interrupt_reserved(world, &id, true).unwrap();
            world.now() + crate::clock::delta(Duration::from_secs(120))
        });
        let event = aws.events().pop().unwrap();
        assert_eq!((event.detail_type.as_str(), &event.detail["azId"]), (detail_type, &"use1-az1".into()));
        let ends = ends.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        assert_eq!(event.detail["instance-termination-time"], ends.as_str());
        aws.seconds(121).await;
        assert_eq!(states(&aws.ok("DescribeInstances").await), ["shutting-down"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_stop_is_described_happens_and_is_completed() {
    let aws = Fixture::new();
    let (id, other) = (aws.running(), aws.running());
    let event = aws.schedule(&id, EventCode::InstanceStop);
    let by_code = "DescribeInstanceStatus&Filter.1.Name=event.code&Filter.1.Value.1=instance-stop";
    let body = aws.ok(by_code).await;
    assert_eq!((all(&body, "instanceId"), all(&body, "instanceEventId")), (vec![id.clone()], vec![event]));
    assert_eq!(all(&body, "description"), ["The instance is running on degraded hardware"]);
    assert_eq!((all(&body, "notBefore").len(), all(&body, "notAfter").len()), (1, 0));
    let body = aws.ok(&format!("DescribeInstanceStatus&InstanceId.1={other}")).await;
    assert!(!body.contains("eventsSet"), "an instance without events has no list of them: {body}");
    aws.seconds(HOUR - 1).await;
    assert_eq!(states(&aws.ok(&format!("DescribeInstances&InstanceId.1={id}")).await), ["running"]);
    aws.seconds(60).await;
    let body = aws.ok(&format!("DescribeInstances&InstanceId.1={id}")).await;
    assert_eq!(states(&body), ["stopped"]);
    assert!(body.contains("<code>Server.ScheduledStop</code>"), "{body}");
    assert_eq!(all(&aws.ok(by_code).await, "instanceId").len(), 0, "only those that run are shown by default");
    assert_eq!(aws.descriptions().await, ["[Completed] The instance is running on degraded hardware"]);
    aws.seconds(8 * 24 * HOUR).await;
    assert_eq!(aws.descriptions().await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_called_off_or_done_by_hand_does_not_happen() {
    let aws = Fixture::new();
    let id = aws.running();
    let [one, other] = [EventCode::InstanceStop, EventCode::InstanceRetirement].map(|code| aws.schedule(&id, code));
    aws.sandbox.with(|world| cancel_event(world, &one).unwrap());
    aws.sandbox.with(|world| complete_event(world, &other).unwrap());
    assert!(aws.sandbox.with(|world| cancel_event(world, &one)).is_err());
    let mut descriptions = aws.descriptions().await;
    descriptions.sort();
    let text = "The instance is running on degraded hardware";
    assert_eq!(descriptions, [format!("[Canceled] {text}"), format!("[Completed] {text}")]);
    aws.seconds(2 * HOUR).await;
    assert_eq!(states(&aws.ok("DescribeInstances").await), ["running"]);
    assert!(aws.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_restart_before_its_time_completes_a_scheduled_stop() {
    let aws = Fixture::new();
    let id = aws.running();
    aws.schedule(&id, EventCode::InstanceStop);
    aws.ok(&format!("StopInstances&InstanceId.1={id}")).await;
    aws.seconds(60).await;
    assert_eq!(aws.descriptions().await, ["The instance is running on degraded hardware"]);
    aws.ok(&format!("StartInstances&InstanceId.1={id}")).await;
    assert_eq!(aws.descriptions().await, ["[Completed] The instance is running on degraded hardware"]);
    aws.seconds(2 * HOUR).await;
    assert_eq!(states(&aws.ok("DescribeInstances").await), ["running"]);
}

#[tokio::test(start_paused = true)]
async fn retirement_terminates_what_boots_from_an_instance_store() {
    let aws = Fixture::new();
    let launch = Launch::new(&aws.subnet).on_instance_store();
    let id = aws.sandbox.with(|world| launch_running(world, launch).unwrap());
    assert_eq!(aws.code(&format!("StopInstances&InstanceId.1={id}")).await, "UnsupportedOperation");
    aws.schedule(&id, EventCode::InstanceRetirement);
    aws.seconds(HOUR + 60).await;
    assert_eq!(states(&aws.ok("DescribeInstances").await), ["terminated"]);
}

#[tokio::test(start_paused = true)]
async fn a_reboot_makes_no_event_and_no_other_state() {
    for code in [EventCode::InstanceReboot, EventCode::SystemReboot, EventCode::SystemMaintenance] {
        let aws = Fixture::new();
        let id = aws.running();
        aws.schedule(&id, code);
        let body = aws.ok("DescribeInstanceStatus").await;
        assert_eq!((all(&body, "notAfter").len(), all(&body, "code")[1].as_str()), (1, code.name()), "{body}");
        let launched = all(&aws.ok("DescribeInstances").await, "launchTime");
        aws.seconds(HOUR + 1).await;
        assert!(!aws.descriptions().await[0].starts_with('['), "it is under way");
        aws.seconds(200).await;
        assert!(aws.descriptions().await[0].starts_with("[Completed] "));
        let body = aws.ok("DescribeInstances").await;
        assert_eq!((states(&body), all(&body, "launchTime")), (vec!["running".to_owned()], launched));
        assert!(aws.events().is_empty());
    }
    let aws = Fixture::new();
    let id = aws.running();
    aws.schedule(&id, EventCode::InstanceReboot);
    aws.schedule(&id, EventCode::SystemReboot);
    aws.ok(&format!("RebootInstances&InstanceId.1={id}")).await;
    let left = aws.descriptions().await.iter().filter(|text| !text.starts_with('[')).count();
    assert_eq!((left, aws.events().len()), (1, 0), "a reboot in place leaves a system reboot scheduled");
}

#[tokio::test(start_paused = true)]
async fn statuses_are_paged_unless_instances_are_named() {
    let aws = Fixture::new();
    let ids: Vec<_> = (0..7).map(|_| aws.running()).collect();
    aws.ok(&format!("StopInstances&InstanceId.1={}", ids[0])).await;
    assert_eq!(all(&aws.ok("DescribeInstanceStatus").await, "instanceId").len(), 6);
    let page = aws.ok("DescribeInstanceStatus&IncludeAllInstances=true&MaxResults=5").await;
    let token = all(&page, "nextToken").remove(0);
    let rest = aws.ok(&format!("DescribeInstanceStatus&IncludeAllInstances=true&MaxResults=5&NextToken={token}")).await;
    assert_eq!((all(&page, "instanceId").len(), all(&rest, "instanceId").len()), (5, 2));
    let named = format!("DescribeInstanceStatus&InstanceId.1={}", ids[0]);
    assert_eq!(all(&aws.ok(&named).await, "instanceId").len(), 0);
    let body = aws.ok(&format!("{named}&IncludeAllInstances=true")).await;
    assert_eq!(
        (all(&body, "instanceId"), all(&body, "status")),
        (vec![ids[0].clone()], vec!["not-applicable".to_owned(); 2])
    );
    assert_eq!(aws.code(&format!("{named}&MaxResults=5")).await, "InvalidParameterCombination");
    assert_eq!(aws.code("DescribeInstanceStatus&InstanceId.1=i-0000000000000ffff").await, "InvalidInstanceID.NotFound");
    let by_id = format!("DescribeInstanceStatus&Filter.1.Name=instance-id&Filter.1.Value.1={}", ids[1]);
    assert_eq!(aws.code(&by_id).await, "NotModelledBySandbox", "EC2 has no such filter here");
}
