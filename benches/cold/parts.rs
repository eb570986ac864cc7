//! On what instructions go until the first answer: those of instance-state and of the limit, by the crate whose code they are.
//!
//! A function that the compiler has put into another one counts as the other's.

use std::{collections::BTreeMap, error::Error, fmt::Write as _, path::Path};

use benchmarks::machine::{here, today};

use crate::{contender::trust, front::Hosts, instructions::callgrind, scene::Scene};

/// The heading of the page's part.
pub(crate) const HEADING: &str = "## Where the rest goes";

/// The part's first lines.
const BEGINNING: &str = "\
Instructions from the start of the process to its first answer, in millions, as callgrind counts them. They are put down to the crate that has
the code, and what the compiler has put into another function to that one's crate. Written by `benches/cold/parts --write`.
Callgrind's processor has fewer instructions for cryptography than a real one, so that TLS and signatures are larger here. What the kernel does
for a process is not in it: the page faults above are a measure of that.

";

/// What the table calls some crates together.
const PARTS: [(&str, &[&str]); 9] = [
    (
        CRYPTOGRAPHY,
        &[
            "rustls",
            "webpki",
            "rustls_pki_types",
            "rustls_native_certs",
            "tokio_rustls",
            "hyper_rustls",
            "aws_lc_rs",
            "aws_lc_sys",
            "untrusted",
            "subtle",
            "zeroize",
        ],
    ),
    (
        "HTTP and waiting for it",
        &[
            "hyper",
            "hyper_util",
            "http",
            "http_body",
            "http_body_util",
            "httparse",
            "h2",
            "tokio",
            "tokio_util",
            "mio",
            "socket2",
            "tower",
            "futures",
            "futures_util",
            "futures_channel",
            "futures_core",
            "bytes",
            "want",
            "slab",
            "indexmap",
            "ipnet",
            "parking_lot",
            "parking_lot_core",
        ],
    ),
    (
        "the SDK's runtime: what every call goes through",
        &[
            "aws_smithy_runtime",
            "aws_smithy_runtime_api",
            "aws_smithy_types",
            "aws_smithy_http",
            "aws_smithy_http_client",
            "aws_smithy_async",
            "aws_smithy_observability",
            "aws_smithy_schema",
            "aws_runtime",
            "aws_types",
            "aws_credential_types",
        ],
    ),
    (
        "the SDK's signatures",
        &[
            "aws_sigv4",
            "sha2",
            "hmac",
            "digest",
            "crypto_common",
            "block_buffer",
            "hybrid_array",
            "hex",
            "percent_encoding",
            "time",
            "cpufeatures",
        ],
    ),
    (
        "the SDK's services: endpoints, requests, answers",
        &[
            "aws_sdk_ec2",
            "aws_sdk_elasticloadbalancing",
            "aws_sdk_elasticloadbalancingv2",
            "aws_sdk_autoscaling",
            "aws_sdk_sqs",
            "aws_smithy_xml",
            "aws_smithy_query",
            "aws_smithy_json",
            "xmlparser",
            "regex_lite",
            "urlencoding",
        ],
    ),
    ("the program itself", &["instance_state", "registrar", "protocol", "limit", "chrono", "fastrand"]),
    (
        "Lambda's runtime, JSON and logs",
        &[
            "lambda_runtime",
            "lambda_runtime_api_client",
            "aws_lambda_events",
            "serde",
            "serde_core",
            "serde_json",
            "serde_path_to_error",
            "ryu",
            "itoa",
            "zmij",
            "tracing",
            "tracing_core",
            "tracing_subscriber",
            "tracing_log",
            "tracing_serde",
            "log",
        ],
    ),
    (LIBRARY, &["std", "core", "alloc", "hashbrown", "memchr", "once_cell", "compiler_builtins", "rustc_demangle"]),
    (LOADER, &[]),
];
const CRYPTOGRAPHY: &str = "TLS and its cryptography";
const LIBRARY: &str = "memory, copying, and other work of the standard library and of C's";
const LOADER: &str = "the system's loader";
const OTHERS: &str = "other crates";

/// Counts both programs, which must have their symbols. Returns the part of the page.
pub(crate) async fn section(function: &Path, limit: &Path, certificates: &Path) -> Result<String, Box<dyn Error>> {
    let (function, limit) = (count(function, certificates).await?, count(limit, certificates).await?);
    let mut section =
        format!("{HEADING}\n\n{BEGINNING}| | instance-state | the limit | more |\n|---|---:|---:|---:|\n");
    let names = PARTS.iter().map(|(name, _)| *name).chain([OTHERS]);
    for name in names {
        row(&mut section, name, [&function, &limit].map(|counted| counted.get(name).copied().unwrap_or_default()));
    }
    row(&mut section, "**all**", [&function, &limit].map(|counted| counted.values().sum()));
    let _ = writeln!(section, "\nCounted on {}, on {}.", today(), here());
    Ok(section)
}

#[expect(clippy::cast_precision_loss, reason = "instructions of a process are far from 2^52")]
fn row(section: &mut String, name: &str, [function, limit]: [u64; 2]) {
    let [function, limit] = [function, limit].map(|count| count as f64 / 1e6);
    let _ = writeln!(section, "| {name} | {function:.2} | {limit:.2} | {:.2} |", function - limit);
}

