//! The scene of the fuzzed handlers: a simulated AWS with the project in it, and the parts of it that must not change.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
};

use end_to_end::{Stage, places};
use sandbox::{
    auto_scaling::{ActionResult, GroupSpec, HookSpec, put_hook},
    events::Delivery,
};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tracing::subscriber::DefaultGuard;

use crate::{campaign::Verdict, mutation::MADE_UP_METADATA, sample::samples};

/// Cases that share a scene. Too large: the simulated AWS remembers too many calls. Too small: most of the time goes into
/// scenery.
const CASES_A_SCENE: usize = 200;

/// A simulated AWS on a runtime of its own, so that a case is a plain function.
pub(crate) struct Scene {
    stage: Stage,
    /// Ids of instances, by the names that stand for them in samples and words.
    ids: Vec<(&'static str, String)>,
    /// Every line of the log is made and thrown away: the lines contain values from outside.
    _log: DefaultGuard,
    runtime: Runtime,
}

/// The tags, the registrations and the place in its group of each instance.
pub(crate) type Belongings = BTreeMap<String, String>;

impl Scene {
    /// Returns a scene without open work: `web-1` runs and has what it declares, `web-2` is stopped and holds its registrations,
    /// `{member}` is in service in its group.
    pub(crate) fn at_rest() -> Self {
        Self::set(async |stage| {
            stage.tagged("web-1", "elb-registrar:register", "clb:shop tg:web tg:edge=eth0");
            stage.stop("web-2").rest().await;
        })
    }

    /// Returns a scene with all work open, because no event is delivered: `web-1` runs while its registrations are still held,
    /// `web-2` is stopped and registered, `{member}` waits at the terminate hook of its group, `{new}` at the launch hook of
    /// another.
    pub(crate) fn at_work() -> Self {
        Self::set(async |stage| {
            stage.stop_and_rest("web-1").await;
            stage.world(|world| world.events.set_delivery(|_| Delivery::Lost));
            stage.stop("web-2").start("web-1").wants("fleet", 0);
            stage.fleet(group(stage, "other").desired(1));
            stage.sandbox.advance(std::time::Duration::from_secs(180)).await;
        })
    }

    fn set(play: impl AsyncFnOnce(&Stage)) -> Self {
        let log = tracing_subscriber::fmt().json().with_writer(io::sink).finish();
        let log = tracing::subscriber::set_default(log);
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let (stage, ids) = runtime.block_on(async {
            let stage = Stage::new();
            stage.classic("shop").instances_group("web").addresses_group("edge").classic("other");
            stage.instance("web-1").instance("web-2").instance("bystander");
            for name in ["web-1", "web-2", "bystander"] {
                stage.registered_at(name, &["clb:shop", "tg:web", "tg:edge:443=eth0"]);
            }
            stage.fleet(group(&stage, "fleet").desired(1)).rest().await;
            let member = stage.member_states("fleet")[0].0.clone();
            play(&stage).await;
            let new = stage
                .world(|world| world.auto_scaling.groups.contains_key("other"))
                .then(|| stage.member_states("other"));
            let new = new.map_or("i-0123456789abcdef0".to_owned(), |members| members[0].0.clone());
            let ids = vec![
                ("{web-1}", stage.id("web-1")),
                ("{web-2}", stage.id("web-2")),
                ("{member}", member),
                ("{new}", new),
            ];
            (stage, ids)
        });
        Self { stage, ids, _log: log, runtime }
    }

    /// Returns the documented events whose names begin with `name`. Each comes for every instance that a name stands for, with
    /// the token of that instance's action: as EventBridge sends it, too late, and with metadata that declares a registration.
    pub(crate) fn samples(&self, name: &str) -> Vec<Value> {
        let mut all = Vec::new();
        for sample in samples(name) {
            for (name, id) in &self.ids {
                let mut sample = sample.clone();
                for (pointer, value) in [
                    ("/detail/instance-id", json!(name)),
                    ("/detail/EC2InstanceId", json!(name)),
                    ("/detail/AutoScalingGroupName", json!(if *name == "{new}" { "other" } else { "fleet" })),
                    ("/detail/LifecycleActionToken", json!(self.token_of(id))),
                ] {
                    sample.pointer_mut(pointer).into_iter().for_each(|field| *field = value.clone());
                }
                all.push(sample.clone());
                let now = self.stage.world(|world| world.now()).to_rfc3339();
                sample.pointer_mut("/time").into_iter().for_each(|time| *time = json!(now));
                all.push(sample.clone());
                if let Some(detail) =
                    sample.get_mut("detail").filter(|detail| detail.get("LifecycleHookName").is_some())
                {
                    detail["NotificationMetadata"] = json!(MADE_UP_METADATA);
                    all.push(sample);
                }
            }
        }
        all
    }

