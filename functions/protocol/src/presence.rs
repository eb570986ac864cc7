//! Whether an instance is in or out, and why. This is asked here and nowhere else.
//!
//! A further reason to be out is one more fact in [`Facts`], and one more variant of [`WhyOut`].

use std::fmt;

use crate::{
    instance::{Instance, State},
    member::{LifecycleState, Member},
};

/// The facts from which the presence of an instance follows.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'f> {
    /// The instance's state, as EC2 says it.
    pub state: State,
    /// What the instance's Auto Scaling group says of it.
    pub membership: Membership<'f>,
    /// What the lifecycle hooks ask for at which the instance waits.
    pub hooks: Hooks,
}

/// What is known of an instance as a member of an Auto Scaling group.
#[derive(Clone, Copy, Debug)]
pub enum Membership<'m> {
    /// It was not read which group the instance has.
    NotRead,
    /// The instance is a member of no group.
    NoMember,
    /// The instance is a member, in this lifecycle state.
    Member(&'m LifecycleState),
}

/// What the lifecycle hooks ask for at which an instance waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hooks {
    /// A launch hook asks that the instance be registered.
    pub register_it: bool,
    /// A terminate hook asks that the instance be deregistered.
    pub deregister_it: bool,
}

/// Whether an instance is in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The instance should be registered with everything that it holds and declares.
    In,
    /// The instance should be registered nowhere.
    Out(WhyOut),
    /// The instance is neither registered nor deregistered, until its state or its group changes.
    Undecided(WhyUndecided),
}

/// Why an instance should be registered nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyOut {
    /// The instance does not run, or is about to stop running.
    State(State),
    /// The instance is leaving its Auto Scaling group, and a hook waits until it is drained.
    LeavesGroup(LifecycleState),
    /// The instance runs, and its Auto Scaling group keeps it out of service: in Standby, in its warm pool, or on its
    /// way out. No hook of ours waits for it.
    KeptOutOfService(LifecycleState),
}

/// Why it is not decided whether an instance is in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyUndecided {
    /// The instance is starting.
    Starting,
    /// This version does not know the instance's state.
    UnknownState,
    /// The instance's Auto Scaling group replaces its root volume.
    ReplacesRootVolume(LifecycleState),
}

impl<'m> Membership<'m> {
    /// Returns the membership of an instance whose group was read.
    pub fn of(member: Option<&'m Member>) -> Self {
        member.map_or(Self::NoMember, |member| Self::Member(&member.lifecycle_state))
    }
}

impl<'f> Facts<'f> {
    /// Returns the facts that a description alone tells.
    pub fn of(instance: &Instance) -> Self {
        Self { state: instance.state, membership: Membership::NotRead, hooks: Hooks::default() }
    }

    /// Returns the same facts with what a group says.
    #[must_use]
    pub fn with_membership(self, membership: Membership<'f>) -> Self {
        Self { membership, ..self }
    }

    /// Returns the same facts with what hooks ask for.
    #[must_use]
    pub fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }

    /// Returns whether the instance is in or out, and why.
    pub fn presence(&self) -> Presence {
        match (self.state, self.membership) {
            (state, _) if state.is_out() => Presence::Out(WhyOut::State(state)),
            // A launch hook's event may come late or twice. By then the member may be in Standby, or leaving again.
            (State::Running, Membership::Member(state)) if self.hooks.register_it && state.is_entering() => {
                Presence::In
            }
            // A terminate hook counts only while the group agrees: an old event may name an instance that has come
            // back.
            (_, Membership::Member(state)) if self.hooks.deregister_it && state.is_leaving() => {
                Presence::Out(WhyOut::LeavesGroup(state.clone()))
            }
            // It is not documented in which of these states a launch hook meets the member again, and may be registering
            // it at this moment.
            (State::Running, Membership::Member(state)) if state.is_replacing_root_volume() => {
                Presence::Undecided(WhyUndecided::ReplacesRootVolume(state.clone()))
            }
            (State::Running, Membership::Member(state)) if state.is_out_of_service() => {
                Presence::Out(WhyOut::KeptOutOfService(state.clone()))
            }
            (State::Running, _) => Presence::In,
            (State::Pending, _) => Presence::Undecided(WhyUndecided::Starting),
            _ => Presence::Undecided(WhyUndecided::UnknownState),
        }
    }
}

impl Presence {
    /// Returns whether the instance should be registered.
    pub fn is_in(&self) -> bool {
        matches!(self, Self::In)
    }