/// Instructions by part until the answer to a first stop, over TLS.
async fn count(binary: &Path, certificates: &Path) -> Result<BTreeMap<&'static str, u64>, Box<dyn Error>> {
    let scene = Scene::new(2)?;
    let hosts = Hosts::open(&scene, certificates).await?;
    let mut environment = trust(certificates);
    environment.extend(hosts.variables());
    let counts = callgrind(binary, &scene, 1, hosts.inner.endpoint_url(), environment).await?;
    let mut parts = BTreeMap::new();
    for (object, function, count) in own_costs(&counts) {
        *parts.entry(part_of(object, function)).or_default() += count;
    }
    Ok(parts)
}

/// Returns what functions cost themselves, each with the object that it is in. The format: "Callgrind Format Specification" of valgrind's manual,
/// <https://valgrind.org/docs/manual/cl-format.html>.
fn own_costs(counts: &str) -> Vec<(&str, &str, u64)> {
    let (mut objects, mut functions) = (BTreeMap::new(), BTreeMap::new());
    let (mut object, mut function, mut is_of_a_call) = ("", "", false);
    let mut costs = Vec::new();
    for line in counts.lines() {
        match line.split_once('=') {
            Some(("ob", name)) => object = name_of(&mut objects, name),
            Some(("fn", name)) => function = name_of(&mut functions, name),
            Some(("cob", name)) => _ = name_of(&mut objects, name),
            Some(("cfn", name)) => _ = name_of(&mut functions, name),
            Some(("calls", _)) => is_of_a_call = true,
            _ if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) => {
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse().ok());
                // The line behind `calls=` is what the called function costs, and counts there.
                if !std::mem::take(&mut is_of_a_call) {
                    costs.extend(cost.map(|cost| (object, function, cost)));
                }
            }
            _ => {}
        }
    }
    costs
}

/// Returns a name. It is written once, behind its number in brackets; then the number alone stands for it.
fn name_of<'t>(names: &mut BTreeMap<&'t str, &'t str>, text: &'t str) -> &'t str {
    match text.split_once(") ") {
        Some((number, name)) => {
            names.insert(number, name);
            name
        }
        None => names.get(text.trim_end_matches(')')).copied().unwrap_or_default(),
    }
}

fn part_of(object: &str, function: &str) -> &'static str {
    let object = object.rsplit('/').next().unwrap_or_default();
    if object.starts_with("ld-") {
        return LOADER;
    }
    if object.contains(".so") {
        return LIBRARY;
    }
    match crate_of(function) {
        Some(of) => PARTS.iter().find(|(_, crates)| crates.contains(&of)).map_or(OTHERS, |(name, _)| name),
        // The programs have no code in C but AWS-LC's, and the symbols of the allocator.
        None if function.contains("rust") => LIBRARY,
        None => CRYPTOGRAPHY,
    }
}

/// Returns the crate of a function by its name: the first in it that is not the standard library's, unless it names no other. `None` if
/// it is no name of Rust's.
fn crate_of(function: &str) -> Option<&str> {
    let is_of_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let mut found = None;
    let mut rest = function;
    while let Some(begin) = rest.find(is_of_name) {
        let is_in_path = rest[..begin].ends_with("::");
        let after = &rest[begin..];
        let end = after.find(|char| !is_of_name(char)).unwrap_or(after.len());
        let (name, behind) = after.split_at(end);
        // The new form of symbols has a hash behind a crate's name.
        let path = match behind.strip_prefix('[') {
            Some(hash) => hash.split_once(']').map_or(behind, |(_, path)| path),
            None => behind,
        };
        if path.starts_with("::") && !is_in_path {
            if !["core", "alloc", "std"].contains(&name) {
                return Some(name);
            }
            found = found.or(Some(name));
        }
        rest = behind;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_belongs_to_the_first_crate_that_its_name_has() {
        for (function, of) in [
            ("hyper::proto::h1::conn::Conn<I,B,T>::poll_read_head", Some("hyper")),
            ("<aws_sigv4::http_request::sign::Key as core::fmt::Debug>::fmt", Some("aws_sigv4")),
            ("core::ptr::drop_in_place<alloc::vec::Vec<rustls::msgs::Payload>>", Some("rustls")),
            ("<&mut protocol[1a2b3c]::time::Clock as core[9f]::iter::Iterator>::next", Some("protocol")),
            ("alloc::raw_vec::finish_grow", Some("alloc")),
            ("aws_lc_0_47_0_sha256_block_data_order", None),
        ] {
            assert_eq!(crate_of(function), of, "{function}");
        }
    }

    #[test]
    fn what_a_call_costs_counts_for_the_function_that_is_called() {
        let counts = "ob=(1) /a/limit\nfn=(1) limit::main\n10 5\n+2 7\ncob=(2) /lib/libc.so.6\ncfn=(2) malloc\ncalls=1 0\n+1 900\n* 3\n\nob=(2)\nfn=(2)\n0 900\n";
        let malloc = ("/lib/libc.so.6", "malloc", 900);
        let main = |cost| ("/a/limit", "limit::main", cost);
        assert_eq!(own_costs(counts), [main(5), main(7), main(3), malloc]);
        assert_eq!([part_of(malloc.0, malloc.1), part_of("/a/limit", "limit::main")], [LIBRARY, "the program itself"]);
    }
}
