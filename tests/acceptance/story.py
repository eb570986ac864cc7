"""The test itself: an instance stops and starts, a group grows and shrinks, an instance is rebooted, another is terminated.

Two scripts are played at the same time, that of the instances and that of the group, since a Network Load Balancer takes minutes for everything. Each yields
between two looks.

Each step asserts sentences that hold in the sandbox, and goes on if one does not. Where two things are compared, the order of the looks makes the sentence sound:
a state is read before what it must wait for, and registrations before the tags that hold what is not in place.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from account import Account
from fleet import Fleet
from names import HELD, OTHER_PORT, PORT
from results import Results
from sight import Instance, Places, Sight

# A script, or a part of one: it yields between two looks, and returns what it saw in the end.
Seen = TypeVar("Seen")
Script = Generator[None, None, Seen]

# Seconds until an instance has to be out, or running. Too small: a slow minute of AWS fails the test. Too large: a failure is told late.
SOON = 300

# Seconds until a registration has to be healthy. A Network Load Balancer drains for up to five minutes, whatever the delay, and takes up to five for a new target:
# https://github.com/kubernetes-sigs/aws-load-balancer-controller/issues/1834
HEALTHY = 1200

# Seconds that EC2 may take to show a tag that was written.
TAG_LAG = 20

# Seconds for an action at a hook, and for what comes before it.
HOOK = 1200

# Seconds until a held tag is gone: two minutes of settling, and what a parked event may wait then.
SETTLING = 420

# Seconds between two signs of life, for the person who waits.
SIGN = 60

# Seconds for which nothing may happen after a reboot.
QUIET = 45

OUT = ("stopped", "terminated")


@dataclass
class Watch:
    """What was seen of one instance over some looks."""

    instance: Instance
    places: Places
    lost: set[str] = field(default_factory=set)


class Story:
    """Plays all steps on a fleet."""

    def __init__(self, account: Account, fleet: Fleet, results: Results) -> None:
        self.account, self.fleet, self.clock, self.results = account, fleet, account.clock, results
        self.stopped = 0.0
        self.sight = Sight(account, fleet)
        self.addresses: dict[str, str] = {}

    def play(self) -> None:
        """Plays both scripts to their ends."""
        scripts = [self.instances(), self.group()]
        began = signed = self.clock.now()
        while scripts:
            scripts = [script for script in scripts if goes_on(script)]
            if self.clock.now() > signed + SIGN:
                signed = self.clock.now()
                self.results.say(f"looks every two seconds, for {(signed - began) / 60:.0f} minutes so far")
            self.clock.pause()
        self.results.is_complete = True

    def instances(self) -> Script[None]:
        yield from self.begin()
        yield from self.stop("web-1", other="web-2")
        yield from self.start("web-1")
        yield from self.settle("web-1")
        yield from self.reboot("web-2")
        yield from self.terminate("web-2", other="web-1")

    def group(self) -> Script[None]:
        address = yield from self.scale_out()
        yield from self.scale_in(address)

    def until(self, look: Callable[[], Seen], is_so: Callable[[Seen], bool], within: float) -> Script[Seen]:
        """Looks until it is so, or until the time is over. Returns what was seen last."""
        end = self.clock.now() + within
        while not is_so(seen := look()) and self.clock.now() < end:
            yield
        return seen

    # --- steps -----------------------------------------------------------------------------------------------------------------------

    def begin(self) -> Script[None]:
        """Registers both instances everywhere, by hand, as an operator would."""
        self.results.say("registers both instances everywhere, and waits until they are healthy")
        for name, id in self.fleet.instances.items():
            instance = yield from self.until(partial(self.sight.instance, id), self.runs, within=SOON)
            if not instance.address or not self.runs(instance):
                raise RuntimeError(f"{name} is {instance.state} after {SOON} seconds, with the address {instance.address}")
            self.addresses[name] = instance.address
            self.register(id, instance.address)
        for name in self.fleet.instances:
            seen = yield from self.until(partial(self.places_of, name), self.is_whole, within=HEALTHY)
            healthy = self.is_whole(seen)
            self.results.sentence(f"{name} is registered everywhere and healthy before anything happens", healthy, seen)

    def register(self, id: str, address: str) -> None:
        self.account.elb.register_instances_with_load_balancer(
            LoadBalancerName=self.fleet.names.classic, Instances=[{"InstanceId": id}]
        )
        targets = [{"Id": id, "Port": port} for port in (PORT, OTHER_PORT)]
        self.account.elbv2.register_targets(TargetGroupArn=self.fleet.web, Targets=targets)
        self.account.elbv2.register_targets(TargetGroupArn=self.fleet.edge, Targets=[{"Id": address, "Port": PORT}])

    def stop(self, name: str, other: str) -> Script[None]:
        self.results.say(f"stops {name}")
        began = self.stopped = self.clock.now()
        self.account.ec2.stop_instances(InstanceIds=[self.fleet.instances[name]])
        watch, out, stopped = yield from self.watch_until_out(name, began)
        self.results.measure("StopInstances to registered nowhere", began, out)
        self.results.measure("StopInstances to stopped", began, stopped)
        self.results.sentence(f"{name} is registered nowhere while it is stopped", not watch.places.registered, watch.places.registered)
        held = yield from self.until(lambda: self.look(name).instance.held, lambda held: held == self.fleet.everywhere(), within=TAG_LAG)
        self.results.sentence(f"the registrations of {name} are held in its tags", held == self.fleet.everywhere(), held)
        self.never_lost(name, watch)
        self.still_whole(other)

    def watch_until_out(self, name: str, began: float) -> Script[tuple[Watch, float | None, float | None]]:
        """Looks until the instance is stopped or terminated and registered nowhere. Returns when each was seen first."""
        out = ended = None
        lost: set[str] = set()
        while True:
            watch = self.look(name)
            lost |= watch.lost
            out = out or (self.clock.now() if not watch.places.registered else None)
            ended = ended or (self.clock.now() if watch.instance.state in OUT else None)
            if out and ended or self.clock.now() > began + SOON:
                watch.lost = lost
                return watch, out, ended
            yield

    def start(self, name: str) -> Script[None]:
        self.results.say(f"starts {name}")
        began = self.clock.now()
        self.account.ec2.start_instances(InstanceIds=[self.fleet.instances[name]])
        running = back = healthy = None
        lost: set[str] = set()
        while healthy is None and self.clock.now() < began + HEALTHY:
            watch = self.look(name)
            lost |= watch.lost
            now = self.clock.now()
            running = running or (now if watch.instance.state == "running" else None)
            is_back = set(watch.places.registered) == self.fleet.everywhere()
            back = back or (now if running and is_back else None)
            healthy = now if back and self.is_whole(watch.places) else None
            yield
        self.results.measure("StartInstances to running", began, running)
        self.results.measure("running to registered everywhere", running or began, back)
        self.results.measure("registered everywhere to healthy", back or began, healthy)
        places = watch.places.registered
        self.results.sentence(f"{name} is back with the same ports at its present address", set(places) == self.fleet.everywhere(), places)
        self.results.sentence(f"{name} is healthy everywhere again", healthy is not None, places)
        watch.lost = lost
        self.never_lost(name, watch)

    def settle(self, name: str) -> Script[None]:
        tags = yield from self.until(lambda: self.look(name).instance.tags, self.holds_nothing, within=SETTLING)
        self.results.measure("StopInstances to no held tag", self.stopped, self.clock.now() if self.holds_nothing(tags) else None)
        self.results.sentence(f"the held tag of {name} is gone after settling", self.holds_nothing(tags), tags)

    def reboot(self, name: str) -> Script[None]:
        self.results.say(f"reboots {name}")
        self.account.ec2.reboot_instances(InstanceIds=[self.fleet.instances[name]])
        end = self.clock.now() + QUIET
        missing: set[str] = set()
        while self.clock.now() < end:
            watch = self.look(name)
            missing |= self.fleet.everywhere() - set(watch.places.registered)
            yield
        self.results.sentence(f"a reboot takes {name} out of nothing", not missing, missing)
        self.results.sentence(f"a reboot leaves no held tag on {name}", self.holds_nothing(watch.instance.tags), watch.instance.tags)

    def scale_out(self) -> Script[str]:
        """Lets the group grow by one. Returns the member's address, which is empty if none came."""
        self.results.say("lets the group grow by one")
        began = self.clock.now()
        self.set_desired(1)
        waits = in_service = healthy = None
        early = ""
        address = ""
        while in_service is None and self.clock.now() < began + HOOK:
            # The state first: what is InService by then has to be healthy at the later look.
            member = self.sight.member()
            if member:
                address = address or self.sight.instance(member[0]).address or ""
                target = self.sight.at_address(address) if address else None
                now = self.clock.now()
                waits = waits or (now if member[1] == "Pending:Wait" else None)
                healthy = healthy or (now if target == "healthy" else None)
                if member[1] == "InService":
                    in_service = now
                    early = "" if target == "healthy" else f"InService, and the target is {target}"
            yield
        self.results.measure("SetDesiredCapacity to the launch hook", began, waits)
        self.results.measure("the launch hook to healthy", waits or began, healthy)
        self.results.measure("the launch hook to InService", waits or began, in_service)
        held = waits is not None and in_service is not None and not early
        self.results.sentence("the launch hook held the new member until it was healthy", held, early or member)
        registered = self.sight.at_address(address) if address else None
        self.results.sentence("the new member is registered where its tag declares", registered == "healthy", registered)
        return address

    def scale_in(self, address: str) -> Script[None]:
        self.results.say("lets the group shrink by one")
        began = self.clock.now()
        self.set_desired(0)
        waits = drained = gone = None
        drains = early = False
        while gone is None and self.clock.now() < began + HOOK:
            # The state first: what goes on by then must not drain at the later look.
            member = self.sight.member()
            state = member[1] if member else "gone"
            target = self.sight.at_address(address) if address else None
            now = self.clock.now()
            waits = waits or (now if state == "Terminating:Wait" else None)
            drains = drains or target == "draining"
            drained = drained or (now if drains and target is None else None)
            goes_on = state in ("gone", "Terminating:Proceed")
            early = early or goes_on and target is not None
            gone = gone or (now if goes_on else None)
            yield
        self.results.measure("SetDesiredCapacity to the terminate hook", began, waits)
        self.results.measure("the terminate hook to drained", waits or began, drained)
        self.results.measure("the terminate hook to its end", waits or began, gone)
        held = waits is not None and gone is not None and drains and not early
        seen = f"waited: {waits is not None}, ended: {gone is not None}, drained: {drains}, ended before that: {early}"
        self.results.sentence("the terminate hook waited until draining was over", held, seen)
        left = self.sight.at_address(address) if address else None
        self.results.sentence("the member that is gone is registered nowhere", left is None, left)

    def terminate(self, name: str, other: str) -> Script[None]:
        self.results.say(f"terminates {name}")
        began = self.clock.now()
        self.account.ec2.terminate_instances(InstanceIds=[self.fleet.instances[name]])
        watch, out, ended = yield from self.watch_until_out(name, began)
        self.results.measure("TerminateInstances to registered nowhere", began, out)
        self.results.measure("TerminateInstances to terminated", began, ended)
        self.results.sentence(f"{name} is registered nowhere after its termination", not watch.places.registered, watch.places.registered)
        self.still_whole(other)

    # --- looks -----------------------------------------------------------------------------------------------------------------------

    def look(self, name: str) -> Watch:
        """Reads where an instance is, and then what it holds. What is neither in place nor held is looked for again: EC2 may show a tag late."""
        id = self.fleet.instances[name]
        places = self.sight.places(id, self.addresses.get(name))
        instance = self.sight.instance(id)
        gap = self.fleet.everywhere() - set(places.registered)
        # A terminated instance keeps nothing, and needs nothing.
        if instance.state in ("shutting-down", "terminated") or not gap - instance.held:
            return Watch(instance, places)
        lost = self.clock.until(lambda: self.gap(id, name), lambda lost: not lost, within=TAG_LAG)
        return Watch(instance, places, lost)

    def places_of(self, name: str) -> Places:
        return self.look(name).places

    def gap(self, id: str, name: str) -> set[str]:
        registered = set(self.sight.places(id, self.addresses.get(name)).registered)
        return self.fleet.everywhere() - registered - self.sight.instance(id).held

    def is_whole(self, places: Places) -> bool:
        return set(places.registered) == self.fleet.everywhere() and places.are_healthy

    @staticmethod
    def runs(instance: Instance) -> bool:
        return instance.state == "running"

    @staticmethod
    def holds_nothing(tags: dict[str, str]) -> bool:
        return not any(key.startswith(HELD) for key in tags)

    def never_lost(self, name: str, watch: Watch) -> None:
        self.results.sentence(f"at every look, each registration of {name} was in place or in its tags", not watch.lost, watch.lost)

    def still_whole(self, name: str) -> None:
        places = self.look(name).places.registered
        self.results.sentence(f"{name} keeps all of its registrations meanwhile", set(places) == self.fleet.everywhere(), places)

    def set_desired(self, count: int) -> None:
        self.account.autoscaling.set_desired_capacity(
            AutoScalingGroupName=self.fleet.names.group, DesiredCapacity=count, HonorCooldown=False
        )


def goes_on(script: Script[None]) -> bool:
    """Plays a script to its next look, and returns whether there is one."""
    try:
        next(script)
    except StopIteration:
        return False
    return True
