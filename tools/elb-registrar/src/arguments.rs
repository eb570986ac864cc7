//! The arguments of the command.

use clap::{Args, Parser, Subcommand};

use crate::filter::Filter;

/// What is said of all subcommands. Region and credentials are not arguments, so that nothing differs from the AWS CLI.
const AFTER: &str = "\
Region and credentials are those of the AWS CLI's variables and profiles: AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL...

Exit code: 0 if all is well; 1 if something is wrong, or an orphan exists; 2 if something could not be read.";

/// What is said of `restore`.
const AFTER_RESTORE: &str = "\
Instances that are stopped keep their tags, and are named: start them, and run it again.

Exit code: 0 if nothing is held any more; 1 if something still is; 2 if something failed or was refused. Run it again after 1 or 2.";

/// Keeps load balancers in step with EC2 instances that stop and start: the operator's command.
#[derive(Debug, Parser)]
#[command(name = "elb-registrar", version, after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows where every instance is registered, what is held, what is wrong, and what waits. Changes nothing
    #[command(after_help = AFTER)]
    Status(Status),
    /// Shows what the mode `enforce` would do from now on, as a page for those who decide about it. Changes nothing
    #[command(after_help = AFTER)]
    Plan(Plan),
    /// Gives back everything that is held: registers it with the instances that run, and deletes their tags
    #[command(after_help = AFTER_RESTORE)]
    Restore(Restore),
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) filter: Filter,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// Shows what would be given back, and changes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Asks nothing
    #[arg(long)]
    pub(crate) yes: bool,
    /// Also if functions enforce, or if it is not known whether they do
    #[arg(long)]
    pub(crate) force: bool,
    /// How long it waits for what takes time: a tag that was just written, or an address that drains
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) wait: u64,
}

#[derive(Args, Debug)]
pub(crate) struct Common {
    /// The stack whose settings count, if there are several in the account and Region
    #[arg(long)]
    pub(crate) stack: Option<String>,
    /// As with Scope=tagged, whatever the stack's settings are
    #[arg(long)]
    pub(crate) tagged: bool,
    #[command(flatten)]
    pub(crate) form: Form,
}

/// How the result is shown.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub(crate) struct Form {
    /// The report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// A page in Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
    /// A page in HTML, in one file
    #[arg(long)]
    pub(crate) html: bool,
}
