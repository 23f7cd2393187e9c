//! Power cuts and kills at any operation, over several lives of one log, with a disk that at times fails or is
//! full. What was acknowledged, and what a reader was shown, is there for ever, in its place; nothing is
//! there that nobody sent, a batch's part of a partition is there whole or not at all, and time never
//! goes back. Then the same with a disk that skips one kind of sync: each kind is missed by somebody.

mod ledger;
mod lives;
mod watch;

use std::time::Duration;

use watch::Kind;

/// Lives run for one seed take a few milliseconds; anything near this bound hangs.
const HANGING: Duration = Duration::from_secs(60);

fn seeds(default: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("WEIR_LOG_SEEDS").ok().and_then(|text| text.parse().ok());
    0..asked.unwrap_or(default)
}

fn run(seed: u64, skipped: Option<Kind>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lives = async { tokio::time::timeout(HANGING, lives::run(seed, skipped)).await };
    runtime.block_on(lives).unwrap_or_else(|_| Err("somebody waits for ever".to_owned()))
}

#[test]
fn what_was_acknowledged_outlives_every_cut() {
    for seed in seeds(250) {
        if let Err(wrong) = run(seed, None) {
            panic!("seed {seed}: {wrong}");
        }
    }
}

/// How a log loses something when one kind of sync is not done.
#[test]
fn every_sync_is_needed() {
    for kind in Kind::ALL {
        let lost = (0..3000).find_map(|seed| Some((seed, run(seed, Some(kind)).err()?)));
        let Some((seed, wrong)) = lost else { panic!("nobody misses the sync of {kind:?}") };
        println!("{kind:?}: seed {seed}: {wrong}");
    }
}
