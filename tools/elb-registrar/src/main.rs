//! The command of an operator: what elb-registrar sees in the account, what it would do, and giving back everything that it holds.
//!
//! `status` and `plan` are a sweep that observes, with the operator's own credentials and with clients that refuse every call that
//! does not only describe.

mod about;
mod arguments;
mod deployed;
mod filter;
mod html;
mod look;
mod markdown;
mod page;
mod restore;
mod session;
mod terminal;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser;

/// Everything is as it should be.
const FINE: u8 = 0;
/// Something is wrong, or an orphan exists.
const WRONG: u8 = 1;
/// Something could not be read, or the command could not begin. Clap ends with the same for arguments that mean nothing.
const NOT_READ: u8 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Status(arguments) => look::status(&arguments).await,
        Command::Plan(arguments) => look::plan(&arguments).await,
        Command::Restore(arguments) => restore::run(&arguments).await,
    };
    match ended {
        Ok(code) => code,
        Err(why) => {
            anstream::eprintln!("elb-registrar: {why}");
            NOT_READ.into()
        }
    }
}