    /// Returns whether the instance should be registered nowhere.
    pub fn is_out(&self) -> bool {
        matches!(self, Self::Out(_))
    }
}

impl fmt::Display for WhyOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => write!(f, "the instance is {}", state.name()),
            Self::LeavesGroup(state) => write!(f, "its Auto Scaling group takes it out of service ({state})"),
            Self::KeptOutOfService(state) => write!(f, "its Auto Scaling group keeps it out of service ({state})"),
        }
    }
}

impl fmt::Display for WhyUndecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("the instance is starting: another event tells when it runs"),
            Self::UnknownState => f.write_str("the instance is in a state that this version does not know"),
            Self::ReplacesRootVolume(state) => write!(f, "its Auto Scaling group replaces its root volume ({state})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_HOOK: Hooks = Hooks { register_it: false, deregister_it: false };
    const REGISTER: Hooks = Hooks { register_it: true, deregister_it: false };
    const DEREGISTER: Hooks = Hooks { register_it: false, deregister_it: true };

    fn presence(state: State, membership: Membership<'_>, hooks: Hooks) -> Presence {
        Facts { state, membership, hooks }.presence()
    }

    fn of_member(lifecycle_state: &str, hooks: Hooks) -> Presence {
        presence(State::Running, Membership::Member(&lifecycle_state.into()), hooks)
    }

    #[test]
    fn an_instance_that_does_not_run_is_out_whatever_else_is_said() {
        for state in [State::Stopping, State::Stopped, State::ShuttingDown, State::Terminated] {
            for hooks in [NO_HOOK, REGISTER, DEREGISTER] {
                let in_service = LifecycleState::from("InService");
                let out = Presence::Out(WhyOut::State(state));
                assert_eq!(presence(state, Membership::NotRead, hooks), out);
                assert_eq!(presence(state, Membership::Member(&in_service), hooks), out);
            }
        }
    }

    #[test]
    fn an_instance_that_runs_is_in_unless_its_group_says_otherwise() {
        assert_eq!(presence(State::Running, Membership::NotRead, NO_HOOK), Presence::In);
        assert_eq!(presence(State::Running, Membership::NoMember, DEREGISTER), Presence::In);
        for state in ["InService", "Pending:Wait", "RootVolumeReplaced", "Detaching", "SomethingNew"] {
            assert_eq!(of_member(state, NO_HOOK), Presence::In, "{state}");
            assert_eq!(of_member(state, DEREGISTER), Presence::In, "{state}: the hook's event is an old one");
        }
        for state in ["Standby", "EnteringStandby", "Terminating:Wait", "Terminating:Retained", "Warmed:Running"] {
            let kept = Presence::Out(WhyOut::KeptOutOfService(state.into()));
            assert_eq!(of_member(state, NO_HOOK), kept, "{state}");
        }
        let replaced = Presence::Undecided(WhyUndecided::ReplacesRootVolume("ReplacingRootVolume:Wait".into()));
        assert_eq!(of_member("ReplacingRootVolume:Wait", NO_HOOK), replaced);
    }

    #[test]
    fn a_member_that_leaves_is_out_while_a_hook_waits_for_it() {
        for state in ["Terminating:Wait", "Warmed:Pending:Wait", "ReplacingRootVolume:Wait"] {
            assert_eq!(of_member(state, DEREGISTER), Presence::Out(WhyOut::LeavesGroup(state.into())), "{state}");
        }
        let leaving = LifecycleState::from("Terminating:Wait");
        let pending = presence(State::Pending, Membership::Member(&leaving), DEREGISTER);
        assert!(pending.is_out(), "it may be about to get traffic");
    }

    #[test]
    fn a_launch_hook_registers_a_member_that_enters_or_is_in_service() {
        for state in ["Pending:Wait", "ReplacingRootVolume:Wait", "RootVolumeReplaced", "InService"] {
            assert_eq!(of_member(state, REGISTER), Presence::In, "{state}");
        }
        for state in ["Standby", "EnteringStandby", "Warmed:Running", "Warmed:Pending:Wait", "Terminating:Wait"] {
            assert!(of_member(state, REGISTER).is_out(), "{state}");
        }
    }

    #[test]
    fn a_state_that_is_neither_up_nor_down_decides_nothing() {
        for (state, why) in [(State::Pending, WhyUndecided::Starting), (State::Unknown, WhyUndecided::UnknownState)] {
            assert_eq!(presence(state, Membership::NotRead, REGISTER), Presence::Undecided(why));
        }
    }
}
