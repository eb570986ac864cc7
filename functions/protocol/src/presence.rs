//! Whether an instance is in or out, and why. This is asked here and nowhere else.
//!
//! A further reason to be out is one more fact in [`Facts`], and one more variant of [`WhyOut`].

use std::fmt;

use crate::{
    instance::{Instance, State},
    member::{LifecycleState, Member},
};

/// What the presence of an instance follows from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'f> {
    /// What EC2 says that the instance is doing.
    pub state: State,
    /// What its Auto Scaling group says of it.
    pub membership: Membership<'f>,
    /// What the lifecycle hooks that it waits at ask for.
    pub hooks: Hooks,
}

/// What is known of an instance as a member of an Auto Scaling group.
#[derive(Clone, Copy, Debug)]
pub enum Membership<'m> {
    /// Its group, if it has one, was not asked.
    NotRead,
    /// It is a member of no group.
    NoMember,
    /// It is a member, in this lifecycle state.
    Member(&'m LifecycleState),
}

/// What the lifecycle hooks ask for that an instance waits at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hooks {
    /// A launch hook lets the instance in.
    pub let_it_in: bool,
    /// A terminate hook sees the instance out.
    pub see_it_out: bool,
}

/// Whether an instance is in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The instance should be registered with everything that it holds and declares.
    In,
    /// The instance should be registered nowhere.
    Out(WhyOut),
    /// The instance is neither registered nor deregistered until something else is said of it.
    Undecided(WhyUndecided),
}

/// Why an instance should be registered nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyOut {
    /// It does not run, or is about not to.
    State(State),
    /// It leaves its Auto Scaling group, and a hook waits until it is drained.
    LeavesGroup(LifecycleState),
}

/// Why it is not decided whether an instance is in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyUndecided {
    /// It starts.
    Starting,
    /// AWS has introduced its state since.
    UnknownState,
    /// Its Auto Scaling group keeps it out of service, and takes care of its own load balancers.
    KeptOutOfService(LifecycleState),
}

impl<'m> Membership<'m> {
    /// Returns the membership of an instance whose group was asked.
    pub fn of(member: Option<&'m Member>) -> Self {
        member.map_or(Self::NoMember, |member| Self::Member(&member.lifecycle_state))
    }
}

impl<'f> Facts<'f> {
    /// Returns what a description alone tells.
    pub fn of(instance: &Instance) -> Self {
        Self { state: instance.state, membership: Membership::NotRead, hooks: Hooks::default() }
    }

    /// Returns the same with what a group says.
    #[must_use]
    pub fn with_membership(self, membership: Membership<'f>) -> Self {
        Self { membership, ..self }
    }

    /// Returns the same with what hooks ask for.
    #[must_use]
    pub fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }

    /// Tells whether the instance is in or out, and why.
    pub fn presence(&self) -> Presence {
        match (self.state, self.membership) {
            (state, _) if state.is_out() => Presence::Out(WhyOut::State(state)),
            // The group may have changed its mind since the launch hook let the instance in: an end is final.
            (State::Running, Membership::Member(state)) if self.hooks.let_it_in && !state.is_ending() => Presence::In,
            // A terminate hook counts as long as the group says the same: an old event may name an instance that came back.
            (_, Membership::Member(state)) if self.hooks.see_it_out && state.is_leaving() => {
                Presence::Out(WhyOut::LeavesGroup(state.clone()))
            }
            (State::Running, Membership::Member(state)) if state.is_out_of_service() => {
                Presence::Undecided(WhyUndecided::KeptOutOfService(state.clone()))
            }
            (State::Running, _) => Presence::In,
            (State::Pending, _) => Presence::Undecided(WhyUndecided::Starting),
            _ => Presence::Undecided(WhyUndecided::UnknownState),
        }
    }
}

impl Presence {
    /// Whether the instance should be registered.
    pub fn is_in(&self) -> bool {
        matches!(self, Self::In)
    }

    /// Whether the instance should be registered nowhere.
    pub fn is_out(&self) -> bool {
        matches!(self, Self::Out(_))
    }
}

impl fmt::Display for WhyOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => write!(f, "the instance is {}", state.name()),
            Self::LeavesGroup(state) => write!(f, "its Auto Scaling group takes it out of service ({state})"),
        }
    }
}

impl fmt::Display for WhyUndecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("the instance is starting: another event tells when it runs"),
            Self::UnknownState => f.write_str("the instance is in a state that this version does not know"),
            Self::KeptOutOfService(state) => write!(f, "its Auto Scaling group keeps it out of service ({state})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_HOOK: Hooks = Hooks { let_it_in: false, see_it_out: false };
    const LET_IN: Hooks = Hooks { let_it_in: true, see_it_out: false };
    const SEE_OUT: Hooks = Hooks { let_it_in: false, see_it_out: true };

    fn presence(state: State, membership: Membership<'_>, hooks: Hooks) -> Presence {
        Facts { state, membership, hooks }.presence()
    }

    fn of_member(lifecycle_state: &str, hooks: Hooks) -> Presence {
        presence(State::Running, Membership::Member(&lifecycle_state.into()), hooks)
    }

    #[test]
    fn an_instance_that_does_not_run_is_out_whatever_else_is_said() {
        for state in [State::Stopping, State::Stopped, State::ShuttingDown, State::Terminated] {
            for hooks in [NO_HOOK, LET_IN, SEE_OUT] {
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
        assert_eq!(presence(State::Running, Membership::NoMember, SEE_OUT), Presence::In);
        for state in ["InService", "Pending:Wait", "RootVolumeReplaced", "Detaching", "SomethingNew"] {
            assert_eq!(of_member(state, NO_HOOK), Presence::In, "{state}");
            assert_eq!(of_member(state, SEE_OUT), Presence::In, "{state}: the hook's event is an old one");
        }
        for state in ["Standby", "EnteringStandby", "Terminating:Wait", "Warmed:Running", "ReplacingRootVolume:Wait"] {
            let kept = Presence::Undecided(WhyUndecided::KeptOutOfService(state.into()));
            assert_eq!(of_member(state, NO_HOOK), kept, "{state}");
        }
    }

    #[test]
    fn a_member_that_leaves_is_out_when_a_hook_sees_it_out() {
        for state in ["Terminating:Wait", "Warmed:Pending:Wait", "ReplacingRootVolume:Wait"] {
            assert_eq!(of_member(state, SEE_OUT), Presence::Out(WhyOut::LeavesGroup(state.into())), "{state}");
        }
        let leaving = LifecycleState::from("Terminating:Wait");
        let pending = presence(State::Pending, Membership::Member(&leaving), SEE_OUT);
        assert!(pending.is_out(), "it may be about to get traffic");
    }

    #[test]
    fn a_launch_hook_lets_in_what_its_group_does_not_end() {
        for state in ["Pending:Wait", "ReplacingRootVolume:Wait", "Standby"] {
            assert_eq!(of_member(state, LET_IN), Presence::In, "{state}");
        }
        assert!(!of_member("Terminating:Wait", LET_IN).is_in());
    }

    #[test]
    fn a_state_that_is_neither_up_nor_down_decides_nothing() {
        for (state, why) in [(State::Pending, WhyUndecided::Starting), (State::Unknown, WhyUndecided::UnknownState)] {
            assert_eq!(presence(state, Membership::NotRead, LET_IN), Presence::Undecided(why));
        }
    }
}
