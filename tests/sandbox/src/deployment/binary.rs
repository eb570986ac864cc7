//! The binaries of functions.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Builds a function with the cargo that runs this program and with the same profile, and returns the path of its binary.
///
/// The variable `ELB_REGISTRAR_BINARIES` names a folder of binaries to be used instead, such as those of `sam build`.
///
/// # Errors
/// If it does not build, or there is no such binary.
pub fn build(function: &str) -> io::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("ELB_REGISTRAR_BINARIES") {
        let binary = Path::new(&folder).join(function);
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", binary.display()));
        return binary.is_file().then_some(binary.clone()).ok_or_else(missing);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Cargo runs at the workspace's root and without `--package`, so that all crates have the features that they have in `cargo
    // test` and `cargo run` there. Otherwise the AWS SDK would be compiled once more.
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).args(["build", "--bin", function]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{function} does not build")));
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == function;
        is_it.then(|| message["executable"].as_str().map(PathBuf::from))?
    };
    lines
        .lines()
        .rev()
        .find_map(executable)
        .ok_or_else(|| io::Error::other(format!("cargo named no binary {function}")))
}
