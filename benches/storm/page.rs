//! The page `docs/storm.md`, with its plot.

use std::{fmt::Write as _, io, path::Path, time::Duration};

use benchmarks::machine::{here, memory, today};

use crate::plan::Results;

/// The beginning of the page.
const BEGINNING: &str = "\
# A storm: many instances at once

A zone fails, or a schedule stops everything at night: what does that cost, and how long does it take? Written by

```sh
cargo storm --write
```

which plays it in the sandbox, with the template as it is deployed, the real handlers, and the account's limits on calls as AWS publishes them (the
figures are in `tests/sandbox/src/throttle.rs`). **All times are simulated**, and so the same on every machine.

The account: nine of ten target groups are in the instances' network and dealt out to services, two to one and one to the next, every third for
addresses; every tenth service has a Classic load balancer, too; the instances are dealt out to the services (`benches/storm/account.rs`). The
bound is what the calls that every correct program must make take by the buckets alone, none of them before the instances stop, or run, that it is
for: nothing waits for an event, for an answer or for another call (`benches/storm/bound.rs`). So it can be come near to, and not reached. What is above
it: the gathering of events, a scan before the first deregistration (ten seconds for 500 groups at four fifths of the bucket), and what is left to others.

Where it takes longer, or more calls, than it would have to:

- A sweep waits for a second before it reads, so that a small account is not swept for each instance. Instances that stop together are out a second
  later for it.
- Ten instances that stop over a minute come six seconds apart. Up to 1,000 groups each is served alone, and asks all groups. In 500 groups one scan takes ten
  seconds, and all scans share the account's bucket. With more groups one sweep after the other serves those that have stopped by then.
- A hundred instances that stop over a minute in 500 groups take several sweeps, since so few a second are not waited for. The last sweep begins when the one
  before it ends.
- The first starts of a storm are given back one by one, because no process has seen another one yet. So in a small account a start
  takes up to 1.3 times the calls that it took before sweeps were ordered (1,000 x 10: 192 then).

![Seconds until instances that stop at once are registered nowhere, over their number, both logarithmic: the closer a line is to its dashed bound, the less
time is lost](storm.svg)
";

/// Writes page and plot into the folder of a repository.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(repository: &Path, results: &Results, took: Duration) -> io::Result<()> {
    let docs = repository.join("docs");
    std::fs::write(docs.join("storm.svg"), results.plot().to_svg())?;
    let mut page = BEGINNING.to_owned();
    for table in results.tables() {
        let _ = write!(page, "\n{}", table.to_markdown());
    }
    let _ = write!(page, "\nMeasured on {}, on {}, in {:.0} s of its time", today(), here(), took.as_secs_f64());
    let _ =
        writeln!(page, "{}.", memory().map_or_else(String::new, |most| format!(" and with {most} MiB of its memory")));
    std::fs::write(docs.join("storm.md"), page)
}
