//! Where was looked, and what is deployed there.

use aws_config::SdkConfig;
use chrono::SecondsFormat;
use protocol::plain::Plain;

use crate::deployed::{self, Deployment};

/// Where was looked, and what is deployed there.
pub(crate) struct About {
    pub(crate) account: Option<Plain>,
    pub(crate) region: Plain,
    pub(crate) deployed: Result<Vec<Deployment>, String>,
    pub(crate) at: String,
}

impl About {
    /// Reads what is deployed.
    #[expect(clippy::disallowed_methods, reason = "people compare it with their own clock")]
    pub(crate) async fn read(sdk: &SdkConfig) -> Self {
        let region = Plain::of(sdk.region().map(ToString::to_string).unwrap_or_default());
        let at = chrono::Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        Self { account: None, region, deployed: deployed::read(sdk).await, at }
    }

    /// Returns the facts for the head of a page.
    pub(crate) fn facts(&self) -> Vec<(&'static str, Plain)> {
        let account = self.account.clone().unwrap_or_else(|| "unknown: no answer named it".into());
        vec![
            ("account", account),
            ("Region", self.region.clone()),
            ("functions", self.functions()),
            ("seen at", Plain::of(&self.at)),
        ]
    }

    fn functions(&self) -> Plain {
        match &self.deployed {
            Err(why) => Plain::of(format_args!("unknown: {why}")),
            Ok(none) if none.is_empty() => "none are deployed here".into(),
            Ok(deployments) => {
                let of = |deployment: &Deployment| format!("{}: {}", deployment.stack, deployment.config.in_words());
                Plain::of(deployments.iter().map(of).collect::<Vec<_>>().join("; "))
            }
        }
    }

    /// Returns the settings that count: those of the stack that was named, or of the only one.
    ///
    /// # Errors
    /// If there are several, and it is not said which one counts.
    pub(crate) fn settings(&self, stack: Option<&str>) -> Result<Option<&Deployment>, String> {
        let deployments = match (&self.deployed, stack) {
            (Ok(deployments), _) => deployments,
            (Err(why), Some(stack)) => return Err(format!("the settings of the stack {stack} are unknown: {why}")),
            (Err(_), None) => return Ok(None),
        };
        let names = || match deployments.iter().map(|it| it.stack.as_str()).collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "none".to_owned(),
            names => names,
        };
        match (stack, deployments.as_slice()) {
            (Some(stack), of_stacks) => match of_stacks.iter().find(|it| it.config.stack == stack) {
                Some(deployment) => Ok(Some(deployment)),
                None => Err(format!("no functions have the settings of a stack {stack}: there are {}", names())),
            },
            (None, [] | [_]) => Ok(deployments.first()),
            (None, _) => Err(format!("there are several stacks: say by --stack which one counts: {}", names())),
        }
    }
}