    fn token_of(&self, id: &str) -> String {
        let none = "87654321-4321-4321-4321-210987654321".to_owned();
        self.stage.world(|world| {
            let mut open = world.auto_scaling.actions.iter();
            open.find(|action| action.instance_id == id).map_or(none, |action| action.token.clone())
        })
    }

    /// Replaces the names by the ids.
    pub(crate) fn with_ids(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.ids.iter().fold(text, |text, (name, id)| text.replace(name, id))),
            Value::Array(elements) => elements.into_iter().map(|element| self.with_ids(element)).collect(),
            Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, self.with_ids(value))).collect(),
            other => other,
        }
    }

    /// Calls a function and waits for its answer.
    pub(crate) fn call(&self, function: &str, payload: Value) -> Result<Value, Value> {
        self.runtime.block_on(self.stage.sandbox.invoke(function, payload))
    }

    /// Writes metadata at every hook.
    pub(crate) fn write_at_hooks(&self, metadata: &str) {
        self.stage.world(|world| {
            let hooks = world.auto_scaling.groups.values().flat_map(|group| {
                group.hooks.keys().map(|hook| (group.name.clone(), hook.clone())).collect::<Vec<_>>()
            });
            for (group, name) in hooks.collect::<Vec<_>>() {
                let notification_metadata = Some(metadata.to_owned());
                let spec = HookSpec { name, notification_metadata, ..HookSpec::default() };
                put_hook(world, &group, spec).expect("a hook that was there");
            }
        });
    }

    /// Returns the members of the balancers that only made-up metadata names.
    pub(crate) fn taken_in(&self) -> Vec<String> {
        self.stage.members("clb:other")
    }

    /// Returns the belongings of every instance, without the parts that change by themselves.
    pub(crate) fn belongings(&self) -> Belongings {
        self.stage.world(|world| {
            let ids: Vec<String> = world.ec2.instances.values().map(|history| history.current().id.clone()).collect();
            let of = |id: &String| {
                let tags = world.ec2.instance(id).map(|found| &found.tags);
                let state = world.auto_scaling.member(id).map(|member| member.lifecycle_state);
                (id.clone(), format!("{tags:?} at {:?}, {state:?}", places(world, id)))
            };
            ids.iter().map(of).collect()
        })
    }
}

/// Returns a group with both hooks, whose members declare some of the registrations.
fn group(stage: &Stage, name: &str) -> GroupSpec {
    GroupSpec::new(name, &stage.subnet)
        .tag("elb-registrar:register", "clb:shop tg:edge=eth0")
        .hook(HookSpec::launching("elb-registrar-launch").heartbeat(7_200))
        .hook(HookSpec::terminating("elb-registrar-terminate").heartbeat(7_200).by_default(ActionResult::Continue))
}

/// A scene that serves many cases, as long as none of them fails.
pub(crate) struct Lasting {
    set: fn() -> Scene,
    scene: RefCell<Option<Scene>>,
    uses: Cell<usize>,
}

impl Lasting {
    pub(crate) fn new(set: fn() -> Scene) -> Self {
        Self { set, scene: RefCell::default(), uses: Cell::new(0) }
    }

    /// Judges a case in the scene. After a failure, the next case gets a new scene.
    pub(crate) fn with(&self, judge: impl FnOnce(&Scene) -> Verdict) -> Verdict {
        self.uses.set((self.uses.get() + 1) % CASES_A_SCENE);
        let last = self.scene.take().filter(|_| self.uses.get() > 0);
        let scene = last.unwrap_or_else(self.set);
        let verdict = judge(&scene);
        if verdict.is_ok() {
            self.scene.replace(Some(scene));
        }
        verdict
    }
}
