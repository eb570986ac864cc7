//! A campaign: rounds of cases, each drawn from a seed of its own, in which no panic stays hidden.
//!
//! - `cargo test` draws one round of every test, always the same.
//! - `FUZZ_SECONDS=60` draws rounds for 60 s: the first one is the same, the next ones use the seeds that follow.
//! - `FUZZ_SEED=0x...` begins at another seed. A failure names the seed of its round, so that this alone repeats it.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook},
    sync::Once,
    time::Duration,
};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

const SECONDS: &str = "FUZZ_SECONDS";
const SEED: &str = "FUZZ_SEED";

/// The seed where every campaign begins. A change is judged by the same cases as the change before it.
const FIRST_SEED: u64 = 0x5eed_0000;

/// Steps of making a failing case simpler. Too large: a case of a slow test takes minutes. Too small: much of the case says
/// nothing.
const SHRINKS_MAX: u32 = 2_000;

/// The judgement of a test on one case.
pub(crate) type Verdict = Result<(), TestCaseError>;

thread_local! {
    /// The panics of this thread, while a case is being watched.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Draws `cases` cases in each round, for as long as the environment says, and fails with the simplest case that fails.
#[track_caller]
pub(crate) fn fuzz<S: Strategy>(test: &str, cases: u32, strategy: &S, judge: impl Fn(S::Value) -> Verdict) {
    let first = variable(SEED).unwrap_or(FIRST_SEED);
    let until = variable(SECONDS).map(|seconds| now() + Duration::from_secs(seconds));
    for seed in first.. {
        round(test, seed, cases, strategy, &judge);
        if until.is_none_or(|until| now() >= until) {
            println!("{test}: {} cases", u64::from(cases) * (seed - first + 1));
            return;
        }
    }
}

#[track_caller]
fn round<S: Strategy>(test: &str, seed: u64, cases: u32, strategy: &S, judge: &impl Fn(S::Value) -> Verdict) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: SHRINKS_MAX, ..Config::default() };
    let result = TestRunner::new_with_rng(config, rng).run(strategy, |case| {
        let (verdict, panics) = watching_panics(|| judge(case));
        match verdict {
            // A handler caught it, but it is a bug all the same.
            Some(_) if !panics.is_empty() => Err(TestCaseError::fail(format!("panicked: {panics:?}"))),
            Some(verdict) => verdict,
            None => Err(TestCaseError::fail(format!("panicked: {panics:?}"))),
        }
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => {
            panic!("{why}\ncase: {case:#?}\nrepeat: {SEED}={seed:#x} cargo test --test fuzz -- {test}")
        }
        Err(TestError::Abort(why)) => panic!("nothing was judged: {why}"),
    }
}

/// Does some work, and returns all panics that happened in it, caught or not. The first value is `None` if the work did not end.
pub(crate) fn watching_panics<R>(work: impl FnOnce() -> R) -> (Option<R>, Vec<String>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| note(panic, &usual)));
    });
    let outer = PANICS.replace(Some(Vec::new()));
    let result = catch_unwind(AssertUnwindSafe(work)).ok();
    (result, PANICS.replace(outer).unwrap_or_default())
}

fn note(panic: &PanicHookInfo<'_>, usual: &dyn Fn(&PanicHookInfo<'_>)) {
    let is_watched =
        PANICS.with_borrow_mut(|panics| panics.as_mut().map(|panics| panics.push(panic.to_string())).is_some());
    if !is_watched {
        usual(panic);
    }
}

#[expect(clippy::disallowed_methods, reason = "a campaign lasts as long as a person said, who has a clock on the wall")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Returns a number from the environment, decimal or with `0x`.
#[track_caller]
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
    Some(number.unwrap_or_else(|_| panic!("{name} is {text:?}, and no number")))
}

#[test]
fn a_caught_panic_is_seen() {
    let (result, panics) = watching_panics(|| catch_unwind(|| panic!("hidden")).is_err());
    assert_eq!(result, Some(true));
    assert!(panics.len() == 1 && panics[0].contains("hidden"), "{panics:?}");
}

#[test]
fn a_failed_case_names_its_seed_and_the_command_to_repeat_it() {
    let (result, panics) = watching_panics(|| {
        round("small_numbers", 7, 100, &(0_u32..1_000), &|number| match number {
            0..100 => Ok(()),
            _ => Err(TestCaseError::fail("too large")),
        });
    });
    assert_eq!(result, None);
    let words = ["too large", "case: 100", "FUZZ_SEED=0x7 cargo test --test fuzz -- small_numbers"];
    assert!(words.iter().all(|words| panics.concat().contains(words)), "{panics:?}");
}
