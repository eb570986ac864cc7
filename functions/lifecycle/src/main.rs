//! The Lambda function `lifecycle`: converges instances that wait at a lifecycle hook of their Auto Scaling group.

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn};
use registrar::{aws::clients, config::Config, handler::Lifecycle, logging, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logging::start();
    logging::or_exit(runtime::check());
    let config = logging::or_exit(Config::from_env());
    let sdk = logging::or_exit(clients::from_env());
    config.announce();
    let function = Lifecycle::new(&sdk, &config);
    // Here, because no event waits for a start that Lambda makes ahead of time. Such a start is also said to get more
    // of a processor than an event (*not verified*).
    function.connect().await;
    runtime::ended(lambda_runtime::run(service_fn(|event: LambdaEvent<_>| function.invoke(event))).await)
}
