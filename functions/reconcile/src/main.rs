//! The Lambda function `reconcile`: a scheduled sweep that repairs what no event told.

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn};
use registrar::{aws::clients, config::Config, handler::Reconcile, logging, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logging::start();
    logging::or_exit(runtime::check());
    let config = logging::or_exit(Config::from_env());
    let sdk = logging::or_exit(clients::from_env());
    config.announce();
    let function = Reconcile::new(&sdk, &config);
    // No connections in advance: no event waits for a sweep.
    runtime::ended(lambda_runtime::run(service_fn(|event: LambdaEvent<_>| function.invoke(event))).await)
}
