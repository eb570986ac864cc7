//! What one event costs: time and memory of a first one, beside the least possible and the same job in Python; and instructions of every further one.
//!
//! `benches/cold/run` and `.ci/instructions` are the ways in; they make what this is given. Real processes at the sandbox's
//! Runtime API, AWS's wire protocols on sockets, and the wall's clock: figures compare within one run, and with no other.

mod contender;
mod front;
mod instructions;
mod page;
mod parts;
mod scene;
mod table;

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use lexopt::prelude::{Long, Value, ValueExt};

use contender::{Contender, Measured};

const HELP: &str = "\
Measures single events of the function instance-state.

Usage: cold compare --binary FILE [--binary FILE] --limit FILE --python FILE --certificates FOLDER [--rounds 20] [--write]
       cold parts --binary FILE --limit FILE --certificates FOLDER [--write]
       cold instructions --binary FILE [--update]

  compare       a first event, from the start of the process, and two further ones; the same for the limit and the job in Python
  parts         by valgrind: on what instance-state and the limit spend instructions until their first answer
  instructions  by valgrind; fails where they are clearly more than benches/instructions.json says

  --binary        instance-state, built for release; for `parts`, with its symbols
  --limit         the same calls by hyper and rustls alone, built alike
  --python        the interpreter of a virtual environment with benches/cold/python/requirements.txt
  --certificates  a folder with bundle.pem (what clients trust), server.pem and server.key (for 127.0.0.1)
  --write         writes its part of docs/cold.md, too
  --update        writes benches/instructions.json instead
";

/// Where this was built from.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What the command line says.
#[derive(Default)]
struct Arguments {
    command: String,
    binaries: Vec<PathBuf>,
    limit: PathBuf,
    python: PathBuf,
    certificates: PathBuf,
    rounds: usize,
    updates: bool,
    is_written: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let result = match parse(lexopt::Parser::from_env()) {
        Ok(Some(arguments)) => run(arguments).await,
        Ok(None) => {
            print!("{HELP}");
            Ok(())
        }
        Err(error) => Err(format!("{error}\n\n{HELP}").into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cold: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Arguments>, lexopt::Error> {
    let mut arguments = Arguments { rounds: 20, ..Arguments::default() };
    while let Some(argument) = parser.next()? {
        match argument {
            Value(command) if arguments.command.is_empty() => arguments.command = command.string()?,
            Long("binary") => arguments.binaries.push(parser.value()?.into()),
            Long("limit") => arguments.limit = parser.value()?.into(),
            Long("python") => arguments.python = parser.value()?.into(),
            Long("certificates") => arguments.certificates = parser.value()?.into(),
            Long("rounds") => arguments.rounds = parser.value()?.parse()?,
            Long("write") => arguments.is_written = true,
            Long("update") => arguments.updates = true,
            Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(arguments))
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    match (arguments.command.as_str(), arguments.binaries.as_slice()) {
        ("compare", [_, ..]) => compare(&arguments).await,
        ("parts", [binary]) => {
            let section = parts::section(binary, &arguments.limit, &arguments.certificates).await?;
            print!("{section}");
            match arguments.is_written {
                true => Ok(page::write_parts(Path::new(REPOSITORY), &section)?),
                false => Ok(()),
            }
        }
        ("instructions", [binary]) => instructions::check(binary, arguments.updates).await,
        _ => Err(HELP.into()),
    }
}

/// Runs the contenders in turn, so that whatever else the machine does falls on all of them.
async fn compare(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let functions = arguments.binaries.iter().map(|binary| Contender::function(binary));
    let contenders: Vec<Contender> = [Contender::limit(&arguments.limit)]
        .into_iter()
        .chain(functions)
        .chain([Contender::python(&arguments.python)])
        .collect();
    let mut rounds: Vec<Vec<Measured>> = contenders.iter().map(|_| Vec::new()).collect();
    // The first round is not counted: it brings files into the machine's memory, and Python's bytecode onto the disk.
    for round in 0..=arguments.rounds {
        let mut called = Vec::new();
        for (contender, measured) in contenders.iter().zip(&mut rounds) {
            let (one, calls) = contender.measure(&arguments.certificates).await?;
            called.push(calls);
            if round > 0 {
                measured.push(one);
            }
        }
        if let [limit, function, ..] = called.as_slice()
            && limit != function
        {
            return Err(format!("the limit makes other calls than the function: {limit:?} and {function:?}").into());
        }
        eprint!("\rround {round} of {}", arguments.rounds);
    }
    eprintln!();
    print!("{}", table::table(&contenders, &rounds));
    if arguments.is_written {
        page::write(Path::new(REPOSITORY), &contenders, &rounds)?;
    }
    Ok(())
}
